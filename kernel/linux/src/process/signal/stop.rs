//! Stopping the program: SIGSTOP, SIGTSTP, SIGTTIN and SIGTTOU hold all its threads until SIGCONT.
//!
//! The program has its group to itself, in a session whose terminal is the host's business; so the last three are not dropped,
//! as they are for an orphaned group. Nobody outside the machine sends SIGCONT. If no timer of the program's does, it stays
//! stopped, as on Linux, until the machine ends.
use super::{bit, pending_set};
use crate::process::{self, exit};
use core::sync::atomic::{AtomicBool, Ordering};
use linux_raw_sys::general as linux;
use machine::{
    sched,
    sync::{Signals, WaitQueue},
};

/// Signals that stop the program if it has no handler for them.
pub(super) const STOP: u64 = bit(linux::SIGSTOP as i32)
    | bit(linux::SIGTSTP as i32)
    | bit(linux::SIGTTIN as i32)
    | bit(linux::SIGTTOU as i32);

/// Whether the program is stopped; changed under the lock of `SHARED`.
static STOPPED: AtomicBool = AtomicBool::new(false);
/// The threads that are held.
static HELD: WaitQueue = WaitQueue::new();

/// The program is to stop: threads are held from now on where they would return to it.
pub(super) fn begin() {
    STOPPED.store(true, Ordering::SeqCst);
}

/// Has the other threads come here, and holds this one.
pub(super) fn stop() {
    log::info!("the program is stopped, until SIGCONT");
    process::with_current(|process| process.kick_others(sched::current_tid()));
    hold();
}

/// SIGCONT has been sent. May be called in interrupt context.
pub(super) fn end() {
    if STOPPED.swap(false, Ordering::SeqCst) {
        HELD.wake_all();
    }
}

/// SIGKILL has been sent: who takes it is not held any longer.
pub(super) fn let_die() {
    HELD.wake_all();
}

/// Whether the current thread, which is `tid`, is to be held.
pub(super) fn holds(tid: sched::Tid) -> bool {
    STOPPED.load(Ordering::SeqCst) && tid != 0 && !exit::has_begun()
}

/// Holds the current thread while the program is stopped.
pub(super) fn hold() {
    let tid = sched::current_tid();
    let goes_on = || {
        let goes_on = !holds(tid) || pending_set() & bit(linux::SIGKILL as i32) != 0;
        goes_on.then_some(())
    };
    // Neither a deadline nor another signal ends it.
    let _ = HELD.wait_until(None, Signals::Ignore, goes_on);
}
