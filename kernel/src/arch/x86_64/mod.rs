//! x86-64: boot, traps, APIC, FPU state, context switch, gates.
pub(crate) mod apic;
#[cfg(not(test))]
mod asm;
pub(crate) mod callout;
pub mod cpu;
pub mod fpu;
pub mod frame;
pub mod gate;
pub mod interrupt;
pub mod paging;
pub(crate) mod percpu;
pub mod port;
pub mod smp;
mod tables;
pub(crate) mod trap;
pub use frame::TrapFrame;
