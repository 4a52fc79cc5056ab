//! Elfin's kernel: boots into one Linux program and is its dynamic linker.
//!
//! One address space, ring 0, one process, many threads, several CPUs. Application code and kernel code differ
//! only in where they lie: addresses in the lower half belong to the program ("user"), those in the upper half to
//! the kernel. The library is `no_std`; its pure parts are tested on the host.
//!
//! Rules that hold everywhere (see docs/architecture.md):
//! * Kernel code is never preempted; it gives the CPU up in [`sync`]'s sleeping primitives and on return to the program.
//! * A `sync::SpinLock` disables interrupts while held: no sleeping, no user memory access, no TLB shootdown under it.
//! * User memory is touched only through [`mm::user`] (and by the loader, which runs in place of the program's ld.so).
#![cfg_attr(not(test), no_std)]
#![cfg_attr(
    test,
    allow(
        dead_code,
        unused_imports,
        reason = "assembly, left out of tests, is what calls the entries"
    )
)]

extern crate alloc;

pub mod arch;
pub mod boot;
pub mod drivers;
pub mod exec;
pub mod fs;
pub mod log;
pub mod mm;
pub mod process;
pub mod sched;
pub mod sync;
pub mod syscall;
pub mod time;

/// Ends the machine with a report of the panic. Takes no lock.
pub fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    use core::sync::atomic::{AtomicBool, Ordering};
    static PANICKED: AtomicBool = AtomicBool::new(false);
    x86_64::instructions::interrupts::disable();
    if PANICKED.swap(true, Ordering::SeqCst) {
        // Another CPU reports, or the report itself has gone wrong.
        loop {
            x86_64::instructions::hlt();
        }
    }
    arch::cpu::halt_others();
    log::line_in_panic(format_args!("kernel panic: {info}"));
    let place = info.location().map_or("?", core::panic::Location::file);
    let line = info.location().map_or(0, core::panic::Location::line);
    log::line_in_panic(format_args!(
        "elfin: fatal: kernel panic at {place}:{line} (see the kernel log above)"
    ));
    arch::cpu::exit_machine(0x20)
}
