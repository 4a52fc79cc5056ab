//! Clocks: monotonic and real time, one-shot timers.

/// Nanoseconds on the monotonic clock since boot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Instant(pub u64);

impl Instant {
    /// Now.
    pub fn now() -> Self {
        unimplemented!()
    }
}
/// Nanoseconds since 1970-01-01 UTC.
pub fn realtime_ns() -> u64 {
    unimplemented!()
}
/// Sets the real-time clock (`clock_settime`).
pub fn set_realtime_ns(ns: u64) {
    unimplemented!("{ns}")
}
/// A one-shot timer: `f(arg)` runs in interrupt context on some CPU at or after the time; dropping the handle cancels it.
pub struct Timer {}
impl Timer {
    /// Arms a timer.
    pub fn arm(at: Instant, f: fn(usize), arg: usize) -> Self {
        let _ = (at, f, arg);
        unimplemented!()
    }
}
