//! The local APIC, as x2APIC where there is one, and the silencing of the old interrupt controllers.

use super::registers::Registers;
use super::{port, vector};
use core::arch::x86_64::__cpuid;
use spin::Once;
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

/// What the APICs of all CPUs have in common.
struct Common {
    /// Registers in memory; `None`: x2APIC's, which are model-specific registers.
    registers: Option<Registers>,
    /// Whether the timer takes time-stamps.
    has_deadline: bool,
    /// The id of the CPU that booted.
    boot_id: u32,
}

static COMMON: Once<Common> = Once::new();

impl Common {
    /// Finds out, on the CPU that boots. `at`: where registers in memory are.
    fn find(at: u64) -> Self {
        let features = __cpuid(1).ecx;
        let has_x2apic = features & (1 << 21) != 0;
        let mut common = Self {
            registers: (!has_x2apic).then(|| Registers::map(at, 4096)),
            has_deadline: features & (1 << 24) != 0,
            boot_id: 0,
        };
        common.boot_id = common.id();
        mask_8259();
        common
    }

    fn read(&self, register: u32) -> u32 {
        match &self.registers {
            Some(registers) => registers.read(register as usize * 16),
            #[expect(clippy::cast_possible_truncation, reason = "32-bit registers")]
            // SAFETY: x2APIC mode is on, and these registers exist.
            None => unsafe { Msr::new(X2APIC + register).read() as u32 },
        }
    }

    fn id(&self) -> u32 {
        let value = self.read(ID);
        if self.registers.is_some() {
            value >> 24
        } else {
            value
        }
    }
}

fn common() -> &'static Common {
    let found = COMMON.get();
    found.unwrap_or_else(|| panic!("the CPU that booted has not looked for its APIC"))
}

fn read(register: u32) -> u32 {
    common().read(register)
}

fn write(register: u32, value: u32) {
    match &common().registers {
        Some(registers) => registers.write(register as usize * 16, value),
        // SAFETY: as in `Common::read`; what is written is this module's business.
        None => unsafe { Msr::new(X2APIC + register).write(u64::from(value)) },
    }
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
    COMMON.call_once(|| Common::find(at));
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
    common().id()
}

/// The id of the CPU that booted.
pub(crate) fn boot_id() -> u32 {
    common().boot_id
}

/// Acknowledges the interrupt being handled.
pub(crate) fn end_of_interrupt() {
    write(EOI, 0);
}

fn command(target: u32, low: u32) {
    if common().registers.is_none() {
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
    common().has_deadline
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
