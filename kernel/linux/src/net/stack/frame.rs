//! What a frame is for, read off its headers.
use super::tcp::segment::Segment;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use smoltcp::wire::{
    ArpPacket, EthernetFrame, EthernetProtocol, Icmpv4Message, Icmpv4Packet, IpAddress, IpProtocol,
    Ipv4Packet, Ipv6Packet, TcpPacket, UdpPacket,
};

/// See the module.
#[derive(Debug)]
pub(super) enum Frame<'a> {
    /// A segment of TCP.
    Segment {
        from: SocketAddr,
        to: SocketAddr,
        segment: Segment<'a>,
    },
    /// A datagram of UDP, with what it carries.
    Datagram {
        from: SocketAddr,
        to: SocketAddr,
        data: &'a [u8],
    },
    /// Of ARP, from whom it says it is: who is where may be known now.
    Neighbour(Ipv4Addr, [u8; 6]),
    /// What this machine has sent has not arrived (RFC 792).
    Unreachable {
        protocol: IpProtocol,
        from: SocketAddr,
        to: SocketAddr,
        /// Why.
        code: u8,
    },
    /// Of ICMP otherwise, or ARP's for IPv6.
    Control,
    /// Nothing that is understood: to be dropped.
    Other,
}

/// Looks at a frame. What says that it is TCP or UDP has right checksums.
pub(super) fn parse(frame: &[u8]) -> Frame<'_> {
    let Ok(frame) = EthernetFrame::new_checked(frame) else {
        return Frame::Other;
    };
    match frame.ethertype() {
        EthernetProtocol::Arp => match ArpPacket::new_checked(frame.payload()) {
            Ok(arp) => match (
                <[u8; 4]>::try_from(arp.source_protocol_addr()),
                <[u8; 6]>::try_from(arp.source_hardware_addr()),
            ) {
                (Ok(from), Ok(mac)) => Frame::Neighbour(from.into(), mac),
                _ => Frame::Other,
            },
            Err(_) => Frame::Other,
        },
        EthernetProtocol::Ipv4 => {
            let Ok(packet) = Ipv4Packet::new_checked(frame.payload()) else {
                return Frame::Other;
            };
            // Fragments are not put together.
            if packet.version() != 4
                || !packet.verify_checksum()
                || packet.more_frags()
                || packet.frag_offset() != 0
            {
                return Frame::Other;
            }
            let (from, to) = (packet.src_addr(), packet.dst_addr());
            if from.is_multicast() || from.is_broadcast() {
                return Frame::Other;
            }
            transport(
                packet.next_header(),
                from.into(),
                to.into(),
                packet.payload(),
            )
        }
        EthernetProtocol::Ipv6 => {
            let Ok(packet) = Ipv6Packet::new_checked(frame.payload()) else {
                return Frame::Other;
            };
            let (from, to) = (packet.src_addr(), packet.dst_addr());
            if packet.version() != 6 || from.is_multicast() {
                return Frame::Other;
            }
            transport(
                packet.next_header(),
                from.into(),
                to.into(),
                packet.payload(),
            )
        }
        _ => Frame::Other,
    }
}

fn transport(protocol: IpProtocol, from: IpAddr, to: IpAddr, payload: &[u8]) -> Frame<'_> {
    let ends: (IpAddress, IpAddress) = (from.into(), to.into());
    match protocol {
        IpProtocol::Tcp => match TcpPacket::new_checked(payload) {
            Ok(packet) if packet.verify_checksum(&ends.0, &ends.1) => {
                match Segment::parse(payload, from, to) {
                    Some(segment) => Frame::Segment {
                        from: SocketAddr::new(from, packet.src_port()),
                        to: SocketAddr::new(to, packet.dst_port()),
                        segment,
                    },
                    None => Frame::Other,
                }
            }
            _ => Frame::Other,
        },
        IpProtocol::Udp => match UdpPacket::new_checked(payload) {
            Ok(datagram) if datagram.verify_checksum(&ends.0, &ends.1) => Frame::Datagram {
                from: SocketAddr::new(from, datagram.src_port()),
                to: SocketAddr::new(to, datagram.dst_port()),
                data: datagram.payload(),
            },
            _ => Frame::Other,
        },
        IpProtocol::Icmp => control(payload),
        IpProtocol::Icmpv6 => Frame::Control,
        // Extension headers: the stack reads them.
        IpProtocol::HopByHop => Frame::Control,
        _ => Frame::Other,
    }
}

/// A message of ICMP. What it quotes of a packet is its header and eight bytes more, which have the ports.
fn control(payload: &[u8]) -> Frame<'_> {
    let Ok(message) = Icmpv4Packet::new_checked(payload) else {
        return Frame::Other;
    };
    if message.msg_type() != Icmpv4Message::DstUnreachable {
        return Frame::Control;
    }
    let quoted = Ipv4Packet::new_unchecked(message.data());
    if !message.verify_checksum() || message.data().len() < 20 || quoted.version() != 4 {
        return Frame::Other;
    }
    let Some(&[a, b, c, d, ..]) = message.data().get(quoted.header_len().into()..) else {
        return Frame::Other;
    };
    let end = |ip: Ipv4Addr, port| SocketAddr::new(ip.into(), u16::from_be_bytes(port));
    Frame::Unreachable {
        protocol: quoted.next_header(),
        from: end(quoted.src_addr(), [a, b]),
        to: end(quoted.dst_addr(), [c, d]),
        code: message.msg_code(),
    }
}
