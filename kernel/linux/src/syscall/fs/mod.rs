//! System calls on files: argument checking and conversion; the work is done in [`crate::fs`].
mod aio;
mod attributes;
mod control;
mod events;
mod inotify;
mod io;
mod limit;
mod locks;
pub(super) mod make;
mod mount;
mod mqueue;
mod names;
mod open;
mod seek;
mod signal_driven;
mod splice;
mod stat;
pub(super) mod vectors;
pub(super) mod wait;
mod xattr;

pub use aio::*;
pub use attributes::*;
pub use control::*;
pub use events::*;
pub use inotify::*;
pub use io::*;
pub use locks::flock;
pub use make::*;
pub use mount::*;
pub use mqueue::*;
pub use names::*;
pub use open::*;
pub use seek::*;
pub use splice::*;
pub use stat::*;
pub use wait::*;
pub use xattr::*;

use crate::{
    fs::{
        File, OpenFile,
        context::FsContext,
        descriptor::Files,
        mount::Path,
        path::{self, Last, MAX_PATH, Start, Target},
        tree::Node,
    },
    process,
};
use abi::{Errno, SysResult};
use alloc::{sync::Arc, vec::Vec};
use linux_raw_sys::general as linux;
use machine::mm::user;

pub(super) const SECOND: u64 = 1_000_000_000;

/// Calls `f` with the caller's descriptor table.
pub(super) fn with_files<R>(f: impl FnOnce(&Files) -> R) -> R {
    process::with_current(|process| f(&process.files()))
}

/// Calls `f` with the caller's working directory and umask.
fn with_context<R>(f: impl FnOnce(&FsContext) -> R) -> R {
    process::with_current(|process| f(&process.fs()))
}

/// What a descriptor refers to, be it opened with `O_PATH`.
pub(super) fn descriptor(fd: usize) -> Result<Arc<OpenFile>, Errno> {
    with_files(|files| files.get(fd as i32))
}

/// The lowest free descriptor gets `open`.
pub(super) fn install(open: Arc<OpenFile>, cloexec: bool) -> SysResult {
    install_from(open, cloexec, 0)
}

/// The lowest free descriptor from `from` on gets `open`.
fn install_from(open: Arc<OpenFile>, cloexec: bool, from: usize) -> SysResult {
    process::with_current(|process| {
        let fds = from..process.limits.descriptors();
        process.files().install(open, cloexec, fds)
    })
}

/// The same for a file without a name (timerfd, signalfd, …).
fn install_anonymous(file: Arc<dyn File>, cloexec: bool, nonblock: bool) -> SysResult {
    let nonblock = if nonblock { linux::O_NONBLOCK } else { 0 };
    install(OpenFile::new(file, linux::O_RDWR | nonblock), cloexec)
}

/// A descriptor that was not opened with `O_PATH`.
pub(in crate::syscall) fn opened(fd: usize) -> Result<Arc<OpenFile>, Errno> {
    let open = descriptor(fd)?;
    if open.flags() & linux::O_PATH != 0 {
        return Err(Errno::EBADF);
    }
    Ok(open)
}

fn path_from(addr: usize) -> Result<Vec<u8>, Errno> {
    user::read_cstr(addr, MAX_PATH - 1)
}

/// Where `path` starts from, if it is relative, `dirfd`.
fn start(dirfd: usize, path: &[u8]) -> Result<Start, Errno> {
    if dirfd as i32 == linux::AT_FDCWD || path.first() == Some(&b'/') {
        return Ok(with_context(FsContext::start));
    }
    let open = descriptor(dirfd)?;
    let at = open.file.path().ok_or(Errno::ENOTDIR)?;
    if !at.node.is_directory() && !path.is_empty() {
        return Err(Errno::ENOTDIR);
    }
    Ok(Start::new(with_context(FsContext::root), at.clone()))
}

/// Where a path given to an `*at` call leads.
fn target(dirfd: usize, addr: usize, last: Last) -> Result<Target, Errno> {
    let path = path_from(addr)?;
    path::walk(&start(dirfd, &path)?, &path, last)
}

/// What a path of the program's leads to, symbolic links followed.
fn path_at(addr: usize) -> Result<Path, Errno> {
    path::lookup(&with_context(FsContext::start), &path_from(addr)?)
}

/// What an `*at` call with flags is about.
enum Subject {
    Path(Path),
    /// `AT_EMPTY_PATH` with a descriptor.
    Open(Arc<OpenFile>),
}

impl Subject {
    fn at(dirfd: usize, addr: usize, flags: u32) -> Result<Self, Errno> {
        let path = path_from(addr)?;
        if path.is_empty() && flags & linux::AT_EMPTY_PATH != 0 {
            return if dirfd as i32 == linux::AT_FDCWD {
                Ok(Self::Path(with_context(FsContext::cwd)))
            } else {
                Ok(Self::Open(descriptor(dirfd)?))
            };
        }
        let last = if flags & linux::AT_SYMLINK_NOFOLLOW != 0 {
            Last::Keep
        } else {
            Last::Follow
        };
        let target = path::walk(&start(dirfd, &path)?, &path, last)?;
        Ok(Self::Path(target.found()?.clone()))
    }

    /// The node; `EPERM` for a file that has none.
    fn node(&self) -> Result<&Arc<Node>, Errno> {
        match self {
            Self::Path(path) => Ok(&path.node),
            Self::Open(open) => open.file.node().ok_or(Errno::EPERM),
        }
    }

    /// Where the node is, if a path leads to it.
    fn path(&self) -> Option<&Path> {
        match self {
            Self::Path(path) => Some(path),
            Self::Open(open) => open.file.path(),
        }
    }

    /// The node, to be changed: `EROFS` where its mount does not allow that.
    fn changed(&self) -> Result<&Arc<Node>, Errno> {
        if let Some(path) = self.path() {
            path.mount.check_writable()?;
        }
        self.node()
    }
}

/// Reads words from the program.
pub(super) fn words<const N: usize>(addr: usize) -> Result<[u64; N], Errno> {
    let mut bytes = [[0; 8]; N];
    user::copy_in(addr, bytes.as_flattened_mut())?;
    Ok(bytes.map(u64::from_le_bytes))
}

/// Writes words to the program.
fn put_words<const N: usize>(addr: usize, words: [u64; N]) -> Result<(), Errno> {
    user::copy_out(addr, words.map(u64::to_le_bytes).as_flattened())
}

/// A `struct timespec` as nanoseconds.
pub(super) fn timespec(addr: usize) -> Result<u64, Errno> {
    let [seconds, nanos] = words(addr)?;
    if (seconds as i64) < 0 || nanos >= SECOND {
        return Err(Errno::EINVAL);
    }
    Ok(seconds.saturating_mul(SECOND).saturating_add(nanos))
}
