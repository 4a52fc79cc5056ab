//! Packets larger than a frame: put together from fragments that come in any order, and cut into some (RFC 791,
//! "Fragmentation and Reassembly"; RFC 8200, "Fragment Header").
//!
//! What is kept is bounded in bytes and time, and a packet whose fragments overlap is dropped whole (RFC 5722), as in
//! Linux.
use super::SECOND;
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::net::IpAddr;
use machine::drivers::net as driver;
use smoltcp::wire::{
    ETHERNET_HEADER_LEN as ETHERNET, EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet,
    Ipv6FragmentHeader, Ipv6Packet,
};

/// How long fragments wait for the others (`net.ipv4.ipfrag_time`).
const PATIENCE: u64 = 30 * SECOND;
/// The most bytes that wait (`net.ipv4.ipfrag_high_thresh`), and the most packets.
const MOST: usize = 4 << 20;
const PACKETS: usize = 1024;
/// What a fragment counts for besides its bytes.
const OVERHEAD: usize = 128;
/// The most bytes of a packet's payload.
const LARGEST: usize = 65_535 - IPV4;
/// Bytes of headers.
const IPV4: usize = 20;
const IPV6: usize = 40;
const FRAGMENT: usize = 8;

/// Which packet a fragment is of: from, to, protocol, identification.
type Key = (IpAddr, IpAddr, u8, u32);

/// A fragment, read off a frame.
struct Fragment<'a> {
    key: Key,
    /// Where it begins.
    at: usize,
    data: &'a [u8],
    last: bool,
}

/// What there is of a packet.
struct Pieces {
    since: u64,
    /// By where they begin.
    data: BTreeMap<usize, Vec<u8>>,
    /// The packet's length, once the last fragment is there.
    len: Option<usize>,
    /// The headers of the first fragment: Ethernet's and IP's.
    headers: Vec<u8>,
}

/// See the module.
#[derive(Default)]
pub(super) struct Fragments {
    packets: BTreeMap<Key, Pieces>,
    /// Since when they wait, the oldest first.
    ages: BTreeSet<(u64, Key)>,
    bytes: usize,
}

/// What a frame is for reassembly.
pub(super) enum Taken {
    /// No fragment.
    Whole,
    /// A fragment that others are missing of, or that is dropped.
    Kept,
    /// The last that was missing: the packet, in a frame of its own.
    Packet(Vec<u8>),
}

/// Reads a fragment; `None` if it is none, `Some(None)` if it is not one to be kept.
fn read(frame: &[u8]) -> Option<Option<Fragment<'_>>> {
    let ethernet = EthernetFrame::new_checked(frame).ok()?;
    let (key, at, data, last) = match ethernet.ethertype() {
        EthernetProtocol::Ipv4 => {
            let packet = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
            if !packet.more_frags() && packet.frag_offset() == 0 || !packet.verify_checksum() {
                return None;
            }
            let ends = (packet.src_addr().into(), packet.dst_addr().into());
            let protocol = packet.next_header().into();
            let key = (ends.0, ends.1, protocol, packet.ident().into());
            let last = !packet.more_frags();
            (
                key,
                usize::from(packet.frag_offset()),
                packet.payload(),
                last,
            )
        }
        EthernetProtocol::Ipv6 => {
            let packet = Ipv6Packet::new_checked(ethernet.payload()).ok()?;
            let payload = packet.payload();
            if packet.next_header() != IpProtocol::Ipv6Frag {
                return None;
            }
            // The header that smoltcp knows is what comes after the next one's number and a byte.
            let header = Ipv6FragmentHeader::new_checked(payload.get(2..FRAGMENT)?).ok()?;
            let ends = (packet.src_addr().into(), packet.dst_addr().into());
            let key = (ends.0, ends.1, payload[0], header.ident());
            let at = usize::from(header.frag_offset()) * 8;
            (key, at, &payload[FRAGMENT..], !header.more_frags())
        }
        _ => return None,
    };
    let good = !data.is_empty() && (last || data.len() % 8 == 0) && at + data.len() <= LARGEST;
    Some(good.then_some(Fragment {
        key,
        at,
        data,
        last,
    }))
}

impl Pieces {
    /// Takes a fragment; whether it goes with the others.
    fn add(&mut self, fragment: &Fragment<'_>) -> bool {
        let end = fragment.at + fragment.data.len();
        if fragment.last && self.len.is_some_and(|len| len != end)
            || !fragment.last && self.len.is_some_and(|len| end > len)
        {
            return false;
        }
        let before = self.data.range(..=fragment.at).next_back();
        if let Some((&at, data)) = before
            && at + data.len() > fragment.at
        {
            // The same once more is no harm.
            return at == fragment.at && data == fragment.data;
        }
        let after = self.data.range(fragment.at..).next();
        if after.is_some_and(|(&at, _)| at < end || fragment.last) {
            return false;
        }
        self.data.insert(fragment.at, fragment.data.to_vec());
        if fragment.last {
            self.len = Some(end);
        }
        true
    }

    fn is_complete(&self) -> bool {
        let bytes: usize = self.data.values().map(Vec::len).sum();
        self.len == Some(bytes)
    }

    fn charge(&self) -> usize {
        self.data.values().map(|data| data.len() + OVERHEAD).sum()
    }

    /// The packet in a frame.
    fn join(self, protocol: u8) -> Option<Vec<u8>> {
        let mut frame = self.headers;
        let header = frame.len();
        for data in self.data.values() {
            frame.extend_from_slice(data);
        }
        let packet = &mut frame[ETHERNET..];
        if header == ETHERNET + IPV6 {
            let mut packet = Ipv6Packet::new_unchecked(packet);
            let len = self.len.and_then(|len| u16::try_from(len).ok())?;
            packet.set_payload_len(len);
            packet.set_next_header(protocol.into());
        } else {
            let len = u16::try_from(packet.len()).ok()?;
            let mut packet = Ipv4Packet::new_unchecked(packet);
            packet.set_total_len(len);
            packet.set_more_frags(false);
            packet.set_frag_offset(0);
            packet.fill_checksum();
        }
        Some(frame)
    }
}

impl Fragments {
    /// A frame has come.
    pub(super) fn take(&mut self, frame: &[u8], now: u64) -> Taken {
        let fragment = match read(frame) {
            None => return Taken::Whole,
            Some(None) => return Taken::Kept,
            Some(Some(fragment)) => fragment,
        };
        self.serve(now);
        let key = fragment.key;
        let room = self.bytes + fragment.data.len() + OVERHEAD <= MOST;
        if !room || !self.packets.contains_key(&key) && self.packets.len() >= PACKETS {
            return Taken::Kept;
        }
        let pieces = self.packets.entry(key).or_insert_with(|| {
            self.ages.insert((now, key));
            Pieces {
                since: now,
                data: BTreeMap::new(),
                len: None,
                headers: Vec::new(),
            }
        });
        self.bytes -= pieces.charge();
        let good = pieces.add(&fragment);
        if fragment.at == 0 && good {
            let ip = match key.0 {
                IpAddr::V4(_) => usize::from(frame[ETHERNET] & 15) * 4,
                IpAddr::V6(_) => IPV6,
            };
            pieces.headers = frame[..ETHERNET + ip].to_vec();
        }
        if good && !pieces.is_complete() {
            self.bytes += pieces.charge();
            return Taken::Kept;
        }
        let pieces = self.packets.remove(&key);
        if let Some(pieces) = &pieces {
            self.ages.remove(&(pieces.since, key));
        }
        match pieces
            .filter(|_| good)
            .and_then(|pieces| pieces.join(key.2))
        {
            Some(packet) => Taken::Packet(packet),
            None => Taken::Kept,
        }
    }

    /// Forgets those that have waited too long; when the next one has.
    pub(super) fn serve(&mut self, now: u64) -> Option<u64> {
        loop {
            let &(since, key) = self.ages.first()?;
            if since + PATIENCE > now {
                return Some(since + PATIENCE);
            }
            self.ages.pop_first();
            if let Some(pieces) = self.packets.remove(&key) {
                self.bytes -= pieces.charge();
            }
        }
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Cuts a frame that is too large into such as are not, with the identification `id`, and hands them to `send`.
pub(super) fn cut(frame: &[u8], id: u32, mut send: impl FnMut(&[u8])) {
    if frame.len() <= driver::FRAME {
        return send(frame);
    }
    let v6 = frame.get(12..14) == Some(&[0x86, 0xdd]);
    let header = ETHERNET + if v6 { IPV6 } else { IPV4 };
    let room = driver::FRAME - header - if v6 { FRAGMENT } else { 0 };
    let Some((headers, payload)) = frame.split_at_checked(header) else {
        return;
    };
    let mut at = 0;
    for data in payload.chunks(room / 8 * 8) {
        let more = at + data.len() < payload.len();
        let mut piece = headers.to_vec();
        // In units of eight bytes; IPv6 has the other three bits behind, IPv4 before.
        let offset = u16::try_from(at / 8).unwrap_or(u16::MAX);
        if v6 {
            let place = offset << 3 | u16::from(more);
            piece.extend([headers[ETHERNET + 6], 0]);
            piece.extend(place.to_be_bytes());
            piece.extend(id.to_be_bytes());
        }
        piece.extend_from_slice(data);
        let len = u16::try_from(piece.len() - ETHERNET).unwrap_or(u16::MAX);
        if v6 {
            let mut packet = Ipv6Packet::new_unchecked(&mut piece[ETHERNET..]);
            packet.set_payload_len(len.saturating_sub(40));
            packet.set_next_header(IpProtocol::Ipv6Frag);
        } else {
            let [.., i0, i1] = id.to_be_bytes();
            let mut packet = Ipv4Packet::new_unchecked(&mut piece[ETHERNET..]);
            packet.set_total_len(len);
            packet.set_ident(u16::from_be_bytes([i0, i1]));
            packet.set_dont_frag(false);
            packet.set_more_frags(more);
            packet.set_frag_offset(offset * 8);
            packet.fill_checksum();
        }
        send(&piece);
        at += data.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::stack::{Header, link};

    fn packet(from: &str, to: &str, len: usize) -> Vec<u8> {
        let data: Vec<u8> = (0..len).map(|at| (at * 7 % 251).to_le_bytes()[0]).collect();
        let header = Header {
            protocol: 17,
            hops: 64,
            class: 0,
        };
        link::frame(&data, from.parse().unwrap(), to.parse().unwrap(), header)
    }

    fn pieces(frame: &[u8]) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        cut(frame, 0x1234_5678, |piece| all.push(piece.to_vec()));
        all
    }

    #[test]
    fn packets_arrive_whatever_the_order_of_their_fragments() {
        for (from, to) in [("10.0.2.2", "10.0.2.15"), ("fec0::2", "fec0::15")] {
            for len in [1481, 3000, 65_000] {
                let whole = packet(from, to, len);
                let all = pieces(&whole);
                assert!(all.len() > 1 && all.iter().all(|one| one.len() <= driver::FRAME));
                let mut table = Fragments::default();
                let (last, others) = all.split_first().unwrap();
                for one in others.iter().rev().chain(others) {
                    assert!(matches!(table.take(one, 0), Taken::Kept));
                }
                let Taken::Packet(packet) = table.take(last, 0) else {
                    panic!("{len} bytes from {from} do not arrive");
                };
                let payload = whole.len() - len;
                assert_eq!(packet[payload..], whole[payload..]);
                assert_eq!(packet.len(), whole.len());
                assert_eq!((table.bytes(), table.packets.len()), (0, 0));
            }
        }
    }

    #[test]
    fn what_overlaps_is_dropped_and_what_waits_is_bounded() {
        let whole = packet("10.0.2.2", "10.0.2.15", 3000);
        let all = pieces(&whole);
        let mut table = Fragments::default();
        assert!(matches!(table.take(&all[0], 0), Taken::Kept));
        // The second, as if it began a bit earlier.
        let mut other = all[1].clone();
        let mut packet4 = Ipv4Packet::new_unchecked(&mut other[ETHERNET..]);
        let at = packet4.frag_offset();
        packet4.set_frag_offset(at - 8);
        packet4.fill_checksum();
        assert!(matches!(table.take(&other, 0), Taken::Kept));
        assert_eq!(table.packets.len(), 0);
        for id in 0..10_000 {
            let send = |piece: &[u8]| {
                table.take(piece, 1);
            };
            cut(&packet("10.0.2.2", "10.0.2.15", 60_000)[..2014], id, send);
            assert!(table.bytes() <= MOST && table.packets.len() <= PACKETS);
        }
        table.serve(1 + PATIENCE);
        assert_eq!((table.bytes(), table.packets.len()), (0, 0));
        assert!(matches!(
            table.take(&packet("10.0.2.2", "10.0.2.15", 9), 0),
            Taken::Whole
        ));
    }
}
