//! The clocks: a counter of the processor's, whose rate is found out once, and the battery-backed clock, read at boot.

use crate::arch::clock::{self, Date, Rates, time_stamp};
use crate::arch::timer;
use core::sync::atomic::{AtomicU64, Ordering};

/// Nanoseconds on the monotonic clock since boot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Instant(pub u64);

const NANOSECONDS: u64 = 1_000_000_000;

/// What the counters count.
struct Clock {
    /// Time-stamp at boot.
    start: AtomicU64,
    /// Nanoseconds per tick, as a fraction of 2^32.
    scale: AtomicU64,
    /// Ticks of this CPU's timer a nanosecond, as a fraction of 2^32.
    timer_scale: AtomicU64,
    /// Real time minus monotonic time.
    real: AtomicU64,
}

static CLOCK: Clock = Clock {
    start: AtomicU64::new(0),
    scale: AtomicU64::new(0),
    timer_scale: AtomicU64::new(0),
    real: AtomicU64::new(0),
};

fn scaled(value: u64, scale: u64) -> u64 {
    ((u128::from(value) * u128::from(scale)) >> 32) as u64
}

impl Instant {
    /// Now.
    #[inline]
    pub fn now() -> Self {
        let ticks = time_stamp().wrapping_sub(CLOCK.start.load(Ordering::Relaxed));
        Self(scaled(ticks, CLOCK.scale.load(Ordering::Relaxed)))
    }

    /// The time-stamp at this instant.
    fn time_stamp(self) -> u64 {
        let scale = CLOCK.scale.load(Ordering::Relaxed).max(1);
        let ticks = (u128::from(self.0) << 32).div_ceil(u128::from(scale));
        CLOCK
            .start
            .load(Ordering::Relaxed)
            .saturating_add(u64::try_from(ticks).unwrap_or(u64::MAX))
    }

    /// What this CPU's timer wants to be armed with to fire at this instant, seen from `now`.
    pub(super) fn timer_value(self, now: Self) -> u64 {
        if timer::takes_deadline() {
            self.time_stamp().max(1)
        } else {
            let wait = self.0.saturating_sub(now.0);
            scaled(wait, CLOCK.timer_scale.load(Ordering::Relaxed)).saturating_add(1)
        }
    }
}

/// Nanoseconds from where the counter was 0, which is where the machine began, to a time-stamp.
pub(crate) fn since_reset(time_stamp: u64) -> u64 {
    scaled(time_stamp, CLOCK.scale.load(Ordering::Relaxed))
}

/// Nanoseconds since 1970-01-01 UTC.
#[inline]
pub fn realtime_ns() -> u64 {
    Instant::now()
        .0
        .wrapping_add(CLOCK.real.load(Ordering::Relaxed))
}

/// Sets the real-time clock (`clock_settime`).
pub fn set_realtime_ns(ns: u64) {
    CLOCK
        .real
        .store(ns.wrapping_sub(Instant::now().0), Ordering::Relaxed);
}

/// What functions that run in place of the vDSO need: (monotonic, real) now, in nanoseconds.
#[inline]
pub fn vdso_data() -> (u64, u64) {
    let now = Instant::now().0;
    (now, now.wrapping_add(CLOCK.real.load(Ordering::Relaxed)))
}

/// Spins for some nanoseconds.
pub fn busy_wait(ns: u64) {
    let end = Instant::now().0 + ns;
    while Instant::now().0 < end {
        core::hint::spin_loop();
    }
}

/// Finds out how fast the counters run, and reads the battery-backed clock. Once, on the CPU that booted, interrupts
/// off. `host_tsc`: the rate of the host's time-stamp counter, if known.
pub(crate) fn init(host_tsc: Option<u64>) {
    CLOCK.start.store(time_stamp(), Ordering::Relaxed);
    let Rates {
        ticks,
        timer_ticks,
        ns,
    } = clock::rates(host_tsc);
    let scale = (u128::from(ns) << 32) / u128::from(ticks.max(1));
    CLOCK
        .scale
        .store(u64::try_from(scale).unwrap_or(u64::MAX), Ordering::Relaxed);
    let timer_scale = (u128::from(timer_ticks) << 32) / u128::from(ns.max(1));
    CLOCK.timer_scale.store(
        u64::try_from(timer_scale).unwrap_or(u64::MAX),
        Ordering::Relaxed,
    );
    match clock::date() {
        Some(date) => set_realtime_ns(seconds_since_1970(date) * NANOSECONDS),
        None => log::warn!("no battery-backed clock: time begins in 1970"),
    }
    log::debug!(
        "time-stamp counter: {} MHz, APIC timer: {} MHz",
        ticks * 1000 / ns.max(1),
        timer_ticks * 1000 / ns.max(1)
    );
}

/// Seconds from 1970-01-01 to a date.
fn seconds_since_1970(date: Date) -> u64 {
    let days = days_since_1970(date.year, date.month, date.day);
    days * 86400 + date.hour * 3600 + date.minute * 60 + date.second
}

/// Days from 1970-01-01 to a date of the Gregorian calendar after 2000-03-01 (Neri and Schneider's counting from
/// March).
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day;
    days - 719_469
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(days_since_1970(2000, 3, 1), 11_017);
        assert_eq!(days_since_1970(2024, 2, 29), 19_782);
        assert_eq!(days_since_1970(2026, 11, 25), 20_782);
    }
}
