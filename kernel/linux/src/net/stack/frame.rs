//! What a frame is for, read off its headers.
use super::{Header, Packet, tcp::segment::Segment};
use crate::net::inet::failure::Failure;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use smoltcp::wire::{
    ArpPacket, EthernetFrame, EthernetProtocol, Icmpv4Message, Icmpv4Packet, Icmpv6Message,
    Icmpv6Packet, IpAddress, IpProtocol, Ipv4Packet, Ipv6Packet, NdiscRepr, RawHardwareAddress,
    TcpPacket, UdpPacket,
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
        header: Header,
    },
    /// Of ARP or ND, from whom it says it is: who is where may be known now.
    Neighbour(IpAddr, [u8; 6]),
    /// What this machine has sent has not arrived.
    Failed(Failure<'a>),
    /// Of ICMP otherwise.
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
                (Ok(from), Ok(mac)) => Frame::Neighbour(Ipv4Addr::from(from).into(), mac),
                _ => Frame::Other,
            },
            Err(_) => Frame::Other,
        },
        EthernetProtocol::Ipv4 => {
            let Ok(packet) = Ipv4Packet::new_checked(frame.payload()) else {
                return Frame::Other;
            };
            // Fragments were put together before.
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
            if packet.next_header() == IpProtocol::Icmp {
                return control(packet.payload(), from);
            }
            transport(header4(&packet), from.into(), to.into(), packet.payload())
        }
        EthernetProtocol::Ipv6 => {
            let Ok(packet) = Ipv6Packet::new_checked(frame.payload()) else {
                return Frame::Other;
            };
            let (from, to) = (packet.src_addr(), packet.dst_addr());
            if packet.version() != 6 || from.is_multicast() {
                return Frame::Other;
            }
            if packet.next_header() == IpProtocol::Icmpv6 {
                return control6(&packet);
            }
            transport(header6(&packet), from.into(), to.into(), packet.payload())
        }
        _ => Frame::Other,
    }
}

/// The packet of IP in a frame, whatever it carries.
pub(super) fn packet(frame: &[u8]) -> Option<Packet<'_>> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    let whole = frame.payload();
    match frame.ethertype() {
        EthernetProtocol::Ipv4 => {
            let packet = Ipv4Packet::new_checked(whole).ok()?;
            let good = packet.version() == 4 && packet.verify_checksum();
            let cut = packet.more_frags() || packet.frag_offset() != 0;
            (good && !cut).then(|| Packet {
                from: packet.src_addr().into(),
                to: packet.dst_addr().into(),
                header: header4(&packet),
                whole: &whole[..packet.total_len().into()],
                payload: packet.payload(),
            })
        }
        EthernetProtocol::Ipv6 => {
            let packet = Ipv6Packet::new_checked(whole).ok()?;
            (packet.version() == 6).then(|| Packet {
                from: packet.src_addr().into(),
                to: packet.dst_addr().into(),
                header: header6(&packet),
                whole: &whole[..packet.total_len()],
                payload: packet.payload(),
            })
        }
        _ => None,
    }
}

fn header4(packet: &Ipv4Packet<&[u8]>) -> Header {
    Header {
        protocol: packet.next_header().into(),
        hops: packet.hop_limit(),
        class: packet.dscp() << 2 | packet.ecn(),
    }
}

fn header6(packet: &Ipv6Packet<&[u8]>) -> Header {
    Header {
        protocol: packet.next_header().into(),
        hops: packet.hop_limit(),
        class: packet.traffic_class(),
    }
}

fn transport(header: Header, from: IpAddr, to: IpAddr, payload: &[u8]) -> Frame<'_> {
    let ends: (IpAddress, IpAddress) = (from.into(), to.into());
    match IpProtocol::from(header.protocol) {
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
                header,
            },
            _ => Frame::Other,
        },
        // Extension headers: the stack reads them.
        IpProtocol::HopByHop => Frame::Control,
        _ => Frame::Other,
    }
}

/// The length of UDP's header, and of ICMP's; what a message of ICMP quotes of a packet's payload at least.
const UDP: usize = 8;

/// What a message of ICMP says of a packet from `from` to `to`, which it quotes after its header.
fn failure<'a>(
    [kind, code]: [u8; 2],
    by: IpAddr,
    protocol: IpProtocol,
    [from, to]: [IpAddr; 2],
    quoted: &'a [u8],
) -> Frame<'a> {
    let Some(&[a, b, c, d, e, f, ..]) = quoted.first_chunk::<UDP>() else {
        return Frame::Other;
    };
    let end = |ip, port| SocketAddr::new(ip, u16::from_be_bytes(port));
    let ping = matches!(protocol, IpProtocol::Icmp | IpProtocol::Icmpv6);
    let (ports, data) = match ping {
        // An echo is known by its identifier, and its type is told.
        true => ([[e, f], [0, 0]], quoted),
        false => ([[a, b], [c, d]], &quoted[UDP..]),
    };
    Frame::Failed(Failure {
        protocol: protocol.into(),
        from: end(from, ports[0]),
        to: end(to, ports[1]),
        data,
        by,
        kind,
        code,
    })
}

/// A message of ICMP (RFC 792). What it quotes of a packet is its header and eight bytes more at least.
fn control(payload: &[u8], from: Ipv4Addr) -> Frame<'_> {
    let Ok(message) = Icmpv4Packet::new_checked(payload) else {
        return Frame::Other;
    };
    let fails = [Icmpv4Message::DstUnreachable, Icmpv4Message::TimeExceeded];
    if !fails.contains(&message.msg_type()) {
        return Frame::Control;
    }
    let quoted = Ipv4Packet::new_unchecked(message.data());
    if !message.verify_checksum() || message.data().len() < 20 || quoted.version() != 4 {
        return Frame::Other;
    }
    let rest = message.data().get(quoted.header_len().into()..);
    failure(
        [message.msg_type().into(), message.msg_code()],
        from.into(),
        quoted.next_header(),
        [quoted.src_addr().into(), quoted.dst_addr().into()],
        rest.unwrap_or_default(),
    )
}

/// A message of ICMPv6 (RFC 4443), or of neighbour discovery (RFC 4861).
fn control6<'a>(packet: &Ipv6Packet<&'a [u8]>) -> Frame<'a> {
    const HEADER: usize = 40;
    let (from, to) = (packet.src_addr(), packet.dst_addr());
    let Ok(message) = Icmpv6Packet::new_checked(packet.payload()) else {
        return Frame::Other;
    };
    if !message.verify_checksum(&from, &to) {
        return Frame::Other;
    }
    match message.msg_type() {
        Icmpv6Message::DstUnreachable | Icmpv6Message::TimeExceeded => {
            let quoted = message.payload();
            if quoted.len() < HEADER {
                return Frame::Other;
            }
            let inner = Ipv6Packet::new_unchecked(quoted);
            failure(
                [message.msg_type().into(), message.msg_code()],
                from.into(),
                inner.next_header(),
                [inner.src_addr().into(), inner.dst_addr().into()],
                &quoted[HEADER..],
            )
        }
        // Nobody but a neighbour can send one with all hops left.
        Icmpv6Message::NeighborSolicit | Icmpv6Message::NeighborAdvert
            if packet.hop_limit() == 255 =>
        {
            match NdiscRepr::parse(&message) {
                Ok(NdiscRepr::NeighborAdvert {
                    target_addr,
                    lladdr: Some(mac),
                    ..
                }) => neighbour(target_addr, mac),
                Ok(NdiscRepr::NeighborSolicit {
                    lladdr: Some(mac), ..
                }) => neighbour(from, mac),
                Ok(_) => Frame::Control,
                Err(_) => Frame::Other,
            }
        }
        Icmpv6Message::NeighborSolicit | Icmpv6Message::NeighborAdvert => Frame::Other,
        _ => Frame::Control,
    }
}

fn neighbour<'a>(ip: Ipv6Addr, mac: RawHardwareAddress) -> Frame<'a> {
    match mac.as_bytes().try_into() {
        Ok(mac) => Frame::Neighbour(ip.into(), mac),
        Err(_) => Frame::Other,
    }
}
