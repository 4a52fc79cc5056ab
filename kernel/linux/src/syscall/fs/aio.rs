//! Asynchronous transfers: io_setup(2) and its like. `IOCB_CMD_POLL` is missing.
use super::{
    control::sync_file,
    io::{Way, offset, read_as, write_as},
    opened,
    vectors::{Buffer, Memory, Vectors},
    wait::{after, mask},
};
use crate::{
    fs::{
        OpenFile,
        aio::{Context, Event},
        downcast,
        event::EventFd,
    },
    process,
    syscall::mm,
};
use abi::{Errno, SysResult};
use alloc::sync::Arc;
use machine::{
    mm::{PAGE, user},
    time::Instant,
};
use zerocopy::{FromBytes, IntoBytes};

/// `IOCB_CMD_*`
mod command {
    pub(super) const PREAD: u16 = 0;
    pub(super) const PWRITE: u16 = 1;
    pub(super) const FSYNC: u16 = 2;
    pub(super) const FDSYNC: u16 = 3;
    pub(super) const PREADV: u16 = 7;
    pub(super) const PWRITEV: u16 = 8;
}

/// `IOCB_FLAG_RESFD`: an eventfd is told.
const TELLS: u32 = 1;

/// `struct iocb`
#[repr(C)]
#[derive(FromBytes, IntoBytes)]
struct Request {
    data: u64,
    key: u32,
    flags_of_transfer: u32,
    command: u16,
    priority: u16,
    fd: u32,
    buf: usize,
    len: usize,
    offset: usize,
    reserved: u64,
    flags: u32,
    event_fd: u32,
}

/// `PROT_READ | PROT_WRITE`, `MAP_PRIVATE | MAP_ANONYMOUS`
const READ_WRITE: usize = 3;
const PRIVATE_ANONYMOUS: usize = 0x22;

fn wide(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// When a time-out is over, whose nanoseconds may be any; `None` is never.
fn until(timeout: usize) -> Result<Option<Instant>, Errno> {
    if timeout == 0 {
        return Ok(None);
    }
    let [seconds, ns]: [i64; 2] = user::read(timeout)?;
    let ns = seconds.saturating_mul(1_000_000_000).saturating_add(ns);
    Ok(after(u64::try_from(ns).unwrap_or(0)))
}

fn context(id: usize) -> Result<Arc<Context>, Errno> {
    process::with_current(|process| process.aio.get(id))
}

/// io_setup(2). The id is where a page is, as libraries look there for events; there are none, and no magic number.
pub fn io_setup(room: usize, id: usize) -> SysResult {
    let room = room & 0xffff_ffff;
    if user::read::<usize>(id)? != 0 || room == 0 || room > 0x1000_0000 {
        return Err(Errno::EINVAL);
    }
    let page = mm::mmap(0, PAGE, READ_WRITE, PRIVATE_ANONYMOUS, usize::MAX, 0)?;
    let add = || {
        process::with_current(|process| process.aio.add(page, room))?;
        user::write(id, &page).inspect_err(|_| {
            let _ = process::with_current(|process| process.aio.remove(page));
        })
    };
    let added = add();
    if added.is_err() {
        mm::munmap(page, PAGE)?;
    }
    added.map(|()| 0)
}

/// io_destroy(2)
pub fn io_destroy(id: usize) -> SysResult {
    process::with_current(|process| process.aio.remove(id))?;
    mm::munmap(id, PAGE)
}

/// io_submit(2): how many of the requests there are at `requests` were taken.
pub fn io_submit(id: usize, count: usize, requests: usize) -> SysResult {
    let context = context(id)?;
    if isize::try_from(count).is_err() {
        return Err(Errno::EINVAL);
    }
    for index in 0..count {
        let at = requests.wrapping_add(index * size_of::<usize>());
        let taken = user::read(at).and_then(|request| take(&context, request));
        match taken {
            Ok(()) => {}
            Err(error) if index == 0 => return Err(error),
            Err(_) => return Ok(index),
        }
    }
    Ok(count)
}

/// Takes a request, and does what it asks for.
fn take(context: &Context, at: usize) -> Result<(), Errno> {
    let request: Request = user::read(at)?;
    if request.reserved != 0 {
        return Err(Errno::EINVAL);
    }
    context.promise()?;
    match perform(&request, at) {
        Ok((result, told)) => {
            context.complete(Event {
                data: request.data,
                request: at,
                result: match result {
                    Ok(done) => i64::try_from(done).unwrap_or(i64::MAX),
                    Err(error) => -i64::from(error.0),
                },
                result2: 0,
            });
            if let Some(told) = told {
                // A counter that is full is not told.
                let _ = told.file.write(0, &1_u64.to_le_bytes(), true);
            }
            Ok(())
        }
        Err(refused) => {
            context.take_back();
            Err(refused)
        }
    }
}

/// What comes of a request, and the eventfd that is to be told; an error if it is refused.
fn perform(request: &Request, at: usize) -> Result<(SysResult, Option<Arc<OpenFile>>), Errno> {
    let open = opened(wide(request.fd))?;
    let told = match request.flags & TELLS != 0 {
        true => Some(opened(wide(request.event_fd))?),
        false => None,
    };
    if told
        .as_ref()
        .is_some_and(|told| downcast::<EventFd>(&*told.file).is_none())
    {
        return Err(Errno::EINVAL);
    }
    user::write(at.wrapping_add(8), &0_u32)?; // aio_key
    let result = match request.command {
        command::PREAD => read(&open, request, buffer(request)?)?,
        command::PREADV => read(&open, request, Vectors::read(request.buf, request.len)?)?,
        command::PWRITE => write(&open, request, buffer(request)?)?,
        command::PWRITEV => write(&open, request, Vectors::read(request.buf, request.len)?)?,
        command::FSYNC | command::FDSYNC => {
            let is_plain = request.buf == 0 && request.len == 0 && request.offset == 0;
            if !is_plain || request.flags_of_transfer != 0 {
                return Err(Errno::EINVAL);
            }
            sync_file(wide(request.fd), request.command == command::FDSYNC)
        }
        _ => return Err(Errno::EINVAL),
    };
    Ok((result, told))
}

/// The memory of a request, which is refused if it cannot be the program's.
fn buffer(request: &Request) -> Result<Buffer, Errno> {
    let buffer = Buffer::new(request.buf, request.len)?;
    user::check_address(request.buf, buffer.left())?;
    Ok(buffer)
}

/// Where and how a request transfers.
fn way(open: &OpenFile, request: &Request) -> Result<(Option<u64>, Way), Errno> {
    let at = offset(request.offset)?.filter(|_| open.file.seekable());
    Ok((at, Way::with(open, wide(request.flags_of_transfer))?))
}

fn read(open: &OpenFile, request: &Request, to: impl Memory) -> Result<SysResult, Errno> {
    let (at, way) = way(open, request)?;
    match open.readable() {
        true => Ok(read_as(open, to, at, way)),
        false => Err(Errno::EBADF),
    }
}

fn write(open: &OpenFile, request: &Request, from: impl Memory) -> Result<SysResult, Errno> {
    let (at, way) = way(open, request)?;
    match open.writable() {
        true => Ok(write_as(open, from, at, way)),
        false => Err(Errno::EBADF),
    }
}

/// io_cancel(2): nothing is ever under way.
pub fn io_cancel(id: usize, request: usize, _event: usize) -> SysResult {
    let _: u32 = user::read(request.wrapping_add(8))?;
    context(id)?;
    Err(Errno::EINVAL)
}

fn events(id: usize, least: usize, most: usize, to: usize, until: Option<Instant>) -> SysResult {
    let context = context(id)?;
    if least > most || isize::try_from(most).is_err() {
        return Err(Errno::EINVAL);
    }
    let taken = context.take(least, most, until)?;
    user::copy_out(to, taken.as_bytes())?;
    Ok(taken.len())
}

/// io_getevents(2)
pub fn io_getevents(id: usize, least: usize, most: usize, to: usize, timeout: usize) -> SysResult {
    let until = until(timeout)?;
    events(id, least, most, to, until)
}

/// io_pgetevents(2)
pub fn io_pgetevents(
    id: usize,
    least: usize,
    most: usize,
    to: usize,
    timeout: usize,
    signals: usize,
) -> SysResult {
    let until = until(timeout)?;
    let mask = match signals {
        0 => None,
        _ => {
            let [set, size]: [usize; 2] = user::read(signals)?;
            mask(set, size)?
        }
    };
    process::signal::with_mask(mask, || events(id, least, most, to, until))
}
