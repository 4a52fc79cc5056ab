//! Sockets: what socket(2) makes, by family.
//!
//! [`socket`] is what an open socket is to the VFS; it waits. A family implements [`socket::Protocol`] and does not.
//! What is to be received is in a [`queue`]; others that send to a socket, or wait for it, hold its [`sock`].
pub mod address;
pub mod inet;
pub mod interface;
mod ioctl;
mod listing;
pub mod message;
pub mod mib;
pub mod netlink;
pub mod options;
mod procfs;
pub mod queue;
mod snmp;
pub mod sock;
pub mod socket;
pub mod stack;
pub mod unix;
mod urgent;

use crate::fs::file_system::Additions;
use abi::Errno;
use address::family;
use alloc::sync::Arc;
use sock::Kind;
use socket::Socket;

/// Starts the network.
pub fn init() {
    stack::start(&inet::Inet);
}

/// What /proc and /sys say about it.
pub const FILES: Additions = Additions {
    proc: procfs::populate_proc,
    sys: procfs::populate_sys,
};

/// socket(2)
pub fn create(domain: u16, kind: Kind, protocol: u32) -> Result<Arc<Socket>, Errno> {
    match domain {
        family::UNIX => unix_kind(kind, protocol).map(unix::create),
        family::INET | family::INET6 => inet::create(domain, kind, protocol),
        family::NETLINK => netlink::create(kind, protocol),
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

/// socketpair(2)
pub fn pair(domain: u16, kind: Kind, protocol: u32) -> Result<[Arc<Socket>; 2], Errno> {
    match domain {
        family::UNIX => unix_kind(kind, protocol).map(unix::pair),
        family::INET | family::INET6 | family::NETLINK => Err(Errno::EOPNOTSUPP),
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

fn unix_kind(kind: Kind, protocol: u32) -> Result<Kind, Errno> {
    match (kind, protocol) {
        (_, 2..) => Err(Errno::EPROTONOSUPPORT),
        // As Linux takes it.
        (Kind::Raw, _) => Ok(Kind::Datagram),
        (kind, _) => Ok(kind),
    }
}
