//! Floor 2 of the kernel: Linux as programs see it. Files, sockets, threads and signals of the process, system calls.
//!
//! It stands on `machine` and `abi`, and knows nothing of how a program is loaded: what it has to tell the dynamic
//! linker is in [`linker`]. No code here is unsafe; what would have to be is below.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod boot;
pub mod config;
pub mod control;
pub mod credentials;
pub mod fs;
pub mod ipc;
pub mod linker;
pub mod net;
pub mod process;
pub mod syscall;
mod traps;
pub mod tty;

pub use traps::Linux;
