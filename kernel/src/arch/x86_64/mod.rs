//! x86-64: boot, traps, APIC, FPU state, context switch, gates.
pub mod cpu;
pub mod fpu;
pub mod frame;
pub mod gate;
pub mod paging;
pub use frame::TrapFrame;
