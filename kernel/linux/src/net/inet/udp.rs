//! UDP sockets: datagrams to other machines, and within this one.
use super::{
    datagram::{self, Endpoint, ports},
    failure::Failure,
    hexadecimal,
    ports::unspecified,
};
use crate::net::{
    address::family,
    interface,
    sock::{Kind, Sock},
    socket::Socket,
    stack::{self, Header},
};
use abi::Errno;
use alloc::{string::String, sync::Arc};
use core::fmt::Write;
use core::net::SocketAddr;

/// A new socket.
pub fn create(sock: Arc<Sock>) -> Arc<Socket> {
    datagram::create(sock, send)
}

/// Sends to another machine, or to a socket of this one. If there is none, it has come back.
fn send(
    end: &Endpoint,
    data: &[u8],
    from: SocketAddr,
    to: SocketAddr,
    header: Header,
) -> Result<(), Errno> {
    if !interface::is_local(to.ip()) {
        return stack::send_datagram(data, from, to, header);
    }
    match end.ports().find(to, from) {
        Some(receiver) => {
            interface::loopback().sent(data.len());
            receiver.deliver(data, from, to.ip(), header, 1);
            interface::loopback().received(data.len());
        }
        None => end.failed(&Failure::no_port(header.protocol, from, to, data)),
    }
    Ok(())
}

/// A datagram from another machine; whether anybody takes it.
pub fn deliver(data: &[u8], from: SocketAddr, to: SocketAddr, header: Header) -> bool {
    let ports = ports(Kind::Datagram, header.protocol.into());
    let Some(receiver) = ports.find(to, from) else {
        return false;
    };
    receiver.deliver(data, from, to.ip(), header, 2);
    true
}

/// A datagram from here to another machine has not arrived.
pub fn failed(failure: &Failure<'_>) {
    let ports = ports(Kind::Datagram, failure.protocol.into());
    if let Some(sender) = ports.find(failure.from, failure.to) {
        sender.failed(failure);
    }
}

/// /proc/net/udp and udp6.
pub fn list(v6: bool) -> String {
    let mut text = String::from(
        "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode \
         ref pointer drops\n",
    );
    let of_family = |end: &Endpoint| (end.sock.domain == family::INET6) == v6;
    let all = ports(Kind::Datagram, 0).all();
    for (index, (bound, end)) in all.iter().filter(|(_, end)| of_family(end)).enumerate() {
        let state = end.state.lock();
        let local = state
            .local
            .map_or(*bound, |ip| SocketAddr::new(ip, bound.port()));
        let peer = state.peer;
        drop(state);
        let number = if peer.is_some() { 1 } else { 7 };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{index:5}: {} {} {number:02X} 00000000:{:08X} 00:00000000 00000000     0        0 {} 2 0000000000000000 0",
            hexadecimal(local, v6),
            hexadecimal(peer.unwrap_or(SocketAddr::new(unspecified(v6), 0)), v6),
            end.inbox.bytes(),
            end.sock.ino,
        );
    }
    text
}
