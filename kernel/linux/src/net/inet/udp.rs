//! UDP sockets: datagrams to other machines, and within this one.
use super::{
    datagram::{self, Endpoint, ports},
    failure::Failure,
};
use crate::net::{
    interface,
    sock::{Kind, Sock},
    socket::Socket,
    stack::{self, Header},
};
use abi::Errno;
use alloc::sync::Arc;
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
    let counts = interface::mib().of(to.is_ipv6());
    counts.udp_out_datagrams.count();
    if !interface::is_local(to.ip()) {
        return stack::send_datagram(data, from, to, header);
    }
    match end.ports().find(to, from) {
        Some(receiver) => {
            interface::loopback().sent(data.len());
            receiver.deliver(data, from, to.ip(), header, 1);
            interface::loopback().received(data.len());
        }
        None => {
            counts.udp_no_ports.count();
            end.failed(&Failure::no_port(header.protocol, from, to, data));
        }
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
