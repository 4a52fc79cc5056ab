//! Stopping a process: SIGSTOP, SIGTSTP, SIGTTIN and SIGTTOU hold all its threads until SIGCONT.
//!
//! Each process has its group to itself, in a session whose terminal is the host's business; so the last three are not
//! dropped, as they are for an orphaned group. Nobody outside the machine sends SIGCONT. If no timer of the program's
//! does, it stays stopped, as on Linux, until the machine ends.
use super::{bit, pending_set};
use crate::process::{self, Process};
use core::sync::atomic::{AtomicBool, Ordering};
use linux_raw_sys::general as linux;
use machine::{
    sched::{self, Tid},
    sync::{Signals, WaitQueue},
};

/// Signals that stop a process that has no handler for them.
pub(super) const STOP: u64 = bit(linux::SIGSTOP as i32)
    | bit(linux::SIGTSTP as i32)
    | bit(linux::SIGTTIN as i32)
    | bit(linux::SIGTTOU as i32);

/// Whether a process is stopped.
#[derive(Default)]
pub(crate) struct Stop {
    /// Changed under the lock of its dispositions.
    stopped: AtomicBool,
    /// The threads that are held.
    held: WaitQueue,
}

impl Stop {
    /// The process is to stop: threads are held from now on where they would return to the program.
    pub(super) fn begin(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    /// SIGCONT has been sent. May be called in interrupt context.
    pub(super) fn end(&self) {
        if self.stopped.swap(false, Ordering::SeqCst) {
            self.held.wake_all();
        }
    }

    /// SIGKILL has been sent: who takes it is not held any longer.
    pub(in crate::process) fn let_die(&self) {
        self.held.wake_all();
    }
}

/// Whether a thread of `process`, which is `tid`, is to be held.
pub(super) fn holds(process: &Process, tid: Tid) -> bool {
    process.stop.stopped.load(Ordering::SeqCst) && tid != 0 && !process.ends()
}

/// Has the other threads of the process come here, and holds the current one.
pub(super) fn stop() {
    log::info!("the program is stopped, until SIGCONT");
    process::with_current(|process| process.kick_others(sched::current_tid()));
    hold();
}

/// Holds the current thread while its process is stopped.
pub(super) fn hold() {
    let tid = sched::current_tid();
    process::with_current(|process| {
        let goes_on = || {
            let killed = || pending_set() & bit(linux::SIGKILL as i32) != 0;
            (!holds(process, tid) || killed()).then_some(())
        };
        // Neither a deadline nor another signal ends it.
        let _ = process.stop.held.wait_until(None, Signals::Ignore, goes_on);
    });
}
