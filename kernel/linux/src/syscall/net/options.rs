//! getsockopt and setsockopt: those that tell of a socket's state or are not numbers; the table of the others is
//! [`crate::net::options`]'.
use super::{super::fs::SECOND, int, with_socket};
use crate::{
    credentials,
    net::{
        address::{Address, family},
        interface,
        options::{IP_OPTIONS, SOCKET},
        sock::Sock,
        socket::Socket,
    },
};
use abi::{Errno, SysResult};
use alloc::{vec, vec::Vec};
use linux_raw_sys::{general, net as linux};
use machine::mm::user;

/// The longest value that is looked at.
const MOST: usize = 4096;

/// Which of receiving and sending an option is about.
fn direction(name: u32) -> usize {
    usize::from(matches!(
        name,
        linux::SO_SNDTIMEO | linux::SO_SNDBUF | linux::SO_SNDBUFFORCE
    ))
}

fn number(value: i32) -> Vec<u8> {
    value.to_le_bytes().to_vec()
}

fn told(value: usize) -> Vec<u8> {
    number(i32::try_from(value).unwrap_or(i32::MAX))
}

/// The value of an option in memory.
fn get(socket: &Socket, level: u32, name: u32) -> Result<Vec<u8>, Errno> {
    let sock = &*socket.sock;
    if level != SOCKET {
        if matches!((level, name), (0, linux::IP_MTU) | (41, linux::IPV6_MTU)) {
            return path_mtu(socket).map(number);
        }
        return match socket.protocol.option(level, name) {
            Err(Errno::ENOPROTOOPT) => {
                socket
                    .protocol
                    .set_option(level, 0, &[])
                    .map_err(|_| Errno::ENOPROTOOPT)?;
                if (level, name) == IP_OPTIONS {
                    return Ok(Vec::new());
                }
                sock.options.lock().get(level, name).map(number)
            }
            result => result,
        };
    }
    Ok(match name {
        linux::SO_TYPE => number(u32::from(sock.kind).cast_signed()),
        linux::SO_DOMAIN => number(i32::from(sock.domain)),
        linux::SO_PROTOCOL => number(sock.protocol.cast_signed()),
        linux::SO_ERROR => number(pending(socket, sock)),
        linux::SO_ACCEPTCONN => number(i32::from(socket.protocol.is_listening())),
        linux::SO_RCVTIMEO | linux::SO_SNDTIMEO => {
            let ns = sock.options.lock().timeouts[direction(name)];
            [
                (ns / SECOND).to_le_bytes(),
                (ns % SECOND / 1000).to_le_bytes(),
            ]
            .concat()
        }
        linux::SO_RCVBUF | linux::SO_SNDBUF => told(sock.options.lock().buffers[direction(name)]),
        linux::SO_LINGER => {
            let linger = sock.options.lock().linger;
            let seconds = linger.unwrap_or(0);
            [
                i32::from(linger.is_some()).to_le_bytes(),
                seconds.to_le_bytes(),
            ]
            .concat()
        }
        linux::SO_SNDLOWAT => number(1),
        linux::SO_BSDCOMPAT | linux::SO_INCOMING_NAPI_ID => number(0),
        linux::SO_BPF_EXTENSIONS => number(64),
        linux::SO_MEMINFO => meminfo(socket),
        linux::SO_COOKIE => sock.ino.to_le_bytes().to_vec(),
        linux::SO_PEERNAME => socket.protocol.peer()?.bytes(),
        linux::SO_BINDTODEVICE => Vec::new(),
        linux::SO_PEERCRED => match socket.protocol.option(level, name) {
            Ok(value) => value,
            // Of others nothing is known.
            Err(_) => [0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255].to_vec(),
        },
        name => number(sock.options.lock().get(level, name)?),
    })
}

/// `IP_MTU`: of the way to the other end.
fn path_mtu(socket: &Socket) -> Result<i32, Errno> {
    let Address::Inet(peer) = socket.protocol.peer()? else {
        return Err(Errno::ENOPROTOOPT);
    };
    let local = interface::is_local(peer.ip());
    let way = interface::all()
        .into_iter()
        .find(|interface| interface.is_loopback() == local);
    let mtu = way.map_or(Err(Errno::ENOTCONN), |interface| Ok(interface.mtu))?;
    i32::try_from(mtu).map_err(|_| Errno::EINVAL)
}

/// `SO_MEMINFO`: bytes received and most, bytes sent and most, reserved, queued, options, backlog, datagrams lost.
fn meminfo(socket: &Socket) -> Vec<u8> {
    let [most_in, most_out] = socket.sock.options.lock().buffers;
    let [unread, unsent] = socket.protocol.queued();
    let words = [unread, most_in, unsent, most_out, 0, unsent, 0, 0, 0];
    words.map(told).concat()
}

/// `SO_ERROR`: how a connection that was being made has ended, or what has happened since.
fn pending(socket: &Socket, sock: &Sock) -> i32 {
    // It goes on, or has left its error.
    let _ = socket.protocol.connecting();
    sock.take_error().map_or(0, |error| error.0)
}

/// getsockopt(2)
pub fn getsockopt(fd: usize, level: usize, name: usize, value: usize, len: usize) -> SysResult {
    with_socket(fd, |_, socket| {
        let mut room = [0; 4];
        user::copy_in(len, &mut room)?;
        let room = usize::try_from(i32::from_le_bytes(room)).map_err(|_| Errno::EINVAL)?;
        let option = get(socket, int(level), int(name))?;
        let size = option.len().min(room);
        user::copy_out(value, &option[..size])?;
        user::copy_out(len, &u32::try_from(size).unwrap_or(0).to_le_bytes())?;
        Ok(0)
    })
}

/// The `int` that a value begins with.
fn integer(value: &[u8]) -> Result<i32, Errno> {
    value
        .first_chunk()
        .map(|raw| i32::from_le_bytes(*raw))
        .ok_or(Errno::EINVAL)
}

fn set(socket: &Socket, level: u32, name: u32, value: &[u8]) -> Result<(), Errno> {
    if level == SOCKET && name != linux::SO_BINDTODEVICE {
        integer(value)?;
    }
    socket.protocol.set_option(level, name, value)?;
    let sock = &*socket.sock;
    if level != SOCKET {
        return match (level, name) {
            // Those that are not numbers are the protocol's, or change nothing: groups, filters.
            (6, linux::TCP_CONGESTION) | (255 | 58, 1) => Ok(()),
            IP_OPTIONS if value.is_empty() => Ok(()),
            IP_OPTIONS => Err(Errno::EINVAL),
            (0, 35 | 36 | 39 | 40 | 41) | (41, 20 | 21) => Ok(()),
            // Flags of IP may be given as bytes.
            (0, _) if value.len() == 1 => sock.options.lock().set(level, name, i32::from(value[0])),
            (0, 32) => Ok(()), // IP_MULTICAST_IF
            _ => sock.options.lock().set(level, name, integer(value)?),
        };
    }
    match name {
        linux::SO_RCVTIMEO | linux::SO_SNDTIMEO => {
            let (seconds, micros) = value.split_first_chunk().ok_or(Errno::EINVAL)?;
            let micros = micros.first_chunk().ok_or(Errno::EINVAL)?;
            let (seconds, micros) = (i64::from_le_bytes(*seconds), u64::from_le_bytes(*micros));
            if micros >= 1_000_000 {
                return Err(Errno::EDOM);
            }
            // A negative time is none at all.
            let ns = match u64::try_from(seconds) {
                Ok(seconds) => seconds.saturating_mul(SECOND).saturating_add(micros * 1000),
                Err(_) => 1,
            };
            sock.options.lock().timeouts[direction(name)] = ns;
        }
        linux::SO_RCVBUF | linux::SO_SNDBUF | linux::SO_RCVBUFFORCE | linux::SO_SNDBUFFORCE => {
            // A negative size is a large one.
            let asked = usize::try_from(integer(value)?.cast_unsigned()).unwrap_or(usize::MAX);
            sock.options.lock().set_buffer(direction(name), asked);
            sock.writable();
        }
        linux::SO_LINGER => {
            let seconds = value.get(4..).ok_or(Errno::EINVAL)?;
            let linger = (integer(value)? != 0).then_some(integer(seconds)?);
            sock.options.lock().linger = linger;
        }
        linux::SO_BINDTODEVICE => {
            let name = value.split(|&byte| byte == 0).next().unwrap_or_default();
            let all = interface::all();
            if !name.is_empty() && !all.iter().any(|one| one.name.as_bytes() == name) {
                return Err(Errno::ENODEV);
            }
        }
        // `struct sock_fprog`
        linux::SO_ATTACH_FILTER if value.len() != 16 => return Err(Errno::EINVAL),
        linux::SO_ATTACH_FILTER | linux::SO_DETACH_FILTER | linux::SO_BSDCOMPAT => (),
        linux::SO_TYPE | linux::SO_DOMAIN | linux::SO_PROTOCOL | linux::SO_ERROR => {
            return Err(Errno::ENOPROTOOPT);
        }
        linux::SO_PRIORITY
            if !credentials::capable(general::CAP_NET_ADMIN)
                && !(0..=6).contains(&integer(value)?) =>
        {
            return Err(Errno::EPERM);
        }
        linux::SO_ZEROCOPY if !matches!(sock.domain, family::INET | family::INET6) => {
            return Err(Errno::EOPNOTSUPP);
        }
        name => sock.options.lock().set(level, name, integer(value)?)?,
    }
    Ok(())
}

/// setsockopt(2)
pub fn setsockopt(fd: usize, level: usize, name: usize, value: usize, len: usize) -> SysResult {
    with_socket(fd, |_, socket| {
        let len = usize::try_from(int(len).cast_signed()).map_err(|_| Errno::EINVAL)?;
        let mut raw = vec![0; len.min(MOST)];
        user::copy_in(value, &mut raw)?;
        set(socket, int(level), int(name), &raw)?;
        socket.protocol.configured();
        Ok(0)
    })
}
