//! Bringing CPUs up: the one that booted, then the others, one at a time.

use crate::arch::layout::phys_to_virt;
use crate::arch::{apic, cpu, fpu, paging, percpu, tables};
use crate::mm::stack;
use crate::{sched, time};
use alloc::boxed::Box;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use x86_64::registers::control::{Efer, EferFlags};
use x86_64::registers::model_specific::Msr;

const IA32_STAR: u32 = 0xc000_0081;
const IA32_LSTAR: u32 = 0xc000_0082;
const IA32_SFMASK: u32 = 0xc000_0084;
const IA32_TSC_AUX: u32 = 0xc000_0103;

/// TF, IF, DF, NT, AC.
const CLEARED_BY_SYSCALL: u64 = 1 << 8 | 1 << 9 | 1 << 10 | 1 << 14 | 1 << 18;

/// Where starting CPUs begin: a page below 1 MiB. One may come late.
pub(crate) const TRAMPOLINE: u64 = 0x8000;
/// How long a CPU may take to come up, in nanoseconds. Emulated ones take their time.
const PATIENCE: u64 = 5_000_000_000;

unsafe extern "C" {
    static elfin_ap_trampoline: u8;
    static elfin_ap_trampoline_end: u8;
    static elfin_ap_root: AtomicU64;
    static elfin_ap_stack: AtomicUsize;
    fn elfin_syscall_entry();
}

/// What the CPU being started is to use.
static STARTING: AtomicUsize = AtomicUsize::new(0);

/// Gives the CPU that booted a block for as long as there is no memory for its own.
pub(crate) fn begin() {
    static EARLY: AtomicUsize = AtomicUsize::new(0);
    static mut BLOCK: percpu::PerCpu = percpu::PerCpu::new(0, 0);
    assert_eq!(EARLY.swap(1, Ordering::Relaxed), 0, "the CPU boots once");
    let block = &raw mut BLOCK;
    // SAFETY: the flag says that nobody has, or will have, another reference.
    percpu::install(unsafe { &mut *block });
}

/// Sets up the CPU that runs this: the parts that need memory management.
pub(crate) fn init_boot_cpu() {
    init(Box::leak(Box::new(percpu::PerCpu::new(0, 0))));
}

fn init(block: &'static mut percpu::PerCpu) {
    let at = core::ptr::from_mut(block);
    // First: the allocator asks which thread runs.
    percpu::install(block);
    fpu::init();
    tables::install();
    apic::init();
    // SAFETY: `percpu::install` keeps no reference; this CPU owns its block, and nobody else knows it yet. The entry is
    // made for this: interrupts off, code and data selectors 0x08 and 0x10. RDTSCP and RDPID give TSC_AUX to programs,
    // who find in it what Linux has there: the number of the CPU, and above it the node's, which is 0.
    unsafe {
        (*at).apic = apic::id();
        Efer::update(|efer| {
            *efer |= EferFlags::SYSTEM_CALL_EXTENSIONS | EferFlags::NO_EXECUTE_ENABLE;
        });
        Msr::new(IA32_STAR).write(u64::from(tables::CODE) << 32);
        Msr::new(IA32_LSTAR).write((elfin_syscall_entry as *const ()).addr() as u64);
        Msr::new(IA32_SFMASK).write(CLEARED_BY_SYSCALL);
        if cpu::has_tsc_aux() {
            Msr::new(IA32_TSC_AUX).write((*at).id as u64);
        }
    }
    // SAFETY: the block lives for ever.
    cpu::enter(unsafe { &*at });
}

/// Starts the other CPUs, given by their APIC ids. Those that do not answer are left out, with a line in the log.
pub(crate) fn start_others(ids: &[u32]) {
    let code = &raw const elfin_ap_trampoline;
    let len = (&raw const elfin_ap_trampoline_end).addr() - code.addr();
    // SAFETY: the page was taken out of the memory given to the frame allocator, and is mapped in the direct map.
    unsafe {
        phys_to_virt(TRAMPOLINE).copy_from_nonoverlapping(code, len);
    }
    let this = apic::boot_id();
    for &id in ids.iter().filter(|&&id| id != this) {
        let index = cpu::count();
        if index == cpu::MOST {
            log::warn!("no more than {} CPUs are used", cpu::MOST);
            return;
        }
        let Some(stack) = stack::KernelStack::new() else {
            log::warn!("no memory to start another CPU");
            return;
        };
        // Leaked: the CPU's idle thread goes on with it.
        let top = core::mem::ManuallyDrop::new(stack).top();
        let block = Box::into_raw(Box::new(percpu::PerCpu::new(index, id)));
        STARTING.store(block.expose_provenance(), Ordering::Release);
        // SAFETY: the words are the trampoline's, and no CPU is starting.
        unsafe {
            elfin_ap_root.store(paging::root(), Ordering::Release);
            elfin_ap_stack.store(top, Ordering::Release);
        }
        apic::send_init(id);
        time::busy_wait(10_000_000);
        apic::send_startup(id, (TRAMPOLINE >> 12) as u8);
        let start = time::Instant::now().0;
        let mut repeated = false;
        while cpu::count() == index {
            let waited = time::Instant::now().0 - start;
            if waited > 200_000_000 && !repeated {
                repeated = true;
                apic::send_startup(id, (TRAMPOLINE >> 12) as u8);
            }
            if waited > PATIENCE {
                log::warn!("CPU with APIC id {id} does not start");
                // Whatever comes of it now must not find a stack in use.
                return;
            }
            core::hint::spin_loop();
        }
    }
}

/// The first Rust code of another CPU, on its own stack.
#[unsafe(no_mangle)]
extern "C" fn elfin_start_cpu() -> ! {
    let block =
        core::ptr::with_exposed_provenance_mut::<percpu::PerCpu>(STARTING.load(Ordering::Acquire));
    // SAFETY: `start_others` made it for this CPU alone.
    init(unsafe { &mut *block });
    sched::become_idle()
}
