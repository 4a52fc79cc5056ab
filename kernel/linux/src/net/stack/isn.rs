//! Initial sequence numbers: a clock, and a hash of a connection's ends with a secret (RFC 6528).
//!
//! smoltcp draws them from a generator whose next numbers follow from earlier ones, which every other end is given. So
//! a connection's numbers are other ones on the wire: what it sends is shifted from the first segment on, what is
//! acknowledged is shifted back.
use super::now;
use core::hash::{Hash, Hasher};
use core::net::SocketAddr;
use core::sync::atomic::{AtomicU64, Ordering};
use machine::drivers::random;
use siphasher::sip::SipHasher24;
use smoltcp::wire::{
    EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket, TcpSeqNumber,
};

/// Nanoseconds of a tick of the clock.
const TICK: u64 = 4000;

/// The secret of this machine.
pub(super) struct Generator([u8; 16]);

impl Generator {
    /// One with a secret that nobody knows.
    pub(super) fn new() -> Self {
        let mut key = [0; 16];
        random::fill(&mut key);
        Self::with_key(key)
    }

    pub(super) const fn with_key(key: [u8; 16]) -> Self {
        Self(key)
    }

    /// The shift of a connection between `local` and `peer`.
    pub(super) fn shift(&self, local: SocketAddr, peer: SocketAddr) -> Shift {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        (local, peer).hash(&mut hasher);
        let ticks = now() / TICK;
        Shift {
            first: low(hasher.finish()).wrapping_add(low(ticks)),
            by: AtomicU64::new(UNKNOWN),
        }
    }
}

fn low(number: u64) -> u32 {
    u32::try_from(number & u64::from(u32::MAX)).unwrap_or(0)
}

/// No segment has been sent yet.
const UNKNOWN: u64 = u64::MAX;

/// By which the sequence numbers of a connection differ on the wire.
pub(super) struct Shift {
    /// The first on the wire.
    first: u32,
    /// What is added to what is sent, once that is known.
    by: AtomicU64,
}

impl Shift {
    /// The numbers' difference, if it is known.
    fn by(&self) -> Option<u32> {
        match self.by.load(Ordering::Relaxed) {
            UNKNOWN => None,
            by => Some(low(by)),
        }
    }

    /// A frame leaves.
    pub(super) fn leaving(&self, frame: &mut [u8]) {
        let Some(mut segment) = segment(frame) else {
            return;
        };
        let old = number(segment.seq_number());
        let by = self.by().or_else(|| {
            let by = self.first.wrapping_sub(old);
            segment.syn().then(|| {
                self.by.store(by.into(), Ordering::Relaxed);
                by
            })
        });
        if let Some(by) = by {
            let new = old.wrapping_add(by);
            segment.set_seq_number(TcpSeqNumber(new.cast_signed()));
            segment.set_checksum(updated(segment.checksum(), old, new));
        }
    }

    /// A frame has come.
    pub(super) fn coming(&self, frame: &mut [u8]) {
        let (Some(by), Some(mut segment)) = (self.by(), segment(frame)) else {
            return;
        };
        if segment.ack() {
            let old = number(segment.ack_number());
            let new = old.wrapping_sub(by);
            segment.set_ack_number(TcpSeqNumber(new.cast_signed()));
            segment.set_checksum(updated(segment.checksum(), old, new));
        }
    }
}

fn number(number: TcpSeqNumber) -> u32 {
    number.0.cast_unsigned()
}

/// The segment in a frame, if there is one.
fn segment(frame: &mut [u8]) -> Option<TcpPacket<&mut [u8]>> {
    let ethernet = EthernetFrame::new_checked(&*frame).ok()?;
    let (protocol, header) = match ethernet.ethertype() {
        EthernetProtocol::Ipv4 => {
            let packet = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
            (packet.next_header(), usize::from(packet.header_len()))
        }
        EthernetProtocol::Ipv6 => {
            let packet = Ipv6Packet::new_checked(ethernet.payload()).ok()?;
            (packet.next_header(), packet.header_len())
        }
        _ => return None,
    };
    let start = EthernetFrame::<&[u8]>::header_len() + header;
    let segment = TcpPacket::new_checked(frame.get_mut(start..)?).ok()?;
    (protocol == IpProtocol::Tcp).then_some(segment)
}

/// A checksum, when four bytes of what it is of have changed (RFC 1624).
fn updated(checksum: u16, old: u32, new: u32) -> u16 {
    let halves = |number: u32| (number >> 16) + (number & 0xffff);
    let sum = u32::from(!checksum) + halves(!old) + halves(new);
    let sum = halves(halves(sum));
    !u16::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use smoltcp::wire::IpAddress;

    const ENDS: [[u8; 4]; 2] = [[10, 0, 2, 15], [10, 0, 2, 16]];

    /// A frame with a segment whose checksum is right.
    fn frame(flags: u8, seq: u32, ack: u32) -> Vec<u8> {
        let mut frame = [0; 12].to_vec();
        frame.extend([8, 0, 0x45, 0, 0, 45, 0, 0, 0, 0, 64, 6, 0, 0]);
        frame.extend(ENDS[0].iter().chain(&ENDS[1]));
        frame.extend([0x12, 0x34, 0, 80]);
        frame.extend(seq.to_be_bytes().iter().chain(&ack.to_be_bytes()));
        frame.extend([0x50, flags, 1, 0, 0, 0, 0, 0]);
        frame.extend(b"hello");
        let [from, to] = ENDS.map(|end| IpAddress::Ipv4(end.into()));
        TcpPacket::new_unchecked(&mut frame[34..]).fill_checksum(&from, &to);
        frame
    }

    /// Sequence and acknowledgement, when the checksum is right.
    fn numbers(frame: &[u8]) -> (u32, u32) {
        let segment = TcpPacket::new_checked(&frame[34..]).unwrap();
        let [from, to] = ENDS.map(|end| IpAddress::Ipv4(end.into()));
        assert!(segment.verify_checksum(&from, &to));
        (number(segment.seq_number()), number(segment.ack_number()))
    }

    #[test]
    fn numbers_are_others_on_the_wire() {
        let ends = ["10.0.2.15:4660", "10.0.2.16:80"].map(|end| end.parse().unwrap());
        let generator = Generator([7; 16]);
        for first in [0, 1, 0x7fff_ffff, 0xffff_ffff, 0x1234_0000] {
            let shift = generator.shift(ends[0], ends[1]);
            let mut early = frame(0x10, 5, 6);
            shift.coming(&mut early);
            assert_eq!(numbers(&early), (5, 6), "nothing was sent yet");
            let mut opening = frame(0x02, first, 0);
            shift.leaving(&mut opening);
            assert_eq!(numbers(&opening), (shift.first, 0));
            let mut again = frame(0x02, first, 0);
            shift.leaving(&mut again);
            assert_eq!(again, opening);
            let mut answer = frame(0x12, 99, shift.first.wrapping_add(1));
            shift.coming(&mut answer);
            assert_eq!(numbers(&answer), (99, first.wrapping_add(1)));
            let mut next = frame(0x18, first.wrapping_add(1), 100);
            shift.leaving(&mut next);
            assert_eq!(numbers(&next), (shift.first.wrapping_add(1), 100));
        }
        let other = generator.shift(ends[0], "10.0.2.16:81".parse().unwrap());
        assert_ne!(
            other
                .first
                .abs_diff(generator.shift(ends[0], ends[1]).first)
                >> 24,
            0
        );
        assert!(segment(&mut [0; 40]).is_none() && segment(&mut frame(0, 0, 0)[..50]).is_none());
    }
}
