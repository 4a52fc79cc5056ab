//! Which thread takes a signal that was sent to the process, as Linux' `complete_signal` has it: a profiler's samples
//! are worth something only if they come from the threads that run, and a program may rely on the main thread's being
//! first.
use super::{Queue, SharedPending, Threads, rouse};
use crate::process::{LinuxThread, Pid, Process};
use core::sync::atomic::Ordering;
use machine::sched::{self, Thread, Tid};

/// Whom a signal is sent to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Recipient {
    /// One thread.
    Thread(Tid),
    /// The process: its main thread if it can take the signal.
    Process,
    /// The process: a thread that runs anyway, if there is one (timers).
    Running,
}

impl Recipient {
    /// The thread, if it is for one only.
    pub(super) fn thread(self) -> Option<Tid> {
        match self {
            Self::Thread(tid) => Some(tid),
            Self::Process | Self::Running => None,
        }
    }
}

/// Whether a thread is the one to take a signal: it does not block it, and runs or has nothing else to deliver yet.
fn wants(thread: &Thread, signal: u64) -> bool {
    let signals = &thread.linux().signals;
    let open = signals.state.lock().mask & signal == 0;
    open && (thread.is_running() || !signals.deliverable.load(Ordering::Acquire))
}

/// The first thread from `from` on, in the order of ids and round, for which `fits`.
fn round(threads: &Threads, from: Tid, fits: impl Fn(&Thread) -> bool) -> Option<&Thread> {
    let from_there = threads.range(from..).chain(threads.range(..from));
    from_there
        .map(|(_, thread)| &**thread)
        .find(|thread| fits(thread))
}

impl SharedPending {
    /// Has a thread take the signal, which is pending for the process `pid`. If all that do not block it have something
    /// to deliver already, they find this one, too.
    pub(super) fn complete(&self, threads: &Threads, signal: u64, recipient: Recipient, pid: Pid) {
        let last = self.taker.load(Ordering::Relaxed);
        let wants = |thread: &Thread| wants(thread, signal);
        // In turns, as the ticks of several CPUs would have it.
        let running = || {
            let next = last.saturating_add(1);
            round(threads, next, |thread| thread.is_running() && wants(thread))
        };
        let main = || {
            threads
                .get(&pid)
                .map(|main| &**main)
                .filter(|main| wants(main))
        };
        let first = match recipient {
            Recipient::Running => running(),
            _ => None,
        };
        let taker = first.or_else(main).or_else(|| round(threads, last, wants));
        if let Some(thread) = taker {
            if thread.tid != pid || recipient == Recipient::Running {
                self.taker.store(thread.tid, Ordering::Relaxed);
            }
            rouse(thread);
        }
    }

    /// A thread blocks some of what is pending for the process from now on, or has ended: others are to take it.
    pub(super) fn retarget(&self, queue: &Queue, threads: &Threads, set: u64) {
        let mut left = queue.set() & set;
        let next = sched::current_tid().saturating_add(1);
        while left != 0 {
            let signal = left & left.wrapping_neg();
            left &= !signal;
            let open = |thread: &Thread| thread.linux().signals.state.lock().mask & signal == 0;
            if let Some(thread) = round(threads, next, open) {
                rouse(thread);
            }
        }
    }
}
impl Process {
    /// It has a main thread: what has come before, from a terminal for one, is for that to take.
    pub(in crate::process) fn find_takers(&self) {
        let shared = self.signals.queue.lock();
        let threads = self.threads.live.lock();
        self.signals.retarget(&shared, &threads, u64::MAX);
    }
}
