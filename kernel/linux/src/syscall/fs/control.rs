//! fcntl, ioctl, synchronisation, advice.
use super::{descriptor, install_from, limit, locks, opened, signal_driven, with_files};
use crate::{
    fs::{Metadata, OpenFile, downcast, page_cache::Seals, pipe, tree::Kind, write_back},
    net::socket::Socket,
    process,
};
use abi::{Errno, SysResult};
use linux_raw_sys::{general as linux, ioctl as requests};
use machine::mm::user;

/// fcntl(2)
pub fn fcntl(fd: usize, command: usize, arg: usize) -> SysResult {
    let open = descriptor(fd)?;
    let number = fd as i32;
    let command = command as u32;
    match command {
        linux::F_DUPFD | linux::F_DUPFD_CLOEXEC => {
            let from = arg as i32;
            let limit = process::with_current(|process| process.limits.descriptors());
            if from < 0 || from as usize >= limit {
                return Err(Errno::EINVAL);
            }
            let cloexec = command == linux::F_DUPFD_CLOEXEC;
            return install_from(open, cloexec, from as usize);
        }
        linux::F_GETFD => {
            return with_files(|files| files.cloexec(number)).map(usize::from);
        }
        linux::F_SETFD => {
            let cloexec = arg as u32 & linux::FD_CLOEXEC != 0;
            with_files(|files| files.set_cloexec(number, cloexec))?;
            return Ok(0);
        }
        linux::F_GETFL => return Ok(open.flags() as usize),
        _ if open.flags() & linux::O_PATH != 0 => return Err(Errno::EBADF),
        linux::F_SETFL => {
            signal_driven::set_flag(number, &open, arg as u32 & linux::FASYNC != 0)?;
            open.set_flags(arg as u32);
        }
        linux::F_GETLK | linux::F_OFD_GETLK => locks::get(&open, command, arg)?,
        linux::F_SETLK | linux::F_SETLKW | linux::F_OFD_SETLK | linux::F_OFD_SETLKW => {
            locks::set(fd, &open, command, arg)?;
        }
        linux::F_GETPIPE_SZ | linux::F_SETPIPE_SZ => {
            let end: &pipe::End = downcast(&*open.file).ok_or(Errno::EBADF)?;
            if command == linux::F_SETPIPE_SZ {
                return end.set_capacity(arg & 0xffff_ffff);
            }
            return Ok(end.capacity());
        }
        linux::F_ADD_SEALS | linux::F_GET_SEALS => return seals(&open, command, arg),
        linux::F_NOTIFY => signal_driven::notify(number, &open, arg as u32)?,
        _ => return signal_driven::fcntl(&open, command, arg),
    }
    Ok(0)
}

/// `F_ADD_SEALS`, `F_GET_SEALS`.
fn seals(open: &OpenFile, command: u32, arg: usize) -> SysResult {
    if command == linux::F_ADD_SEALS && !open.writable() {
        return Err(Errno::EPERM);
    }
    let node = open.file.node().ok_or(Errno::EINVAL)?;
    let Kind::Regular(content) = &node.kind else {
        return Err(Errno::EINVAL);
    };
    let now = content.seals().ok_or(Errno::EINVAL)?;
    if command == linux::F_GET_SEALS {
        return Ok(now.bits() as usize);
    }
    let new = Seals::from_bits(arg as u32).ok_or(Errno::EINVAL)?;
    let executable = node.attributes.lock().mode & 0o111 != 0;
    content.add_seals(new, executable)?;
    Ok(0)
}

fn is_socket(open: &OpenFile) -> bool {
    downcast::<Socket>(&*open.file).is_some()
}

/// ioctl(2)
pub fn ioctl(fd: usize, request: usize, arg: usize) -> SysResult {
    let open = opened(fd)?;
    let (number, request) = (fd as i32, request as u32);
    match request {
        requests::FIOCLEX => with_files(|files| files.set_cloexec(number, true))?,
        requests::FIONCLEX => with_files(|files| files.set_cloexec(number, false))?,
        requests::FIONBIO => {
            let mut on = [0; 4];
            user::copy_in(arg, &mut on)?;
            let flags = open.flags() & !linux::O_NONBLOCK;
            let set = if on == [0; 4] { 0 } else { linux::O_NONBLOCK };
            open.set_flags(flags | set);
        }
        requests::FIONREAD => {
            let metadata = open.file.metadata()?;
            if kind_of(&metadata) != linux::S_IFREG {
                return open.file.ioctl(request, arg);
            }
            let left = metadata.size.saturating_sub(*open.offset.lock());
            let left = i32::try_from(left).unwrap_or(i32::MAX);
            user::copy_out(arg, &left.to_le_bytes())?;
        }
        requests::FIOASYNC => {
            let on: i32 = user::read(arg)?;
            signal_driven::set_async(number, &open, on != 0)?;
        }
        requests::FIOSETOWN | requests::SIOCSPGRP if is_socket(&open) => {
            signal_driven::set_owner(&open, user::read(arg)?)?;
        }
        requests::FIOGETOWN | requests::SIOCGPGRP if is_socket(&open) => {
            user::write(arg, &signal_driven::get_owner(&open))?;
        }
        _ => return open.file.ioctl(request, arg),
    }
    Ok(0)
}

/// What stat(2) says that it is (`S_IFMT`).
fn kind_of(metadata: &Metadata) -> u32 {
    metadata.mode & linux::S_IFMT
}

/// Whether it is something that could be on a disk.
fn has_data(open: &OpenFile) -> bool {
    let kind = open.file.node().map(|node| &node.kind);
    matches!(kind, Some(Kind::Regular(_) | Kind::Directory(_)))
}

pub(super) fn sync_file(fd: usize, data_only: bool) -> SysResult {
    let open = opened(fd)?;
    if !has_data(&open) {
        return Err(Errno::EINVAL);
    }
    open.file.sync(data_only)?;
    Ok(0)
}
/// fsync(2)
pub fn fsync(fd: usize) -> SysResult {
    sync_file(fd, false)
}
/// fdatasync(2)
pub fn fdatasync(fd: usize) -> SysResult {
    sync_file(fd, true)
}
/// sync(2)
pub fn sync() -> SysResult {
    // It has no way to say that something failed; fsync(2) has.
    let _ = write_back::sync();
    Ok(0)
}
/// syncfs(2)
pub fn syncfs(fd: usize) -> SysResult {
    if let Some(path) = opened(fd)?.file.path() {
        // A file that could not be written remembers it, for fsync(2).
        let written = write_back::all();
        path.mount.fs.sync().and(written)?;
    }
    Ok(0)
}
/// sync_file_range(2): all of the file, at once.
pub fn sync_file_range(fd: usize, offset: usize, len: usize, flags: usize) -> SysResult {
    let open = opened(fd)?;
    let end = (offset as i64).checked_add(len as i64);
    if flags & !7 != 0 || (offset as i64) < 0 || (len as i64) < 0 || end.is_none() {
        return Err(Errno::EINVAL);
    }
    if !matches!(
        kind_of(&open.file.metadata()?),
        linux::S_IFREG | linux::S_IFDIR
    ) {
        return Err(Errno::ESPIPE);
    }
    if flags != 0 {
        open.file.write_out()?;
    }
    Ok(0)
}

/// posix_fadvise(2): pages that are not needed go, the others are taken note of.
pub fn fadvise64(fd: usize, offset: usize, len: usize, advice: usize) -> SysResult {
    let open = opened(fd)?;
    if kind_of(&open.file.metadata()?) == linux::S_IFIFO {
        return Err(Errno::ESPIPE);
    }
    if advice > 5 || (len as i64) < 0 {
        return Err(Errno::EINVAL);
    }
    if u32::try_from(advice) == Ok(linux::POSIX_FADV_DONTNEED)
        && let Some(Kind::Regular(content)) = open.file.node().map(|node| &node.kind)
    {
        let offset = u64::try_from(offset).unwrap_or(u64::MAX);
        let end = match u64::try_from(len) {
            Ok(len) if len > 0 => offset.saturating_add(len),
            _ => u64::MAX,
        };
        content.let_go(offset, end);
    }
    Ok(0)
}

/// readahead(2)
pub fn readahead(fd: usize, _offset: usize, _count: usize) -> SysResult {
    let open = opened(fd)?;
    if !open.readable() {
        return Err(Errno::EBADF);
    }
    match kind_of(&open.file.metadata()?) {
        linux::S_IFREG => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

/// `EOPNOTSUPP` for combinations of fallocate(2)'s flags that there are not.
fn check_allocation(mode: u32) -> Result<(), Errno> {
    match (
        mode & !linux::FALLOC_FL_KEEP_SIZE,
        mode & linux::FALLOC_FL_KEEP_SIZE != 0,
    ) {
        (0 | linux::FALLOC_FL_ZERO_RANGE | linux::FALLOC_FL_UNSHARE_RANGE, _)
        | (linux::FALLOC_FL_PUNCH_HOLE, true)
        | (linux::FALLOC_FL_COLLAPSE_RANGE | linux::FALLOC_FL_INSERT_RANGE, false) => Ok(()),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

/// fallocate(2)
pub fn fallocate(fd: usize, mode: usize, offset: usize, len: usize) -> SysResult {
    let open = opened(fd)?;
    let mode = mode as u32;
    if (offset as i64) < 0 || (len as i64) <= 0 {
        return Err(Errno::EINVAL);
    }
    check_allocation(mode)?;
    if !open.writable() {
        return Err(Errno::EBADF);
    }
    let Some(node) = open.file.node() else {
        let is_pipe = kind_of(&open.file.metadata()?) == linux::S_IFIFO;
        return Err(if is_pipe {
            Errno::ESPIPE
        } else {
            Errno::ENODEV
        });
    };
    let content = match &node.kind {
        Kind::Regular(content) => content,
        Kind::Directory(_) | Kind::Listing(..) => return Err(Errno::EISDIR),
        Kind::Fifo(_) => return Err(Errno::ESPIPE),
        Kind::Generated(_) => return Err(Errno::EOPNOTSUPP),
        _ => return Err(Errno::ENODEV),
    };
    let (offset, len) = (offset as u64, len as u64);
    if mode & (linux::FALLOC_FL_KEEP_SIZE | linux::FALLOC_FL_COLLAPSE_RANGE) == 0 {
        limit::may_grow(content.size(), offset.saturating_add(len))?;
    }
    content.allocate(mode, offset, len)?;
    node.written();
    open.notify(linux::IN_MODIFY);
    Ok(0)
}
