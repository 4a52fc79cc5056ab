//! Addresses of sockets, and their form in memory (`struct sockaddr_un`, `_in`, `_in6`, `_nl`).
use abi::Errno;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// `AF_*`.
pub mod family {
    #![expect(missing_docs, reason = "address_families(7) says what they are")]
    pub const UNSPEC: u16 = 0;
    pub const UNIX: u16 = 1;
    pub const INET: u16 = 2;
    pub const INET6: u16 = 10;
    pub const NETLINK: u16 = 16;
}

/// The longest address that is looked at (`struct sockaddr_storage`).
pub const MOST: usize = 128;
/// `sizeof (struct sockaddr_un)`.
const UNIX: usize = 110;

/// Where a socket is, or another one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Address {
    /// `AF_UNSPEC`: connect(2) dissolves an association.
    Unspecified,
    /// unix(7)
    Unix(Name),
    /// ip(7), ipv6(7)
    Inet(SocketAddr),
    /// netlink(7): port and multicast groups.
    Netlink(u32, u32),
    /// Of a family that there are no sockets of.
    Other(u16),
}

/// A name of unix(7).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Name {
    /// None.
    Unnamed,
    /// A path.
    Path(Vec<u8>),
    /// A name that is no path.
    Abstract(Vec<u8>),
}

impl Address {
    /// The address that bytes in memory are.
    pub fn parse(raw: &[u8]) -> Result<Self, Errno> {
        let (&family, rest) = raw.split_first_chunk().ok_or(Errno::EINVAL)?;
        let family = u16::from_le_bytes(family);
        Ok(match family {
            family::UNSPEC => Self::Unspecified,
            family::UNIX => Self::Unix(unix(rest)?),
            family::INET => {
                let raw: &[u8; 14] = rest.first_chunk().ok_or(Errno::EINVAL)?;
                let [p0, p1, a, b, c, d, ..] = *raw;
                let ip = Ipv4Addr::new(a, b, c, d);
                Self::Inet(SocketAddrV4::new(ip, u16::from_be_bytes([p0, p1])).into())
            }
            family::INET6 => {
                let raw: &[u8; 22] = rest.first_chunk().ok_or(Errno::EINVAL)?;
                let (port, raw) = raw.split_first_chunk().ok_or(Errno::EINVAL)?;
                let (flow, raw) = raw.split_first_chunk().ok_or(Errno::EINVAL)?;
                let ip: &[u8; 16] = raw.first_chunk().ok_or(Errno::EINVAL)?;
                let scope = rest[22..]
                    .first_chunk()
                    .map_or(0, |raw| u32::from_le_bytes(*raw));
                let (port, flow) = (u16::from_be_bytes(*port), u32::from_be_bytes(*flow));
                Self::Inet(SocketAddrV6::new(Ipv6Addr::from(*ip), port, flow, scope).into())
            }
            family::NETLINK => {
                let raw: &[u8; 10] = rest.first_chunk().ok_or(Errno::EINVAL)?;
                let [_, _, p0, p1, p2, p3, g0, g1, g2, g3] = *raw;
                Self::Netlink(
                    u32::from_le_bytes([p0, p1, p2, p3]),
                    u32::from_le_bytes([g0, g1, g2, g3]),
                )
            }
            other => Self::Other(other),
        })
    }

    /// Its form in memory.
    pub fn bytes(&self) -> Vec<u8> {
        let mut raw = Vec::new();
        match self {
            Self::Unspecified => raw.extend(family::UNSPEC.to_le_bytes()),
            Self::Other(family) => raw.extend(family.to_le_bytes()),
            Self::Unix(name) => {
                raw.extend(family::UNIX.to_le_bytes());
                match name {
                    Name::Unnamed => (),
                    Name::Path(path) => {
                        raw.extend(path);
                        raw.push(0);
                    }
                    Name::Abstract(name) => {
                        raw.push(0);
                        raw.extend(name);
                    }
                }
            }
            Self::Inet(SocketAddr::V4(address)) => {
                raw.extend(family::INET.to_le_bytes());
                raw.extend(address.port().to_be_bytes());
                raw.extend(address.ip().octets());
                raw.extend([0; 8]);
            }
            Self::Inet(SocketAddr::V6(address)) => {
                raw.extend(family::INET6.to_le_bytes());
                raw.extend(address.port().to_be_bytes());
                raw.extend(address.flowinfo().to_be_bytes());
                raw.extend(address.ip().octets());
                raw.extend(address.scope_id().to_le_bytes());
            }
            Self::Netlink(port, groups) => {
                raw.extend(family::NETLINK.to_le_bytes());
                raw.extend([0; 2]);
                raw.extend(port.to_le_bytes());
                raw.extend(groups.to_le_bytes());
            }
        }
        raw
    }
}

fn unix(path: &[u8]) -> Result<Name, Errno> {
    match path {
        _ if path.len() > UNIX - 2 => Err(Errno::EINVAL),
        [] => Ok(Name::Unnamed),
        [0, name @ ..] => Ok(Name::Abstract(name.to_vec())),
        path => {
            let end = path.iter().position(|&byte| byte == 0);
            Ok(Name::Path(path[..end.unwrap_or(path.len())].to_vec()))
        }
    }
}

/// An address as packets have it: an IPv4 one that is written as an IPv6 one is what it is, and of the interface that
/// an IPv6 one is reached by (its scope) there is only one.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// An address as a socket of IPv6 shows it.
pub fn mapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
        v6 @ SocketAddr::V6(_) => v6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for address in [
            Address::Unspecified,
            Address::Unix(Name::Unnamed),
            Address::Unix(Name::Path(b"/tmp/socket".to_vec())),
            Address::Unix(Name::Abstract(b"a\0b".to_vec())),
            Address::Inet("127.0.0.1:80".parse().unwrap()),
            Address::Inet("[fe80::1%3]:65535".parse().unwrap()),
            Address::Netlink(7, 1),
        ] {
            assert_eq!(Address::parse(&address.bytes()), Ok(address));
        }
    }

    #[test]
    fn short_and_long_ones_are_refused() {
        for raw in [
            &[][..],
            &[1],
            &[2, 0, 0, 80, 127, 0, 0, 1],
            &[10, 0, 0],
            &[16, 0],
            &[1; 112],
        ] {
            let mut raw = raw.to_vec();
            if raw.len() > 100 {
                raw[1] = 0;
            }
            assert_eq!(Address::parse(&raw), Err(Errno::EINVAL));
        }
    }

    #[test]
    fn ipv4_within_ipv6() {
        let v4: SocketAddr = "1.2.3.4:5".parse().unwrap();
        assert_eq!(canonical(mapped(v4)), v4);
        let v6: SocketAddr = "[::1]:5".parse().unwrap();
        assert_eq!((canonical(v6), mapped(v6)), (v6, v6));
    }
}
