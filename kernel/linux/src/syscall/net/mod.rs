//! System calls on sockets: argument checking and conversion; the work is done in [`crate::net`].
mod control;
mod message;
mod options;

pub use message::*;
pub use options::*;

use super::fs::{install, make::install_pair, opened};
use crate::{
    fs::{File, OpenFile, downcast},
    net::{
        self,
        address::{self, Address},
        sock::Kind,
        socket::Socket,
    },
};
use abi::{Errno, SysResult};
use alloc::{sync::Arc, vec};
use linux_raw_sys::general as linux;
use machine::mm::user;

/// Of the arguments, which are `int`: the lower half.
fn int(argument: usize) -> u32 {
    argument as u32
}

/// Type and flags of a new socket.
fn kind(argument: usize) -> Result<(Kind, u32), Errno> {
    let argument = int(argument);
    let flags = argument & (linux::O_CLOEXEC | linux::O_NONBLOCK);
    let kind = match argument & !flags {
        1 => Kind::Stream,
        2 => Kind::Datagram,
        3 => Kind::Raw,
        5 => Kind::SeqPacket,
        0 | 4 | 6..=10 => return Err(Errno::ESOCKTNOSUPPORT),
        _ => return Err(Errno::EINVAL),
    };
    Ok((kind, flags))
}

fn family(argument: usize) -> Result<u16, Errno> {
    u16::try_from(int(argument)).map_err(|_| Errno::EAFNOSUPPORT)
}

fn described(socket: Arc<Socket>, flags: u32) -> Arc<OpenFile> {
    OpenFile::new(socket, linux::O_RDWR | flags & linux::O_NONBLOCK)
}

/// socket(2)
pub fn socket(domain: usize, kind_and_flags: usize, protocol: usize) -> SysResult {
    let family = family(domain)?;
    let (kind, flags) = kind(kind_and_flags)?;
    let socket = net::create(family, kind, int(protocol))?;
    install(described(socket, flags), flags & linux::O_CLOEXEC != 0)
}

/// socketpair(2)
pub fn socketpair(domain: usize, kind_and_flags: usize, protocol: usize, fds: usize) -> SysResult {
    let family = family(domain)?;
    let (kind, flags) = kind(kind_and_flags)?;
    let [one, two] = net::pair(family, kind, int(protocol))?;
    let (one, two) = (described(one, flags), described(two, flags));
    install_pair(fds, one, two, flags & linux::O_CLOEXEC != 0)
}

/// Runs `f` on a socket; `ENOTSOCK`.
fn with_socket<R>(
    fd: usize,
    f: impl FnOnce(&OpenFile, &Socket) -> Result<R, Errno>,
) -> Result<R, Errno> {
    let open = opened(fd)?;
    let socket = downcast::<Socket>(&*open.file).ok_or(Errno::ENOTSOCK)?;
    f(&open, socket)
}

/// An address in the program's memory.
fn address_from(at: usize, len: usize) -> Result<Address, Errno> {
    let len = usize::try_from(int(len).cast_signed()).map_err(|_| Errno::EINVAL)?;
    if len > address::MOST {
        return Err(Errno::EINVAL);
    }
    let mut raw = vec![0; len];
    user::copy_in(at, &mut raw)?;
    Address::parse(&raw)
}

/// Tells an address: what fits, and how long it is.
fn address_to(address: &Address, at: usize, len_at: usize) -> Result<(), Errno> {
    let mut room = [0; 4];
    user::copy_in(len_at, &mut room)?;
    let room = usize::try_from(i32::from_le_bytes(room)).map_err(|_| Errno::EINVAL)?;
    let raw = address.bytes();
    user::copy_out(at, &raw[..room.min(raw.len())])?;
    let len = u32::try_from(raw.len()).unwrap_or(0);
    user::copy_out(len_at, &len.to_le_bytes())
}

/// bind(2)
pub fn bind(fd: usize, addr: usize, len: usize) -> SysResult {
    with_socket(fd, |_, socket| socket.bind(&address_from(addr, len)?))?;
    Ok(0)
}

/// connect(2)
pub fn connect(fd: usize, addr: usize, len: usize) -> SysResult {
    with_socket(fd, |open, socket| {
        socket.connect(&address_from(addr, len)?, open.nonblocking())
    })?;
    Ok(0)
}

/// listen(2)
pub fn listen(fd: usize, backlog: usize) -> SysResult {
    // A negative number is a large one.
    let backlog = usize::try_from(int(backlog)).unwrap_or(usize::MAX);
    with_socket(fd, |_, socket| socket.listen(backlog.min(4096)))?;
    Ok(0)
}

/// accept(2)
pub fn accept(fd: usize, addr: usize, addr_len: usize) -> SysResult {
    accept4(fd, addr, addr_len, 0)
}

/// accept4(2)
pub fn accept4(fd: usize, addr: usize, addr_len: usize, flags: usize) -> SysResult {
    let flags = int(flags);
    if flags & !(linux::O_CLOEXEC | linux::O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    let accepted = with_socket(fd, |open, socket| socket.accept(open.nonblocking()))?;
    if addr != 0 {
        let peer = accepted.protocol.peer().unwrap_or(Address::Unspecified);
        address_to(&peer, addr, addr_len).inspect_err(|_| accepted.release())?;
    }
    install(described(accepted, flags), flags & linux::O_CLOEXEC != 0)
}

/// shutdown(2)
pub fn shutdown(fd: usize, how: usize) -> SysResult {
    with_socket(fd, |_, socket| {
        let (receiving, sending) = match int(how) {
            0 => (true, false),
            1 => (false, true),
            2 => (true, true),
            _ => return Err(Errno::EINVAL),
        };
        socket.protocol.shutdown(receiving, sending)
    })?;
    Ok(0)
}

/// getsockname(2)
pub fn getsockname(fd: usize, addr: usize, addr_len: usize) -> SysResult {
    with_socket(fd, |_, socket| {
        address_to(&socket.protocol.local(), addr, addr_len)
    })?;
    Ok(0)
}

/// getpeername(2)
pub fn getpeername(fd: usize, addr: usize, addr_len: usize) -> SysResult {
    with_socket(fd, |_, socket| {
        address_to(&socket.protocol.peer()?, addr, addr_len)
    })?;
    Ok(0)
}
