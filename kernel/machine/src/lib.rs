//! Floor 1 of the kernel: the machine. Processor, memory, threads, time, devices.
//!
//! It knows nothing of files, signals or dynamic linking; what it needs of those who do is in [`upcall`] and
//! [`sched::ThreadState`]. Of the other crates of the kernel it imports `abi` only. Everything unsafe that the floor
//! above would need is wrapped here: frames, the program's memory, timers, processor state.
//!
//! Rules that hold everywhere:
//! * Kernel code is never preempted; it gives the CPU up in [`sync`]'s sleeping primitives and on the way back to the
//!   program.
//! * A [`sync::SpinLock`] disables interrupts while held: no sleeping, no access to the program's memory, no TLB
//!   shootdown under it.
//! * The program's memory is touched only through [`mm::user`] (and by the loader, which runs in place of the program's
//!   ld.so).
#![cfg_attr(not(test), no_std)]
#![cfg_attr(
    hosted,
    allow(
        dead_code,
        unused_imports,
        reason = "assembly, left out of tests, is what calls the entries"
    )
)]
#![deny(unsafe_code)]

extern crate alloc;
#[cfg(hosted)]
extern crate std;

#[expect(unsafe_code, reason = "firmware's tables are found by address")]
mod acpi;
#[expect(unsafe_code, reason = "the processor's instructions and tables")]
pub mod arch;
#[expect(
    unsafe_code,
    reason = "what the boot loader leaves is found by address"
)]
pub mod boot;
pub mod drivers;
pub mod log;
pub mod mm;
mod primitive;
pub mod record;
pub mod sched;
pub mod sync;
pub mod time;
pub mod upcall;

/// Ends the machine with a report of the panic. Takes no lock.
pub fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    use core::sync::atomic::{AtomicBool, Ordering};
    static PANICKED: AtomicBool = AtomicBool::new(false);
    arch::interrupt_flag::disable();
    if PANICKED.swap(true, Ordering::SeqCst) {
        // Another CPU reports, or the report itself has gone wrong.
        loop {
            arch::interrupt_flag::wait();
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
