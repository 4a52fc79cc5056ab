//! A lock whose waiters sleep.

use super::{Signals, WaitQueue, order};
use crate::primitive::{AtomicBool, Ordering};
use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};

/// A value behind a sleeping lock. Not for interrupt context, and not to be taken under a `SpinLock`.
#[derive(Debug, Default)]
pub struct Mutex<T> {
    taken: AtomicBool,
    waiters: WaitQueue,
    value: UnsafeCell<T>,
}

// SAFETY: the lock admits one thread at a time to the value.
unsafe impl<T: Send> Sync for Mutex<T> {}

/// Access to the value; gives it back when dropped.
#[derive(Debug)]
pub struct MutexGuard<'a, T>(&'a Mutex<T>);

impl<T> Mutex<T> {
    /// A lock that is free.
    pub const fn new(value: T) -> Self {
        Self {
            taken: AtomicBool::new(false),
            waiters: WaitQueue::new(),
            value: UnsafeCell::new(value),
        }
    }

    /// Takes the lock, sleeping until it is free. Signals do not interrupt the wait.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        order::may_sleep();
        loop {
            if let Some(guard) = self.try_lock() {
                return guard;
            }
            if cfg!(all(hosted, not(loom))) {
                // Unit tests that run beside each other are not threads that could be woken.
                core::hint::spin_loop();
                continue;
            }
            let waited = self
                .waiters
                .wait_until(None, Signals::Ignore, || self.try_lock());
            if let Ok(guard) = waited {
                return guard;
            }
        }
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        // A guard made and dropped would release the holder's lock: it must not come into being before the lock is
        // ours.
        (!self.taken.swap(true, Ordering::Acquire)).then(|| MutexGuard(self))
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the guard stands for the lock.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard stands for the lock, and is borrowed mutably.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        self.0.taken.swap(false, Ordering::SeqCst);
        self.0.waiters.wake_one();
    }
}
