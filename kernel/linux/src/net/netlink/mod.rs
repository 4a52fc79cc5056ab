//! Netlink, netlink(7): rtnetlink(7)'s dumps ([`route`]), which getifaddrs(3), if_nameindex(3) and getaddrinfo(3) ask
//! for; sock_diag(7)'s of sockets ([`diag`]); mq_notify(3) has threads told by it. Nothing can be changed, and there is
//! no news.
mod diag;
mod message;
mod route;

use super::{
    address::{Address, family},
    message::{How, Outgoing, Received},
    options,
    queue::Queue,
    sock::{Kind, Sock},
    socket::{Protocol, Socket},
};
use crate::{fs::Poll, process};
use abi::Errno;
use alloc::{boxed::Box, sync::Arc, vec, vec::Vec};
use machine::sync::SpinLock;
use message::{ACK, DONE, DUMP, REQUEST, Request, requests};

/// `NETLINK_ROUTE`, `NETLINK_SOCK_DIAG`
const ROUTE: u32 = 0;
const DIAG: u32 = 4;
/// Bytes of messages that are sent in one piece (`NLMSG_GOODSIZE`).
const GOOD: usize = 4096;

/// A netlink socket.
struct Netlink {
    sock: Arc<Sock>,
    inbox: Queue,
    /// Its port and groups, once it has one.
    local: SpinLock<Option<(u32, u32)>>,
}

/// socket(2) of `AF_NETLINK`.
pub fn create(kind: Kind, protocol: u32) -> Result<Arc<Socket>, Errno> {
    if !matches!(kind, Kind::Raw | Kind::Datagram) {
        return Err(Errno::ESOCKTNOSUPPORT);
    }
    if !matches!(protocol, ROUTE | DIAG) {
        return Err(Errno::EPROTONOSUPPORT);
    }
    let sock = Sock::new(family::NETLINK, kind, protocol);
    let netlink = Netlink {
        sock: sock.clone(),
        inbox: Queue::new(),
        local: SpinLock::new(None),
    };
    Ok(Socket::new(sock, Box::new(netlink)))
}

/// What a request is answered with.
fn answer(protocol: u32, request: &Request<'_>) -> Vec<Vec<u8>> {
    let is_request = request.flags & REQUEST != 0 && request.kind >= 16;
    let answered = match protocol {
        _ if !is_request => Ok(Vec::new()),
        DIAG => diag::answer(request),
        _ => route::answer(request),
    };
    match answered {
        Ok(mut found) => {
            if request.flags & ACK != 0 && !(is_request && request.flags & DUMP == DUMP) {
                found.push(request.error(0));
            }
            found
        }
        Err(Errno(number)) => vec![request.error(number)],
    }
}

impl Netlink {
    /// Its port: by default the process' id, as in Linux, though another socket may have it, too.
    fn port(&self) -> u32 {
        let own = process::with_current(|process| process.pid);
        let own = u32::try_from(own).unwrap_or(0);
        self.local.lock().get_or_insert((own, 0)).0
    }

    /// Puts a message of the kernel's where it is received.
    fn put(&self, data: &[u8]) -> Result<(), Errno> {
        let limit = self.sock.options.lock().buffers[0];
        let ancillary = &super::message::Ancillary::default();
        let message = Outgoing::new(data, ancillary);
        let from = Some(Address::Netlink(0, 0));
        let result = self
            .inbox
            .push_message(&message, from, limit, usize::MAX, None);
        result.map(|_| ()).map_err(|_| Errno::ENOBUFS)
    }
}

impl Protocol for Netlink {
    fn bind(&self, address: &Address) -> Result<(), Errno> {
        let Address::Netlink(port, groups) = *address else {
            return Err(Errno::EINVAL);
        };
        let own = if port == 0 { self.port() } else { port };
        *self.local.lock() = Some((own, groups));
        Ok(())
    }

    fn connect(&self, address: &Address) -> Result<(), Errno> {
        match address {
            Address::Netlink(0, _) | Address::Unspecified => Ok(()),
            Address::Netlink(..) => Err(Errno::ECONNREFUSED),
            _ => Err(Errno::EINVAL),
        }
    }

    fn send(&self, message: &Outgoing<'_>) -> Result<usize, Errno> {
        match message.to {
            None | Some(Address::Netlink(0, _)) => (),
            Some(Address::Netlink(..)) => return Err(Errno::ECONNREFUSED),
            Some(_) => return Err(Errno::EINVAL),
        }
        let port = self.port();
        let mut piece = Vec::new();
        let push = |piece: &mut Vec<u8>| {
            let result = self.put(piece);
            piece.clear();
            result
        };
        let protocol = self.sock.protocol;
        for one in requests(message.data, port).flat_map(|request| answer(protocol, &request)) {
            // The end of a dump comes by itself.
            let done = one.get(4..6) == Some(&DONE.to_le_bytes());
            if !piece.is_empty() && (done || piece.len() + one.len() > GOOD) {
                push(&mut piece)?;
            }
            piece.extend(one);
        }
        if !piece.is_empty() {
            push(&mut piece)?;
        }
        self.sock.readable();
        Ok(message.data.len())
    }

    fn told_by_kernel(&self, data: &[u8]) -> Result<(), Errno> {
        self.put(data)?;
        self.sock.readable();
        Ok(())
    }

    fn receive(&self, buf: &mut [u8], how: How) -> Result<Received, Errno> {
        self.sock.check_error()?;
        self.inbox.take_message(buf, how)
    }

    fn shutdown(&self, _receiving: bool, _sending: bool) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn local(&self) -> Address {
        let (port, groups) = self.local.lock().unwrap_or((0, 0));
        Address::Netlink(port, groups)
    }

    fn peer(&self) -> Result<Address, Errno> {
        Ok(Address::Netlink(0, 0))
    }

    fn poll(&self) -> Poll {
        if self.inbox.packets() > 0 {
            Poll::IN | Poll::OUT
        } else {
            Poll::OUT
        }
    }

    fn queued(&self) -> [usize; 2] {
        [self.inbox.first(), 0]
    }

    fn set_option(&self, level: u32, _name: u32, _value: &[u8]) -> Result<(), Errno> {
        match level {
            options::SOCKET | options::NETLINK => Ok(()),
            _ => Err(Errno::ENOPROTOOPT),
        }
    }

    fn close(&self) {
        self.inbox.discard();
        self.sock.changed();
    }
}
