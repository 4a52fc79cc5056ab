//! What is sent and received: bytes with where they come from and what goes along with them.
use super::{address::Address, sock::Ucred};
use crate::fs::OpenFile;
use alloc::{sync::Arc, vec::Vec};
use core::net::IpAddr;

/// What goes along with bytes: cmsg(3).
#[derive(Clone, Default)]
pub struct Ancillary {
    /// `SCM_RIGHTS`: open files.
    pub rights: Vec<Arc<OpenFile>>,
    /// `SCM_CREDENTIALS`: who has sent it.
    pub credentials: Option<Ucred>,
    /// `IP_PKTINFO`, `IPV6_PKTINFO`: where it was sent to.
    pub destination: Option<IpAddr>,
}

/// What is to be sent at once.
pub struct Outgoing<'a> {
    /// The bytes.
    pub data: &'a [u8],
    /// Where to, if it is not where the socket is connected to.
    pub to: Option<&'a Address>,
    /// What goes along with the first byte.
    pub ancillary: &'a Ancillary,
}

/// How to receive.
#[derive(Clone, Copy, Default)]
pub struct How {
    /// `MSG_PEEK`
    pub peek: bool,
    /// `MSG_OOB`
    pub urgent: bool,
}

/// What was received.
#[derive(Default)]
pub struct Received {
    /// Bytes stored.
    pub stored: usize,
    /// Bytes that the message had.
    pub len: usize,
    /// Who has sent it.
    pub from: Option<Address>,
    /// What went along.
    pub ancillary: Ancillary,
}
