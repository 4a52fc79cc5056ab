//! What is sent and received: bytes with where they come from and what goes along with them.
use super::inet::failure::Told;
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
    /// What its packet's header says.
    pub packet: Packet,
    /// `SO_TIMESTAMP`, `SO_TIMESTAMPNS`: when it came, in nanoseconds since 1970, and whether they are told.
    pub time: Option<(u64, bool)>,
    /// `IP_RECVERR`, `IPV6_RECVERR`: why it has come back.
    pub error: Option<Told>,
}

/// What a packet's header says, or is to say, and is told who asks: ip(7), ipv6(7).
#[derive(Clone, Copy, Default)]
pub struct Packet {
    /// It is IPv6's.
    pub v6: bool,
    /// `IP_PKTINFO`, `IPV6_PKTINFO`: where it was sent to, and by which interface it has come; of one that is to be
    /// sent, where it is from.
    pub address: Option<(IpAddr, u32)>,
    /// `IP_TTL`, `IPV6_HOPLIMIT`.
    pub hops: Option<u8>,
    /// `IP_TOS`, `IPV6_TCLASS`.
    pub class: Option<u8>,
    /// `UDP_SEGMENT`: how large the datagrams are that it is taken apart into.
    pub segment: Option<u16>,
}

/// What is to be sent at once.
pub struct Outgoing<'a> {
    /// The bytes.
    pub data: &'a [u8],
    /// Where to, if it is not where the socket is connected to.
    pub to: Option<&'a Address>,
    /// What goes along with the first byte.
    pub ancillary: &'a Ancillary,
    /// How.
    pub how: Sending,
}

impl<'a> Outgoing<'a> {
    /// Bytes with what goes along, for who is there anyway.
    pub fn new(data: &'a [u8], ancillary: &'a Ancillary) -> Self {
        Self {
            data,
            to: None,
            ancillary,
            how: Sending::default(),
        }
    }
}

/// How to send.
#[derive(Clone, Copy, Default)]
pub struct Sending {
    /// `MSG_OOB`: the last byte is urgent.
    pub urgent: bool,
    /// `MSG_MORE`: others follow that can go with it.
    pub more: bool,
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
    /// It is the urgent byte, by itself.
    pub urgent: bool,
    /// The urgent byte is the next, and ends what is read at once.
    pub at_mark: bool,
}
