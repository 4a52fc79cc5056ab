//! What was sent has not arrived: messages of ICMP (RFC 792, RFC 4443), and how sockets are told (ip(7), `IP_RECVERR`).
use crate::net::address::Address;
use abi::Errno;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

/// A message about a packet from here.
#[derive(Clone, Copy, Debug)]
pub struct Failure<'a> {
    /// `IPPROTO_*` of the packet.
    pub protocol: u8,
    /// Its source, which is here.
    pub from: SocketAddr,
    /// Its destination.
    pub to: SocketAddr,
    /// What it carried, as far as that has come back.
    pub data: &'a [u8],
    /// Who says so.
    pub by: IpAddr,
    /// The message's type.
    pub kind: u8,
    /// The message's code.
    pub code: u8,
}

/// Types of ICMP.
const UNREACHABLE: u8 = 3;
const TIME_EXCEEDED: u8 = 11;
/// Types of ICMPv6.
const UNREACHABLE_6: u8 = 1;
const TOO_BIG_6: u8 = 2;
const TIME_EXCEEDED_6: u8 = 3;

impl Failure<'_> {
    /// That nobody has the port.
    pub fn no_port(protocol: u8, from: SocketAddr, to: SocketAddr, data: &[u8]) -> Failure<'_> {
        let (kind, code) = match to.ip().is_ipv4() {
            true => (UNREACHABLE, 3),
            false => (UNREACHABLE_6, 4),
        };
        let by = to.ip();
        Failure {
            protocol,
            from,
            to,
            data,
            by,
            kind,
            code,
        }
    }

    /// What it means, and whether it will stay so (Linux: `icmp_err_convert`, `icmpv6_err_convert`).
    pub fn error(&self) -> Option<(Errno, bool)> {
        if self.by.is_ipv6() {
            return Some(match (self.kind, self.code) {
                (UNREACHABLE_6, 0) => (Errno::ENETUNREACH, false),
                (UNREACHABLE_6, 1 | 5 | 6) => (Errno::EACCES, true),
                (UNREACHABLE_6, 2 | 3) => (Errno::EHOSTUNREACH, false),
                (UNREACHABLE_6, 4) => (Errno::ECONNREFUSED, true),
                (TOO_BIG_6, _) => return None,
                (TIME_EXCEEDED_6, _) => (Errno::EHOSTUNREACH, false),
                _ => return None,
            });
        }
        Some(match (self.kind, self.code) {
            (UNREACHABLE, 0 | 11) => (Errno::ENETUNREACH, false),
            (UNREACHABLE, 6 | 9) => (Errno::ENETUNREACH, true),
            (UNREACHABLE, 1 | 5 | 12) => (Errno::EHOSTUNREACH, false),
            (UNREACHABLE, 7 | 8 | 10 | 13..=15) => (Errno::EHOSTUNREACH, true),
            (UNREACHABLE, 2) => (Errno::ENOPROTOOPT, true),
            (UNREACHABLE, 3) => (Errno::ECONNREFUSED, true),
            (TIME_EXCEEDED, _) => (Errno::EHOSTUNREACH, false),
            // Of packets that are too large: none are sent but those that fit into a frame.
            _ => return None,
        })
    }
}

/// What a socket is told of a failure (`struct sock_extended_err`).
#[derive(Clone, Copy, Debug)]
pub struct Told {
    error: Errno,
    kind: u8,
    code: u8,
    by: IpAddr,
    /// The socket is one of IPv6.
    pub v6: bool,
}

impl Told {
    /// What a socket, of IPv6 or not, is told.
    pub fn new(failure: &Failure<'_>, error: Errno, v6: bool) -> Self {
        let &Failure { kind, code, by, .. } = failure;
        Self {
            error,
            kind,
            code,
            by,
            v6,
        }
    }

    /// Its form in memory, with the address of who says so.
    pub fn bytes(&self) -> Vec<u8> {
        // `SO_EE_ORIGIN_ICMP`, `SO_EE_ORIGIN_ICMP6`
        let origin = if self.by.is_ipv4() { 2 } else { 3 };
        let by = match self.by {
            IpAddr::V4(ip) if self.v6 => ip.to_ipv6_mapped().into(),
            ip => ip,
        };
        let mut raw = self.error.0.to_le_bytes().to_vec();
        raw.extend([origin, self.kind, self.code, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        raw.extend(Address::Inet(SocketAddr::new(by, 0)).bytes());
        raw
    }
}
