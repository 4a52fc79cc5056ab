//! Each CPU's GDT and TSS, and the common IDT.

use alloc::boxed::Box;
use alloc::vec;
use spin::Once;
use x86_64::instructions::segmentation::{CS, DS, ES, SS, Segment};
use x86_64::instructions::tables::{lidt, load_tss};
use x86_64::structures::DescriptorTablePointer;
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable};
use x86_64::structures::idt::{Entry, HandlerFunc};
use x86_64::structures::tss::TaskStateSegment;
use x86_64::{PrivilegeLevel, VirtAddr};

/// 64-bit kernel code. The program runs with it, too.
pub(crate) const CODE: u16 = 0x08;
/// Kernel data.
pub(crate) const DATA: u16 = 0x10;

/// Landing stack of nearly every gate (an index into the TSS); NMI, #DF and #MC have their own.
const LANDING: u16 = 0;
const LANDING_STACKS: usize = 4;
/// Bytes of each: room for a panic's report, should the kernel stack be what has overflowed.
const LANDING_SIZE: usize = 16 << 10;

type Gates = [Entry<HandlerFunc>; 256];

static IDT: Once<Box<Gates>> = Once::new();

unsafe extern "C" {
    fn elfin_trap_stubs();
    fn elfin_nmi();
}

/// A vector's entry.
fn gate(vector: usize) -> Entry<HandlerFunc> {
    let landing = match vector {
        2 => 1,
        8 => 2,
        18 => 3,
        _ => LANDING,
    };
    let stub = match vector {
        2 => (elfin_nmi as *const ()).addr(),
        _ => (elfin_trap_stubs as *const ()).addr() + 16 * vector,
    };
    let mut gate = Entry::missing();
    // SAFETY: the stub is made to be entered so, and each landing stack is in the TSS.
    unsafe {
        gate.set_handler_addr(VirtAddr::from_ptr(core::ptr::without_provenance::<()>(
            stub,
        )))
        .set_stack_index(landing);
    }
    gate
}

/// Loads this CPU's tables.
pub(crate) fn install() {
    // Leaked, like the rest: they stay as long as the CPU does.
    let mut tss = TaskStateSegment::new();
    tss.interrupt_stack_table = core::array::from_fn(|at| {
        if at >= LANDING_STACKS {
            return VirtAddr::zero();
        }
        let stack = vec![0u128; LANDING_SIZE / 16].leak().as_mut_ptr_range();
        stack.start.expose_provenance();
        VirtAddr::from_ptr(stack.end)
    });
    let tss = Box::leak(Box::new(tss));
    let gdt = Box::leak(Box::new(GlobalDescriptorTable::new()));
    let code = gdt.append(Descriptor::kernel_code_segment());
    let data = gdt.append(Descriptor::kernel_data_segment());
    assert_eq!((code.0, data.0), (CODE, DATA));
    let task = gdt.append(Descriptor::tss_segment(tss));
    // Where Linux has it, for programs that load data segments.
    let user = gdt.append(Descriptor::user_data_segment());
    assert_eq!((user.index(), user.rpl()), (5, PrivilegeLevel::Ring3));
    gdt.load();
    let idt = IDT.call_once(|| Box::new(core::array::from_fn(gate)));
    let idt = DescriptorTablePointer {
        limit: u16::try_from(size_of::<Gates>() - 1).unwrap_or(u16::MAX),
        base: VirtAddr::from_ptr(idt.as_ptr()),
    };
    // SAFETY: code and data are where the boot GDT had them, the TSS is this CPU's alone; the IDT is well formed and
    // never freed. GS's base is not touched.
    unsafe {
        CS::set_reg(code);
        SS::set_reg(data);
        DS::set_reg(data);
        ES::set_reg(data);
        load_tss(task);
        lidt(&idt);
    }
}
