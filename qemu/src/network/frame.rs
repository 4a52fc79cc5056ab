//! What is to be done with a frame that a machine sends: who gets it, or what the network itself answers.
//!
//! Hardware addresses follow from the machines' addresses, as those of QEMU's router do. So nothing is learnt,
//! nothing is flooded that is for one machine, and no machine can take another's place: what it sends in another's
//! name is dropped.

use std::net::Ipv4Addr;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr,
    IpProtocol, Ipv4Packet, Ipv4Repr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber, UdpPacket,
    UdpRepr,
};

use super::dns;
use super::subnet::Subnet;

/// What hardware addresses of machines begin with; an address of IP follows. Locally administered, and QEMU's usual.
const MACHINE: [u8; 2] = [0x52, 0x54];
/// The same of QEMU's router.
const ROUTER: [u8; 2] = [0x52, 0x55];

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
    let to = ethernet.dst_addr();
    let [x, y, rest @ ..] = to.0;
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

fn answer_for_name(ethernet: &EthernetFrame<&[u8]>, names: &impl dns::Names) -> Option<Vec<u8>> {
    if ethernet.ethertype() != EthernetProtocol::Ipv4 || !is_to_port(ethernet, DNS) {
        return None;
    }
    let packet = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
    let udp = UdpPacket::new_checked(packet.payload()).ok()?;
    let answer = dns::answer(udp.payload(), names)?;
    let repr = UdpRepr {
        src_port: udp.dst_port(),
        dst_port: udp.src_port(),
    };
    let len = repr.header_len() + answer.len();
    Some(reply(
        ethernet,
        &packet,
        IpProtocol::Udp,
        len,
        |payload, from, to| {
            repr.emit(
                &mut UdpPacket::new_unchecked(payload),
                &from.into(),
                &to.into(),
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
    if ethernet.ethertype() != EthernetProtocol::Ipv4 {
        return None;
    }
    let packet = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
    if packet.next_header() != IpProtocol::Tcp || packet.frag_offset() != 0 {
        return None;
    }
    let segment = TcpPacket::new_checked(packet.payload())
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
        &packet,
        IpProtocol::Tcp,
        repr.buffer_len(),
        |payload, from, to| {
            repr.emit(
                &mut TcpPacket::new_unchecked(payload),
                &from.into(),
                &to.into(),
                &ChecksumCapabilities::default(),
            );
        },
    ))
}

/// A frame back to the sender of `ethernet`, from whom it was for, with `len` bytes that `fill` writes.
fn reply(
    ethernet: &EthernetFrame<&[u8]>,
    packet: &Ipv4Packet<&[u8]>,
    next_header: IpProtocol,
    len: usize,
    fill: impl FnOnce(&mut [u8], Ipv4Addr, Ipv4Addr),
) -> Vec<u8> {
    let head = EthernetRepr {
        src_addr: ethernet.dst_addr(),
        dst_addr: ethernet.src_addr(),
        ethertype: EthernetProtocol::Ipv4,
    };
    let ip = Ipv4Repr {
        src_addr: packet.dst_addr(),
        dst_addr: packet.src_addr(),
        next_header,
        payload_len: len,
        hop_limit: 64,
    };
    let mut bytes = vec![0; EthernetFrame::<&[u8]>::buffer_len(ip.buffer_len() + len)];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
    head.emit(&mut frame);
    let mut out = Ipv4Packet::new_unchecked(frame.payload_mut());
    ip.emit(&mut out, &ChecksumCapabilities::default());
    fill(out.payload_mut(), ip.src_addr, ip.dst_addr);
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
