//! A mutex that sleeps through its host, and a monitor: a mutex with a way to wait for what it guards.
//!
//! Two kinds of state are kept under such locks: the records of loads (never touched by look-ups) and the list of
//! threads with their TLS blocks, a leaf: nothing else is locked while it is held.

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};

use crate::host::Host;
use crate::primitive::{AtomicU32, Ordering, fence};
use crate::signals;

const FREE: u32 = 0;
const HELD: u32 = 1;
const CONTENDED: u32 = 2;

/// A lock around a value.
pub(crate) struct Mutex<T> {
    word: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: `word` admits one guard at a time, so the value is handed from thread to thread, which `T: Send` allows.
unsafe impl<T: Send> Sync for Mutex<T> {}

impl<T> Mutex<T> {
    /// Makes a free lock.
    pub(crate) const fn new(value: T) -> Self {
        Self {
            word: AtomicU32::new(FREE),
            value: UnsafeCell::new(value),
        }
    }

    /// Waits until the lock is free and takes it.
    pub(crate) fn lock<'a>(&'a self, host: &'a dyn Host) -> Guard<'a, T> {
        if self
            .word
            .compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            while self.word.swap(CONTENDED, Ordering::Acquire) != FREE {
                host.wait(&self.word, CONTENDED);
            }
        }
        Guard { mutex: self, host }
    }

    /// Frees the lock, in a copy of the address space that was made while the calling thread held it.
    pub(crate) fn free_in_copy(&self) {
        self.word.store(FREE, Ordering::Relaxed);
    }

    /// Takes the lock if it is free.
    pub(crate) fn try_lock<'a>(&'a self, host: &'a dyn Host) -> Option<Guard<'a, T>> {
        self.word
            .compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed)
            .ok()
            .map(|_| Guard { mutex: self, host })
    }
}

/// Proof that the lock is held; gives access to the value.
pub(crate) struct Guard<'a, T> {
    mutex: &'a Mutex<T>,
    host: &'a dyn Host,
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the guard exists only while the lock is held by its owner.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the lock is held, by this guard alone, and `&mut self` excludes other uses of it.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        if self.mutex.word.swap(FREE, Ordering::Release) == CONTENDED {
            self.host.wake(&self.mutex.word);
        }
    }
}

/// A value under a lock, and a way to wait until others have made it as one wants it.
pub(crate) struct Monitor<T> {
    value: Mutex<T>,
    /// Changes whenever somebody waiting might go on.
    changes: AtomicU32,
    /// How many threads sleep, or are about to.
    waiting: AtomicU32,
}

impl<T> Monitor<T> {
    /// Makes one that nobody waits for.
    pub(crate) const fn new(value: T) -> Self {
        Self {
            value: Mutex::new(value),
            changes: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
        }
    }

    /// Takes the lock. Who changes what others may wait for calls [`changed`](Self::changed) afterwards.
    pub(crate) fn lock<'a>(&'a self, host: &'a dyn Host) -> Guard<'a, T> {
        self.value.lock(host)
    }

    /// As [`Mutex::free_in_copy`]. Nobody waits there.
    pub(crate) fn free_in_copy(&self) {
        self.value.free_in_copy();
        self.waiting.store(0, Ordering::Relaxed);
    }

    /// Tries until the value is as wanted: until `attempt` gives something. Signal handlers run meanwhile.
    pub(crate) fn when<R>(
        &self,
        host: &dyn Host,
        mut attempt: impl FnMut(&mut T) -> Option<R>,
    ) -> R {
        loop {
            let changes = self.changes.load(Ordering::Acquire);
            let mut value = self.value.lock(host);
            if let Some(result) = attempt(&mut value) {
                return result;
            }
            drop(value);
            self.waiting.fetch_add(1, Ordering::Relaxed);
            // The counterpart is in `changed`: either the change is seen in `wait`, or the sleeper there.
            fence(Ordering::SeqCst);
            signals::wait(host, &self.changes, changes);
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Returns how often there have been changes, for [`wait_for_change`](Self::wait_for_change).
    pub(crate) fn changes(&self) -> u32 {
        self.changes.load(Ordering::Acquire)
    }

    /// Sleeps until there have been more changes than that. No signal handlers run meanwhile.
    pub(crate) fn wait_for_change(&self, host: &dyn Host, changes: u32) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // As in `when`.
        fence(Ordering::SeqCst);
        host.wait(&self.changes, changes);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// Lets those who wait try again.
    pub(crate) fn changed(&self, host: &dyn Host) {
        self.changes.fetch_add(1, Ordering::Release);
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) != 0 {
            host.wake(&self.changes);
        }
    }
}
