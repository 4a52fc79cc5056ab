//! Waiting for something to become true.

use super::{Rank, SpinLock};
use crate::primitive::{AtomicBool, AtomicUsize, Ordering, fence};
use crate::sched::{self, Level, Thread};
use crate::time::{Alarm, Instant, Timer};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

/// Why a wait ended without its condition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WaitError {
    /// The deadline passed.
    TimedOut,
    /// A signal is pending for this thread.
    Interrupted,
}

/// Whether a pending signal ends a wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signals {
    /// It does.
    Interrupt,
    /// Only one that ends the thread does.
    Kill,
    /// It does not.
    Ignore,
}

/// A queue of threads waiting for something.
#[derive(Debug, Default)]
pub struct WaitQueue {
    /// How many there are: waking an empty queue costs a load.
    count: AtomicUsize,
    waiters: SpinLock<VecDeque<Arc<Waiter>>>,
    /// How many watchers there are.
    watched: AtomicUsize,
    watchers: SpinLock<Vec<Arc<dyn Watcher>>>,
}

/// Who is told of each wake-up of a queue, and does not wait (epoll).
pub trait Watcher: fmt::Debug + Send + Sync {
    /// Runs where the queue is woken, which may be interrupt context. It neither sleeps nor allocates, and does not
    /// come back to the queue.
    fn woken(self: Arc<Self>);
}

/// One thread's wait, registered with any number of queues (poll, epoll, select, futex).
#[derive(Debug)]
pub struct Waiter {
    thread: Arc<Thread>,
    woken: AtomicBool,
}

/// A waiter's place in a queue; it leaves the queue when this is dropped. A wake-up that came too late for it is passed
/// on.
#[derive(Debug)]
pub struct Registration<'a> {
    queue: &'a WaitQueue,
    waiter: Arc<Waiter>,
}

impl WaitQueue {
    /// An empty queue.
    pub const fn new() -> Self {
        Self {
            count: AtomicUsize::new(0),
            waiters: SpinLock::ranked(Rank::WaitQueue, VecDeque::new()),
            watched: AtomicUsize::new(0),
            watchers: SpinLock::new(Vec::new()),
        }
    }

    /// Has `watcher` told of each wake-up from now on.
    pub fn watch(&self, watcher: Arc<dyn Watcher>) {
        let mut watchers = self.watchers.lock();
        watchers.push(watcher);
        // Before the condition is looked at, as in `register`.
        self.watched.store(watchers.len(), Ordering::SeqCst);
        drop(watchers);
        fence(Ordering::SeqCst);
    }

    /// Has a watcher told of nothing any more. Once this is done it is not being told, either.
    pub fn unwatch(&self, watcher: &Arc<dyn Watcher>) {
        let mut watchers = self.watchers.lock();
        let place = watchers.iter().position(|one| Arc::ptr_eq(one, watcher));
        let left = place.map(|place| watchers.swap_remove(place));
        self.watched.store(watchers.len(), Ordering::SeqCst);
        drop(watchers);
        drop(left);
    }

    /// Tells the watchers; whether a thread may wait, too.
    #[inline]
    fn tell_watchers(&self) -> bool {
        fence(Ordering::SeqCst);
        if self.watched.load(Ordering::SeqCst) > 0 {
            for watcher in &*self.watchers.lock() {
                watcher.clone().woken();
            }
        }
        self.count.load(Ordering::SeqCst) != 0
    }

    /// Waits until `ready` returns a value. `ready` is called at least once, before sleeping, and after each wake-up;
    /// it runs with no lock of the queue held, and no wake-up between its call and the sleep is lost.
    pub fn wait_until<T>(
        &self,
        deadline: Option<Instant>,
        signals: Signals,
        mut ready: impl FnMut() -> Option<T>,
    ) -> Result<T, WaitError> {
        if let Some(value) = ready() {
            return Ok(value);
        }
        let waiter = Waiter::new();
        let _registration = self.register(&waiter);
        loop {
            if let Some(value) = ready() {
                return Ok(value);
            }
            waiter.wait(deadline, signals)?;
        }
    }

    /// Puts `waiter` into the queue.
    pub fn register(&self, waiter: &Arc<Waiter>) -> Registration<'_> {
        let mut waiters = self.waiters.lock();
        waiters.push_back(waiter.clone());
        // Before the condition is looked at: who changes it and then sees no waiter has changed it early enough.
        self.count.store(waiters.len(), Ordering::SeqCst);
        drop(waiters);
        fence(Ordering::SeqCst);
        Registration {
            queue: self,
            waiter: waiter.clone(),
        }
    }

    /// Wakes the longest waiting thread that is not being woken already; whether there was one. May be called from
    /// interrupt context.
    #[inline]
    pub fn wake_one(&self) -> bool {
        self.tell_watchers() && self.wake_first()
    }

    fn wake_first(&self) -> bool {
        let woken = self
            .waiters
            .lock()
            .iter()
            .find(|waiter| !waiter.woken.swap(true, Ordering::SeqCst))
            .cloned();
        // Outside the lock, and not the queue's last reference to the waiter: nothing is freed in interrupt context
        // while it is held.
        woken.inspect(|waiter| waiter.thread.unpark()).is_some()
    }

    /// Wakes all; how many.
    pub fn wake_all(&self) -> usize {
        if !self.tell_watchers() {
            return 0;
        }
        let waiters = self.waiters.lock();
        for waiter in &*waiters {
            waiter.wake();
        }
        waiters.len()
    }
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        let mut waiters = self.queue.waiters.lock();
        let place = waiters
            .iter()
            .position(|waiter| Arc::ptr_eq(waiter, &self.waiter));
        let left = place.and_then(|place| waiters.remove(place));
        self.queue.count.store(waiters.len(), Ordering::SeqCst);
        drop(waiters);
        if left.is_some() && self.waiter.woken.load(Ordering::SeqCst) {
            self.queue.wake_one();
        }
    }
}

impl Waiter {
    /// A waiter for the current thread.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            thread: sched::current(),
            woken: AtomicBool::default(),
        })
    }

    /// Sleeps until one of its queues wakes it, or [`Waiter::wake`] (or already has since the last call).
    pub fn wait(
        self: &Arc<Self>,
        deadline: Option<Instant>,
        signals: Signals,
    ) -> Result<(), WaitError> {
        let _timer = deadline.map(|deadline| Timer::arm(deadline, self.clone()));
        loop {
            if self.woken.swap(false, Ordering::SeqCst) {
                return Ok(());
            }
            let is_interrupted = match signals {
                Signals::Interrupt => sched::signal_pending(),
                Signals::Kill => sched::kill_pending(),
                Signals::Ignore => false,
            };
            if is_interrupted {
                return Err(WaitError::Interrupted);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(WaitError::TimedOut);
            }
            sched::park();
        }
    }

    /// The level of the thread that waits.
    pub fn level(&self) -> Level {
        self.thread.level()
    }

    /// Wakes it directly (futex).
    pub fn wake(&self) {
        self.woken.swap(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

impl Alarm for Waiter {
    /// The deadline of a wait has come: the thread looks at the clock itself.
    fn ring(&self) {
        self.thread.unpark();
    }
}
