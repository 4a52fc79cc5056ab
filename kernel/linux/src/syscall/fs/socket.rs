//! Socket pairs. Any other socket is `EAFNOSUPPORT`: there is no network.
use super::{
    make::install_pair,
    opened,
    vectors::{CHUNK, Vectors, buffer, zeroed},
    words,
};
use crate::{
    fs::{
        OpenFile, downcast,
        socket::{self, Kind, Maker, Socket},
    },
    process::{self, credentials},
};
use abi::{Errno, SysResult};
use core::sync::atomic::Ordering;
use linux_raw_sys::general as linux;
use machine::mm::user;

const AF_UNIX: u32 = 1;
const SOL_SOCKET: u32 = 1;
const SO_TYPE: u32 = 3;
const SO_ERROR: u32 = 4;
const SO_SNDBUF: u32 = 7;
const SO_RCVBUF: u32 = 8;
const SO_PEERCRED: u32 = 17;
const SO_RCVTIMEO: u32 = 20;
const SO_SNDTIMEO: u32 = 21;
const SO_ACCEPTCONN: u32 = 30;
const SO_PROTOCOL: u32 = 38;
const SO_DOMAIN: u32 = 39;
const MSG_PEEK: u32 = 2;
const MSG_TRUNC: u32 = 0x20;
const MSG_DONTWAIT: u32 = 0x40;
const MSG_WAITALL: u32 = 0x100;
const MSG_NOSIGNAL: u32 = 0x4000;

/// socket(2)
pub fn socket(_domain: usize, _kind: usize, _protocol: usize) -> SysResult {
    Err(Errno::EAFNOSUPPORT)
}

/// socketpair(2)
pub fn socketpair(domain: usize, kind: usize, protocol: usize, fds: usize) -> SysResult {
    if domain as u32 != AF_UNIX {
        return Err(Errno::EAFNOSUPPORT);
    }
    let kind = kind as u32;
    let flags = kind & (linux::O_CLOEXEC | linux::O_NONBLOCK);
    let kind = match kind & !flags {
        1 => Kind::Stream,
        2 => Kind::Datagram,
        5 => Kind::SeqPacket,
        0..=5 => return Err(Errno::ESOCKTNOSUPPORT),
        _ => return Err(Errno::EINVAL),
    };
    if protocol as u32 > 1 {
        return Err(Errno::EPROTONOSUPPORT);
    }
    let status = linux::O_RDWR | flags & linux::O_NONBLOCK;
    let credentials = credentials::current();
    let maker = Maker {
        pid: process::with_current(|process| process.pid),
        uid: credentials.user.effective,
        gid: credentials.group.effective,
    };
    let (one, two) = socket::pair(kind, maker);
    install_pair(
        fds,
        OpenFile::new(one, status),
        OpenFile::new(two, status),
        flags & linux::O_CLOEXEC != 0,
    )
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

fn send(fd: usize, mut from: Vectors, flags: u32) -> SysResult {
    with_socket(fd, |open, socket| {
        let nonblock = open.nonblocking() || flags & MSG_DONTWAIT != 0;
        let raise = |error| {
            if flags & MSG_NOSIGNAL != 0 {
                error
            } else {
                OpenFile::raise(error)
            }
        };
        if socket.kind() != Kind::Stream {
            if from.left() > CHUNK {
                return Err(Errno::EMSGSIZE);
            }
            let mut buf = zeroed(from.left())?;
            if from.get(&mut buf) < buf.len() {
                return Err(Errno::EFAULT);
            }
            return socket.send_message(&buf, nonblock).map_err(raise);
        }
        let mut buf = buffer(from.left())?;
        let mut done = 0;
        while from.left() > 0 {
            let want = from.left().min(buf.len());
            let got = from.get(&mut buf[..want]);
            if got == 0 {
                return if done > 0 {
                    Ok(done)
                } else {
                    Err(Errno::EFAULT)
                };
            }
            match socket.send(&buf[..got], nonblock) {
                Ok(len) => {
                    done += len;
                    if len < want {
                        break;
                    }
                }
                Err(_) if done > 0 => break,
                Err(error) => return Err(raise(error)),
            }
        }
        Ok(done)
    })
}

/// The result of the call, and whether a message did not fit.
fn receive(fd: usize, mut to: Vectors, flags: u32) -> Result<(usize, bool), Errno> {
    with_socket(fd, |open, socket| {
        let nonblock = open.nonblocking() || flags & MSG_DONTWAIT != 0;
        let peek = flags & MSG_PEEK != 0;
        if socket.kind() != Kind::Stream {
            let mut buf = zeroed(to.left().min(CHUNK))?;
            let (stored, len) = socket.receive_message(&mut buf, nonblock, peek)?;
            if to.put(&buf[..stored]) < stored {
                return Err(Errno::EFAULT);
            }
            let result = if flags & MSG_TRUNC == 0 { stored } else { len };
            return Ok((result, stored < len));
        }
        let mut buf = buffer(to.left())?;
        let mut done = 0;
        while to.left() > 0 {
            let want = to.left().min(buf.len());
            let later = done > 0 && flags & MSG_WAITALL == 0;
            let len = match socket.receive(&mut buf[..want], nonblock || later, peek) {
                Ok(len) => len,
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            };
            let good = to.put(&buf[..len]);
            done += good;
            if good < len && done == 0 {
                return Err(Errno::EFAULT);
            }
            let more = flags & MSG_WAITALL != 0 && len > 0;
            if good < len || peek || len < want && !more {
                break;
            }
        }
        Ok((done, false))
    })
}

/// sendto(2)
pub fn sendto(
    fd: usize,
    buf: usize,
    len: usize,
    flags: usize,
    addr: usize,
    _addr_len: usize,
) -> SysResult {
    if addr != 0 {
        return with_socket(fd, |_, _| Err(Errno::EISCONN));
    }
    send(fd, Vectors::single(buf, len)?, flags as u32)
}

/// recvfrom(2)
pub fn recvfrom(
    fd: usize,
    buf: usize,
    len: usize,
    flags: usize,
    _addr: usize,
    addr_len: usize,
) -> SysResult {
    let (len, _) = receive(fd, Vectors::single(buf, len)?, flags as u32)?;
    if addr_len != 0 {
        user::copy_out(addr_len, &[0; 4])?;
    }
    Ok(len)
}

/// sendmsg(2); ancillary data is refused.
pub fn sendmsg(fd: usize, message: usize, flags: usize) -> SysResult {
    let [name, _, vectors, count, _, control_len] = words(message)?;
    if control_len != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    if name != 0 {
        return with_socket(fd, |_, _| Err(Errno::EISCONN));
    }
    let from = Vectors::read(vectors as usize, count as usize)?;
    send(fd, from, flags as u32)
}

/// recvmsg(2)
pub fn recvmsg(fd: usize, message: usize, flags: usize) -> SysResult {
    let [_, _, vectors, count, _, _] = words(message)?;
    let to = Vectors::read(vectors as usize, count as usize)?;
    let (len, cut) = receive(fd, to, flags as u32)?;
    // `msg_namelen`; `msg_controllen` and `msg_flags`.
    user::copy_out(message.wrapping_add(8), &[0; 4])?;
    user::copy_out(message.wrapping_add(40), &[0; 8])?;
    let flags = if cut { MSG_TRUNC } else { 0 };
    user::copy_out(message.wrapping_add(48), &flags.to_le_bytes())?;
    Ok(len)
}

/// shutdown(2)
pub fn shutdown(fd: usize, how: usize) -> SysResult {
    with_socket(fd, |_, socket| {
        match how as u32 {
            0 => socket.shutdown(true, false),
            1 => socket.shutdown(false, true),
            2 => socket.shutdown(true, true),
            _ => return Err(Errno::EINVAL),
        }
        Ok(0)
    })
}

/// The address of either end: unnamed.
fn unnamed(fd: usize, addr: usize, addr_len: usize) -> SysResult {
    with_socket(fd, |_, _| Ok(()))?;
    let mut len = [0; 4];
    user::copy_in(addr_len, &mut len)?;
    let room = i32::from_le_bytes(len);
    let room = usize::try_from(room).map_err(|_| Errno::EINVAL)?;
    let family = (AF_UNIX as u16).to_le_bytes();
    user::copy_out(addr, &family[..room.min(2)])?;
    user::copy_out(addr_len, &2u32.to_le_bytes())?;
    Ok(0)
}

/// getsockname(2)
pub fn getsockname(fd: usize, addr: usize, addr_len: usize) -> SysResult {
    unnamed(fd, addr, addr_len)
}
/// getpeername(2)
pub fn getpeername(fd: usize, addr: usize, addr_len: usize) -> SysResult {
    unnamed(fd, addr, addr_len)
}

/// getsockopt(2)
pub fn getsockopt(fd: usize, level: usize, name: usize, value: usize, len: usize) -> SysResult {
    with_socket(fd, |_, socket| {
        if level as u32 != SOL_SOCKET {
            return Err(Errno::EOPNOTSUPP);
        }
        let mut room = [0; 4];
        user::copy_in(len, &mut room)?;
        let room = usize::try_from(i32::from_le_bytes(room)).map_err(|_| Errno::EINVAL)?;
        let mut option = [0; 16];
        let size = match name as u32 {
            SO_PEERCRED => {
                let Maker { pid, uid, gid } = socket.maker();
                option[..4].copy_from_slice(&pid.to_le_bytes());
                option[4..8].copy_from_slice(&uid.to_le_bytes());
                option[8..12].copy_from_slice(&gid.to_le_bytes());
                12
            }
            which @ (SO_RCVTIMEO | SO_SNDTIMEO) => {
                let timeout = &socket.timeouts[usize::from(which == SO_SNDTIMEO)];
                let ns = timeout.load(Ordering::Relaxed);
                option[..8].copy_from_slice(&(ns / super::SECOND).to_le_bytes());
                option[8..].copy_from_slice(&(ns % super::SECOND / 1000).to_le_bytes());
                16
            }
            other => {
                let number: u32 = match other {
                    SO_TYPE => socket.kind() as u32,
                    SO_DOMAIN => AF_UNIX,
                    SO_ERROR | SO_PROTOCOL | SO_ACCEPTCONN => 0,
                    which @ (SO_SNDBUF | SO_RCVBUF) => {
                        let buffer = &socket.buffers[usize::from(which == SO_SNDBUF)];
                        buffer.load(Ordering::Relaxed) as u32
                    }
                    _ => return Err(Errno::ENOPROTOOPT),
                };
                option[..4].copy_from_slice(&number.to_le_bytes());
                4
            }
        };
        let size = size.min(room);
        user::copy_out(value, &option[..size])?;
        user::copy_out(len, &(size as u32).to_le_bytes())?;
        Ok(0)
    })
}

/// setsockopt(2): time-outs, sizes of buffers; other options of the socket level are accepted and change nothing.
pub fn setsockopt(fd: usize, level: usize, name: usize, value: usize, len: usize) -> SysResult {
    with_socket(fd, |_, socket| {
        if level as u32 != SOL_SOCKET {
            return Err(Errno::EOPNOTSUPP);
        }
        let which = name as u32;
        if matches!(which, SO_RCVTIMEO | SO_SNDTIMEO) {
            if len < 16 {
                return Err(Errno::EINVAL);
            }
            let [seconds, micros] = words(value)?;
            if micros >= 1_000_000 {
                return Err(Errno::EDOM);
            }
            let ns = seconds
                .saturating_mul(super::SECOND)
                .saturating_add(micros * 1000);
            socket.timeouts[usize::from(which == SO_SNDTIMEO)].store(ns, Ordering::Relaxed);
        }
        if matches!(which, SO_RCVBUF | SO_SNDBUF) {
            if len < 4 {
                return Err(Errno::EINVAL);
            }
            let mut size = [0; 4];
            user::copy_in(value, &mut size)?;
            // A negative size is a large one.
            let size = u32::from_le_bytes(size) as usize;
            socket.set_buffer(usize::from(which == SO_SNDBUF), size);
        }
        Ok(0)
    })
}
