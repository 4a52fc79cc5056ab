//! Frames that are sent: Ethernet's and IP's headers around a segment or datagram.
use super::{HOPS, Header, fragments, tcp::segment::Head};
use crate::net::interface;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use machine::drivers::{net as driver, random};
use smoltcp::{
    phy::ChecksumCapabilities,
    wire::{
        EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, IpAddress, IpProtocol,
        IpRepr, Ipv4Packet, Ipv6Packet, UdpPacket, UdpRepr,
    },
};

/// Bytes of a header of Ethernet.
pub(super) const ETHERNET: usize = 14;
/// Bytes of TCP's header without options, and of UDP's.
const TCP: usize = 20;
const UDP: usize = 8;

/// Bytes of a header of IP.
fn ip_header(ip: IpAddr) -> usize {
    if ip.is_ipv4() { 20 } else { 40 }
}

/// What a segment to `ip` may carry.
pub(super) fn mss(ip: IpAddr) -> u16 {
    let most = driver::FRAME - ETHERNET - ip_header(ip) - TCP;
    u16::try_from(most).unwrap_or(u16::MAX)
}

/// The most bytes of a packet's payload to `ip` that is not cut into fragments.
pub(super) fn most_payload(ip: IpAddr) -> usize {
    driver::FRAME - ETHERNET - ip_header(ip)
}

/// Writes the headers of a packet of `len` bytes into a frame; the packet's place.
fn wrap(
    frame: &mut [u8],
    mac: [u8; 6],
    [from, to]: [IpAddr; 2],
    header: Header,
    len: usize,
) -> &mut [u8] {
    let counts = interface::mib().of(from.is_ipv6());
    counts.out_requests.count();
    counts.out_octets.add(ip_header(from) + len);
    if matches!(header.protocol, 1 | 58) {
        counts.icmp_out_msgs.count();
    }
    let ethernet = EthernetRepr {
        src_addr: EthernetAddress(interface::ethernet_device().map_or([0; 6], |own| own.mac)),
        dst_addr: EthernetAddress(mac),
        ethertype: if from.is_ipv4() {
            EthernetProtocol::Ipv4
        } else {
            EthernetProtocol::Ipv6
        },
    };
    ethernet.emit(&mut EthernetFrame::new_unchecked(&mut *frame));
    let rest = &mut frame[ETHERNET..];
    let (source, target) = (IpAddress::from(from), IpAddress::from(to));
    let protocol = IpProtocol::from(header.protocol);
    let ip = IpRepr::new(source, target, protocol, len, header.hops);
    ip.emit(&mut *rest, &ChecksumCapabilities::default());
    if header.class != 0 && from.is_ipv4() {
        let mut packet = Ipv4Packet::new_unchecked(&mut *rest);
        packet.set_dscp(header.class >> 2);
        packet.set_ecn(header.class & 3);
        packet.fill_checksum();
    } else if header.class != 0 {
        Ipv6Packet::new_unchecked(&mut *rest).set_traffic_class(header.class);
    }
    &mut rest[ip_header(from)..]
}

/// Sends a segment with `len` bytes of data, which `fill` writes. It waits if the device has no room.
pub(super) fn send_segment(
    mac: [u8; 6],
    [from, to]: [SocketAddr; 2],
    head: &Head,
    len: usize,
    fill: impl FnOnce(&mut [u8]),
) {
    let counts = &interface::mib().tcp;
    counts.out_segs.count();
    if head.rst {
        counts.out_rsts.count();
    }
    let header = head.len();
    let ends = [from.ip(), to.ip()];
    let total = ETHERNET + ip_header(from.ip()) + header + len;
    interface::ethernet().sent(total);
    driver::send(total, |frame| {
        let tcp = Header {
            protocol: IpProtocol::Tcp.into(),
            hops: HOPS,
            class: 0,
        };
        let segment = wrap(frame, mac, ends, tcp, header + len);
        fill(&mut segment[header..]);
        head.emit(segment, [from, to].map(|end| (end.ip(), end.port())));
    });
}

/// A frame with a datagram, but for whom it is handed to.
pub(super) fn datagram(data: &[u8], from: SocketAddr, to: SocketAddr, header: Header) -> Vec<u8> {
    let len = UDP + data.len();
    let mut frame = alloc::vec![0; ETHERNET + ip_header(from.ip()) + len];
    let ends = [from.ip(), to.ip()];
    let packet = wrap(&mut frame, [0; 6], ends, header, len);
    let repr = UdpRepr {
        src_port: from.port(),
        dst_port: to.port(),
    };
    let [source, target] = ends.map(IpAddress::from);
    repr.emit(
        &mut UdpPacket::new_unchecked(packet),
        &source,
        &target,
        data.len(),
        |room| room.copy_from_slice(data),
        &ChecksumCapabilities::default(),
    );
    frame
}

/// A frame with a packet of any protocol, but for whom it is handed to.
pub(super) fn frame(payload: &[u8], from: IpAddr, to: IpAddr, header: Header) -> Vec<u8> {
    let mut frame = alloc::vec![0; ETHERNET + ip_header(from) + payload.len()];
    wrap(&mut frame, [0; 6], [from, to], header, payload.len()).copy_from_slice(payload);
    frame
}

/// Sends such a frame, or a larger one in fragments. It waits if the device has no room.
pub(super) fn send_frame(mac: [u8; 6], frame: &[u8]) {
    let mut id = [0; 4];
    let is_cut = frame.len() > driver::FRAME;
    let counts = interface::mib().of_frame(frame).filter(|_| is_cut);
    if let Some((counts, _)) = counts {
        random::fill(&mut id);
        counts.frag_oks.count();
    }
    fragments::cut(frame, u32::from_ne_bytes(id), |piece| {
        if let Some((counts, _)) = counts {
            counts.frag_creates.count();
        }
        interface::ethernet().sent(piece.len());
        driver::send(piece.len(), |room| {
            room.copy_from_slice(piece);
            room[..6].copy_from_slice(&mac);
        });
    });
}
