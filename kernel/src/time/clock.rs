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

/// The counters at one time.
struct Sample {
    /// The PIT's counter 2, which counts down.
    pit: u16,
    /// The local APIC's timer, which does, too.
    timer: u32,
    /// Time-stamps before and after.
    before: u64,
    after: u64,
}

impl Sample {
    fn take() -> Self {
        let before = time_stamp();
        // SAFETY: nobody else uses the PIT: latch counter 2, read its two bytes.
        let pit = unsafe {
            out8(0x43, 0x80);
            [in8(0x42), in8(0x42)]
        };
        Self {
            pit: u16::from_le_bytes(pit),
            timer: apic::timer_left(),
            before,
            after: time_stamp(),
        }
    }

    /// The best of a few: the one taken in the shortest time.
    fn best() -> Self {
        (0..8).fold(Self::take(), |best, _| {
            let next = Self::take();
            if next.time() < best.time() {
                next
            } else {
                best
            }
        })
    }

    fn time(&self) -> u64 {
        self.after - self.before
    }

    fn time_stamp(&self) -> u64 {
        self.before + self.time() / 2
    }
}

/// (ticks of the time-stamp counter, of the APIC timer, nanoseconds) over some milliseconds.
///
/// On a busy host the virtual CPU may stand still for longer than the PIT's counter takes to go round. What was measured then
/// is worth nothing; a shorter measurement is less exact, but has better chances to fall into one time slice of the host's.
fn measure() -> (u64, u64, u64) {
    // 10 ms of the 55 ms the counter takes.
    let mut window = 11_932;
    loop {
        if let Some(measured) = measure_over(window) {
            return measured;
        }
        window = (window / 2).max(1_193);
    }
}

/// As [`measure`], over a number of the PIT's ticks; `None` when its counter has gone round.
fn measure_over(window: u16) -> Option<(u64, u64, u64)> {
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
    let first = Sample::best();
    while first.pit.wrapping_sub(Sample::take().pit) < window {}
    let last = Sample::best();
    if !apic::deadline_mode() {
        apic::arm_timer(0);
    }
    // SAFETY: as above: the read-back command for counter 2's status, whose bit 7 is its output. In mode 0 that goes up when
    // the counter reaches 0, and stays up.
    let gone_round = unsafe {
        out8(0x43, 0xe8);
        in8(0x42) & 0x80 != 0
    };
    let ticks = last.time_stamp() - first.time_stamp();
    let timer_ticks = u64::from(first.timer.wrapping_sub(last.timer));
    let ns = u64::from(first.pit.wrapping_sub(last.pit)) * NANOSECONDS / PIT_HZ;
    (!gone_round).then_some((ticks, timer_ticks, ns))
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
