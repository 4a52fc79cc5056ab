//! x86-64 (Intel SDM, AMD APM).
pub(crate) mod apic;
mod callee;

pub mod clock;
pub mod context;
pub mod cpu;
pub mod cpuinfo;
mod cross_call;
mod entry;
pub mod fpu;
mod frame;
#[cfg(hosted)]
pub(crate) mod hosted;
pub mod image;
pub mod interrupt;
pub mod interrupt_flag;
pub mod layout;
pub mod paging;
pub mod pci;
pub mod percpu;
mod port;
mod pvclock;
mod registers;
pub mod serial;
pub(crate) mod tables;
pub mod timer;
pub(crate) mod tlb;
pub mod user;
pub(crate) mod vector;
pub(crate) mod watchdog;
pub use entry::gate;
pub(crate) use entry::smp;
pub use frame::TrapFrame;
