//! Stopping a process: SIGSTOP, SIGTSTP, SIGTTIN and SIGTTOU hold all its threads until SIGCONT.
//!
//! The last three do nothing to a group that is orphaned: nobody could let it go on. When all threads are held, and
//! when they go on, the parent is told.
use super::{Action, bit, pending_set};
use crate::process::{self, Process, family::Change};
use core::sync::atomic::{AtomicBool, Ordering};
use linux_raw_sys::general as linux;
use machine::{
    sched::{self, Tid},
    sync::{Signals, SpinLock, WaitQueue},
};

/// Whether a process is stopped.
#[derive(Default)]
pub(crate) struct Stop {
    /// Changed under the lock of its dispositions.
    stopped: AtomicBool,
    /// The threads that are held.
    held: WaitQueue,
    progress: SpinLock<Progress>,
}

#[derive(Default)]
struct Progress {
    /// What has stopped it.
    signal: i32,
    /// How many threads are held.
    holding: usize,
    /// The parent knows that it is stopped.
    is_told: bool,
    /// The parent is to be told that it goes on.
    goes_on: bool,
}

impl Stop {
    /// The process is to stop: threads are held from now on where they would return to the program.
    pub(super) fn begin(&self, signal: i32) {
        let mut progress = self.progress.lock();
        if !self.stopped.swap(true, Ordering::SeqCst) {
            (progress.signal, progress.is_told, progress.goes_on) = (signal, false, false);
        }
    }

    /// SIGCONT has been sent. May be called in interrupt context.
    pub(super) fn end(&self) {
        let mut progress = self.progress.lock();
        if self.stopped.swap(false, Ordering::SeqCst) {
            progress.goes_on = progress.is_told;
            drop(progress);
            self.held.wake_all();
        }
    }

    /// SIGKILL has been sent: who takes it is not held any longer.
    pub(in crate::process) fn let_die(&self) {
        self.held.wake_all();
    }

    /// Whether it is to stop, or has.
    pub(in crate::process) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }
}

impl Process {
    /// Whether it is stopped, as /proc says.
    pub fn is_stopped(&self) -> bool {
        self.stop.is_stopped() && self.stop.progress.lock().is_told
    }

    /// Tells the parent that it is stopped when all threads are held, once.
    pub(in crate::process) fn tell_if_stopped(&self) {
        if !self.stop.is_stopped() {
            return;
        }
        let threads = self.thread_ids().len();
        let mut progress = self.stop.progress.lock();
        let tells = self.stop.is_stopped() && !progress.is_told && progress.holding >= threads;
        progress.is_told |= tells;
        let signal = progress.signal;
        drop(progress);
        if tells {
            self.tell_job(Change::Stopped(signal));
        }
    }
}

impl Process {
    /// Whether some of its threads may not go on: it is stopped, or one of them ends it.
    #[inline]
    pub(super) fn is_held_up(&self) -> bool {
        self.stop.stopped.load(Ordering::SeqCst) || self.ends()
    }
}

/// Whether a thread of `process`, which is `tid`, is to be held.
pub(super) fn holds(process: &Process, tid: Tid) -> bool {
    process.stop.is_stopped() && tid != 0 && !process.ends()
}

/// Has the other threads of the process come here, and holds the current one.
pub(super) fn stop() {
    log::info!("a process is stopped, until SIGCONT");
    process::with_current(|process| process.kick_others(sched::current_tid()));
    hold();
}

/// Holds the current thread while its process is stopped.
pub(super) fn hold() {
    let tid = sched::current_tid();
    process::with_current(|process| {
        if !holds(process, tid) {
            return;
        }
        process.stop.progress.lock().holding += 1;
        process.tell_if_stopped();
        let goes_on = || {
            let killed = || pending_set() & bit(linux::SIGKILL as i32) != 0;
            (!holds(process, tid) || killed()).then_some(())
        };
        // Neither a deadline nor another signal ends it.
        let _ = process.stop.held.wait_until(None, Signals::Ignore, goes_on);
        let mut progress = process.stop.progress.lock();
        progress.holding -= 1;
        let tells = core::mem::take(&mut progress.goes_on);
        drop(progress);
        if tells {
            process.tell_job(Change::Continued);
        }
    });
}

/// Whether the calling thread blocks a signal, or its process ignores it.
pub(crate) fn is_blocked_or_ignored(signal: i32) -> bool {
    process::with_current(|process| {
        let handler = process.sighand.0.lock().of(signal).handler;
        let is_blocked = super::with_state(|locked| locked.state.mask & bit(signal) != 0);
        handler == Action::IGNORE || is_blocked
    })
}
