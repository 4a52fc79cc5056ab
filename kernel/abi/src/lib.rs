//! Floor 0 of the kernel: what of the Linux ABI all floors speak of, which is error numbers.
//!
//! Structures and constants come from `linux-raw-sys`; it has the numbers of errors, too, but neither their names nor
//! the texts of strerror(3), which reports and traces print. The crate `syscalls` has names and the texts of Linux'
//! headers, which are others ("Try again"). This crate imports nothing; its tests compare with both.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod errno;

pub use errno::Errno;

/// Result of a system call.
pub type SysResult = Result<usize, Errno>;
