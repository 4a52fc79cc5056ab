//! The clocks: the time-stamp counter, measured against the PIT once, and the battery-backed clock read at boot.

use crate::arch::cpu::time_stamp;
use crate::arch::port::{in8, out8};
use crate::arch::{apic, cpu};
use core::sync::atomic::{AtomicU64, Ordering};

/// Nanoseconds on the monotonic clock since boot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Instant(pub u64);

const NANOSECONDS: u64 = 1_000_000_000;
const PIT_HZ: u64 = 1_193_182;

/// Time-stamp at boot.
static START: AtomicU64 = AtomicU64::new(0);
/// Nanoseconds per tick, as a fraction of 2^32.
static SCALE: AtomicU64 = AtomicU64::new(0);
/// Ticks of the local APIC's timer a nanosecond, as a fraction of 2^32.
static TIMER_SCALE: AtomicU64 = AtomicU64::new(0);
/// Real time minus monotonic time.
static REAL: AtomicU64 = AtomicU64::new(0);

fn scaled(value: u64, scale: u64) -> u64 {
    ((u128::from(value) * u128::from(scale)) >> 32) as u64
}

impl Instant {
    /// Now.
    #[inline]
    pub fn now() -> Self {
        let ticks = time_stamp().wrapping_sub(START.load(Ordering::Relaxed));
        Self(scaled(ticks, SCALE.load(Ordering::Relaxed)))
    }

    /// The time-stamp at this instant.
    fn time_stamp(self) -> u64 {
        let scale = SCALE.load(Ordering::Relaxed).max(1);
        let ticks = (u128::from(self.0) << 32).div_ceil(u128::from(scale));
        START
            .load(Ordering::Relaxed)
            .saturating_add(u64::try_from(ticks).unwrap_or(u64::MAX))
    }

    /// What the local APIC's timer wants to be armed with to fire at this instant, seen from `now`.
    pub(super) fn timer_value(self, now: Self) -> u64 {
        if apic::deadline_mode() {
            self.time_stamp().max(1)
        } else {
            let wait = self.0.saturating_sub(now.0);
            scaled(wait, TIMER_SCALE.load(Ordering::Relaxed)).saturating_add(1)
        }
    }
}

/// Nanoseconds since 1970-01-01 UTC.
#[inline]
pub fn realtime_ns() -> u64 {
    Instant::now().0.wrapping_add(REAL.load(Ordering::Relaxed))
}

/// Sets the real-time clock (`clock_settime`).
pub fn set_realtime_ns(ns: u64) {
    REAL.store(ns.wrapping_sub(Instant::now().0), Ordering::Relaxed);
}

/// What functions that run in place of the vDSO need: (monotonic, real) now, in nanoseconds.
#[inline]
pub(crate) fn vdso_data() -> (u64, u64) {
    let now = Instant::now().0;
    (now, now.wrapping_add(REAL.load(Ordering::Relaxed)))
}

/// Spins for some nanoseconds.
pub fn busy_wait(ns: u64) {
    let end = Instant::now().0 + ns;
    while Instant::now().0 < end {
        core::hint::spin_loop();
    }
}

/// Measures the counters and reads the battery-backed clock. Once, on the CPU that booted, interrupts off.
pub(crate) fn init() {
    START.store(time_stamp(), Ordering::Relaxed);
    let (ticks, timer_ticks, ns) = measure();
    let scale = (u128::from(ns) << 32) / u128::from(ticks.max(1));
    SCALE.store(u64::try_from(scale).unwrap_or(u64::MAX), Ordering::Relaxed);
    let timer_scale = (u128::from(timer_ticks) << 32) / u128::from(ns.max(1));
    TIMER_SCALE.store(
        u64::try_from(timer_scale).unwrap_or(u64::MAX),
        Ordering::Relaxed,
    );
    set_realtime_ns(rtc_seconds() * NANOSECONDS);
    log::debug!(
        "time-stamp counter: {} MHz, APIC timer: {} MHz",
        ticks * 1000 / ns.max(1),
        timer_ticks * 1000 / ns.max(1)
    );
}

/// Reads the PIT's counter 2 with the time-stamps around the reading.
fn pit_sample() -> (u16, u64, u64) {
    // SAFETY: nobody else uses the PIT: latch counter 2, read its two bytes.
    unsafe {
        let before = time_stamp();
        out8(0x43, 0x80);
        let low = in8(0x42);
        let high = in8(0x42);
        let after = time_stamp();
        (u16::from_le_bytes([low, high]), before, after)
    }
}

/// The best of a few samples: the one read in the shortest time.
fn pit_best() -> (u16, u64) {
    let mut best = pit_sample();
    for _ in 0..8 {
        let sample = pit_sample();
        if sample.2 - sample.1 < best.2 - best.1 {
            best = sample;
        }
    }
    (best.0, best.1 + (best.2 - best.1) / 2)
}

/// (ticks of the time-stamp counter, of the APIC timer, nanoseconds) over some milliseconds.
fn measure() -> (u64, u64, u64) {
    // SAFETY: nobody else uses the PIT: the gate of counter 2 on, the speaker off; mode 0, counting down from 65535.
    unsafe {
        out8(0x61, (in8(0x61) & !2) | 1);
        out8(0x43, 0xb0);
        out8(0x42, 0xff);
        out8(0x42, 0xff);
    }
    if !apic::deadline_mode() {
        apic::arm_timer(u64::from(u32::MAX));
    }
    let (first, start) = pit_best();
    let timer_start = apic::timer_left();
    // 10 ms of the 55 ms the counter takes.
    while first.wrapping_sub(pit_sample().0) < 11_932 {}
    let (last, end) = pit_best();
    let timer_end = apic::timer_left();
    if !apic::deadline_mode() {
        apic::arm_timer(0);
    }
    let ns = u64::from(first.wrapping_sub(last)) * NANOSECONDS / PIT_HZ;
    (
        end - start,
        u64::from(timer_start.wrapping_sub(timer_end)),
        ns,
    )
}

fn cmos(register: u8) -> u8 {
    // SAFETY: nobody else uses the CMOS clock; bit 7 keeps NMIs as they are by default: enabled.
    unsafe {
        out8(0x70, register);
        in8(0x71)
    }
}

/// Seconds since 1970 by the battery-backed clock, which QEMU keeps in UTC.
fn rtc_seconds() -> u64 {
    let read = || [0, 2, 4, 7, 8, 9].map(cmos);
    let mut values = read();
    loop {
        // Until no update falls between two readings.
        let again = read();
        if cmos(0x0a) & 0x80 == 0 && again == values {
            break;
        }
        values = again;
    }
    if cmos(0x0b) & 4 == 0 {
        values = values.map(|bcd| (bcd >> 4) * 10 + (bcd & 15));
    }
    let [second, minute, hour, day, month, year] = values.map(u64::from);
    days_since_1970(2000 + year, month, day) * 86400 + hour * 3600 + minute * 60 + second
}

/// Days from 1970-01-01 to a date of the Gregorian calendar after 2000-03-01 (Neri and Schneider's counting from March).
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day;
    days - 719_469
}

/// 64 bits that are hard to guess, for the layout of the address space.
pub(crate) fn entropy() -> u64 {
    cpu::hardware_random().unwrap_or_else(time_stamp)
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
