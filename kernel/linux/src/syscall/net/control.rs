//! What goes along with bytes, as cmsg(3) lays it out in memory.
use super::super::fs::{SECOND, install, opened};
use crate::{
    credentials,
    net::{
        address::{Address, canonical, family},
        message::{Ancillary, Packet},
        options::{IP, IPV6, SEGMENT, SOCKET, UDP},
        sock::{Kind, Ucred},
        socket::Socket,
    },
};
use abi::Errno;
use alloc::{sync::Arc, vec, vec::Vec};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use linux_raw_sys::{general as linux, net};
use machine::mm::user;

const HEADER: usize = 16;
const RIGHTS: u32 = 1;
const CREDENTIALS: u32 = 2;
/// Ancillary data of ipv6(7).
const IPV6_PKTINFO: u32 = 50;
const IPV6_HOPLIMIT: u32 = 52;
const IPV6_TCLASS: u32 = 67;
/// `SCM_MAX_FD`
const MOST_RIGHTS: usize = 253;
/// The most memory of ancillary data that is looked at (`net.core.optmem_max`).
const MOST: usize = 20480;

/// Whether ancillary data of a level mean something to a socket that sends to `to`; others are left alone. IPv4's do to
/// one of IPv6 that sends to an address of IPv4.
fn reads(socket: &Socket, to: Option<&Address>, level: u32) -> bool {
    match (level, socket.sock.domain) {
        _ if socket.sock.kind == Kind::Stream => false,
        (IP, family::INET) | (IPV6, family::INET6) => true,
        (UDP, family::INET | family::INET6) => socket.sock.protocol == UDP,
        (IP, family::INET6) => match to.cloned().map_or_else(|| socket.protocol.peer(), Ok) {
            Ok(Address::Inet(to)) => canonical(to).is_ipv4(),
            _ => false,
        },
        _ => false,
    }
}

/// Reads what a program sends along.
pub(super) fn read(
    socket: &Socket,
    to: Option<&Address>,
    at: usize,
    len: usize,
) -> Result<Ancillary, Errno> {
    let mut ancillary = Ancillary::default();
    if at == 0 || len < HEADER {
        return Ok(ancillary);
    }
    if len > MOST {
        return Err(Errno::ENOBUFS);
    }
    let mut raw = vec![0; len];
    user::copy_in(at, &mut raw)?;
    let mut rest = &raw[..];
    while let Some((&header, _)) = rest.split_first_chunk::<HEADER>() {
        let [
            l0,
            l1,
            l2,
            l3,
            l4,
            l5,
            l6,
            l7,
            v0,
            v1,
            v2,
            v3,
            k0,
            k1,
            k2,
            k3,
        ] = header;
        let size = usize::from_le_bytes([l0, l1, l2, l3, l4, l5, l6, l7]);
        let level = u32::from_le_bytes([v0, v1, v2, v3]);
        let kind = u32::from_le_bytes([k0, k1, k2, k3]);
        let body = rest.get(HEADER..size).ok_or(Errno::EINVAL)?;
        match (level, kind) {
            (SOCKET, RIGHTS) => {
                for fd in body.as_chunks().0 {
                    let fd = i32::from_le_bytes(*fd);
                    let fd = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
                    ancillary.rights.push(opened(fd)?);
                }
                if ancillary.rights.len() > MOST_RIGHTS {
                    return Err(Errno::EINVAL);
                }
            }
            (SOCKET, CREDENTIALS) => ancillary.credentials = Some(claimed(body)?),
            (SOCKET, _) => return Err(Errno::EINVAL),
            _ if reads(socket, to, level) => packet(&mut ancillary.packet, level, kind, body)?,
            _ => (),
        }
        rest = rest.get(size.next_multiple_of(8)..).unwrap_or_default();
    }
    Ok(ancillary)
}

/// What a packet's header is to say.
fn packet(packet: &mut Packet, level: u32, kind: u32, body: &[u8]) -> Result<(), Errno> {
    let number = || body.first_chunk().map(|raw| i32::from_le_bytes(*raw));
    // -1 stands for what it is otherwise.
    let byte = |number: Option<i32>| match number.ok_or(Errno::EINVAL)? {
        -1 => Ok(None),
        value => u8::try_from(value).map(Some).map_err(|_| Errno::EINVAL),
    };
    match (level, kind) {
        (IP, net::IP_TTL) => match byte(number())? {
            Some(0) | None => return Err(Errno::EINVAL),
            hops => packet.hops = hops,
        },
        (IP, net::IP_TOS) => {
            packet.class = byte(number().or_else(|| body.first().map(|&one| one.into())))?;
        }
        (IP, net::IP_PKTINFO) => {
            let &[_, _, _, _, a, b, c, d, ..] = body.first_chunk::<12>().ok_or(Errno::EINVAL)?;
            packet.address = Some((Ipv4Addr::new(a, b, c, d).into(), 0));
        }
        (IPV6, IPV6_HOPLIMIT) => packet.hops = byte(number())?,
        (IPV6, IPV6_TCLASS) => packet.class = byte(number())?,
        (IPV6, IPV6_PKTINFO) => {
            let ip: [u8; 16] = *body.first_chunk().ok_or(Errno::EINVAL)?;
            packet.address = Some((Ipv6Addr::from(ip).to_canonical(), 0));
        }
        SEGMENT => {
            let size = body.first_chunk().ok_or(Errno::EINVAL)?;
            packet.segment = Some(u16::from_le_bytes(*size));
        }
        // Options of IP and extension headers: none are sent.
        _ => (),
    }
    packet.address = packet.address.filter(|(ip, _)| !ip.is_unspecified());
    Ok(())
}

/// Credentials that somebody says are its own: ids that it has, or may have.
fn claimed(body: &[u8]) -> Result<Ucred, Errno> {
    let &[p0, p1, p2, p3, u0, u1, u2, u3, g0, g1, g2, g3] = body
        .first_chunk::<12>()
        .filter(|_| body.len() == 12)
        .ok_or(Errno::EINVAL)?;
    let claimed = Ucred {
        pid: i32::from_le_bytes([p0, p1, p2, p3]),
        uid: u32::from_le_bytes([u0, u1, u2, u3]),
        gid: u32::from_le_bytes([g0, g1, g2, g3]),
    };
    let own = credentials::current();
    let has = |ids: &credentials::Ids, id| [ids.real, ids.effective, ids.saved].contains(&id);
    let pid = claimed.pid == Ucred::current().pid || own.capable(linux::CAP_SYS_ADMIN);
    let uid = has(&own.user, claimed.uid) || own.capable(linux::CAP_SETUID);
    let gid = has(&own.group, claimed.gid) || own.capable(linux::CAP_SETGID);
    if pid && uid && gid {
        Ok(claimed)
    } else {
        Err(Errno::EPERM)
    }
}

/// Makes control messages in a buffer of the program's that has room for so many bytes.
struct Writer {
    raw: Vec<u8>,
    room: usize,
    cut: bool,
}

impl Writer {
    fn put(&mut self, level: u32, kind: u32, body: &[u8]) {
        let left = self.room.saturating_sub(self.raw.len());
        if left < HEADER {
            self.cut = true;
            return;
        }
        let len = body.len().min(left - HEADER);
        self.cut |= len < body.len();
        self.raw.extend((HEADER + len).to_le_bytes());
        self.raw.extend(level.to_le_bytes());
        self.raw.extend(kind.to_le_bytes());
        self.raw.extend(&body[..len]);
        let padded = self.raw.len().next_multiple_of(8).min(self.room);
        self.raw.resize(padded, 0);
    }
}

fn write_packet(writer: &mut Writer, packet: &Packet) {
    let index = |interface: u32| interface.to_le_bytes();
    match packet.address {
        Some((IpAddr::V4(ip), interface)) => {
            // `struct in_pktinfo`: interface, address it was for, address it was sent to.
            let body = [index(interface), ip.octets(), ip.octets()].concat();
            writer.put(IP, net::IP_PKTINFO, &body);
        }
        Some((IpAddr::V6(ip), interface)) => {
            let body = [&ip.octets()[..], &index(interface)].concat();
            writer.put(IPV6, IPV6_PKTINFO, &body);
        }
        None => (),
    }
    let number = |byte: u8| u32::from(byte).to_le_bytes();
    match (packet.hops, packet.v6) {
        (Some(hops), true) => writer.put(IPV6, IPV6_HOPLIMIT, &number(hops)),
        (Some(hops), false) => writer.put(IP, net::IP_TTL, &number(hops)),
        (None, _) => (),
    }
    match (packet.class, packet.v6) {
        (Some(class), true) => writer.put(IPV6, IPV6_TCLASS, &number(class)),
        (Some(class), false) => writer.put(IP, net::IP_TOS, &[class]),
        (None, _) => (),
    }
}

/// Writes what has come along; its length, and whether something was left out.
pub(super) fn write(
    ancillary: Ancillary,
    at: usize,
    room: usize,
    cloexec: bool,
) -> Result<(usize, bool), Errno> {
    let room = if at == 0 { 0 } else { room };
    let mut writer = Writer {
        raw: Vec::new(),
        room,
        cut: false,
    };
    if let Some(Ucred { pid, uid, gid }) = ancillary.credentials {
        let body = [pid.to_le_bytes(), uid.to_le_bytes(), gid.to_le_bytes()].concat();
        writer.put(SOCKET, CREDENTIALS, &body);
    }
    if let Some((ns, exact)) = ancillary.time {
        let (seconds, rest) = (ns / SECOND, ns % SECOND);
        let (kind, rest) = match exact {
            true => (net::SO_TIMESTAMPNS_OLD, rest),
            false => (net::SO_TIMESTAMP_OLD, rest / 1000),
        };
        let body = [seconds.to_le_bytes(), rest.to_le_bytes()].concat();
        writer.put(SOCKET, kind, &body);
    }
    write_packet(&mut writer, &ancillary.packet);
    if let Some(error) = &ancillary.error {
        let (level, kind) = match error.v6 {
            true => (IPV6, net::IPV6_RECVERR),
            false => (IP, net::IP_RECVERR),
        };
        writer.put(level, kind, &error.bytes());
    }
    if !ancillary.rights.is_empty() {
        let fits = room.saturating_sub(writer.raw.len() + HEADER) / 4;
        writer.cut |= fits < ancillary.rights.len();
        let mut body = Vec::new();
        for open in ancillary.rights.iter().take(fits) {
            match install(Arc::clone(open), cloexec) {
                Ok(fd) => body.extend(u32::try_from(fd).unwrap_or(0).to_le_bytes()),
                Err(_) => {
                    writer.cut = true;
                    break;
                }
            }
        }
        if !body.is_empty() {
            writer.put(SOCKET, RIGHTS, &body);
        }
    }
    user::copy_out(at, &writer.raw)?;
    Ok((writer.raw.len(), writer.cut))
}
