//! Ping sockets (icmp(7)) and raw ones (raw(7)): a packet that comes is given to all who want it. What the kernel does
//! with it besides is the [`stack`]'s; within the machine echoes are answered here.
//!
//! Left out: raw sockets do not see TCP's and UDP's packets, and send no headers of their own.
use super::{
    ICMP, ICMPV6,
    datagram::{self, Endpoint, ports},
};
use crate::net::{
    interface,
    sock::{Kind, Sock},
    socket::Socket,
    stack::{self, Header, Packet},
};
use abi::Errno;
use alloc::sync::Arc;
use core::net::{IpAddr, SocketAddr};
use smoltcp::wire::{Icmpv4Packet, Icmpv6Packet};

/// The header of a message, and types of it: an echo, and its answer, of ICMP and ICMPv6.
const HEADER: usize = 8;
const ECHO: [u8; 2] = [8, 128];
const ANSWER: [u8; 2] = [0, 129];

/// A new socket.
pub(super) fn create(domain: u16, kind: Kind, protocol: u32) -> Arc<Socket> {
    datagram::create(Sock::new(domain, kind, protocol), send)
}

/// Sends what a socket with the identifier in `from` is given.
fn send(
    end: &Endpoint,
    data: &[u8],
    from: SocketAddr,
    to: SocketAddr,
    header: Header,
) -> Result<(), Errno> {
    let to = to.ip();
    let v6 = usize::from(to.is_ipv6());
    let mut message = data.to_vec();
    let ping = end.sock.kind != Kind::Raw;
    if ping {
        if message.len() < HEADER || message[..2] != [ECHO[v6], 0] {
            return Err(Errno::EINVAL);
        }
        message[4..6].copy_from_slice(&from.port().to_be_bytes());
    }
    if ping || header.protocol == 58 {
        fill_checksum(&mut message, from.ip(), to);
    }
    if !interface::is_local(to) {
        return stack::send_packet(&message, from.ip(), to, header);
    }
    pass(&message, from.ip(), to, header);
    if [ICMP, ICMPV6][v6] == u32::from(header.protocol)
        && message.len() >= HEADER
        && message[..2] == [ECHO[v6], 0]
    {
        message[0] = ANSWER[v6];
        fill_checksum(&mut message, to, from.ip());
        let hops = stack::HOPS;
        pass(&message, to, from.ip(), Header { hops, ..header });
    }
    Ok(())
}

/// A packet within the machine.
fn pass(payload: &[u8], from: IpAddr, to: IpAddr, header: Header) {
    let whole = stack::packet(payload, from, to, header);
    interface::loopback().sent(whole.len());
    let packet = Packet {
        from,
        to,
        header,
        whole: &whole,
        payload,
    };
    arrived(&packet, 1);
    interface::loopback().received(whole.len());
}

/// A packet has come by an interface.
pub(super) fn arrived(packet: &Packet<'_>, interface: u32) {
    let &Packet {
        from,
        to,
        header,
        payload,
        whole,
    } = packet;
    let nobodys = SocketAddr::new(from, 0);
    for (bound, end) in ports(Kind::Raw, 0).all() {
        let wanted = bound.ip().is_unspecified() || bound.ip() == to;
        if end.sock.protocol == header.protocol.into()
            && bound.is_ipv4() == to.is_ipv4()
            && wanted
            && end.wants(nobodys)
            && payload.first().is_none_or(|&kind| end.wants_type(kind))
        {
            // Of IPv4 with its header.
            let data = if to.is_ipv4() { whole } else { payload };
            end.deliver(data, nobodys, to, header, interface);
        }
    }
    let v6 = usize::from(to.is_ipv6());
    if u32::from(header.protocol) == [ICMP, ICMPV6][v6]
        && payload.len() >= HEADER
        && payload[..2] == [ANSWER[v6], 0]
    {
        let id = u16::from_be_bytes([payload[4], payload[5]]);
        let pings = ports(Kind::Datagram, header.protocol.into());
        if let Some(end) = pings.find(SocketAddr::new(to, id), nobodys) {
            end.deliver(payload, nobodys, to, header, interface);
        }
    }
}

/// Writes a message's checksum (RFC 792; RFC 4443, "Message Checksum Calculation"), if there is a place for one.
fn fill_checksum(message: &mut [u8], from: IpAddr, to: IpAddr) {
    match (from, to) {
        _ if message.len() < HEADER / 2 => (),
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            Icmpv6Packet::new_unchecked(message).fill_checksum(&from, &to);
        }
        _ => Icmpv4Packet::new_unchecked(message).fill_checksum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums() {
        let here: [IpAddr; 2] = ["10.0.2.15".parse().unwrap(), "::1".parse().unwrap()];
        let mut message = [8, 0, 9, 9, 0x12, 0x34, 0, 1, b'a'];
        fill_checksum(&mut message, here[0], here[0]);
        assert_eq!(message[2..4], [0x84, 0xca]);
        let mut message = [128, 0, 9, 9, 0x12, 0x34, 0, 1];
        fill_checksum(&mut message, here[1], here[1]);
        assert_eq!(message[2..4], [0x6d, 0x86]);
        let mut short = [8];
        fill_checksum(&mut short, here[0], here[0]);
    }
}
