//! Locks and waiting.
//!
//! `SpinLock` is for short sections and disables interrupts; `Mutex` sleeps; [`WaitQueue`] and [`Waiter`] are what every
//! blocking operation is made of.
use crate::time::Instant;
use alloc::sync::Arc;

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
    /// It does not.
    Ignore,
}

/// A queue of threads waiting for something.
pub struct WaitQueue {}
/// One thread's wait, registered with any number of queues (poll, epoll, select, futex).
pub struct Waiter {}
/// A waiter's place in a queue; it leaves the queue when this is dropped.
pub struct Registration<'a> {
    _queue: &'a WaitQueue,
}

impl WaitQueue {
    /// An empty queue.
    pub const fn new() -> Self {
        Self {}
    }
    /// Waits until `ready` returns a value. `ready` is called at least once, before sleeping, and after each wake-up; it
    /// runs with no lock of the queue held, and no wake-up between its call and the sleep is lost.
    pub fn wait_until<T>(
        &self,
        deadline: Option<Instant>,
        signals: Signals,
        mut ready: impl FnMut() -> Option<T>,
    ) -> Result<T, WaitError> {
        let _ = (deadline, signals, ready());
        unimplemented!()
    }
    /// Puts `waiter` into the queue.
    pub fn register(&self, waiter: &Arc<Waiter>) -> Registration<'_> {
        let _ = waiter;
        unimplemented!()
    }
    /// Wakes the longest waiting thread; whether there was one. May be called from interrupt context.
    pub fn wake_one(&self) -> bool {
        unimplemented!()
    }
    /// Wakes all; how many.
    pub fn wake_all(&self) -> usize {
        unimplemented!()
    }
}

impl Waiter {
    /// A waiter for the current thread.
    pub fn new() -> Arc<Self> {
        unimplemented!()
    }
    /// Sleeps until one of its queues wakes it, or [`Waiter::wake`] (or already has since the last call).
    pub fn wait(&self, deadline: Option<Instant>, signals: Signals) -> Result<(), WaitError> {
        let _ = (deadline, signals);
        unimplemented!()
    }
    /// Wakes it directly (futex).
    pub fn wake(&self) {
        unimplemented!()
    }
}

// ARCH adds, in files of their own: `SpinLock<T>` (const new, lock() -> guard, saves and disables interrupts) and
// `Mutex<T>` (sleeping, const new, lock() -> guard, try_lock).
