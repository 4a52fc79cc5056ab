//! Who is where on the wire, found out by ARP (RFC 826) and neighbour discovery (RFC 4861), and who does not answer:
//! what goes there fails.
use crate::net::interface::{self, Ethernet};
use alloc::{collections::BTreeMap, vec::Vec};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use machine::drivers::net as driver;
use smoltcp::{
    phy::ChecksumCapabilities,
    wire::{
        ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol,
        EthernetRepr, Icmpv6Packet, Icmpv6Repr, IpProtocol, Ipv6Packet, Ipv6Repr, NdiscRepr,
        RawHardwareAddress,
    },
};

const SECOND: u64 = 1_000_000_000;
/// How often somebody is asked for who does not answer.
const AGAIN: u64 = SECOND;
/// When who has answered is asked for again (`base_reachable_time_ms`).
const FRESH: u64 = 30 * SECOND;
/// How long somebody is asked for until nobody is there: Linux does so three times (`mcast_solicit`).
const PATIENCE: u64 = 3 * SECOND;
/// Those that are remembered.
const MOST: usize = 256;

/// What is known of one neighbour.
#[derive(Clone, Copy)]
struct Entry {
    /// Its hardware address, as it has said last.
    mac: Option<[u8; 6]>,
    /// Since when it has not answered.
    silent: Option<u64>,
    /// When it was asked for last, or has answered.
    last: u64,
}

/// See the module.
#[derive(Default)]
pub(super) struct Neighbours(BTreeMap<IpAddr, Entry>);

impl Neighbours {
    /// The hardware address that a packet to `to` is handed to. Whoever it is is asked for if it is not known, or was
    /// a while ago, unless that was done a moment ago. `now` in nanoseconds, as all times.
    pub(super) fn find(&mut self, to: IpAddr, now: u64) -> Option<[u8; 6]> {
        let next = match interface::next_hop(to) {
            Some(next) => next,
            None => return group(to),
        };
        if self.is_due(next, now)
            && let Some(ethernet) = interface::ethernet_device()
        {
            ask(ethernet, next);
        }
        self.0.get(&next).and_then(|entry| entry.mac)
    }

    /// Whether `next` is to be asked for now, which is noted as done.
    fn is_due(&mut self, next: IpAddr, now: u64) -> bool {
        if self.0.len() >= MOST && !self.0.contains_key(&next) {
            // Whoever is still needed is asked for again.
            self.0.pop_first();
        }
        let entry = self.0.entry(next).or_insert(Entry {
            mac: None,
            silent: None,
            last: 0,
        });
        let wait = if entry.silent.is_some() { AGAIN } else { FRESH };
        if entry.last != 0 && now < entry.last + wait {
            return false;
        }
        entry.last = now.max(1);
        entry.silent.get_or_insert(now);
        true
    }

    /// Somebody says where it is.
    pub(super) fn heard(&mut self, from: IpAddr, mac: [u8; 6], now: u64) {
        if let Some(entry) = self.0.get_mut(&from) {
            *entry = Entry {
                mac: Some(mac),
                silent: None,
                last: now.max(1),
            };
        }
    }

    /// Those that are remembered, with their hardware addresses if they have answered.
    pub(super) fn list(&self) -> Vec<(IpAddr, Option<[u8; 6]>)> {
        let all = self.0.iter();
        all.map(|(&ip, entry)| (ip, entry.mac)).collect()
    }

    /// Whether nobody answers for whom a packet to `to` is handed to.
    pub(super) fn is_silent(&self, to: IpAddr, now: u64) -> bool {
        let entry = interface::next_hop(to).and_then(|next| self.0.get(&next));
        let silent = entry.and_then(|entry| entry.silent);
        silent.is_some_and(|since| now >= since + PATIENCE)
    }
}

/// The hardware address of several (RFC 1112, RFC 2464), or of all.
fn group(to: IpAddr) -> Option<[u8; 6]> {
    match to {
        IpAddr::V4(ip) if ip.is_multicast() => {
            let [_, b, c, d] = ip.octets();
            Some([0x01, 0, 0x5e, b & 0x7f, c, d])
        }
        IpAddr::V4(_) => Some([0xff; 6]),
        IpAddr::V6(ip) if ip.is_multicast() => Some(group6(ip)),
        IpAddr::V6(_) => None,
    }
}

fn group6(ip: Ipv6Addr) -> [u8; 6] {
    let [.., a, b, c, d] = ip.octets();
    [0x33, 0x33, a, b, c, d]
}

fn ask(ethernet: &Ethernet, next: IpAddr) {
    match (interface::source(next), next) {
        (Some(IpAddr::V4(own)), IpAddr::V4(next)) => ask4(ethernet, own, next),
        (Some(IpAddr::V6(own)), IpAddr::V6(next)) => ask6(ethernet, own, next),
        _ => (),
    }
}

fn ask4(ethernet: &Ethernet, own: Ipv4Addr, next: Ipv4Addr) {
    let own_mac = EthernetAddress(ethernet.mac);
    let question = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr: own_mac,
        source_protocol_addr: own,
        target_hardware_addr: EthernetAddress([0; 6]),
        target_protocol_addr: next,
    };
    let head = EthernetRepr {
        src_addr: own_mac,
        dst_addr: EthernetAddress::BROADCAST,
        ethertype: EthernetProtocol::Arp,
    };
    send(&head, question.buffer_len(), |room| {
        question.emit(&mut ArpPacket::new_unchecked(room));
    });
}

fn ask6(ethernet: &Ethernet, own: Ipv6Addr, next: Ipv6Addr) {
    let question = Icmpv6Repr::Ndisc(NdiscRepr::NeighborSolicit {
        target_addr: next,
        lladdr: Some(RawHardwareAddress::from_bytes(&ethernet.mac)),
    });
    // Those whose addresses end in the same 24 bits listen to it.
    let [.., b, c, d] = next.octets();
    let low = u16::from_be_bytes([c, d]);
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(b), low);
    let packet = Ipv6Repr {
        src_addr: own,
        dst_addr: group,
        next_header: IpProtocol::Icmpv6,
        payload_len: question.buffer_len(),
        hop_limit: 255,
    };
    let head = EthernetRepr {
        src_addr: EthernetAddress(ethernet.mac),
        dst_addr: EthernetAddress(group6(group)),
        ethertype: EthernetProtocol::Ipv6,
    };
    let len = packet.buffer_len() + question.buffer_len();
    send(&head, len, |room| {
        let (start, rest) = room.split_at_mut(packet.buffer_len());
        packet.emit(&mut Ipv6Packet::new_unchecked(start));
        let mut message = Icmpv6Packet::new_unchecked(rest);
        question.emit(&own, &group, &mut message, &ChecksumCapabilities::default());
    });
}

fn send(head: &EthernetRepr, len: usize, fill: impl FnOnce(&mut [u8])) {
    let len = head.buffer_len() + len;
    interface::ethernet().sent(len);
    driver::send(len, |room| {
        let mut frame = EthernetFrame::new_unchecked(room);
        head.emit(&mut frame);
        fill(frame.payload_mut());
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asked_for_when_it_is_due() {
        let mut neighbours = Neighbours::default();
        let machine = Ipv4Addr::new(10, 0, 2, 16).into();
        let silent = |neighbours: &Neighbours| neighbours.0[&machine].silent;
        assert!(neighbours.is_due(machine, 5));
        assert!(!neighbours.is_due(machine, 6) && neighbours.is_due(machine, 5 + AGAIN));
        assert_eq!(silent(&neighbours), Some(5), "since the first question");
        neighbours.heard(machine, [1; 6], 7 + AGAIN);
        assert_eq!(silent(&neighbours), None);
        assert_eq!(neighbours.0[&machine].mac, Some([1; 6]));
        assert!(!neighbours.is_due(machine, 8 + 2 * AGAIN));
        assert!(neighbours.is_due(machine, 7 + AGAIN + FRESH));
        for last in 0..=255 {
            for third in 0..8 {
                neighbours.is_due(Ipv4Addr::new(10, 0, third, last).into(), 9);
            }
        }
        assert_eq!(neighbours.0.len(), MOST);
    }
}
