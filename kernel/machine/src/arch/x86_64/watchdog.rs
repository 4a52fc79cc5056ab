//! Non-maskable interrupts, ten a second, for programs that have turned interrupts off.
//!
//! A program runs in ring 0, so `popf` and `cli` clear the interrupt flag, which on Linux they cannot. The next entry
//! into the kernel sets it again; this is for code that does not come by. `elfin_nmi` sets the flag in the frame it
//! returns by, if the interrupted code is the program's, and does nothing else: then the interrupts that wait come in.
//!
//! The clock is the HPET (IA-PC HPET specification 1.0a), whose first timer leads to an input of the I/O APIC (82093AA)
//! that makes NMIs of all CPUs of it. Without an HPET, as on microvm, there are none.

use super::registers::Registers;
use crate::acpi;
use spin::Once;

// The HPET's registers: capabilities (the period of its counter in femtoseconds, in the upper half), configuration; the
// first timer's configuration, the inputs it can lead to, its comparator.
const PERIOD: usize = 0x4;
const CONFIGURATION: usize = 0x10;
const TIMER: usize = 0x100;
const TIMER_ROUTES: usize = 0x104;
const TIMER_COMPARATOR: usize = 0x108;

const ENABLE: u32 = 1;
/// Edge-triggered, on, periodic, the next write to the comparator sets the period, 32 bits.
const PERIODIC: u32 = 1 << 2 | 1 << 3 | 1 << 6 | 1 << 8;
const ROUTE_SHIFT: u32 = 9;

/// Femtoseconds between two interrupts.
const INTERVAL: u64 = 100_000_000_000_000;

// The I/O APIC's: which register, its value; of an input, two of them.
const SELECT: usize = 0;
const WINDOW: usize = 0x10;
const REDIRECTION: u32 = 0x10;
/// Delivery as NMI, edge-triggered.
const NMI: u32 = 4 << 8;
const ALL_CPUS: u32 = 0xff << 24;

static CLOCK: Once<Registers> = Once::new();

/// Begins, if there is a clock.
pub(crate) fn start() {
    let (Some(hpet), Some(io_apic)) = (acpi::hpet(), acpi::io_apic()) else {
        log::debug!("no watchdog: programs can turn interrupts off");
        return;
    };
    let clock = Registers::map(hpet, 0x400);
    // Above the old interrupt controller's inputs, which have other users.
    let route = (16..24).find(|&route| clock.read(TIMER_ROUTES) >> route & 1 != 0);
    let ticks = INTERVAL.checked_div(u64::from(clock.read(PERIOD)));
    let ticks = ticks.and_then(|ticks| u32::try_from(ticks).ok());
    let (Some(route), Some(ticks)) = (route, ticks) else {
        log::debug!("no watchdog: the HPET leads nowhere");
        return;
    };
    let pins = Registers::map(io_apic, 0x20);
    for (register, value) in [(1, ALL_CPUS), (0, NMI)] {
        pins.write(SELECT, REDIRECTION + 2 * route + register);
        pins.write(WINDOW, value);
    }
    clock.write(CONFIGURATION, 0);
    clock.write(TIMER, PERIODIC | route << ROUTE_SHIFT);
    clock.write(TIMER_COMPARATOR, ticks);
    clock.write(CONFIGURATION, ENABLE);
    CLOCK.call_once(|| clock);
}

/// Ends it: from here on NMIs stop CPUs.
pub(crate) fn stop() {
    if let Some(clock) = CLOCK.get() {
        clock.write(CONFIGURATION, 0);
    }
}
