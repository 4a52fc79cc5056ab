//! One CPU's queue of threads that are ready.

use super::ranked::{Level, Ranked};
use crate::primitive::{AtomicU32, AtomicUsize, Ordering};
use crate::sync::{Rank, SpinLock};
use alloc::sync::Arc;

/// Where a thread goes among those of its level.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Front,
    Back,
}

/// The queue. `T` is a thread.
pub(super) struct RunQueue<T> {
    queue: SpinLock<Ranked<Arc<T>>>,
    /// Length of the queue and level of its first, for those who look without the lock.
    len: AtomicUsize,
    top: AtomicU32,
}

impl<T> RunQueue<T> {
    /// An empty queue.
    pub(super) const fn new() -> Self {
        Self {
            queue: SpinLock::ranked(Rank::RunQueue, Ranked::new()),
            len: AtomicUsize::new(0),
            top: AtomicU32::new(0),
        }
    }

    fn change<R>(&self, f: impl FnOnce(&mut Ranked<Arc<T>>) -> R) -> R {
        let mut queue = self.queue.lock();
        let result = f(&mut queue);
        self.top.store(queue.top().unwrap_or(0), Ordering::SeqCst);
        self.len.store(queue.len(), Ordering::SeqCst);
        result
    }

    /// Puts a thread in. Its level is asked for under the lock: who changes it and then does not find it here has
    /// changed it early enough.
    pub(super) fn push(&self, thread: Arc<T>, end: End, level: impl FnOnce(&T) -> Level) {
        self.change(|queue| match end {
            End::Front => queue.push_front(level(&thread), thread),
            End::Back => queue.push_back(level(&thread), thread),
        });
    }

    /// Takes the first out that is wanted.
    pub(super) fn take(&self, wanted: impl Fn(Level, &T) -> bool) -> Option<Arc<T>> {
        self.change(|queue| queue.take(|level, thread| wanted(level, thread)))
    }

    /// Whether a thread waits that is wanted.
    pub(super) fn has(&self, wanted: impl Fn(&T) -> bool) -> bool {
        self.len() != 0 && self.queue.lock().iter().any(|thread| wanted(thread))
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::SeqCst)
    }

    /// The level of the first that waits.
    pub(super) fn top(&self) -> Option<Level> {
        (self.len() != 0).then(|| self.top.load(Ordering::SeqCst))
    }
}
