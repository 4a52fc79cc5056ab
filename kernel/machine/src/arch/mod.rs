//! The processor. This file is the contract: what follows is what a second architecture would have to define, and
//! nothing outside of `arch` names x86-64's registers, ports or instructions.
//!
//! | module | what it offers |
//! |---|---|
//! | [`layout`] | the halves of the address space, the direct map |
//! | [`interrupt_flag`] | interrupts off and on |
//! | [`interrupt`] | vectors for devices, message-signalled |
//! | [`cpu`] | CPUs: which, how many, calls between them, what they can do, the end of the machine |
//! | [`percpu`] | what a CPU keeps for itself, found by a register |
//! | [`paging`] | page tables: entries, the walk to them, flushing |
//! | [`fpu`] | floating-point and vector state: of threads, of signal frames |
//! | [`context`] | the switch from one thread to another, the thread pointer |
//! | [`TrapFrame`] | the saved state of interrupted code |
//! | [`clock`] | counters, what they count in, the battery-backed clock |
//! | [`timer`] | this CPU's one-shot timer |
//! | [`watchdog`] | what interrupts programs that have turned interrupts off |
//! | [`user`] | copies that a bad address does not kill |
//! | [`pci`], [`serial`] | configuration space and serial port by I/O ports, where there are such |

#[path = "x86_64/mod.rs"]
mod current;

pub use current::*;
