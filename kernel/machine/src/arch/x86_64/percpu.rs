//! The block of memory each CPU has for itself, found through GS while kernel code runs. Entries and exits exchange it
//! for the program's GS (`swapgs`).

use super::callee::Callee;
use core::arch::asm;
use core::mem::offset_of;
#[cfg(any(debug_assertions, hosted))]
use core::sync::atomic::AtomicU8;
use core::sync::atomic::{AtomicBool, AtomicU64};
use x86_64::registers::model_specific::Msr;

const IA32_GS_BASE: u32 = 0xc000_0101;

/// What a CPU keeps for itself.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct PerCpu {
    /// Address of this block.
    pub(crate) this: usize,
    /// Where entries from the program put their frame: the top of the running thread's kernel stack, or lower while the
    /// kernel calls the program.
    pub(crate) kernel_stack: usize,
    /// For the system call entry.
    pub(crate) scratch: usize,
    /// The running thread.
    pub(crate) current: usize,
    /// Index of this CPU.
    pub(crate) id: usize,
    /// Its local APIC's id.
    pub(crate) apic: u32,
    /// Another thread should run.
    pub(crate) need_resched: AtomicBool,
    /// How many interrupts of its own it has had.
    pub(crate) interrupts: LocalInterrupts,
    /// What other CPUs ask of it.
    pub(super) callee: Callee,
    /// How many spin locks it holds of each rank (`sync::order`).
    #[cfg(any(debug_assertions, hosted))]
    pub(crate) held: [AtomicU8; RANKS],
}

/// How often a CPU was interrupted by what no device sends.
#[derive(Debug)]
pub(crate) struct LocalInterrupts {
    pub(crate) timer: AtomicU64,
    pub(crate) reschedule: AtomicU64,
    pub(crate) call: AtomicU64,
}

/// How many ranks spin locks may have.
#[cfg(any(debug_assertions, hosted))]
pub(crate) const RANKS: usize = 9;

impl PerCpu {
    /// A block for CPU `id`.
    pub(crate) const fn new(id: usize, apic: u32) -> Self {
        Self {
            this: 0,
            kernel_stack: 0,
            scratch: 0,
            current: 0,
            id,
            apic,
            need_resched: AtomicBool::new(false),
            interrupts: LocalInterrupts {
                timer: AtomicU64::new(0),
                reschedule: AtomicU64::new(0),
                call: AtomicU64::new(0),
            },
            callee: Callee::new(),
            #[cfg(any(debug_assertions, hosted))]
            held: [const { AtomicU8::new(0) }; RANKS],
        }
    }

    /// Whether it runs its idle thread.
    pub(crate) fn is_idle(&self) -> bool {
        self.callee.is_idle()
    }
}

/// Makes `block` this CPU's.
pub(crate) fn install(block: &'static mut PerCpu) {
    block.this = core::ptr::from_mut(block).expose_provenance();
    // SAFETY: this is kernel code, whose GS is the kernel's, and the block lives for ever.
    unsafe { Msr::new(IA32_GS_BASE).write(block.this as u64) };
}

macro_rules! field {
    ($get:ident, $set:ident, $field:ident, $text:literal) => {
        #[doc = concat!("Reads ", $text, ". Stable only while interrupts are off.")]
        #[inline]
        pub(crate) fn $get() -> usize {
            let value;
            // SAFETY: GS points at this CPU's block whenever compiled kernel code runs, but for the vDSO's.
            unsafe {
                asm!("mov {}, gs:[{}]", out(reg) value, const offset_of!(PerCpu, $field),
                    options(nostack, preserves_flags, readonly));
            }
            value
        }
        #[doc = concat!("Sets ", $text, ". Interrupts are off.")]
        #[inline]
        pub(crate) fn $set(value: usize) {
            // SAFETY: as above; the block is written by its own CPU only.
            unsafe {
                asm!("mov gs:[{}], {}", const offset_of!(PerCpu, $field), in(reg) value,
                    options(nostack, preserves_flags));
            }
        }
    };
}

field!(
    kernel_stack,
    set_kernel_stack,
    kernel_stack,
    "where entries from the program put their frame"
);
field!(
    current_address,
    set_current_address,
    current,
    "the address of the running thread"
);

/// This CPU's block. Interrupts must be off, or the caller must not mind being moved.
#[cfg(not(hosted))]
#[inline]
pub(crate) fn this() -> &'static PerCpu {
    // SAFETY: GS points at this CPU's block, whose first word is its address. Blocks live for ever; what changes in
    // them is atomic, or changed through `field!` only.
    unsafe {
        let at: usize;
        asm!("mov {}, gs:[0]", out(reg) at, options(nostack, preserves_flags, readonly));
        &*core::ptr::with_exposed_provenance::<PerCpu>(at)
    }
}

#[cfg(hosted)]
pub(crate) use hosted::{be, this};

/// On the build host, where unit tests run, a thread is the CPU that it says it is, or CPU 0.
#[cfg(hosted)]
mod hosted {
    use super::PerCpu;
    use alloc::boxed::Box;
    use core::cell::Cell;

    std::thread_local! {
        static THIS: Cell<Option<&'static PerCpu>> = const { Cell::new(None) };
    }

    pub(crate) fn this() -> &'static PerCpu {
        THIS.get().unwrap_or_else(|| be(0))
    }

    pub(crate) fn be(id: usize) -> &'static PerCpu {
        let block = Box::leak(Box::new(PerCpu::new(id, 0)));
        THIS.set(Some(block));
        block
    }
}
