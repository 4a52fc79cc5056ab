//! Parking: what a thread that sleeps and those that wake it agree by. No wake-up is lost, and none queues a thread
//! twice.
//!
//! What it is to leave the CPU, and to be queued, is the scheduler's business.

use crate::primitive::{AtomicBool, Ordering};
use crate::sync::{Rank, SpinLock};

/// Where a thread is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Run {
    /// On a CPU, or on a queue.
    Ready,
    /// Waiting for [`Parking::unpark`].
    Parked,
}

/// A thread's part in it.
#[derive(Debug)]
pub(super) struct Parking {
    run: SpinLock<Run>,
    /// A wake-up that has not been used yet.
    token: AtomicBool,
}

impl Parking {
    /// That of a thread that is ready.
    pub(super) const fn new() -> Self {
        Self {
            run: SpinLock::ranked(Rank::Parking, Run::Ready),
            token: AtomicBool::new(false),
        }
    }

    /// Whether it waits.
    pub(super) fn is_parked(&self) -> bool {
        *self.run.lock() == Run::Parked
    }

    /// The thread wants to sleep. If so it leaves the CPU, on which it may be queued again before it has left it, and
    /// calls [`end`](Self::end) when it is back; if not there was a wake-up.
    pub(super) fn begin(&self) -> bool {
        let mut run = self.run.lock();
        // Under the lock: a wake-up either sees that the thread is parked, or is seen.
        if self.token.swap(false, Ordering::SeqCst) {
            return false;
        }
        *run = Run::Parked;
        true
    }

    /// The thread has slept. Wake-ups up to now are used: it looks anew at what they were for, which this has it see.
    pub(super) fn end(&self) {
        self.token.swap(false, Ordering::SeqCst);
    }

    /// Wakes the thread; whether it has to be queued, which is the caller's to do.
    pub(super) fn unpark(&self) -> bool {
        let mut run = self.run.lock();
        self.token.swap(true, Ordering::SeqCst);
        core::mem::replace(&mut *run, Run::Ready) == Run::Parked
    }
}
