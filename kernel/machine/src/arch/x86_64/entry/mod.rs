//! The ways into the kernel and back: traps, system calls, gates, calls of the program, other CPUs' start. This part of
//! `arch` stands above memory, time and threads, the rest below them.
#[cfg(not(hosted))]
mod asm;
mod callout;
pub mod gate;
pub(crate) mod smp;
mod trap;
