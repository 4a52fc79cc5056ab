//! Datagrams that are put together of several sendings (`MSG_MORE`, `UDP_CORK`), and one that is taken apart into
//! several (`UDP_SEGMENT`): udp(7).
use crate::net::{
    interface,
    options::{CORK_UDP, Options, SEGMENT},
    stack,
};
use abi::Errno;
use alloc::vec::Vec;
use core::net::IpAddr;

/// Bytes of UDP's header.
pub(super) const UDP_HEADER: usize = 8;
/// The most bytes of a datagram.
pub(super) const MOST: usize = 65_507;
/// Datagrams that one is taken apart into at most (`UDP_MAX_SEGMENTS`).
const SEGMENTS: usize = 64;

/// A datagram that is being put together, and where it goes.
pub(super) struct Corked<Way> {
    pub(super) data: Vec<u8>,
    pub(super) way: Way,
}

impl<Way> Corked<Way> {
    /// Nothing, for somewhere.
    pub(super) fn new(way: Way) -> Self {
        let data = Vec::new();
        Self { data, way }
    }

    /// Adds bytes; `EMSGSIZE` if that is more than a datagram can have.
    pub(super) fn add(&mut self, data: &[u8]) -> Result<(), Errno> {
        if self.data.len() + data.len() > MOST {
            return Err(Errno::EMSGSIZE);
        }
        self.data
            .try_reserve(data.len())
            .map_err(|_| Errno::ENOBUFS)?;
        self.data.extend_from_slice(data);
        Ok(())
    }
}

/// Whether a socket with these options holds back what is sent.
pub(super) fn holds(options: &Options) -> bool {
    options.is_set(CORK_UDP)
}

/// How large the datagrams are that one of `len` bytes to `to` is taken apart into, as the socket's options say or
/// `asked` for this one; `EINVAL` if they are too large or too many.
pub(super) fn segment(
    options: &Options,
    asked: Option<u16>,
    len: usize,
    to: IpAddr,
) -> Result<Option<usize>, Errno> {
    let (level, name) = SEGMENT;
    let set = || usize::try_from(options.get(level, name).unwrap_or(0)).unwrap_or(0);
    let size = asked.map_or_else(set, usize::from);
    if size == 0 {
        return Ok(None);
    }
    let fits = interface::is_local(to) || stack::fits(UDP_HEADER + size, to);
    if !fits || len > size * SEGMENTS {
        return Err(Errno::EINVAL);
    }
    Ok(Some(size).filter(|&size| len > size))
}
