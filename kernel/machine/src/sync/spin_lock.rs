//! A spin lock that keeps interrupts off while it is held, so that interrupt handlers may take it, too.

use crate::arch::interrupt_flag;
use core::ops::{Deref, DerefMut};

/// A value behind a spin lock. Under it nothing sleeps, touches user memory or flushes other CPUs' TLBs.
#[derive(Debug, Default)]
pub struct SpinLock<T>(spin::Mutex<T>);

/// Access to the value; gives it back, and interrupts their earlier state, when dropped.
#[derive(Debug)]
pub struct SpinLockGuard<'a, T> {
    // Dropped first: interrupts come on again only when the lock is free.
    guard: spin::MutexGuard<'a, T>,
    _interrupts: Interrupts,
}

impl<T> SpinLock<T> {
    /// A lock that is free.
    pub const fn new(value: T) -> Self {
        Self(spin::Mutex::new(value))
    }

    /// Takes the lock.
    pub fn lock(&self) -> SpinLockGuard<'_, T> {
        let interrupts = Interrupts::disable();
        SpinLockGuard {
            guard: self.0.lock(),
            _interrupts: interrupts,
        }
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<SpinLockGuard<'_, T>> {
        let interrupts = Interrupts::disable();
        Some(SpinLockGuard {
            guard: self.0.try_lock()?,
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
