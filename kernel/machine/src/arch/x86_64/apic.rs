//! The local APIC, as x2APIC where there is one, and the silencing of the old interrupt controllers.

use super::{port, vector};
use crate::mm::kernel_map::map_physical;
use core::arch::x86_64::__cpuid;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use x86_64::registers::model_specific::Msr;

const IA32_APIC_BASE: u32 = 0x1b;
const IA32_TSC_DEADLINE: u32 = 0x6e0;
const X2APIC: u32 = 0x800;

const ID: u32 = 0x2;
const EOI: u32 = 0xb;
const SPURIOUS: u32 = 0xf;
const ICR_LOW: u32 = 0x30;
const ICR_HIGH: u32 = 0x31;
const LVT_TIMER: u32 = 0x32;
const TIMER_INITIAL: u32 = 0x38;
const TIMER_CURRENT: u32 = 0x39;
const TIMER_DIVIDE: u32 = 0x3e;

static REGISTERS: AtomicUsize = AtomicUsize::new(0);
static HAS_X2APIC: AtomicBool = AtomicBool::new(false);
static HAS_DEADLINE: AtomicBool = AtomicBool::new(false);
static BOOT_ID: AtomicU32 = AtomicU32::new(0);

fn read(register: u32) -> u32 {
    if HAS_X2APIC.load(Ordering::Relaxed) {
        // SAFETY: x2APIC mode is on, and these registers exist.
        #[expect(clippy::cast_possible_truncation, reason = "32-bit registers")]
        return unsafe { Msr::new(X2APIC + register).read() } as u32;
    }
    let at = REGISTERS.load(Ordering::Relaxed) + register as usize * 16;
    // SAFETY: `init` has mapped the registers' page for good.
    unsafe { core::ptr::with_exposed_provenance::<u32>(at).read_volatile() }
}

fn write(register: u32, value: u32) {
    if HAS_X2APIC.load(Ordering::Relaxed) {
        // SAFETY: as in `read`; what is written is this module's business.
        unsafe { Msr::new(X2APIC + register).write(u64::from(value)) };
        return;
    }
    let at = REGISTERS.load(Ordering::Relaxed) + register as usize * 16;
    // SAFETY: as in `read`.
    unsafe { core::ptr::with_exposed_provenance_mut::<u32>(at).write_volatile(value) };
}

/// Turns this CPU's APIC on.
pub(crate) fn init() {
    let features = __cpuid(1).ecx;
    let x2apic = features & (1 << 21) != 0;
    let mut base = Msr::new(IA32_APIC_BASE);
    // SAFETY: every 64-bit CPU has the register; enabling the APIC (bit 11) and its x2 mode (bit 10) is what it is for.
    let at = unsafe {
        let value = base.read() | 1 << 11 | u64::from(x2apic) << 10;
        base.write(value);
        value & 0xf_ffff_f000
    };
    if REGISTERS.load(Ordering::Relaxed) == 0 {
        REGISTERS.store(
            map_physical(at, 4096, false).expose_provenance(),
            Ordering::Relaxed,
        );
        HAS_X2APIC.store(x2apic, Ordering::Relaxed);
        HAS_DEADLINE.store(features & (1 << 24) != 0, Ordering::Relaxed);
        BOOT_ID.store(id(), Ordering::Relaxed);
        mask_8259();
    }
    write(SPURIOUS, 0x100 | vector::SPURIOUS as u32);
    write(TIMER_DIVIDE, 0b1011);
    let mode = u32::from(deadline_mode()) << 18;
    write(LVT_TIMER, mode | vector::TIMER as u32);
}

fn mask_8259() {
    // SAFETY: nobody uses the two 8259s; masking all their lines is the only thing done to them.
    unsafe {
        port::write(0x21, 0xff_u8);
        port::write(0xa1, 0xff_u8);
    }
}

/// This CPU's APIC id.
pub(crate) fn id() -> u32 {
    let value = read(ID);
    if HAS_X2APIC.load(Ordering::Relaxed) {
        value
    } else {
        value >> 24
    }
}

/// The id of the CPU that booted.
pub(crate) fn boot_id() -> u32 {
    BOOT_ID.load(Ordering::Relaxed)
}

/// Acknowledges the interrupt being handled.
pub(crate) fn end_of_interrupt() {
    write(EOI, 0);
}

fn command(target: u32, low: u32) {
    if HAS_X2APIC.load(Ordering::Relaxed) {
        // SAFETY: the fences touch nothing; the interrupt command register's commands are this module's. What was
        // stored for the other CPU to see comes first: this WRMSR, unlike others, serialises nothing and may overtake
        // stores (SDM volume 3, "MSR Access in x2APIC Mode").
        unsafe {
            core::arch::x86_64::_mm_mfence();
            core::arch::x86_64::_mm_lfence();
            Msr::new(X2APIC + ICR_LOW).write(u64::from(target) << 32 | u64::from(low));
        }
        return;
    }
    x86_64::instructions::interrupts::without_interrupts(|| {
        while read(ICR_LOW) & (1 << 12) != 0 {
            core::hint::spin_loop();
        }
        write(ICR_HIGH, target << 24);
        write(ICR_LOW, low);
    });
}

/// Interrupts the CPU with an APIC id.
pub(crate) fn send(target: u32, number: u64) {
    command(target, 1 << 14 | number as u32);
}

/// Resets a CPU (INIT).
pub(crate) fn send_init(target: u32) {
    command(target, 0x4500);
}

/// Starts a reset CPU at a page below 1 MiB (SIPI).
pub(crate) fn send_startup(target: u32, page: u8) {
    command(target, 0x4600 | u32::from(page));
}

/// Whether the timer takes a time-stamp, not a count.
pub(crate) fn deadline_mode() -> bool {
    HAS_DEADLINE.load(Ordering::Relaxed)
}

/// Arms this CPU's timer: for a time-stamp in deadline mode, else for a number of ticks from now; 0 disarms it.
pub(crate) fn arm_timer(value: u64) {
    if deadline_mode() {
        // SAFETY: the CPU says that it has the register.
        unsafe { Msr::new(IA32_TSC_DEADLINE).write(value) };
    } else {
        write(TIMER_INITIAL, u32::try_from(value).unwrap_or(u32::MAX));
    }
}

/// Ticks the one-shot timer has left.
pub(crate) fn timer_left() -> u32 {
    read(TIMER_CURRENT)
}

/// Interrupts a CPU whatever it does (NMI).
pub(crate) fn send_nmi(target: u32) {
    command(target, 0x4400);
}
