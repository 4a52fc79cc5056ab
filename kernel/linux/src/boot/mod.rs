//! What is done before the first program starts: everything is mounted ([`mounts`]), /dev filled ([`dev`]), and the
//! files written that `elfin run` has for it ([`files`]).
mod dev;
mod files;
mod mounts;

use crate::fs::{file_system::Additions, image};
use alloc::{format, string::String};

/// Makes the namespace. Called once, on a kernel thread, after the drivers are up. The error is one clear line.
pub fn init(additions: &Additions) -> Result<(), String> {
    image::mount_root()?;
    mounts::kernel_mounts(additions)
        .map_err(|error| format!("cannot set up the file systems: {}", error.text()))?;
    files::write_all()?;
    mounts::wished_mounts()
}
