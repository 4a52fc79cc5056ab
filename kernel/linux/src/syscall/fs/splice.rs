//! splice(2), tee(2) and vmsplice(2): between pipes and other files. Bytes are copied, so gifts of pages are plain
//! writes.
use super::{
    io::{advanced, positioned, raise_sigpipe, store_offset, stored_offset, was_read},
    limit, opened, readv,
    vectors::buffer,
    writev,
};
use crate::fs::{File, OpenFile, downcast, pipe::End};
use abi::{Errno, SysResult};
use linux_raw_sys::general as linux;

const NONBLOCK: usize = 2;
/// `SPLICE_F_MOVE`, `NONBLOCK`, `MORE`, `GIFT`.
const KNOWN: usize = 15;

fn check_flags(flags: usize) -> Result<bool, Errno> {
    if flags & 0xffff_ffff & !KNOWN != 0 {
        return Err(Errno::EINVAL);
    }
    Ok(flags & NONBLOCK != 0)
}

/// From a pipe to another file.
fn from_pipe(pipe: &End, to: &OpenFile, at: Option<u64>, len: usize, nonblock: bool) -> SysResult {
    let mut buf = buffer(len)?;
    let got = pipe.take(&mut buf, nonblock)?;
    let mut done = 0;
    while done < got {
        let written = positioned(to, advanced(at, done), |at| {
            let len = limit::may_write(to, Some(at), got - done, done > 0)?;
            to.file.write(at, &buf[done..done + len], to.nonblocking())
        });
        match written {
            Ok(len) => done += len,
            Err(error) => {
                pipe.unread(&buf[done..got]);
                return if done > 0 {
                    to.written(done, 0)
                } else {
                    Err(raise_sigpipe(error))
                };
            }
        }
    }
    to.written(done, 0)
}

/// From another file to a pipe: as much as the pipe has room for.
fn to_pipe(from: &OpenFile, at: Option<u64>, pipe: &End, len: usize, nonblock: bool) -> SysResult {
    let room = pipe.room(nonblock).map_err(raise_sigpipe)?;
    let mut buf = buffer(len.min(room))?;
    let mut done = 0;
    while done < len.min(room) {
        let want = buf.len().min(len.min(room) - done);
        let wait = from.nonblocking() || !from.file.seekable() && done > 0;
        let got = positioned(from, advanced(at, done), |at| {
            from.file.read(at, &mut buf[..want], wait)
        });
        let got = match got {
            Ok(0) => break,
            Ok(got) => got,
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        };
        done += pipe.give(&buf[..got], false).map_err(raise_sigpipe)?;
        if got < want {
            break;
        }
    }
    was_read(from, done);
    Ok(done)
}

/// splice(2)
pub fn splice(
    from: usize,
    from_at: usize,
    to: usize,
    to_at: usize,
    len: usize,
    flags: usize,
) -> SysResult {
    if len == 0 {
        return Ok(0);
    }
    let nonblock = check_flags(flags)?;
    let (from, to) = (opened(from)?, opened(to)?);
    if !from.readable() || !to.writable() {
        return Err(Errno::EBADF);
    }
    let pipes: (Option<&End>, Option<&End>) = (downcast(&*from.file), downcast(&*to.file));
    if pipes.0.is_some() && from_at != 0 || pipes.1.is_some() && to_at != 0 {
        return Err(Errno::ESPIPE);
    }
    let seeks = |open: &OpenFile, at| at == 0 || open.file.seekable();
    if !seeks(&from, from_at) || !seeks(&to, to_at) {
        return Err(Errno::EINVAL);
    }
    if to.flags() & linux::O_APPEND != 0 && pipes.1.is_none() {
        return Err(Errno::EINVAL);
    }
    let (start, end) = (stored_offset(from_at)?, stored_offset(to_at)?);
    let nonblock = |pipe: &OpenFile| nonblock || pipe.nonblocking();
    let done = match pipes {
        (Some(one), Some(other)) if one.is_same(other) => return Err(Errno::EINVAL),
        (Some(one), Some(other)) => {
            let room = other
                .room(nonblock(&to) || nonblock(&from))
                .map_err(raise_sigpipe)?;
            let mut buf = buffer(len.min(room))?;
            let got = one.take(&mut buf, nonblock(&from) || nonblock(&to))?;
            other.give(&buf[..got], false).map_err(raise_sigpipe)?
        }
        (Some(pipe), None) => from_pipe(pipe, &to, end, len, nonblock(&from))?,
        (None, Some(pipe)) => to_pipe(&from, start, pipe, len, nonblock(&to))?,
        (None, None) => return Err(Errno::EINVAL),
    };
    store_offset(from_at, start, done)?;
    store_offset(to_at, end, done)?;
    Ok(done)
}

/// tee(2)
pub fn tee(from: usize, to: usize, len: usize, flags: usize) -> SysResult {
    let nonblock = check_flags(flags)?;
    if len == 0 {
        return Ok(0);
    }
    let (from, to) = (opened(from)?, opened(to)?);
    if !from.readable() || !to.writable() {
        return Err(Errno::EBADF);
    }
    let pipes: (Option<&End>, Option<&End>) = (downcast(&*from.file), downcast(&*to.file));
    let (Some(one), Some(other)) = pipes else {
        return Err(Errno::EINVAL);
    };
    if one.is_same(other) {
        return Err(Errno::EINVAL);
    }
    let nonblock = nonblock || from.nonblocking() || to.nonblocking();
    let room = other.room(nonblock).map_err(raise_sigpipe)?;
    let mut buf = buffer(len.min(room))?;
    let got = one.look(&mut buf, nonblock)?;
    other.give(&buf[..got], false).map_err(raise_sigpipe)
}

/// vmsplice(2)
pub fn vmsplice(fd: usize, vectors: usize, count: usize, flags: usize) -> SysResult {
    check_flags(flags)?;
    let open = opened(fd)?;
    if downcast::<End>(&*open.file).is_none() {
        return Err(Errno::EBADF);
    }
    if open.writable() {
        writev(fd, vectors, count)
    } else {
        readv(fd, vectors, count)
    }
}
