//! The counters: the time-stamp counter and the local APIC's timer. Hypervisors say how fast they run; where none
//! does, they are measured against the PIT (8254) where there is one. And the battery-backed clock (MC146818). No loop
//! here waits for hardware that may not be there.

use super::{apic, port, pvclock};
use core::arch::x86_64::{__cpuid, _rdtsc};

const PIT_HZ: u64 = 1_193_182;
const NANOSECONDS: u64 = 1_000_000_000;

/// 10 ms of the 55 ms that the PIT's counter takes to go round, in its ticks, and 1 ms.
const WINDOW: u16 = 11_932;
const SHORTEST: u16 = 1_193;
/// Readings of a counter that never moves, or measurements that never fit, until there is no PIT to go by.
const PATIENCE: u32 = 10_000;

#[cfg(hosted)]
pub use super::hosted::time_stamp;

/// The time-stamp counter.
#[cfg(not(hosted))]
#[inline]
pub fn time_stamp() -> u64 {
    // SAFETY: every 64-bit CPU has the instruction.
    unsafe { _rdtsc() }
}

/// What passed in some nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Ticks of the time-stamp counter.
    pub ticks: u64,
    /// Ticks of the local APIC's timer; 0 if it waits for time-stamps.
    pub timer_ticks: u64,
    /// The nanoseconds.
    pub ns: u64,
}

/// Who the processor says that it is run by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hypervisor {
    Kvm,
    /// QEMU's translator.
    Tcg,
    Other,
}

/// The rates of the counters. Interrupts are off. `host_tsc`: that of the host's time-stamp counter, if known.
pub(crate) fn rates(host_tsc: Option<u64>) -> Rates {
    if cfg!(hosted) {
        return Rates {
            ticks: 1,
            timer_ticks: 0,
            ns: 1,
        };
    }
    let ticks = match hypervisor() {
        Some(Hypervisor::Kvm) => pvclock::tsc_rate().or_else(cpuid_hz),
        // QEMU gives the guest the host's counter, and no leaf that says how fast it is.
        Some(Hypervisor::Tcg) => host_tsc,
        Some(Hypervisor::Other) | None => cpuid_hz(),
    };
    match (ticks, timer_hz()) {
        (Some(ticks), Some(timer_ticks)) => Rates {
            ticks,
            timer_ticks,
            ns: NANOSECONDS,
        },
        (Some(ticks), None) => measure_timer(ticks),
        (None, _) => measure_against_pit(),
    }
}

/// The rate of the local APIC's timer if it is known: KVM's and QEMU's count nanoseconds. 0 if it waits for
/// time-stamps.
fn timer_hz() -> Option<u64> {
    if apic::deadline_mode() {
        return Some(0);
    }
    matches!(hypervisor(), Some(Hypervisor::Kvm | Hypervisor::Tcg)).then_some(NANOSECONDS)
}

fn hypervisor() -> Option<Hypervisor> {
    /// ECX of leaf 1: there is a hypervisor, with leaves of its own.
    const HYPERVISOR: u32 = 1 << 31;
    if __cpuid(1).ecx & HYPERVISOR == 0 {
        return None;
    }
    let leaf = __cpuid(0x4000_0000);
    let mut name = [0; 12];
    for (part, word) in name.chunks_exact_mut(4).zip([leaf.ebx, leaf.ecx, leaf.edx]) {
        part.copy_from_slice(&word.to_le_bytes());
    }
    Some(match &name {
        b"KVMKVMKVM\0\0\0" => Hypervisor::Kvm,
        b"TCGTCGTCGTCG" => Hypervisor::Tcg,
        _ => Hypervisor::Other,
    })
}

/// Measures the counters against the PIT.
///
/// On a busy host the virtual CPU may stand still for longer than the PIT's counter takes to go round. What was
/// measured then is worth nothing; a shorter measurement is less exact, but has better chances to fall into one time
/// slice of the host's.
fn measure_against_pit() -> Rates {
    let mut window = WINDOW;
    for _ in 0..PATIENCE {
        match measure_over(window) {
            Measured::Well(rates) => return rates,
            Measured::GoneRound => window = (window / 2).max(SHORTEST),
            Measured::NoPit => break,
        }
    }
    let rates = measure_timer(NANOSECONDS);
    log::warn!(
        "no PIT to measure by: the time-stamp counter is taken to run at {} MHz",
        rates.ticks * 1000 / rates.ns
    );
    rates
}

enum Measured {
    Well(Rates),
    /// The PIT's counter has.
    GoneRound,
    /// What is read from its ports does not change.
    NoPit,
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
        let pit = ask_pit(LATCH);
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

/// As [`measure_against_pit`], over a number of the PIT's ticks.
fn measure_over(window: u16) -> Measured {
    // SAFETY: nobody else uses the PIT: the gate of counter 2 on, the speaker off; mode 0, counting down from 65535.
    unsafe {
        port::write(0x61, (port::read::<u8>(0x61) & !2) | 1);
        port::write(0x43, 0xb0_u8);
        port::write(0x42, 0xff_u8);
        port::write(0x42, 0xff_u8);
    }
    start_timer();
    let first = Sample::best();
    let mut readings = 0;
    loop {
        let passed = first.pit.wrapping_sub(Sample::take().pit);
        if passed >= window {
            break;
        }
        readings += 1;
        if passed == 0 && readings == PATIENCE {
            stop_timer();
            return Measured::NoPit;
        }
    }
    let last = Sample::best();
    stop_timer();
    // The status' bit 7 is the output. In mode 0 that goes up when the counter reaches 0, and stays up.
    let [status] = ask_pit(READ_BACK_STATUS);
    if status & 0x80 != 0 {
        return Measured::GoneRound;
    }
    Measured::Well(Rates {
        ticks: last.time_stamp() - first.time_stamp(),
        timer_ticks: u64::from(first.timer.wrapping_sub(last.timer)),
        ns: u64::from(first.pit.wrapping_sub(last.pit)) * NANOSECONDS / PIT_HZ,
    })
}

/// Commands of the PIT: latch counter 2, whose two bytes are then read; latch its status.
const LATCH: u8 = 0x80;
const READ_BACK_STATUS: u8 = 0xe8;

/// What counter 2 of the PIT answers to a command.
fn ask_pit<const BYTES: usize>(command: u8) -> [u8; BYTES] {
    // SAFETY: nobody else uses the PIT, and these commands change nothing.
    unsafe {
        port::write(0x43, command);
        core::array::from_fn(|_| port::read(0x42))
    }
}

fn start_timer() {
    if !apic::deadline_mode() {
        apic::arm_timer(u64::from(u32::MAX));
    }
}

fn stop_timer() {
    if !apic::deadline_mode() {
        apic::arm_timer(0);
    }
}

/// Measures the APIC's timer by the time-stamp counter, whose ticks a second are known or guessed.
fn measure_timer(ticks_a_second: u64) -> Rates {
    start_timer();
    let (first, start) = (apic::timer_left(), time_stamp());
    let ticks = ticks_a_second / 1000;
    while time_stamp().wrapping_sub(start) < ticks {
        core::hint::spin_loop();
    }
    let timer_ticks = u64::from(first.wrapping_sub(apic::timer_left()));
    stop_timer();
    Rates {
        ticks,
        timer_ticks,
        ns: NANOSECONDS / 1000,
    }
}

/// Ticks of the time-stamp counter a second by CPUID (leaf 4000_0010H of KVM and VMware; Intel SDM, leaf 15H).
fn cpuid_hz() -> Option<u64> {
    if hypervisor().is_some() && __cpuid(0x4000_0000).eax >= 0x4000_0010 {
        let khz = u64::from(__cpuid(0x4000_0010).eax);
        return (khz != 0).then_some(khz * 1000);
    }
    if __cpuid(0).eax < 0x15 {
        return None;
    }
    let ratio = __cpuid(0x15);
    let hz = u64::from(ratio.ecx) * u64::from(ratio.ebx) / u64::from(ratio.eax.max(1));
    (hz != 0).then_some(hz)
}

/// A date and time of the Gregorian calendar, UTC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the fields are the parts of a date")]
pub struct Date {
    pub year: u64,
    pub month: u64,
    pub day: u64,
    pub hour: u64,
    pub minute: u64,
    pub second: u64,
}

/// Registers of the battery-backed clock: seconds, minutes, hours, day, month, year.
const REGISTERS: [u8; 6] = [0, 2, 4, 7, 8, 9];
/// Bit of status register A: the values are about to change. That takes 2 ms.
const UPDATING: u8 = 0x80;
/// Bit of status register B: the values are binary, not packed decimals.
const BINARY: u8 = 4;

fn cmos(register: u8) -> u8 {
    // SAFETY: nobody else uses the CMOS clock; bit 7 keeps NMIs as they are by default: enabled.
    unsafe {
        port::write(0x70, register);
        port::read(0x71)
    }
}

/// The time by the battery-backed clock, which hypervisors keep in UTC; `None` if there is none.
pub(crate) fn date() -> Option<Date> {
    if cfg!(hosted) {
        return None;
    }
    let read = || REGISTERS.map(cmos);
    let mut values = read();
    for _ in 0..PATIENCE {
        // Until no update falls between two readings.
        let again = read();
        if cmos(0x0a) & UPDATING == 0 && again == values {
            return parse(values, cmos(0x0b) & BINARY != 0);
        }
        values = again;
    }
    None
}

/// What the registers say, if it is a date.
fn parse(mut values: [u8; 6], is_binary: bool) -> Option<Date> {
    if !is_binary {
        values = values.map(|bcd| (bcd >> 4) * 10 + (bcd & 15));
    }
    let [second, minute, hour, day, month, year] = values.map(u64::from);
    let valid = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60;
    valid.then_some(Date {
        year: 2000 + year,
        month,
        day,
        hour,
        minute,
        second,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_of_the_clock() {
        let date = parse([0x59, 0x08, 0x23, 0x30, 0x11, 0x26], false).unwrap();
        assert_eq!((date.year, date.month, date.day), (2026, 11, 30));
        assert_eq!((date.hour, date.minute, date.second), (23, 8, 59));
        assert_eq!(parse([59, 8, 23, 30, 11, 26], true), Some(date));
    }

    #[test]
    fn no_clock_is_no_date() {
        // Firecracker's ports read as zeros, others' as ones.
        assert_eq!(parse([0; 6], false), None);
        assert_eq!(parse([0xff; 6], true), None);
    }
}
