//! One CPU's queue of threads that are ready.

use super::fair::{Clock, Running};
use super::ranked::{Level, Order, Ranked};
use crate::primitive::{AtomicU32, AtomicUsize, Ordering};
use crate::sync::{Rank, SpinLock};
use alloc::sync::Arc;
use core::sync::atomic::AtomicU64;

/// Where a thread goes among those it is equal to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Front,
    Back,
}

/// What a thread that is queued may want to know.
pub(super) struct View {
    /// The CPU's virtual time.
    pub(super) now: u64,
    /// The virtual time of the last of level 0.
    pub(super) last: u64,
}

/// The queue. `T` is a thread.
pub(super) struct RunQueue<T> {
    queue: SpinLock<(Ranked<Arc<T>>, Clock)>,
    /// Length of the queue, level of its first, and virtual time, for those who look without the lock.
    len: AtomicUsize,
    top: AtomicU32,
    time: AtomicU64,
}

impl<T> RunQueue<T> {
    /// An empty queue.
    pub(super) const fn new() -> Self {
        Self {
            queue: SpinLock::ranked(Rank::RunQueue, (Ranked::new(), Clock::new())),
            len: AtomicUsize::new(0),
            top: AtomicU32::new(0),
            time: AtomicU64::new(0),
        }
    }

    fn change<R>(&self, f: impl FnOnce(&mut Ranked<Arc<T>>, &mut Clock) -> R) -> R {
        let mut queue = self.queue.lock();
        let (ranked, clock) = &mut *queue;
        let result = f(ranked, clock);
        let top = ranked.first().map_or(0, |((level, _), _)| level);
        self.top.store(top, Ordering::SeqCst);
        self.len.store(ranked.len(), Ordering::SeqCst);
        result
    }

    /// Puts a thread in, at a time. Its place is asked for under the lock: who changes its level and then does not find
    /// it here has changed it early enough.
    pub(super) fn push(
        &self,
        thread: Arc<T>,
        end: End,
        ns: u64,
        order: impl FnOnce(&T, &View) -> Order,
    ) {
        self.change(|queue, clock| {
            let now = self.update(queue, clock, ns);
            let last = queue.last_key(0).unwrap_or(now);
            let order = order(&thread, &View { now, last });
            match end {
                End::Front => queue.push_front(order, thread),
                End::Back => queue.push_back(order, thread),
            }
        });
    }

    fn update(&self, queue: &Ranked<Arc<T>>, clock: &mut Clock, ns: u64) -> u64 {
        let first = queue.first().filter(|((level, _), _)| *level == 0);
        let now = clock.update(ns, first.map(|((_, key), _)| key));
        self.time.store(now, Ordering::Relaxed);
        now
    }

    /// A thread runs from a time on, which shares the CPU with what is queued; or none that does.
    pub(super) fn run(&self, ns: u64, running: Option<Running>) {
        let mut queue = self.queue.lock();
        let (ranked, clock) = &mut *queue;
        self.update(ranked, clock, ns);
        clock.run(running);
    }

    /// The CPU's virtual time, as far as it is known.
    pub(super) fn time(&self) -> u64 {
        self.time.load(Ordering::Relaxed)
    }

    /// Takes the first out that is wanted.
    pub(super) fn take(&self, wanted: impl Fn(Level, &T) -> bool) -> Option<Arc<T>> {
        self.change(|queue, _| queue.take(|level, thread| wanted(level, thread)))
    }

    /// Asks something about the first that waits.
    pub(super) fn of_first<R>(&self, ask: impl FnOnce(Order, &T) -> R) -> Option<R> {
        if self.len() == 0 {
            return None;
        }
        let queue = self.queue.lock();
        queue.0.first().map(|(order, thread)| ask(order, thread))
    }

    /// Whether a thread waits that is wanted.
    pub(super) fn has(&self, wanted: impl Fn(&T) -> bool) -> bool {
        self.len() != 0 && self.queue.lock().0.iter().any(|thread| wanted(thread))
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
