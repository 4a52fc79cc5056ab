//! Sending and receiving.
use super::{
    super::fs::{
        raise_sigpipe, timespec,
        vectors::{Buffer, Memory, Vectors, buffer, zeroed},
        wait::after,
        words,
    },
    address_from, address_to, control, int, with_socket,
};
use crate::fs::OpenFile;
use crate::net::{
    address::{Address, family},
    message::{Ancillary, How, Received, Sending},
    sock::Kind,
    socket::Socket,
};
use abi::{Errno, SysResult};
use linux_raw_sys::net as linux;
use machine::{mm::user, time::Instant};

/// Size of `struct msghdr`, and of `struct mmsghdr`.
const MSGHDR: usize = 56;
const MMSGHDR: usize = 64;
/// `MSG_WAITFORONE`
const WAITFORONE: u32 = 0x10000;
/// `UIO_MAXIOV`
const MOST: usize = 1024;
/// The most bytes of a message.
const LARGEST: usize = 1 << 20;

/// Sends what `from` has; a message at once, a stream's bytes in pieces.
fn send_vectors(
    open: &OpenFile,
    socket: &Socket,
    mut from: impl Memory,
    flags: u32,
    to: Option<&Address>,
    ancillary: &Ancillary,
) -> SysResult {
    let urgent = flags & linux::MSG_OOB != 0;
    if urgent && !has_urgent(socket) {
        return Err(Errno::EOPNOTSUPP);
    }
    let more = flags & linux::MSG_MORE != 0;
    let mut how = Sending { urgent, more };
    let nonblock = open.nonblocking() || flags & linux::MSG_DONTWAIT != 0;
    let raise = |error| match flags & linux::MSG_NOSIGNAL {
        0 if socket.sock.kind == Kind::Stream => raise_sigpipe(error),
        _ => error,
    };
    if socket.sock.kind != Kind::Stream {
        if from.left() > LARGEST {
            return Err(Errno::EMSGSIZE);
        }
        let mut buf = zeroed(from.left())?;
        if from.get(&mut buf) < buf.len() {
            return Err(Errno::EFAULT);
        }
        return socket.send(&buf, to, ancillary, how, nonblock);
    }
    let bare = Ancillary {
        credentials: ancillary.credentials,
        ..Ancillary::default()
    };
    let mut buf = buffer(from.left())?;
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
        let along = if done == 0 { ancillary } else { &bare };
        how.urgent = urgent && from.left() == 0;
        match socket.send(&buf[..got], to, along, how, nonblock) {
            Ok(len) => {
                done += len;
                if len < want || from.left() == 0 {
                    return Ok(done);
                }
            }
            Err(_) if done > 0 => return Ok(done),
            Err(error) => return Err(raise(error)),
        }
    }
}

/// Whether a socket's bytes can be urgent.
fn has_urgent(socket: &Socket) -> bool {
    socket.sock.kind == Kind::Stream && socket.sock.domain != family::UNIX
}

/// Receives into `to`: the result of the call, and what else there is to tell.
fn receive_vectors(
    open: &OpenFile,
    socket: &Socket,
    mut to: impl Memory,
    flags: u32,
) -> Result<(usize, Received), Errno> {
    if flags & linux::MSG_ERRQUEUE != 0 {
        let mut buf = zeroed(to.left().min(LARGEST))?;
        let received = socket.protocol.receive_error(&mut buf)?;
        to.put(&buf[..received.stored]);
        return Ok((received.stored, received));
    }
    let how = How {
        peek: flags & linux::MSG_PEEK != 0,
        urgent: flags & linux::MSG_OOB != 0,
    };
    // Urgent data are not waited for.
    let nonblock = open.nonblocking() || flags & linux::MSG_DONTWAIT != 0 || how.urgent;
    if socket.sock.kind != Kind::Stream {
        let mut buf = zeroed(to.left().min(LARGEST))?;
        let received = socket.receive(&mut buf, how, nonblock)?;
        if to.put(&buf[..received.stored]) < received.stored {
            return Err(Errno::EFAULT);
        }
        let all = flags & linux::MSG_TRUNC != 0;
        return Ok((if all { received.len } else { received.stored }, received));
    }
    // Of a stream, the bytes are taken and not told.
    let discard = flags & linux::MSG_TRUNC != 0 && socket.sock.domain != 1;
    let mut buf = buffer(to.left())?;
    let mut done = 0;
    let mut first: Option<Received> = None;
    loop {
        let want = to.left().min(buf.len());
        let later = done > 0 && flags & linux::MSG_WAITALL == 0;
        let received = match socket.receive(&mut buf[..want], how, nonblock || later) {
            Ok(received) => received,
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        };
        let len = received.stored;
        let along = !received.ancillary.rights.is_empty() || received.at_mark || received.urgent;
        let good = if discard {
            to.skip(len)
        } else {
            to.put(&buf[..len])
        };
        done += good;
        if good < len && done == 0 {
            return Err(Errno::EFAULT);
        }
        first.get_or_insert(received);
        let more = flags & linux::MSG_WAITALL != 0 && len > 0;
        if good < len || how.peek || along || len < want && !more || to.left() == 0 || len == 0 {
            break;
        }
    }
    Ok((done, first.unwrap_or_default()))
}

/// sendto(2)
pub fn sendto(
    fd: usize,
    buf: usize,
    len: usize,
    flags: usize,
    addr: usize,
    addr_len: usize,
) -> SysResult {
    with_socket(fd, |open, socket| {
        let to = match addr {
            0 => None,
            addr => Some(address_from(addr, addr_len)?),
        };
        let from = Buffer::new(buf, len)?;
        send_vectors(
            open,
            socket,
            from,
            int(flags),
            to.as_ref(),
            &Ancillary::default(),
        )
    })
}

/// recvfrom(2)
pub fn recvfrom(
    fd: usize,
    buf: usize,
    len: usize,
    flags: usize,
    addr: usize,
    addr_len: usize,
) -> SysResult {
    with_socket(fd, |open, socket| {
        let (result, received) = receive_vectors(open, socket, Buffer::new(buf, len)?, int(flags))?;
        if addr != 0 && addr_len != 0 {
            match &received.from {
                Some(from) => address_to(from, addr, addr_len)?,
                None => user::copy_out(addr_len, &[0; 4])?,
            }
        }
        Ok(result)
    })
}

/// `struct msghdr`.
struct Header {
    name: usize,
    name_len: usize,
    vectors: usize,
    count: usize,
    control: usize,
    control_len: usize,
}

impl Header {
    fn read(at: usize) -> Result<Self, Errno> {
        let [name, name_len, vectors, count, control, control_len] =
            words::<6>(at)?.map(|word| usize::try_from(word).unwrap_or(usize::MAX));
        if count > MOST {
            return Err(Errno::EMSGSIZE);
        }
        // The length of the name is an `int`.
        let name_len = usize::try_from(int(name_len)).unwrap_or(usize::MAX);
        Ok(Self {
            name,
            name_len,
            vectors,
            count,
            control,
            control_len,
        })
    }
}

fn send_message(open: &OpenFile, socket: &Socket, at: usize, flags: u32) -> SysResult {
    let header = Header::read(at)?;
    let to = if header.name != 0 && header.name_len != 0 {
        Some(address_from(header.name, header.name_len)?)
    } else {
        None
    };
    let ancillary = control::read(socket, to.as_ref(), header.control, header.control_len)?;
    let from = Vectors::read(header.vectors, header.count)?;
    send_vectors(open, socket, from, flags, to.as_ref(), &ancillary)
}

fn receive_message(open: &OpenFile, socket: &Socket, at: usize, flags: u32) -> SysResult {
    let header = Header::read(at)?;
    let to = Vectors::read(header.vectors, header.count)?;
    let (result, received) = receive_vectors(open, socket, to, flags)?;
    if header.name != 0 {
        let raw = received
            .from
            .as_ref()
            .map(Address::bytes)
            .unwrap_or_default();
        user::copy_out(header.name, &raw[..raw.len().min(header.name_len)])?;
        let len = u32::try_from(raw.len()).unwrap_or(0);
        user::copy_out(at.wrapping_add(8), &len.to_le_bytes())?;
    }
    let cut = socket.sock.kind != Kind::Stream && received.stored < received.len;
    let returned = received.ancillary.error.is_some();
    let urgent = received.urgent;
    let cloexec = flags & linux::MSG_CMSG_CLOEXEC != 0;
    let (len, control_cut) = control::write(
        received.ancillary,
        header.control,
        header.control_len,
        cloexec,
    )?;
    let mut told = flags & linux::MSG_CMSG_CLOEXEC;
    if returned {
        told |= linux::MSG_ERRQUEUE;
    }
    if urgent {
        told |= linux::MSG_OOB;
    }
    if cut {
        told |= linux::MSG_TRUNC;
    }
    if control_cut {
        told |= linux::MSG_CTRUNC;
    }
    user::copy_out(at.wrapping_add(40), &len.to_le_bytes())?;
    user::copy_out(at.wrapping_add(48), &told.to_le_bytes())?;
    Ok(result)
}

/// sendmsg(2)
pub fn sendmsg(fd: usize, message: usize, flags: usize) -> SysResult {
    with_socket(fd, |open, socket| {
        send_message(open, socket, message, int(flags))
    })
}

/// recvmsg(2)
pub fn recvmsg(fd: usize, message: usize, flags: usize) -> SysResult {
    with_socket(fd, |open, socket| {
        receive_message(open, socket, message, int(flags))
    })
}

/// Calls `f` for each of several messages, which says how much was sent or received, until there is an error.
fn each(at: usize, count: usize, mut f: impl FnMut(usize, usize) -> SysResult) -> SysResult {
    for index in 0..count.min(MOST) {
        let message = at.wrapping_add(index * MMSGHDR);
        match f(index, message) {
            Ok(len) => {
                let len = u32::try_from(len).unwrap_or(u32::MAX);
                user::copy_out(message.wrapping_add(MSGHDR), &len.to_le_bytes())?;
            }
            Err(_) if index > 0 => return Ok(index),
            Err(error) => return Err(error),
        }
    }
    Ok(count.min(MOST))
}

/// sendmmsg(2)
pub fn sendmmsg(fd: usize, messages: usize, count: usize, flags: usize) -> SysResult {
    with_socket(fd, |open, socket| {
        let count = usize::try_from(int(count)).unwrap_or(MOST);
        each(messages, count, |_, at| {
            send_message(open, socket, at, int(flags))
        })
    })
}

/// recvmmsg(2). As in Linux the time-out is looked at after each message.
pub fn recvmmsg(
    fd: usize,
    messages: usize,
    count: usize,
    flags: usize,
    timeout: usize,
) -> SysResult {
    let until = match timeout {
        0 => None,
        timeout => after(timespec(timeout)?),
    };
    let flags = int(flags);
    with_socket(fd, |open, socket| {
        let count = usize::try_from(int(count)).unwrap_or(MOST);
        each(messages, count, |index, at| {
            if index > 0 && until.is_some_and(|until| until <= Instant::now()) {
                return Err(Errno::EAGAIN);
            }
            let later = if index > 0 && flags & WAITFORONE != 0 {
                linux::MSG_DONTWAIT
            } else {
                0
            };
            receive_message(open, socket, at, flags & !WAITFORONE | later)
        })
    })
}
