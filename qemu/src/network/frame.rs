//! What is to be done with a frame that a machine sends: who gets it, or what the network itself answers.
//!
//! Hardware addresses follow from the machines' addresses, as those of QEMU's router do. So nothing is learnt,
//! nothing is flooded that is for one machine, and no machine can take another's place: what it sends in another's
//! name is dropped.

use std::net::{Ipv4Addr, Ipv6Addr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol,
    EthernetRepr, IpAddress, IpProtocol, IpRepr, Ipv4Packet, Ipv6Packet, TcpControl, TcpPacket,
    TcpRepr, TcpSeqNumber, UdpPacket, UdpRepr,
};

use super::dns;
use super::subnet::{Subnet, v6_of};

/// What hardware addresses of machines begin with; an address of IP follows. Locally administered, and QEMU's usual.
const MACHINE: [u8; 2] = [0x52, 0x54];
/// The same of QEMU's router.
const ROUTER: [u8; 2] = [0x52, 0x55];
/// What hardware addresses begin with of all that may have an IPv6 address, of which the last three bytes follow (RFC
/// 2464, 7; RFC 4291, "solicited-node").
const SOLICITED: [u8; 3] = [0x33, 0x33, 0xff];

/// Neighbour advertisement, of ICMPv6.
const ADVERTISEMENT: u8 = 136;

const DNS: u16 = 53;
/// Where servers of DHCP listen.
const DHCP: u16 = 67;

/// The hardware address of a machine.
pub(crate) fn mac_of(machine: Ipv4Addr) -> String {
    hardware(machine).to_string()
}

fn hardware(machine: Ipv4Addr) -> EthernetAddress {
    let ([x, y], [a, b, c, d]) = (MACHINE, machine.octets());
    EthernetAddress([x, y, a, b, c, d])
}

/// Who gets a frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    Machine(Ipv4Addr),
    /// All machines but the sender.
    Machines,
    /// What is behind the router: this host and what it reaches.
    Router,
    /// The sender, with this frame instead.
    Sender(Vec<u8>),
    Nobody,
}

/// Says who gets `frame`, which `sender` has sent. `names` answers questions for names of the network, if it can.
pub(super) fn target(
    frame: &[u8],
    sender: Ipv4Addr,
    subnet: Subnet,
    names: &impl dns::Names,
) -> Target {
    let Ok(ethernet) = EthernetFrame::new_checked(frame) else {
        return Target::Nobody;
    };
    if ethernet.src_addr() != hardware(sender) {
        return Target::Nobody;
    }
    if ethernet.ethertype() == EthernetProtocol::Ipv6 && !is_own(ethernet.payload(), sender) {
        return Target::Nobody;
    }
    let to = ethernet.dst_addr();
    let [x, y, rest @ ..] = to.0;
    let [z, end @ ..] = rest;
    if [x, y, z] == SOLICITED {
        let to = subnet.ending(end);
        return if subnet.has(to) && to != sender {
            Target::Machine(to)
        } else {
            Target::Nobody
        };
    }
    if [x, y] == MACHINE {
        let to = Ipv4Addr::from(rest);
        return if subnet.has(to) && to != sender {
            Target::Machine(to)
        } else {
            Target::Nobody
        };
    }
    if [x, y] == ROUTER {
        return match answer_for_name(&ethernet, names) {
            Some(answer) => Target::Sender(answer),
            None => Target::Router,
        };
    }
    if !to.is_broadcast() && !to.is_multicast() {
        return Target::Nobody;
    }
    match ethernet.ethertype() {
        EthernetProtocol::Arp => match ArpPacket::new_checked(ethernet.payload()) {
            Ok(arp) => asked_for(&arp, sender, subnet),
            Err(_) => Target::Nobody,
        },
        EthernetProtocol::Ipv4 if is_to_port(&ethernet, DHCP) => Target::Router,
        _ => Target::Machines,
    }
}

/// The IPv6 addresses of a machine: in its network, and for neighbours (RFC 4291, "Link-Local IPv6 Unicast Addresses").
fn v6_addresses(machine: Ipv4Addr) -> [Ipv6Addr; 2] {
    let [a, b, c, d] = machine.octets();
    let [x, y] = MACHINE;
    let mut near = [0; 16];
    near[..2].copy_from_slice(&[0xfe, 0x80]);
    near[8..].copy_from_slice(&[x ^ 2, y, a, 0xff, 0xfe, b, c, d]);
    [v6_of(machine), near.into()]
}

/// Whether a packet of IPv6 is in its sender's own name, and what it says of addresses, too.
fn is_own(packet: &[u8], sender: Ipv4Addr) -> bool {
    let Ok(packet) = Ipv6Packet::new_checked(packet) else {
        return false;
    };
    let (own, from) = (v6_addresses(sender), packet.src_addr());
    let says = packet.payload();
    let target = (says.first() == Some(&ADVERTISEMENT)).then(|| says.get(8..24));
    let target = target.filter(|_| packet.next_header() == IpProtocol::Icmpv6);
    let is_target = |bytes: &[u8]| own.iter().any(|own| own.octets() == bytes);
    (own.contains(&from) || from.is_unspecified())
        && target.is_none_or(|target| target.is_some_and(is_target))
}

/// Whom a question for a hardware address is for: who has the address asked for.
fn asked_for(arp: &ArpPacket<&[u8]>, sender: Ipv4Addr, subnet: Subnet) -> Target {
    let own: &[u8] = &sender.octets();
    let asked = <[u8; 4]>::try_from(arp.target_protocol_addr()).map(Ipv4Addr::from);
    match asked {
        // Who has no address yet asks whether others have the one that it means to take.
        _ if arp.source_protocol_addr() != own && arp.source_protocol_addr() != [0; 4] => {
            Target::Nobody
        }
        Ok(asked) if arp.operation() == ArpOperation::Request && asked != sender => {
            if asked == subnet.router() || asked == subnet.resolver() {
                Target::Router
            } else if subnet.has(asked) {
                Target::Machine(asked)
            } else {
                Target::Nobody
            }
        }
        _ => Target::Nobody,
    }
}

fn is_to_port(ethernet: &EthernetFrame<&[u8]>, port: u16) -> bool {
    let packet = Ipv4Packet::new_checked(ethernet.payload());
    let Some(packet) = packet
        .ok()
        .filter(|packet| packet.next_header() == IpProtocol::Udp)
    else {
        return false;
    };
    packet.frag_offset() == 0
        && UdpPacket::new_checked(packet.payload()).is_ok_and(|udp| udp.dst_port() == port)
}

/// What is said where there is no router: who is asked for names is there nonetheless, and knows those of machines
/// only.
pub(super) fn without_router(frame: &[u8], subnet: Subnet) -> Option<Vec<u8>> {
    let ethernet = EthernetFrame::new_checked(frame).ok()?;
    if ethernet.ethertype() != EthernetProtocol::Arp {
        return answer_question(&ethernet, dns::unknown);
    }
    let arp = ArpPacket::new_checked(ethernet.payload()).ok()?;
    let ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr,
        source_protocol_addr,
        target_protocol_addr,
        ..
    } = ArpRepr::parse(&arp).ok()?
    else {
        return None;
    };
    if target_protocol_addr != subnet.resolver() {
        return None;
    }
    let ([x, y], [a, b, c, d]) = (ROUTER, target_protocol_addr.octets());
    let resolver = EthernetAddress([x, y, a, b, c, d]);
    let answer = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Reply,
        source_hardware_addr: resolver,
        source_protocol_addr: target_protocol_addr,
        target_hardware_addr: source_hardware_addr,
        target_protocol_addr: source_protocol_addr,
    };
    let head = EthernetRepr {
        src_addr: resolver,
        dst_addr: ethernet.src_addr(),
        ethertype: EthernetProtocol::Arp,
    };
    let mut bytes = vec![0; EthernetFrame::<&[u8]>::buffer_len(answer.buffer_len())];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
    head.emit(&mut frame);
    answer.emit(&mut ArpPacket::new_unchecked(frame.payload_mut()));
    Some(bytes)
}

fn answer_for_name(ethernet: &EthernetFrame<&[u8]>, names: &impl dns::Names) -> Option<Vec<u8>> {
    answer_question(ethernet, |query| dns::answer(query, names))
}

/// The frame with the answer to one that asks for a name.
fn answer_question(
    ethernet: &EthernetFrame<&[u8]>,
    answer: impl FnOnce(&[u8]) -> Option<Vec<u8>>,
) -> Option<Vec<u8>> {
    if ethernet.ethertype() != EthernetProtocol::Ipv4 || !is_to_port(ethernet, DNS) {
        return None;
    }
    let packet = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
    let udp = UdpPacket::new_checked(packet.payload()).ok()?;
    let answer = answer(udp.payload())?;
    let repr = UdpRepr {
        src_port: udp.dst_port(),
        dst_port: udp.src_port(),
    };
    let len = repr.header_len() + answer.len();
    let ends = (packet.src_addr().into(), packet.dst_addr().into());
    Some(reply(
        ethernet,
        ends,
        IpProtocol::Udp,
        len,
        |payload, from, to| {
            repr.emit(
                &mut UdpPacket::new_unchecked(payload),
                from,
                to,
                answer.len(),
                |room| room.copy_from_slice(&answer),
                &ChecksumCapabilities::default(),
            );
        },
    ))
}

/// What a machine that is not there would answer if its address were still somebody's: that there is no such
/// connection.
pub(super) fn reset(frame: &[u8]) -> Option<Vec<u8>> {
    let ethernet = EthernetFrame::new_checked(frame).ok()?;
    let (protocol, ends, payload): (_, (IpAddress, IpAddress), _) = match ethernet.ethertype() {
        EthernetProtocol::Ipv4 => {
            let packet = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
            let is_first = packet.frag_offset() == 0;
            let protocol = Some(packet.next_header()).filter(|_| is_first)?;
            let ends = (packet.src_addr().into(), packet.dst_addr().into());
            (protocol, ends, packet.payload())
        }
        EthernetProtocol::Ipv6 => {
            let packet = Ipv6Packet::new_checked(ethernet.payload()).ok()?;
            let ends = (packet.src_addr().into(), packet.dst_addr().into());
            (packet.next_header(), ends, packet.payload())
        }
        _ => return None,
    };
    if protocol != IpProtocol::Tcp {
        return None;
    }
    let segment = TcpPacket::new_checked(payload)
        .ok()
        .filter(|segment| !segment.rst())?;
    // RFC 9293, 3.10.7.1
    let (seq_number, ack_number) = if segment.ack() {
        (segment.ack_number(), None)
    } else {
        (
            TcpSeqNumber(0),
            Some(segment.seq_number() + segment.segment_len()),
        )
    };
    let repr = TcpRepr {
        src_port: segment.dst_port(),
        dst_port: segment.src_port(),
        control: TcpControl::Rst,
        seq_number,
        ack_number,
        window_len: 0,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    };
    Some(reply(
        &ethernet,
        ends,
        IpProtocol::Tcp,
        repr.buffer_len(),
        |payload, from, to| {
            repr.emit(
                &mut TcpPacket::new_unchecked(payload),
                from,
                to,
                &ChecksumCapabilities::default(),
            );
        },
    ))
}

/// A frame back to the sender of `ethernet`, whose packet goes from the first to the second end, with `len` bytes that
/// `fill` writes.
fn reply(
    ethernet: &EthernetFrame<&[u8]>,
    (from, to): (IpAddress, IpAddress),
    protocol: IpProtocol,
    len: usize,
    fill: impl FnOnce(&mut [u8], &IpAddress, &IpAddress),
) -> Vec<u8> {
    let head = EthernetRepr {
        src_addr: ethernet.dst_addr(),
        dst_addr: ethernet.src_addr(),
        ethertype: ethernet.ethertype(),
    };
    let ip = IpRepr::new(to, from, protocol, len, 64);
    let mut bytes = vec![0; EthernetFrame::<&[u8]>::buffer_len(ip.buffer_len())];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
    head.emit(&mut frame);
    let packet = frame.payload_mut();
    ip.emit(&mut *packet, &ChecksumCapabilities::default());
    fill(&mut packet[ip.header_len()..], &to, &from);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
    const B: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 16);
    const BROADCAST: [u8; 6] = [0xff; 6];

    struct NoNames;
    impl dns::Names for NoNames {
        fn address_of(&self, _name: &str) -> Option<Ipv4Addr> {
            None
        }
        fn name_of(&self, _address: Ipv4Addr) -> Option<String> {
            None
        }
        fn has_ipv6(&self) -> bool {
            false
        }
    }

    fn frame(to: [u8; 6], from: EthernetAddress, ethertype: u16, payload: &[u8]) -> Vec<u8> {
        [&to[..], &from.0, &ethertype.to_be_bytes(), payload].concat()
    }

    fn question(asked: Ipv4Addr, own: Ipv4Addr) -> Vec<u8> {
        let head = [0, 1, 8, 0, 6, 4, 0, 1];
        let payload = [
            &head,
            &hardware(A).0[..],
            &own.octets(),
            &[0; 6],
            &asked.octets(),
        ]
        .concat();
        frame(BROADCAST, hardware(A), 0x0806, &payload)
    }

    fn goes(frame: &[u8]) -> Target {
        target(frame, A, Subnet::DEFAULT, &NoNames)
    }

    #[test]
    fn frames_go_to_whom_they_are_for() {
        let (a, b) = (hardware(A), hardware(B));
        assert_eq!(mac_of(A), "52-54-0a-00-02-0f");
        assert_eq!(goes(&frame(b.0, a, 0x0800, &[])), Target::Machine(B));
        // In another's name, to itself, to somewhere else, cut short.
        assert_eq!(goes(&frame(a.0, b, 0x0800, &[])), Target::Nobody);
        assert_eq!(goes(&frame(a.0, a, 0x0800, &[])), Target::Nobody);
        assert_eq!(
            goes(&frame([0x52, 0x54, 10, 0, 3, 1], a, 0x0800, &[])),
            Target::Nobody
        );
        assert_eq!(
            goes(&frame([2, 0, 0, 0, 0, 1], a, 0x0800, &[])),
            Target::Nobody
        );
        assert_eq!(goes(&[0; 13]), Target::Nobody);
        assert_eq!(
            goes(&frame([0x52, 0x55, 10, 0, 2, 2], a, 0x0800, &[])),
            Target::Router
        );
        assert_eq!(goes(&frame(BROADCAST, a, 0x0800, &[])), Target::Machines);
    }

    #[test]
    fn questions_go_to_whom_they_ask_for() {
        assert_eq!(goes(&question(B, A)), Target::Machine(B));
        assert_eq!(
            goes(&question(Ipv4Addr::new(10, 0, 2, 2), A)),
            Target::Router
        );
        assert_eq!(
            goes(&question(Ipv4Addr::new(10, 0, 2, 3), A)),
            Target::Router
        );
        assert_eq!(
            goes(&question(Ipv4Addr::new(10, 9, 9, 9), A)),
            Target::Nobody
        );
        assert_eq!(goes(&question(A, A)), Target::Nobody);
        assert_eq!(
            goes(&question(B, Ipv4Addr::new(10, 0, 2, 2))),
            Target::Nobody,
            "in another's name"
        );
    }

    /// A packet of IPv6 in a frame of A's.
    fn v6_frame(to_mac: [u8; 6], from: Ipv6Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let len = u8::try_from(payload.len()).unwrap();
        let head = [0x60, 0, 0, 0, 0, len, protocol, 255];
        let ends = [from.octets(), v6_of(B).octets()].concat();
        frame(
            to_mac,
            hardware(A),
            0x86dd,
            &[&head, &ends[..], payload].concat(),
        )
    }

    #[test]
    fn nobody_speaks_ipv6_in_anothers_name() {
        let [own, near] = v6_addresses(A);
        assert_eq!(near.to_string(), "fe80::5054:aff:fe00:20f");
        let to_b = hardware(B).0;
        assert_eq!(goes(&v6_frame(to_b, own, 17, b"x")), Target::Machine(B));
        assert_eq!(goes(&v6_frame(to_b, near, 17, b"x")), Target::Machine(B));
        assert_eq!(goes(&v6_frame(to_b, v6_of(B), 17, b"x")), Target::Nobody);
        // Who has the address, and that one has it.
        let asks = [&[135][..], &[0; 7], &v6_of(B).octets()].concat();
        let solicited = [0x33, 0x33, 0xff, 0, 2, 16];
        assert_eq!(
            goes(&v6_frame(solicited, own, 58, &asks)),
            Target::Machine(B)
        );
        let says = |whose: Ipv6Addr| [&[136][..], &[0; 7], &whose.octets()].concat();
        assert_eq!(
            goes(&v6_frame(to_b, own, 58, &says(own))),
            Target::Machine(B)
        );
        assert_eq!(
            goes(&v6_frame(to_b, own, 58, &says(v6_of(B)))),
            Target::Nobody
        );
        assert_eq!(goes(&v6_frame(to_b, own, 58, &[136; 9])), Target::Nobody);
        let all = [0x33, 0x33, 0, 0, 0, 1];
        assert_eq!(goes(&v6_frame(all, own, 58, &asks)), Target::Machines);
        let mut tcp = vec![
            0x12, 0x34, 0, 80, 0, 0, 0, 9, 0, 0, 0, 7, 0x50, 0x18, 1, 0, 0, 0, 0, 0,
        ];
        tcp.extend(b"abc");
        let answer = reset(&v6_frame(to_b, own, 6, &tcp)).unwrap();
        let tcp = TcpPacket::new_checked(&answer[54..]).unwrap();
        assert!(tcp.verify_checksum(&v6_of(B).into(), &own.into()));
        assert!(tcp.rst() && tcp.seq_number() == TcpSeqNumber(7));
    }

    #[test]
    fn names_are_asked_for_without_a_router_too() {
        let resolver = Subnet::DEFAULT.resolver();
        let answer = without_router(&question(resolver, A), Subnet::DEFAULT).unwrap();
        let answer = EthernetFrame::new_checked(&answer[..]).unwrap();
        let arp = ArpPacket::new_checked(answer.payload()).unwrap();
        assert_eq!(arp.source_hardware_addr(), [0x52, 0x55, 10, 0, 2, 3]);
        assert_eq!(arp.target_protocol_addr(), A.octets());
        assert_eq!(arp.operation(), ArpOperation::Reply);
        let router = Subnet::DEFAULT.router();
        assert!(without_router(&question(router, A), Subnet::DEFAULT).is_none());
    }

    #[test]
    fn who_is_gone_resets() {
        let segment = |flags: u8| {
            let mut tcp = vec![
                0x12, 0x34, 0, 80, 0, 0, 0, 9, 0, 0, 0, 7, 0x50, flags, 1, 0, 0, 0, 0, 0,
            ];
            tcp.extend(b"abc");
            let head = [
                0x45, 0, 0, 43, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 2, 15, 10, 0, 2, 16,
            ];
            frame(
                hardware(B).0,
                hardware(A),
                0x0800,
                &[&head[..], &tcp].concat(),
            )
        };
        let answer = reset(&segment(0x18)).unwrap();
        let answer = EthernetFrame::new_checked(&answer[..]).unwrap();
        assert_eq!(
            (answer.src_addr(), answer.dst_addr()),
            (hardware(B), hardware(A))
        );
        let packet = Ipv4Packet::new_checked(answer.payload()).unwrap();
        assert!(packet.verify_checksum() && packet.src_addr() == B);
        let tcp = TcpPacket::new_checked(packet.payload()).unwrap();
        assert!(tcp.verify_checksum(&B.into(), &A.into()));
        assert!(tcp.rst() && !tcp.ack() && tcp.seq_number() == TcpSeqNumber(7));
        assert_eq!((tcp.src_port(), tcp.dst_port()), (80, 0x1234));
        let answer = reset(&segment(0x02)).unwrap();
        let tcp = TcpPacket::new_checked(&answer[34..]).unwrap();
        assert!(tcp.rst() && tcp.ack() && tcp.ack_number() == TcpSeqNumber(13));
        assert!(reset(&segment(0x04)).is_none(), "nothing answers a reset");
    }
}
