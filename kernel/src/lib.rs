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
