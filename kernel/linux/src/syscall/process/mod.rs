//! System calls about the process and its threads. [`children`] has those that make others and run programs,
//! [`identity`] which it is, [`credentials`] whose, [`futexes`] what its threads sleep on, [`limits`] what it may use
//! and has used, [`pidfds`] which it has descriptors of, [`prctl`] what it says of itself,
//! [`mod@ptrace`] what it does to others, [`relations`] what it shares with others and may see of them, [`scheduling`]
//! where and when it runs, [`system`] what it asks about the machine.
mod children;
mod credentials;
mod futexes;
mod identity;
mod limits;
mod pidfds;
mod prctl;
mod ptrace;
mod relations;
mod scheduling;
mod system;

pub use children::*;
pub use credentials::*;
pub use futexes::*;
pub use identity::*;
pub use limits::*;
pub(super) use pidfds::to_be_signalled;
pub use pidfds::{pidfd_getfd, pidfd_open};
pub use prctl::*;
pub use ptrace::ptrace;
pub use relations::*;
pub use scheduling::*;
pub use system::*;

use crate::process;
use crate::process::LinuxThread;
use abi::SysResult;
use core::sync::atomic::Ordering;
use machine::sched;

/// exit(2): ends the thread.
pub fn exit(status: usize) -> SysResult {
    process::exit_thread(status as i32)
}

/// exit_group(2): ends the program.
pub fn exit_group(status: usize) -> SysResult {
    process::exit_group(status as i32)
}

/// set_tid_address(2)
pub fn set_tid_address(addr: usize) -> SysResult {
    Ok(sched::with_current(|thread| {
        thread
            .linux()
            .clear_child_tid
            .store(addr, Ordering::Relaxed);
        thread.tid as usize
    }))
}
