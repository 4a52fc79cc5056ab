//! Files by their paths, for the loader and the start of the program: as the current process sees them.

use abi::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use linux::fs::{self, File};
use linux::process;

/// Opens a file for reading, relative paths from the process' working directory.
pub(crate) fn open(path: &[u8]) -> Result<Arc<dyn File>, Errno> {
    fs::open_read(&process::with_current(|process| process.fs().start()), path)
}

/// Opens a file that is to be executed.
pub(crate) fn open_exec(path: &[u8]) -> Result<Arc<dyn File>, Errno> {
    fs::open_exec(&process::with_current(|process| process.fs().start()), path)
}

/// The absolute path of a file, without symbolic links.
pub(crate) fn resolve(path: &[u8]) -> Result<Vec<u8>, Errno> {
    fs::resolve(&process::with_current(|process| process.fs().start()), path)
}
