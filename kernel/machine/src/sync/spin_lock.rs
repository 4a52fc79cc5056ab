//! A spin lock that keeps interrupts off while it is held, so that interrupt handlers may take it, too.

use super::order::{Held, Rank, Ranked};
use crate::arch::interrupt_flag;
use core::ops::{Deref, DerefMut};

/// A value behind a spin lock. Under it nothing sleeps, touches user memory or flushes other CPUs' TLBs.
#[derive(Debug, Default)]
pub struct SpinLock<T> {
    rank: Ranked,
    lock: spin::Mutex<T>,
}

/// Access to the value; gives it back, and interrupts their earlier state, when dropped.
#[derive(Debug)]
pub struct SpinLockGuard<'a, T> {
    // Dropped in this order: interrupts come on again only when the lock is free.
    guard: spin::MutexGuard<'a, T>,
    _held: Held,
    _interrupts: Interrupts,
}

impl<T> SpinLock<T> {
    /// A lock that is free, and under which only those are taken that have a rank.
    pub const fn new(value: T) -> Self {
        Self::ranked(Rank::None, value)
    }

    /// A lock that is free, of this rank.
    pub const fn ranked(rank: Rank, value: T) -> Self {
        Self {
            rank: Ranked::new(rank),
            lock: spin::Mutex::new(value),
        }
    }

    /// Takes the lock.
    #[cfg_attr(any(debug_assertions, hosted), track_caller)]
    pub fn lock(&self) -> SpinLockGuard<'_, T> {
        let interrupts = Interrupts::disable();
        self.rank.check();
        SpinLockGuard {
            guard: self.lock.lock(),
            _held: self.rank.held(),
            _interrupts: interrupts,
        }
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<SpinLockGuard<'_, T>> {
        let interrupts = Interrupts::disable();
        Some(SpinLockGuard {
            guard: self.lock.try_lock()?,
            _held: self.rank.held(),
            _interrupts: interrupts,
        })
    }
}

impl<T> Deref for SpinLockGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for SpinLockGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

/// Interrupts off until dropped, if they were on.
#[derive(Debug)]
struct Interrupts {
    were_on: bool,
}

impl Interrupts {
    fn disable() -> Self {
        let were_on = interrupt_flag::are_enabled();
        interrupt_flag::disable();
        Self { were_on }
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        if self.were_on {
            interrupt_flag::enable();
        }
    }
}
