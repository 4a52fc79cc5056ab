//! Internet sockets: tcp(7) and udp(7) over ip(7) and ipv6(7).
//!
//! What goes to an address of this machine's own stays in the kernel and is never a packet: a connection is a pair of
//! queues ([`loopback`]), a datagram is put into the receiver's. What goes further is the [`stack`]'s.
pub mod connection;
mod cork;
pub mod datagram;
pub mod failure;
mod icmp;
pub mod listed;
pub mod listener;
pub mod loopback;
pub mod ports;
pub mod tcp;
pub mod tcp_info;
pub mod udp;

use super::{
    address::{Address, canonical, family, mapped},
    interface,
    options::{Options, REUSEADDR, REUSEPORT, V6ONLY},
    sock::{Kind, Sock, Ucred},
    socket::Socket,
    stack,
};
use crate::credentials;
use abi::Errno;
use alloc::sync::Arc;
use core::net::{IpAddr, SocketAddr};
use failure::Failure;
use linux_raw_sys::general as linux;
use ports::Sharing;
use stack::Header;

/// `IPPROTO_TCP`
pub const TCP: u32 = 6;
/// `IPPROTO_UDP`
pub const UDP: u32 = 17;
/// `IPPROTO_ICMP`
pub const ICMP: u32 = 1;
/// `IPPROTO_ICMPV6`
pub const ICMPV6: u32 = 58;
/// `IPPROTO_UDPLITE`
pub const UDPLITE: u32 = 136;

/// socket(2) of `AF_INET` or `AF_INET6`.
pub fn create(domain: u16, kind: Kind, protocol: u32) -> Result<Arc<Socket>, Errno> {
    match (kind, protocol) {
        (Kind::Stream, 0 | TCP) => Ok(tcp::create(Sock::new(domain, kind, TCP))),
        (Kind::Datagram, 0 | UDP) => Ok(udp::create(Sock::new(domain, kind, UDP))),
        (Kind::Datagram, UDPLITE) => Ok(udp::create(Sock::new(domain, kind, UDPLITE))),
        (Kind::Datagram, ICMP) if domain == family::INET => Ok(icmp::create(domain, kind, ICMP)),
        (Kind::Datagram, ICMPV6) if domain == family::INET6 => {
            Ok(icmp::create(domain, kind, ICMPV6))
        }
        // `IPPROTO_RAW` sends headers of its own.
        (Kind::Raw, 1..255) if credentials::capable(linux::CAP_NET_RAW) => {
            Ok(icmp::create(domain, kind, protocol))
        }
        (Kind::Raw, 1..255) => Err(Errno::EPERM),
        (Kind::Stream | Kind::Datagram | Kind::Raw, _) => Err(Errno::EPROTONOSUPPORT),
        _ => Err(Errno::ESOCKTNOSUPPORT),
    }
}

/// What the stack asks of these sockets.
pub struct Inet;

impl stack::Upper for Inet {
    fn accepting(&self, to: SocketAddr, from: SocketAddr) -> Option<Arc<dyn stack::Accepting>> {
        tcp::accepting(to, from)
    }
    fn datagram(&self, data: &[u8], from: SocketAddr, to: SocketAddr, header: Header) -> bool {
        udp::deliver(data, from, to, header)
    }
    fn packet(&self, packet: &stack::Packet<'_>) {
        icmp::arrived(packet, 2);
    }
    fn failed(&self, failure: &Failure<'_>) {
        udp::failed(failure);
    }
}

/// The address that a socket of a domain is given, IPv4 within IPv6 as IPv4; `EAFNOSUPPORT`.
fn given(sock: &Sock, address: &Address) -> Result<SocketAddr, Errno> {
    let Address::Inet(address) = address else {
        return Err(Errno::EAFNOSUPPORT);
    };
    let v6 = sock.domain == family::INET6;
    match address {
        SocketAddr::V4(_) if v6 => Err(Errno::EAFNOSUPPORT),
        SocketAddr::V6(_) if !v6 => Err(Errno::EAFNOSUPPORT),
        address => Ok(canonical(*address)),
    }
}

/// An address as a socket of a domain tells it.
fn told(sock: &Sock, address: SocketAddr) -> Address {
    let v6 = sock.domain == family::INET6;
    match address {
        SocketAddr::V4(v4) if v6 && v4.ip().is_unspecified() => {
            Address::Inet(SocketAddr::new(ports::unspecified(true), v4.port()))
        }
        address if v6 => Address::Inet(mapped(address)),
        address => Address::Inet(address),
    }
}

/// Whether a socket may be bound there: `EADDRNOTAVAIL`, `EACCES`.
fn may_bind(address: SocketAddr) -> Result<(), Errno> {
    let ip = address.ip();
    if !ip.is_unspecified() && !ip.is_multicast() && !interface::is_local(ip) {
        return Err(Errno::EADDRNOTAVAIL);
    }
    if (1..1024).contains(&address.port()) && !credentials::capable(linux::CAP_NET_BIND_SERVICE) {
        return Err(Errno::EACCES);
    }
    Ok(())
}

/// How a socket shares ports.
fn sharing(options: &Options) -> Sharing {
    Sharing {
        v6only: options.is_set(V6ONLY),
        address: options.is_set(REUSEADDR),
        port: options.is_set(REUSEPORT).then(|| Ucred::current().uid),
    }
}

/// Where something sent to an address goes: the unspecified one is this machine.
fn destination(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => core::net::Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => core::net::Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The source for what goes to `to`, of an address that is bound or unspecified; `ENETUNREACH`, `EINVAL`.
fn source(bound: Option<IpAddr>, to: IpAddr) -> Result<IpAddr, Errno> {
    let ip = interface::source(to).ok_or(Errno::ENETUNREACH)?;
    match bound.filter(|bound| !bound.is_unspecified()) {
        None => Ok(ip),
        Some(bound) if bound.is_ipv4() != to.is_ipv4() => Err(Errno::EINVAL),
        Some(bound) => Ok(bound),
    }
}
