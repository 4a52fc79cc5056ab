//! /proc, proc(5): [`process`] has what a program reads about itself, [`system`] what it reads about the machine and the kernel.
pub mod process;
pub mod system;

use super::tree::Node;
use crate::syscall::Errno;
use alloc::sync::Arc;

/// Fills the directory.
pub fn populate(proc: &Arc<Node>) -> Result<(), Errno> {
    process::populate(proc)?;
    system::populate(proc)
}
