//! Each CPU's GDT, TSS and the common IDT.

use alloc::boxed::Box;
use alloc::vec;
use core::arch::asm;
use spin::Once;

/// 64-bit kernel code. The program runs with it, too.
pub(crate) const CODE: u16 = 0x08;
/// Kernel data.
pub(crate) const DATA: u16 = 0x10;
const TSS: u16 = 0x18;

/// Landing stack of nearly every gate; NMI, #DF and #MC have their own.
const LANDING_STACKS: usize = 4;
/// Bytes of each: room for a panic's report, should the kernel stack be what has overflowed.
const LANDING_SIZE: usize = 16 << 10;

#[repr(C, packed(4))]
struct TaskState {
    _reserved: u32,
    stacks: [u64; 3],
    _reserved2: u64,
    landing: [u64; 7],
    _reserved3: [u16; 5],
    io_map: u16,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Gate {
    low: u64,
    high: u64,
}

#[repr(C, packed)]
struct Pointer {
    limit: u16,
    base: u64,
}

static IDT: Once<Box<[Gate; 256]>> = Once::new();

unsafe extern "C" {
    fn elfin_trap_stubs();
}

/// Address of a vector's entry.
fn stub(vector: usize) -> usize {
    (elfin_trap_stubs as *const ()).addr() + 16 * vector
}

fn gate(vector: usize) -> Gate {
    let stack = match vector {
        2 => 2,
        8 => 3,
        18 => 4,
        _ => 1u64,
    };
    let at = stub(vector) as u64;
    // Present, interrupt gate, privilege level 0.
    Gate {
        low: (at & 0xffff)
            | u64::from(CODE) << 16
            | stack << 32
            | 0x8e00 << 32
            | (at >> 16 & 0xffff) << 48,
        high: at >> 32,
    }
}

/// Loads this CPU's tables.
pub(crate) fn install() {
    let mut landing = [0; 7];
    for top in landing.iter_mut().take(LANDING_STACKS) {
        // Leaked: they stay as long as the CPU does.
        let stack = vec![0u128; LANDING_SIZE / 16].leak();
        *top = stack.as_mut_ptr_range().end.expose_provenance() as u64;
    }
    let tss = Box::leak(Box::new(TaskState {
        _reserved: 0,
        stacks: [0; 3],
        _reserved2: 0,
        landing,
        _reserved3: [0; 5],
        io_map: 104,
    }));
    let at = core::ptr::from_mut(tss).expose_provenance() as u64;
    let low = 103 | (at & 0xff_ffff) << 16 | 0x89 << 40 | (at >> 24 & 0xff) << 56;
    let gdt = Box::leak(Box::new([
        0,
        0x00af_9b00_0000_ffff,
        0x00cf_9300_0000_ffff,
        low,
        at >> 32,
    ]));
    let idt = IDT.call_once(|| Box::new(core::array::from_fn(gate)));
    let gdt = Pointer {
        limit: 5 * 8 - 1,
        base: gdt.as_ptr().expose_provenance() as u64,
    };
    let idt = Pointer {
        limit: 256 * 16 - 1,
        base: idt.as_ptr().expose_provenance() as u64,
    };
    // SAFETY: the tables are well formed, are never freed, and have code and data where the boot GDT had them. GS's
    // base is not touched.
    unsafe {
        asm!(
            "lgdt [{gdt}]",
            "lidt [{idt}]",
            "push {code}",
            "lea {scratch}, [rip + 2f]",
            "push {scratch}",
            "retfq",
            "2:",
            "mov ss, {data:x}",
            "mov ds, {data:x}",
            "mov es, {data:x}",
            "ltr {tss:x}",
            gdt = in(reg) &raw const gdt,
            idt = in(reg) &raw const idt,
            code = in(reg) u64::from(CODE),
            data = in(reg) DATA,
            tss = in(reg) TSS,
            scratch = out(reg) _,
        );
    }
}
