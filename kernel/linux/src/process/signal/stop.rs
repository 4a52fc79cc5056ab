//! Stopping a process: SIGSTOP, SIGTSTP, SIGTTIN and SIGTTOU hold all its threads until SIGCONT.
//!
//! The last three do nothing to a group that is orphaned: nobody could let it go on. When all threads are held, and
//! when they go on, the parent is told.
use super::{Action, attention, bit, pending_set};
use crate::process::{self, LinuxThread, Process, ThreadState, family::Change, ptrace};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use linux_raw_sys::general as linux;
use machine::{
    arch::TrapFrame,
    sched::{self, Tid},
    sync::{Signals, SpinLock, WaitQueue},
};

/// Whether a process is stopped.
#[derive(Default)]
pub(crate) struct Stop {
    /// Changed under the lock of its dispositions.
    stopped: AtomicBool,
    /// Which stop it is: another number each time, and never 0.
    number: AtomicU32,
    /// The threads that are held.
    held: WaitQueue,
    progress: SpinLock<Progress>,
}

#[derive(Default)]
struct Progress {
    /// What has stopped it.
    signal: i32,
    /// How many threads are held, or have been and go on because their tracer wants that.
    holding: usize,
    /// How many of them go on.
    passed: usize,
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
            let next = self.number.load(Ordering::Relaxed).wrapping_add(1).max(1);
            self.number.store(next, Ordering::Relaxed);
            (progress.signal, progress.is_told, progress.goes_on) = (signal, false, false);
        }
    }

    /// SIGCONT has been sent. May be called in interrupt context.
    pub(super) fn end(&self) {
        let mut progress = self.progress.lock();
        if self.stopped.swap(false, Ordering::SeqCst) {
            let passed = core::mem::take(&mut progress.passed);
            progress.holding = progress.holding.saturating_sub(passed);
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

impl Process {
    /// Those that are held look whether they are to be held otherwise: somebody traces them.
    pub(in crate::process) fn wake_held(&self) {
        self.stop.held.wake_all();
    }
}

/// Whether a thread, which is `tid`, is to be held.
pub(super) fn holds(thread: &ThreadState, tid: Tid) -> bool {
    let process = &thread.process;
    let passed = thread.signals.passed_stop.load(Ordering::Relaxed);
    let stop = &process.stop;
    let is_held = stop.is_stopped() && tid != 0 && !process.ends();
    is_held && (passed == 0 || passed != stop.number.load(Ordering::Relaxed))
}

/// Has the other threads of the process come here, and holds the current one.
pub(super) fn stop(frame: &mut TrapFrame) {
    log::info!("a process is stopped, until SIGCONT");
    process::with_current(|process| process.kick_others(sched::current_tid()));
    hold(frame);
}

/// Holds the current thread while its process is stopped. One that is traced stops once each time, and as often as its
/// tracer wants to know of it.
pub(super) fn hold(frame: &mut TrapFrame) {
    loop {
        sched::with_current(|thread| {
            let seen = &thread.linux().signals.attention;
            seen.fetch_and(!attention::TRACER, Ordering::Acquire);
        });
        match sched::with_current(|thread| thread.linux().tracing.tracee()) {
            Some(tracee) if trap(&tracee, frame) => {}
            Some(_) => return,
            None => {
                hold_alone();
                if !ptrace::is_traced() {
                    return;
                }
            }
        }
    }
}

/// Has the current thread, a tracee, stop if there is a reason; whether it has.
fn trap(tracee: &ptrace::Tracee, frame: &mut TrapFrame) -> bool {
    let tid = sched::current_tid();
    process::with_current(|process| {
        let stop = &process.stop;
        let holds_it = || sched::with_current(|thread| holds(thread.linux(), tid));
        if core::mem::take(&mut stop.progress.lock().goes_on) {
            process.tell_job(Change::Continued);
        }
        if !holds_it() {
            let is_asked = tracee.take_trap();
            if is_asked {
                let signal = stop.progress.lock().signal;
                let is_stopped = stop.is_stopped() && signal != 0;
                let signal = if is_stopped { signal } else { ptrace::SIGTRAP };
                ptrace::group_stop(tracee, frame, signal);
            }
            return is_asked;
        }
        tracee.take_trap();
        let number = stop.number.load(Ordering::Relaxed);
        let signal = {
            let mut progress = stop.progress.lock();
            progress.holding += 1;
            progress.signal
        };
        sched::with_current(|thread| {
            let passed = &thread.linux().signals.passed_stop;
            passed.store(number, Ordering::Relaxed);
        });
        process.tell_if_stopped();
        ptrace::group_stop(tracee, frame, signal);
        let mut progress = stop.progress.lock();
        if stop.is_stopped() && stop.number.load(Ordering::Relaxed) == number {
            progress.passed += 1;
        } else {
            progress.holding = progress.holding.saturating_sub(1);
        }
        true
    })
}

/// Holds the current thread, which nobody traces, while its process is stopped.
fn hold_alone() {
    let tid = sched::current_tid();
    process::with_current(|process| {
        let holds = || sched::with_current(|thread| holds(thread.linux(), tid));
        if !holds() {
            return;
        }
        process.stop.progress.lock().holding += 1;
        process.tell_if_stopped();
        let goes_on = || {
            let killed = || pending_set() & bit(linux::SIGKILL as i32) != 0;
            (!holds() || killed() || ptrace::is_traced()).then_some(())
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
        let handler = process.sighand().0.lock().of(signal).handler;
        let is_blocked = super::with_state(|locked| locked.state.mask & bit(signal) != 0);
        handler == Action::IGNORE || is_blocked
    })
}
