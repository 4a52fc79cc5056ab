//! Locks and waiting.
//!
//! `SpinLock` is for short sections and disables interrupts; `Mutex` sleeps; [`WaitQueue`] and [`Waiter`] are what
//! every blocking operation is made of. Spin locks that nest have a [`Rank`].

#[expect(unsafe_code, reason = "a lock")]
mod mutex;
pub(crate) mod order;
mod spin_lock;
mod wait;

pub use mutex::{Mutex, MutexGuard};
pub use order::Rank;
pub use spin_lock::{SpinLock, SpinLockGuard};
pub use wait::{Registration, Signals, WaitError, WaitQueue, Waiter, Watcher};
