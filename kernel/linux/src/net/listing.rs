//! What is listed of sockets: /proc/net/tcp and its like, and sock_diag(7).
use super::{
    inet::{TCP, datagram, listed::Listed, tcp},
    sock::Kind,
    stack,
};
use alloc::{string::String, vec::Vec};
use core::fmt::{self, Write};
use core::net::{IpAddr, SocketAddr};

/// TCP's, with connections that no socket has.
pub(super) fn tcp() -> Vec<Listed> {
    let mut all = tcp::listed();
    let left = stack::without_socket().into_iter();
    all.extend(left.map(|((local, peer), state)| Listed {
        v6: local.is_ipv6(),
        local,
        peer,
        state,
        unread: 0,
        unsent: 0,
        backlog: None,
        protocol: TCP,
        uid: 0,
        ino: 0,
        connection: None,
    }));
    all
}

/// /proc/net/tcp and tcp6.
pub(super) fn list_tcp(v6: bool) -> String {
    let mut text = String::from(
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n",
    );
    for (index, one) in tcp().iter().filter(|one| one.v6 == v6).enumerate() {
        let tail = "1 0000000000000000 100 0 0 10 0";
        row(&mut text, format_args!("{index:4}"), one, tail);
    }
    text
}

/// /proc/net/udp and its like.
pub(super) fn list_datagrams(kind: Kind, protocol: u32, v6: bool) -> String {
    let mut text = String::from(
        "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode \
         ref pointer drops\n",
    );
    let all = datagram::listed(kind, protocol);
    for (index, one) in all.iter().filter(|one| one.v6 == v6).enumerate() {
        row(
            &mut text,
            format_args!("{index:5}"),
            one,
            "2 0000000000000000 0",
        );
    }
    text
}

/// A line about a socket: its number, what all have, and what comes after that.
fn row(text: &mut String, number: fmt::Arguments<'_>, one: &Listed, tail: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{number}: {} {} {:02X} {:08X}:{:08X} 00:00000000 00000000 {:5}        0 {} {tail}",
        hexadecimal(one.local, one.v6),
        hexadecimal(one.peer, one.v6),
        u8::from(one.state),
        one.unsent,
        one.unread,
        one.uid,
        one.ino,
    );
}

/// An address as /proc/net writes it.
fn hexadecimal(address: SocketAddr, v6: bool) -> String {
    let mut text = String::new();
    // As above.
    let mut word = |bytes: [u8; 4]| {
        let _ = write!(text, "{:08X}", u32::from_le_bytes(bytes));
    };
    match address.ip() {
        IpAddr::V4(ip) if !v6 => word(ip.octets()),
        ip => {
            for bytes in within_v6(ip).as_chunks().0 {
                word(*bytes);
            }
        }
    }
    let _ = write!(text, ":{:04X}", address.port());
    text
}

/// The bytes of an address as one of IPv6.
pub(super) fn within_v6(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => [0; 16],
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}
