//! Locks and waiting.
//!
//! `SpinLock` is for short sections and disables interrupts; `Mutex` sleeps; [`WaitQueue`] and [`Waiter`] are what
//! every blocking operation is made of.

#[expect(unsafe_code, reason = "a lock")]
mod mutex;
mod spin_lock;
mod wait;

pub use mutex::{Mutex, MutexGuard};
pub use spin_lock::{SpinLock, SpinLockGuard};
pub use wait::{Registration, Signals, WaitError, WaitQueue, Waiter};
