//! Reading and writing.
use super::{
    limit, opened,
    vectors::{Buffer, Memory, Vectors, buffer, with_buffer},
    words,
};
use crate::{
    fs::{Cached, OpenFile, Pages},
    process::{LinuxThread, signal::send_current, transfers::Counters},
};
use abi::{Errno, SysResult};
use alloc::sync::Arc;
use linux_raw_sys::general as linux;
use machine::{mm::PAGE, sched};

/// The offset after so many bytes from `at` on.
fn after(at: u64, done: usize) -> u64 {
    at.saturating_add(done as u64)
}

/// Sends the caller `SIGPIPE` for an `EPIPE`.
pub(in crate::syscall) fn raise_sigpipe(error: Errno) -> Errno {
    if error == Errno::EPIPE {
        send_current(linux::SIGPIPE as i32);
    }
    error
}

/// Runs `f` at `at`, or at the position, which moves on.
#[inline]
pub(super) fn positioned(
    open: &OpenFile,
    at: Option<u64>,
    f: impl FnOnce(u64) -> SysResult,
) -> SysResult {
    match at {
        Some(at) => {
            check_seekable(open, Some(at))?;
            f(at)
        }
        None if !open.file.seekable() => f(0),
        None => {
            let mut position = open.offset.lock();
            let len = f(*position)?;
            *position += len as u64;
            Ok(len)
        }
    }
}

/// How one call reads or writes.
#[derive(Clone, Copy)]
pub(super) struct Way {
    /// `O_NONBLOCK`, or `RWF_NOWAIT`.
    nonblock: bool,
    /// `O_APPEND`, or `RWF_APPEND`.
    append: bool,
    /// The flags of preadv2(2) and pwritev2(2).
    flags: u32,
}

impl Way {
    /// As the file was opened.
    fn of(open: &OpenFile) -> Self {
        Self {
            nonblock: open.nonblocking(),
            append: open.flags() & linux::O_APPEND != 0,
            flags: 0,
        }
    }

    /// With the flags of preadv2(2) and pwritev2(2); `EOPNOTSUPP` for unknown ones.
    pub(super) fn with(open: &OpenFile, flags: usize) -> Result<Self, Errno> {
        const KNOWN: u32 = linux::RWF_HIPRI
            | linux::RWF_DSYNC
            | linux::RWF_SYNC
            | linux::RWF_NOWAIT
            | linux::RWF_APPEND;
        let flags = flags as u32;
        if flags & !KNOWN != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let way = Self::of(open);
        Ok(Self {
            nonblock: way.nonblock || flags & linux::RWF_NOWAIT != 0,
            append: way.append || flags & linux::RWF_APPEND != 0,
            flags,
        })
    }
}

/// Counts a call that has come to `result`, for the calling thread.
fn counted(how: impl FnOnce(&Counters, usize), result: SysResult) {
    let bytes = result.unwrap_or(0);
    sched::with_current(|thread| how(&thread.linux().transfers, bytes));
}

/// After `len` bytes were read: tells who watches the file.
#[inline]
pub(super) fn was_read(open: &OpenFile, len: usize) {
    if len > 0 {
        open.notify(linux::IN_ACCESS);
    }
}

/// `ESPIPE` for an offset in what has none, which Linux says before it looks at how it was opened.
fn check_seekable(open: &OpenFile, at: Option<u64>) -> Result<(), Errno> {
    match at {
        Some(_) if !open.file.seekable() => Err(Errno::ESPIPE),
        _ => Ok(()),
    }
}

fn read_to(open: &OpenFile, to: impl Memory, at: Option<u64>) -> SysResult {
    read_as(open, to, at, Way::of(open))
}

pub(super) fn read_as(open: &OpenFile, to: impl Memory, at: Option<u64>, way: Way) -> SysResult {
    check_seekable(open, at)?;
    if !open.readable() {
        return Err(Errno::EBADF);
    }
    let result = transfer_in(open, to, at, way);
    counted(Counters::read, result);
    was_read(open, result.unwrap_or(0));
    result
}

#[inline]
fn transfer_in(open: &OpenFile, mut to: impl Memory, at: Option<u64>, way: Way) -> SysResult {
    positioned(open, at, |at| {
        let mut done = 0;
        while to.left() > 0 {
            let (offset, mut pages) = (after(at, done), Pages::new());
            let len = match open.file.cached(offset, to.left(), &mut pages) {
                Cached::Bytes(len) => len,
                Cached::End => return Ok(done),
                Cached::No => break,
            };
            let good = to.put_pages(&pages, offset as usize % PAGE, len);
            done += good;
            if good < len && done == 0 {
                return Err(Errno::EFAULT);
            }
            if good < len || to.left() == 0 {
                return Ok(done);
            }
        }
        with_buffer(to.left(), |buf| {
            loop {
                let want = to.left().min(buf.len());
                // What a stream has given must not wait for more.
                let nonblock = way.nonblock || done > 0 && !open.file.seekable();
                let offset = after(at, done);
                let len = match open.file.read(offset, &mut buf[..want], nonblock) {
                    Ok(len) => len,
                    Err(_) if done > 0 => break,
                    Err(error) => return Err(error),
                };
                let mut good = to.put(&buf[..len]);
                // As if it had not been read, the part that was handed on included.
                if good < len && open.file.unread(&buf[..len]) {
                    good = 0;
                }
                done += good;
                if good < len && done == 0 {
                    return Err(Errno::EFAULT);
                }
                if len < want || good < len || to.left() == 0 {
                    break;
                }
            }
            Ok(done)
        })
    })
}

fn write_from(open: &OpenFile, from: impl Memory, at: Option<u64>) -> SysResult {
    write_as(open, from, at, Way::of(open))
}

pub(super) fn write_as(open: &OpenFile, from: impl Memory, at: Option<u64>, way: Way) -> SysResult {
    check_seekable(open, at)?;
    if !open.writable() {
        return Err(Errno::EBADF);
    }
    let result = transfer_out(open, from, at, way);
    counted(Counters::written, result);
    result
}

#[inline]
fn transfer_out(open: &OpenFile, mut from: impl Memory, at: Option<u64>, way: Way) -> SysResult {
    let append = way.append && open.file.seekable();
    let mut end = None;
    let result = positioned(open, at, |at| {
        with_buffer(from.left(), |buf| {
            let mut done = 0;
            loop {
                let want = from.left().min(buf.len());
                let got = from.get(&mut buf[..want]);
                if got == 0 && want > 0 {
                    return if done > 0 {
                        Ok(done)
                    } else {
                        Err(Errno::EFAULT)
                    };
                }
                let offset = after(at, done);
                let place = (!append).then_some(offset);
                let got = match limit::may_write(open, place, got, done > 0) {
                    Err(_) if done > 0 => break,
                    got => got?,
                };
                let result = if append {
                    open.file.append(&buf[..got]).map(|(len, after)| {
                        end = Some(after);
                        len
                    })
                } else {
                    open.file.write(offset, &buf[..got], way.nonblock)
                };
                let len = match result {
                    Ok(len) => len,
                    Err(_) if done > 0 => break,
                    Err(error) => return Err(raise_sigpipe(error)),
                };
                done += len;
                if len < want || from.left() == 0 {
                    break;
                }
            }
            Ok(done)
        })
    });
    if let (Some(end), None) = (end, at) {
        *open.offset.lock() = end;
    }
    open.written(result?, way.flags)
}

pub(super) fn offset(value: usize) -> Result<Option<u64>, Errno> {
    if (value as i64) < 0 {
        return Err(Errno::EINVAL);
    }
    Ok(Some(value as u64))
}

/// read(2)
pub fn read(fd: usize, buf: usize, count: usize) -> SysResult {
    read_to(&*opened(fd)?, Buffer::new(buf, count)?, None)
}
/// write(2)
pub fn write(fd: usize, buf: usize, count: usize) -> SysResult {
    write_from(&*opened(fd)?, Buffer::new(buf, count)?, None)
}
/// pread(2)
pub fn pread64(fd: usize, buf: usize, count: usize, at: usize) -> SysResult {
    read_to(&*opened(fd)?, Buffer::new(buf, count)?, offset(at)?)
}
/// pwrite(2)
pub fn pwrite64(fd: usize, buf: usize, count: usize, at: usize) -> SysResult {
    write_from(&*opened(fd)?, Buffer::new(buf, count)?, offset(at)?)
}
/// readv(2)
pub fn readv(fd: usize, vectors: usize, count: usize) -> SysResult {
    read_to(&*opened(fd)?, Vectors::read(vectors, count)?, None)
}
/// writev(2)
pub fn writev(fd: usize, vectors: usize, count: usize) -> SysResult {
    write_from(&*opened(fd)?, Vectors::read(vectors, count)?, None)
}
/// preadv(2); the offset's high half is in the low argument on 64-bit machines.
pub fn preadv(fd: usize, vectors: usize, count: usize, at: usize) -> SysResult {
    read_to(&*opened(fd)?, Vectors::read(vectors, count)?, offset(at)?)
}
/// pwritev(2)
pub fn pwritev(fd: usize, vectors: usize, count: usize, at: usize) -> SysResult {
    write_from(&*opened(fd)?, Vectors::read(vectors, count)?, offset(at)?)
}
/// The offset of preadv2(2) and pwritev2(2); -1 is the position.
fn offset_or_position(at: usize) -> Result<Option<u64>, Errno> {
    match at {
        usize::MAX => Ok(None),
        at => offset(at),
    }
}

/// preadv2(2)
pub fn preadv2(
    fd: usize,
    vectors: usize,
    count: usize,
    at: usize,
    _high: usize,
    flags: usize,
) -> SysResult {
    let (at, open) = (offset_or_position(at)?, opened(fd)?);
    let to = Vectors::read(vectors, count)?;
    read_as(&open, to, at, Way::with(&open, flags)?)
}
/// pwritev2(2)
pub fn pwritev2(
    fd: usize,
    vectors: usize,
    count: usize,
    at: usize,
    _high: usize,
    flags: usize,
) -> SysResult {
    let (at, open) = (offset_or_position(at)?, opened(fd)?);
    let from = Vectors::read(vectors, count)?;
    write_as(&open, from, at, Way::with(&open, flags)?)
}

/// An offset after so many bytes.
pub(super) fn advanced(at: Option<u64>, done: usize) -> Option<u64> {
    at.map(|at| after(at, done))
}

/// Copies from a seekable file to another, at given offsets or the positions.
fn transfer(
    from: &OpenFile,
    from_at: Option<u64>,
    to: &OpenFile,
    to_at: Option<u64>,
    count: usize,
) -> SysResult {
    if !from.readable() || !to.writable() {
        return Err(Errno::EBADF);
    }
    let result = copy(from, from_at, to, to_at, count);
    counted(Counters::read, result);
    counted(Counters::written, result);
    was_read(from, result.unwrap_or(0));
    result
}

/// The source's position is not locked meanwhile: two locks at once could deadlock with a copy the other way.
fn copy(
    from: &OpenFile,
    from_at: Option<u64>,
    to: &OpenFile,
    to_at: Option<u64>,
    count: usize,
) -> SysResult {
    let begin = from_at.unwrap_or_else(|| *from.offset.lock());
    let mut buf = buffer(count)?;
    let mut done = 0;
    let mut step = |done: usize| -> SysResult {
        let want = (count - done).min(buf.len());
        let at = after(begin, done);
        let got = from.file.read(at, &mut buf[..want], false)?;
        if got == 0 {
            return Ok(0);
        }
        positioned(to, advanced(to_at, done), |at| {
            let got = limit::may_write(to, Some(at), got, done > 0)?;
            to.file.write(at, &buf[..got], to.nonblocking())
        })
    };
    while done < count {
        match step(done) {
            Ok(0) => break,
            Ok(len) => done += len,
            Err(_) if done > 0 => break,
            Err(error) => return Err(raise_sigpipe(error)),
        }
    }
    if from_at.is_none() {
        *from.offset.lock() = after(begin, done);
    }
    to.written(done, 0)
}

/// An offset in memory that is read, and written back moved on.
pub(super) fn stored_offset(addr: usize) -> Result<Option<u64>, Errno> {
    if addr == 0 {
        return Ok(None);
    }
    let [at] = words(addr)?;
    offset(at as usize)
}

pub(super) fn store_offset(addr: usize, at: Option<u64>, len: usize) -> Result<(), Errno> {
    match at {
        Some(at) => super::put_words(addr, [at + len as u64]),
        None => Ok(()),
    }
}

/// sendfile(2)
pub fn sendfile(to: usize, from: usize, at: usize, count: usize) -> SysResult {
    let (from, to) = (opened(from)?, opened(to)?);
    if !from.readable() || !to.writable() {
        return Err(Errno::EBADF);
    }
    if !from.file.seekable() {
        return Err(Errno::EINVAL);
    }
    if Arc::ptr_eq(&from, &to) || to.flags() & linux::O_APPEND != 0 {
        return Err(Errno::EINVAL);
    }
    let start = stored_offset(at)?;
    let len = transfer(&from, start, &to, None, count)?;
    store_offset(at, start, len)?;
    Ok(len)
}

/// copy_file_range(2)
pub fn copy_file_range(
    from: usize,
    from_at: usize,
    to: usize,
    to_at: usize,
    count: usize,
    flags: usize,
) -> SysResult {
    let (from, to) = (opened(from)?, opened(to)?);
    let regular = |open: &OpenFile| {
        let mode = open.file.metadata()?.mode;
        match mode & linux::S_IFMT {
            linux::S_IFREG => Ok(()),
            linux::S_IFDIR => Err(Errno::EISDIR),
            _ => Err(Errno::EINVAL),
        }
    };
    let (from_start, to_start) = (stored_offset(from_at)?, stored_offset(to_at)?);
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    regular(&from)?;
    regular(&to)?;
    if !from.readable() || !to.writable() || to.flags() & linux::O_APPEND != 0 {
        return Err(Errno::EBADF);
    }
    let start = |open: &OpenFile, at: Option<u64>| at.unwrap_or_else(|| *open.offset.lock());
    let (first, target) = (start(&from, from_start), start(&to, to_start));
    let left = from.file.metadata()?.size.saturating_sub(first);
    let count = usize::try_from(left).map_or(count, |left| left.min(count));
    let same = (from.file.node().zip(to.file.node())).is_some_and(|(a, b)| Arc::ptr_eq(a, b));
    if same && usize::try_from(first.abs_diff(target)).is_ok_and(|apart| apart < count) {
        return Err(Errno::EINVAL);
    }
    if count == 0 {
        return Ok(0);
    }
    let len = transfer(&from, from_start, &to, to_start, count)?;
    store_offset(from_at, from_start, len)?;
    store_offset(to_at, to_start, len)?;
    Ok(len)
}
