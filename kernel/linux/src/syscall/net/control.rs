//! What goes along with bytes, as cmsg(3) lays it out in memory.
use super::super::fs::{install, opened};
use crate::{
    credentials,
    net::{
        message::Ancillary,
        options::{IP, IPV6, SOCKET},
        sock::Ucred,
    },
};
use abi::Errno;
use alloc::{sync::Arc, vec, vec::Vec};
use core::net::IpAddr;
use linux_raw_sys::{general as linux, net};
use machine::mm::user;

const HEADER: usize = 16;
const RIGHTS: u32 = 1;
const CREDENTIALS: u32 = 2;
/// `SCM_MAX_FD`
const MOST_RIGHTS: usize = 253;
/// The most memory of ancillary data that is looked at (`net.core.optmem_max`).
const MOST: usize = 20480;

/// Reads what a program sends along.
pub(super) fn read(at: usize, len: usize) -> Result<Ancillary, Errno> {
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
            // Where from, by which interface, how urgently: there is one way.
            (IP | IPV6, _) => (),
            _ => return Err(Errno::EINVAL),
        }
        rest = rest.get(size.next_multiple_of(8)..).unwrap_or_default();
    }
    Ok(ancillary)
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
    match ancillary.destination {
        Some(IpAddr::V4(ip)) => {
            // `struct in_pktinfo`: interface, address it was for, address it was sent to.
            let body = [[1, 0, 0, 0], ip.octets(), ip.octets()].concat();
            writer.put(IP, net::IP_PKTINFO, &body);
        }
        Some(IpAddr::V6(ip)) => {
            let body = [&ip.octets()[..], &[1, 0, 0, 0]].concat();
            writer.put(IPV6, 50, &body); // IPV6_PKTINFO
        }
        None => (),
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
