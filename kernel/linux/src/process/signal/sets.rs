//! A thread's signals as /proc/PID/status and stat list them: what is pending, blocked, ignored and caught.
use super::{Action, LAST, bit};
use crate::process::{LinuxThread, Process, table};
use linux_raw_sys::general::RLIMIT_SIGPENDING;
use machine::sched::Tid;

/// Masks of signals, and how many are pending.
#[doc(alias = "task_sig")]
#[derive(Clone, Copy, Debug, Default)]
pub struct SignalSets {
    /// Pending for the thread alone.
    pub pending: u64,
    /// Pending for its process.
    pub shared: u64,
    /// What it blocks.
    pub blocked: u64,
    /// What its process ignores.
    pub ignored: u64,
    /// What its process has handlers for.
    pub caught: u64,
    /// How many are in the process' queues, and how many there may be.
    pub queued: [usize; 2],
}

impl SignalSets {
    /// Those of a thread of `process`; without the thread, those of the process alone.
    pub fn of(process: &Process, tid: Tid) -> Self {
        let sighand = process.sighand();
        let mut actions = sighand.0.lock();
        let mut of = |is: fn(&Action) -> bool| {
            let signals = (1..=LAST).filter(|&signal| is(actions.of(signal)));
            signals.fold(0, |set, signal| set | bit(signal))
        };
        let ignored = of(|action| action.handler == Action::IGNORE);
        let caught = of(Action::is_handler);
        drop(actions);
        let (pending, blocked) = table::with_thread(tid, |thread| {
            let state = thread.linux().signals.state.lock();
            (state.queue.set(), state.mask)
        })
        .unwrap_or_default();
        Self {
            pending,
            shared: process.signals.queue.lock().set(),
            blocked,
            ignored,
            caught,
            queued: [
                process.signals.account.count(),
                usize::try_from(process.limits.soft(RLIMIT_SIGPENDING)).unwrap_or(usize::MAX),
            ],
        }
    }
}
