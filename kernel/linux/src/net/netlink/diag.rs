//! sock_diag(7): dumps of internet sockets, as `ss` asks for them, with its filters. Local sockets are listed in
//! /proc/net/unix, which `ss` reads where there is no dump of them.
use super::message::{DUMP, MULTI, Request, attributes};
use crate::net::{
    address::family,
    inet::{ICMP, ICMPV6, TCP, UDP, UDPLITE, datagram, listed::Listed, tcp_info},
    listing::{self, within_v6},
    sock::Kind,
};
use abi::Errno;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

/// `SOCK_DIAG_BY_FAMILY`
const BY_FAMILY: u16 = 20;
/// Bytes of a `struct inet_diag_req_v2`, and where its `struct inet_diag_sockid` begins.
const LEN: usize = 56;
const ID: usize = 8;
/// `IPPROTO_RAW`
const RAW: u8 = 255;
/// `INET_DIAG_REQ_BYTECODE`, `INET_DIAG_REQ_PROTOCOL`
const BYTECODE: u16 = 1;
const PROTOCOL: u16 = 2;
/// `INET_DIAG_INFO`, `INET_DIAG_CONG`, `INET_DIAG_SKMEMINFO`
const INFO: u16 = 2;
const CONGESTION: u16 = 4;
const MEMORY: u16 = 7;

/// What a request is answered with.
pub(super) fn answer(request: &Request<'_>) -> Result<Vec<Vec<u8>>, Errno> {
    if request.kind != BY_FAMILY {
        // As without a handler for an older kind of requests.
        return Err(Errno::ENOENT);
    }
    let &[
        domain,
        protocol,
        extensions,
        raw_protocol,
        s0,
        s1,
        s2,
        s3,
        ..,
    ] = request.body
    else {
        return Err(Errno::EINVAL);
    };
    let v6 = match u16::from(domain) {
        family::INET => false,
        family::INET6 => true,
        _ => return Err(Errno::ENOENT),
    };
    let id = request.body.get(ID..LEN).ok_or(Errno::EINVAL)?;
    let attribute = |wanted| attributes(&request.body[LEN..]).find(|&(kind, _)| kind == wanted);
    // A protocol whose number is no byte (MPTCP).
    if attribute(PROTOCOL).is_some_and(|(_, value)| value != u32::from(protocol).to_le_bytes()) {
        return Err(Errno::ENOENT);
    }
    let kept = |protocol| datagram::listed(Kind::Datagram, protocol);
    let mut all = match (protocol, u32::from(protocol)) {
        (_, TCP) => listing::tcp(),
        (_, UDP) => kept(UDP),
        (_, UDPLITE) => kept(UDPLITE),
        (_, ICMP) => kept(ICMP),
        (_, ICMPV6) => kept(ICMPV6),
        (RAW, _) => datagram::listed(Kind::Raw, 0),
        _ => return Err(Errno::ENOENT),
    };
    all.retain(|one| one.v6 == v6);
    if protocol == RAW && raw_protocol != 0 {
        all.retain(|one| one.protocol == raw_protocol.into());
    }
    if request.flags & DUMP != DUMP {
        let one = all.iter().find(|one| ends(one)[..36] == id[..36]);
        let one = one.ok_or(Errno::ENOENT)?;
        return Ok(alloc::vec![message(request, one, extensions, 0)]);
    }
    let states = u32::from_le_bytes([s0, s1, s2, s3]);
    let filter = attribute(BYTECODE);
    let mut found = Vec::new();
    for one in &all {
        let port = |at| u16::from_be_bytes([id[at], id[at + 1]]);
        let wanted = |asked: u16, own: SocketAddr| asked == 0 || asked == own.port();
        if states >> u8::from(one.state) & 1 != 0
            && wanted(port(0), one.local)
            && wanted(port(2), one.peer)
            && filter.is_none_or(|(_, code)| matches(code, one))
        {
            found.push(message(request, one, extensions, MULTI));
        }
    }
    found.push(request.done());
    Ok(found)
}

/// The `struct inet_diag_sockid` of a socket: ports, addresses, interface, cookie.
fn ends(one: &Listed) -> [u8; 48] {
    let mut id = [0; 48];
    for (at, end) in [one.local, one.peer].into_iter().enumerate() {
        id[2 * at..2 * at + 2].copy_from_slice(&end.port().to_be_bytes());
        let room = &mut id[4 + 16 * at..20 + 16 * at];
        match end.ip() {
            IpAddr::V4(ip) if !one.v6 => room[..4].copy_from_slice(&ip.octets()),
            ip => room.copy_from_slice(&within_v6(ip)),
        }
    }
    id[40..].copy_from_slice(&one.ino.to_le_bytes());
    id
}

/// A `struct inet_diag_msg`, and what else was asked for.
fn message(request: &Request<'_>, one: &Listed, extensions: u8, flags: u16) -> Vec<u8> {
    let mut message = request.message(BY_FAMILY, flags);
    let word = |value: usize| u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes();
    let domain = if one.v6 { family::INET6 } else { family::INET };
    message
        .put(&domain.to_le_bytes()[..1])
        .put(&[one.state.into(), 0, 0])
        .put(&ends(one))
        .put(&[0; 4])
        .put(&word(one.unread))
        .put(&word(one.backlog.unwrap_or(one.unsent)))
        .put(&one.uid.to_le_bytes())
        .put(&one.ino.to_le_bytes()[..4]);
    let asked = |what: u16| extensions >> (what - 1) & 1 != 0;
    let tcp = one.protocol == TCP;
    if tcp && asked(INFO) && one.ino != 0 {
        let info = one.connection.as_ref().and_then(|one| one.info());
        message.attribute(INFO, &tcp_info::encode(one.state, info));
    }
    if tcp && asked(CONGESTION) {
        message.attribute(CONGESTION, b"cubic\0");
    }
    if asked(MEMORY) {
        let mut memory = Vec::new();
        for value in [one.unread, 0, 0, 0, 0, one.unsent, 0, 0, 0] {
            memory.extend(word(value));
        }
        message.attribute(MEMORY, &memory);
    }
    message.finish()
}

/// Runs a filter (`struct inet_diag_bc_op`): each operation says how far to go on if it holds, and if not. A socket is
/// wanted if it ends exactly at the end.
fn matches(code: &[u8], one: &Listed) -> bool {
    let mut rest = code;
    while let &[kind, yes, n0, n1, ..] = rest {
        let no = usize::from(u16::from_le_bytes([n0, n1]));
        let next = rest.get(4..8).unwrap_or_default();
        let port = match *next {
            [_, _, p0, p1] => u16::from_le_bytes([p0, p1]),
            _ => 0,
        };
        let (own, other) = (one.local.port(), one.peer.port());
        let condition = rest.get(4..).unwrap_or_default();
        // INET_DIAG_BC_*
        let holds = match kind {
            0 | 6 => true,                    // NOP, AUTO
            2 => own >= port,                 // S_GE
            3 => own <= port,                 // S_LE
            4 => other >= port,               // D_GE
            5 => other <= port,               // D_LE
            7 => is_in(condition, one.local), // S_COND
            8 => is_in(condition, one.peer),  // D_COND
            11 => own == port,                // S_EQ
            12 => other == port,              // D_EQ
            _ => false,                       // JMP
        };
        let step = if holds { usize::from(yes) } else { no };
        match rest.get(step..) {
            Some(after) if step >= 4 => rest = after,
            _ => return false,
        }
    }
    rest.is_empty()
}

/// Whether an address is one that a `struct inet_diag_hostcond` means: family, bits of the prefix, port or -1, address.
fn is_in(condition: &[u8], end: SocketAddr) -> bool {
    let &[domain, bits, _, _, p0, p1, p2, p3, ..] = condition else {
        return false;
    };
    let port = i32::from_le_bytes([p0, p1, p2, p3]);
    if port != -1 && port != i32::from(end.port()) {
        return false;
    }
    let address = &condition[8..];
    let v4 = u16::from(domain) == family::INET;
    let own = match end.ip() {
        IpAddr::V4(ip) if v4 => ip.octets().to_vec(),
        IpAddr::V6(_) if v4 => return bits == 0,
        ip => within_v6(ip).to_vec(),
    };
    let bits = usize::from(bits);
    if bits > 8 * own.len() || bits.div_ceil(8) > address.len() {
        return false;
    }
    let (whole, rest) = (bits / 8, bits % 8);
    own[..whole] == address[..whole]
        && (rest == 0 || (own[whole] ^ address[whole]) >> (8 - rest) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::inet::connection::State;

    fn listed(local: &str, peer: &str) -> Listed {
        Listed {
            v6: false,
            local: local.parse().unwrap(),
            peer: peer.parse().unwrap(),
            state: State::Established,
            unread: 0,
            unsent: 0,
            backlog: None,
            protocol: TCP,
            uid: 0,
            ino: 9,
            connection: None,
        }
    }

    #[test]
    fn filters() {
        let one = listed("10.0.2.15:80", "10.0.2.2:4000");
        // The port is at least 80, else over the end.
        let at_least = |port: u16| {
            let [low, high] = port.to_le_bytes();
            [2, 8, 12, 0, 0, 0, low, high]
        };
        assert!(matches(&at_least(80), &one));
        assert!(!matches(&at_least(81), &one));
        let from = |bits, last| {
            [
                8, 16, 20, 0, 2, bits, 0, 0, 0xff, 0xff, 0xff, 0xff, 10, 0, 2, last,
            ]
        };
        assert!(matches(&from(32, 2), &one) && matches(&from(30, 1), &one));
        assert!(!matches(&from(32, 1), &one) && !matches(&from(33, 2), &one));
        assert!(matches(&[], &one));
        // One that does not go on, or is cut.
        assert!(!matches(&[0, 0, 0, 0], &one) && !matches(&[0, 4, 4], &one));
    }
}
