//! What stands in for the processor where unit tests run, on the build host: a clock that tests set, and one-shot
//! timers that they look at.

use super::{cpu, percpu::this};
use core::sync::atomic::{AtomicU64, Ordering};

static NOW: AtomicU64 = AtomicU64::new(0);
static ARMED: [AtomicU64; cpu::MOST] = [const { AtomicU64::new(0) }; cpu::MOST];

/// The counter: nanoseconds.
pub fn time_stamp() -> u64 {
    NOW.load(Ordering::SeqCst)
}

/// Sets the counter.
pub(crate) fn set_time_stamp(now: u64) {
    NOW.store(now, Ordering::SeqCst);
}

/// The timer takes time-stamps.
pub(crate) fn takes_deadline() -> bool {
    true
}

/// Arms this CPU's timer.
pub(crate) fn arm(at: u64) {
    ARMED[this().id].store(at, Ordering::SeqCst);
}

/// What this CPU's timer is armed for; 0: nothing.
pub(crate) fn armed() -> u64 {
    ARMED[this().id].load(Ordering::SeqCst)
}
