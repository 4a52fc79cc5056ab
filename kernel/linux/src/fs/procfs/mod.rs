//! /proc, proc(5): [`process`] has the directories of processes, [`status`] and [`mounts`] what files there say,
//! [`system`] what is to be read about the machine and the kernel.
mod mounts;
mod process;
mod status;
pub mod system;

pub use process::add;

use super::tree::Node;
use abi::Errno;
use alloc::sync::Arc;

/// Fills the directory, but for processes.
pub fn populate(proc: &Arc<Node>) -> Result<(), Errno> {
    process::populate(proc)?;
    system::populate(proc)
}
