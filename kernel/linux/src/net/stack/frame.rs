//! What a frame is for: read off its headers before the stack looks at it, so that it is shown one connection's socket
//! and not all.
use core::net::{IpAddr, SocketAddr};
use smoltcp::wire::{
    EthernetFrame, EthernetProtocol, IpAddress, IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket,
    UdpPacket,
};

/// See the module.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    /// A segment of TCP.
    Segment {
        from: SocketAddr,
        to: SocketAddr,
        /// It asks for a new connection.
        opens: bool,
    },
    /// A datagram of UDP, with what it carries.
    Datagram {
        from: SocketAddr,
        to: SocketAddr,
        data: &'a [u8],
    },
    /// Of ARP or ICMP: who is where may be known now.
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
        EthernetProtocol::Arp => Frame::Control,
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
            Ok(segment) if segment.verify_checksum(&ends.0, &ends.1) => Frame::Segment {
                from: SocketAddr::new(from, segment.src_port()),
                to: SocketAddr::new(to, segment.dst_port()),
                opens: segment.syn() && !segment.ack() && !segment.rst(),
            },
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
        IpProtocol::Icmp | IpProtocol::Icmpv6 => Frame::Control,
        // Extension headers: the stack reads them.
        IpProtocol::HopByHop => Frame::Control,
        _ => Frame::Other,
    }
}
