//! Opening, closing and duplicating descriptors.
use super::{descriptor, install, path_from, start, with_context, with_files};
use crate::{
    fs::{
        self, OpenFile,
        context::FsContext,
        path::{Resolve, Start},
    },
    process,
};
use abi::{Errno, SysResult};
use alloc::sync::Arc;
use linux_raw_sys::general as linux;
use machine::mm::{PAGE, user};
use zerocopy::{FromBytes, IntoBytes};

const AT_FDCWD: usize = linux::AT_FDCWD as usize;
const CLOSE_RANGE_UNSHARE: u32 = 2;
const CLOSE_RANGE_CLOEXEC: u32 = 4;
/// Flags that open(2) knows; others are ignored, by openat2(2) refused.
const KNOWN: u32 = linux::O_ACCMODE
    | linux::O_CREAT
    | linux::O_EXCL
    | linux::O_NOCTTY
    | linux::O_TRUNC
    | linux::O_APPEND
    | linux::O_NONBLOCK
    | linux::O_DSYNC
    | linux::FASYNC
    | linux::O_DIRECT
    | linux::O_LARGEFILE
    | linux::O_DIRECTORY
    | linux::O_NOFOLLOW
    | linux::O_NOATIME
    | linux::O_CLOEXEC
    | linux::O_SYNC
    | linux::O_PATH
    | linux::O_TMPFILE;

/// What of them `O_PATH` leaves.
const WITH_PATH: u32 = linux::O_PATH | linux::O_DIRECTORY | linux::O_NOFOLLOW | linux::O_CLOEXEC;
/// `O_TMPFILE` without `O_DIRECTORY`, which goes with it.
const TMPFILE: u32 = linux::O_TMPFILE & !linux::O_DIRECTORY;

/// open(2)
pub fn open(path: usize, flags: usize, mode: usize) -> SysResult {
    openat(AT_FDCWD, path, flags, mode)
}

/// openat(2)
pub fn openat(dirfd: usize, path: usize, flags: usize, mode: usize) -> SysResult {
    let mut flags = flags as u32 & KNOWN;
    if flags & linux::O_PATH != 0 {
        flags &= WITH_PATH;
    }
    open_with(dirfd, path, flags, mode as u32, Resolve::empty())
}

/// Opens with flags that have been looked at.
fn open_with(dirfd: usize, path: usize, flags: u32, mode: u32, resolve: Resolve) -> SysResult {
    let mut flags = flags;
    if flags & TMPFILE != 0 && flags & linux::O_TMPFILE != linux::O_TMPFILE {
        return Err(Errno::EINVAL);
    }
    // Linux sets it for 64-bit programs, and fcntl(2) shows it.
    if flags & linux::O_PATH == 0 {
        flags |= linux::O_LARGEFILE;
    }
    let path = path_from(path)?;
    let mode = mode & !with_context(FsContext::umask);
    let start = Start {
        resolve,
        ..start(dirfd, &path)?
    };
    let open = fs::open::open(&start, &path, flags, mode)?;
    install(open, flags & linux::O_CLOEXEC != 0)
}

/// `struct open_how`
#[repr(C)]
#[derive(FromBytes, IntoBytes)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// openat2(2)
pub fn openat2(dirfd: usize, path: usize, how: usize, size: usize) -> SysResult {
    if size < size_of::<OpenHow>() {
        return Err(Errno::EINVAL);
    }
    if size > PAGE {
        return Err(Errno::E2BIG);
    }
    let OpenHow {
        flags,
        mode,
        resolve,
    } = user::read_struct(how, size)?;
    let known = u32::try_from(flags)
        .ok()
        .filter(|flags| flags & !KNOWN == 0);
    let flags = known.ok_or(Errno::EINVAL)?;
    let resolve = u32::try_from(resolve).ok().and_then(Resolve::from_bits);
    let resolve = resolve.ok_or(Errno::EINVAL)?;
    let makes = flags & (linux::O_CREAT | TMPFILE) != 0;
    if mode & !(if makes { 0o7777 } else { 0 }) != 0
        || flags & linux::O_PATH != 0 && flags & !WITH_PATH != 0
        || resolve.contains(Resolve::BENEATH | Resolve::IN_ROOT)
    {
        return Err(Errno::EINVAL);
    }
    if resolve.contains(Resolve::CACHED) && (makes || flags & linux::O_TRUNC != 0) {
        return Err(Errno::EAGAIN);
    }
    open_with(dirfd, path, flags, mode as u32, resolve)
}

/// creat(2)
pub fn creat(path: usize, mode: usize) -> SysResult {
    let flags = linux::O_CREAT | linux::O_WRONLY | linux::O_TRUNC;
    open(path, flags as usize, mode)
}

/// close(2)
pub fn close(fd: usize) -> SysResult {
    with_files(|files| files.close(fd as i32))?;
    Ok(0)
}

/// close_range(2)
pub fn close_range(first: usize, last: usize, flags: usize) -> SysResult {
    let flags = flags as u32;
    let (first, last) = (first & 0xffff_ffff, last & 0xffff_ffff);
    if flags & !(CLOSE_RANGE_CLOEXEC | CLOSE_RANGE_UNSHARE) != 0 || first > last {
        return Err(Errno::EINVAL);
    }
    let mark = flags & CLOSE_RANGE_CLOEXEC != 0;
    if flags & CLOSE_RANGE_UNSHARE != 0 {
        process::with_current(|process| {
            // Threads share everything.
            if process.thread_ids().len() == 1 {
                process.take_files();
            }
        });
    }
    with_files(|files| files.close_range(first, last, mark));
    Ok(0)
}

/// dup(2)
pub fn dup(fd: usize) -> SysResult {
    install(descriptor(fd)?, false)
}

/// The descriptor `fd` gets `open`.
fn replace(open: Arc<OpenFile>, cloexec: bool, fd: usize) -> SysResult {
    process::with_current(|process| {
        let limit = process.limits.descriptors();
        process.files().replace(open, cloexec, fd as i32, limit)
    })
}

/// dup2(2)
pub fn dup2(old: usize, new: usize) -> SysResult {
    let open = descriptor(old)?;
    if old as i32 == new as i32 {
        return Ok(new as u32 as usize);
    }
    replace(open, false, new)
}

/// dup3(2)
pub fn dup3(old: usize, new: usize, flags: usize) -> SysResult {
    let flags = flags as u32;
    if flags & !linux::O_CLOEXEC != 0 || old as i32 == new as i32 {
        return Err(Errno::EINVAL);
    }
    let open = descriptor(old)?;
    replace(open, flags != 0, new)
}

/// umask(2)
pub fn umask(mask: usize) -> SysResult {
    Ok(with_context(|context| context.set_umask(mask as u32)) as usize)
}
