//! Segments as they are on the wire, by smoltcp's `wire`.
use super::seq::Seq;
use core::net::IpAddr;
use smoltcp::{
    phy::ChecksumCapabilities,
    wire::{IpAddress, TcpControl, TcpPacket, TcpRepr},
};

/// Ranges of a selective acknowledgement (RFC 2018) that are looked at and sent.
pub(crate) const RANGES: usize = 3;

/// A segment without its data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// The first byte's number, or the SYN's.
    pub(crate) seq: Seq,
    /// What is expected next, if it says so.
    pub(crate) ack: Option<Seq>,
    /// SYN
    pub(crate) syn: bool,
    /// FIN
    pub(crate) fin: bool,
    /// RST
    pub(crate) rst: bool,
    /// PSH
    pub(crate) push: bool,
    /// URG: how far after `seq` urgent data end.
    pub(crate) urgent: Option<u16>,
    /// The window's field, not scaled.
    pub(crate) window: u16,
    /// The largest segment that the sender takes.
    pub(crate) mss: Option<u16>,
    /// The sender's window scale.
    pub(crate) scale: Option<u8>,
    /// The sender knows selective acknowledgements.
    pub(crate) sack_permitted: bool,
    /// Ranges that have come out of order.
    pub(crate) sacks: [Option<(Seq, Seq)>; RANGES],
}

/// A segment that has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment<'a> {
    /// All but the data.
    pub(crate) head: Head,
    /// The data.
    pub(crate) data: &'a [u8],
}

impl<'a> Segment<'a> {
    /// A segment whose checksum was verified; `None` if it makes no sense.
    pub(crate) fn parse(bytes: &'a [u8], from: IpAddr, to: IpAddr) -> Option<Self> {
        let packet = TcpPacket::new_checked(bytes).ok()?;
        let (from, to) = (IpAddress::from(from), IpAddress::from(to));
        let repr = TcpRepr::parse(&packet, &from, &to, &ChecksumCapabilities::ignored()).ok()?;
        Some(Self {
            head: Head {
                seq: repr.seq_number.into(),
                ack: repr.ack_number.map(Seq::from),
                syn: repr.control == TcpControl::Syn,
                fin: repr.control == TcpControl::Fin,
                rst: repr.control == TcpControl::Rst,
                push: repr.control == TcpControl::Psh,
                urgent: packet.urg().then(|| packet.urgent_at()),
                window: repr.window_len,
                mss: repr.max_seg_size,
                scale: repr.window_scale,
                sack_permitted: repr.sack_permitted,
                sacks: repr
                    .sack_ranges
                    .map(|range| range.map(|(start, end)| (Seq(start), Seq(end)))),
            },
            data: repr.payload,
        })
    }

    /// The numbers it takes.
    pub(super) fn len(&self) -> u32 {
        super::seq::count(self.data.len()) + u32::from(self.head.syn) + u32::from(self.head.fin)
    }
}

impl Head {
    fn repr(&self, from: u16, to: u16) -> TcpRepr<'static> {
        TcpRepr {
            src_port: from,
            dst_port: to,
            control: match (self.syn, self.fin, self.rst, self.push) {
                (true, ..) => TcpControl::Syn,
                (_, true, ..) => TcpControl::Fin,
                (_, _, true, _) => TcpControl::Rst,
                (.., true) => TcpControl::Psh,
                _ => TcpControl::None,
            },
            seq_number: self.seq.into(),
            ack_number: self.ack.map(Seq::into),
            window_len: self.window,
            window_scale: self.scale,
            max_seg_size: self.mss,
            sack_permitted: self.sack_permitted,
            sack_ranges: self
                .sacks
                .map(|range| range.map(|(start, end)| (start.0, end.0))),
            timestamp: None,
            payload: &[],
        }
    }

    /// Bytes of the header on the wire.
    pub(crate) fn len(&self) -> usize {
        self.repr(1, 1).header_len()
    }

    /// Writes the header in front of the data, which is in `bytes` already, and the checksum of both.
    pub(crate) fn emit(&self, bytes: &mut [u8], [from, to]: [(IpAddr, u16); 2]) {
        let repr = self.repr(from.1, to.1);
        let (from, to) = (IpAddress::from(from.0), IpAddress::from(to.0));
        let mut packet = TcpPacket::new_unchecked(bytes);
        repr.emit(&mut packet, &from, &to, &ChecksumCapabilities::ignored());
        if let Some(pointer) = self.urgent {
            packet.set_urg(true);
            packet.set_urgent_at(pointer);
        }
        packet.fill_checksum(&from, &to);
    }
}

/// What is said to a segment that is for no connection (RFC 9293, 3.10.7.1); nothing to a reset.
pub(crate) fn refusal(segment: &Segment<'_>) -> Option<Head> {
    let head = segment.head;
    let reset = Head {
        rst: true,
        ..Head::default()
    };
    match head.ack {
        _ if head.rst => None,
        Some(ack) => Some(Head { seq: ack, ..reset }),
        None => Some(Head {
            ack: Some(head.seq.plus(segment.len())),
            ..reset
        }),
    }
}
