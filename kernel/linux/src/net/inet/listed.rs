//! What there is to list of a socket of the internet's.
use super::{
    connection::{Connection, State},
    ports::unspecified,
};
use crate::net::{address::family, sock::Sock};
use alloc::sync::Arc;
use core::net::SocketAddr;

/// A socket, or what is left of a connection that no socket has any more.
pub struct Listed {
    /// It is one of `AF_INET6`.
    pub v6: bool,
    /// Where it is.
    pub local: SocketAddr,
    /// Whom it is connected to; unspecified if nobody.
    pub peer: SocketAddr,
    /// What state it is in.
    pub state: State,
    /// Bytes that were not read, or connections that were not accepted.
    pub unread: usize,
    /// Bytes that the other end has not got.
    pub unsent: usize,
    /// How many connections may wait to be accepted.
    pub backlog: Option<usize>,
    /// `IPPROTO_*`
    pub protocol: u32,
    /// Whose it is.
    pub uid: u32,
    /// Inode number; 0 without a socket.
    pub ino: u64,
    /// The connection, if it has one.
    pub connection: Option<Arc<dyn Connection>>,
}

impl Listed {
    /// A socket at an address, to be filled in.
    pub(super) fn new(sock: &Sock, local: SocketAddr) -> Self {
        let v6 = sock.domain == family::INET6;
        Self {
            v6,
            local,
            peer: SocketAddr::new(unspecified(v6), 0),
            state: State::Close,
            unread: 0,
            unsent: 0,
            backlog: None,
            protocol: sock.protocol,
            uid: sock.uid,
            ino: sock.ino,
            connection: None,
        }
    }
}
