//! Netlink, netlink(7): rtnetlink(7)'s dumps of interfaces, addresses and routes, which getifaddrs(3), if_nameindex(3)
//! and getaddrinfo(3) ask for; mq_notify(3) has threads told by it. Nothing can be changed, and there is no news.
use super::{
    address::{Address, family},
    interface::{self, Interface},
    message::{How, Outgoing, Received},
    options,
    queue::Queue,
    sock::{Kind, Sock},
    socket::{Protocol, Socket},
    stack,
};
use crate::{fs::Poll, process};
use abi::Errno;
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::net::IpAddr;
use machine::sync::SpinLock;

const ROUTE: u32 = 0;
/// Header of a message.
const HEADER: usize = 16;
/// Bytes of messages that are sent in one piece (`NLMSG_GOODSIZE`).
const GOOD: usize = 4096;

const ERROR: u16 = 2;
const DONE: u16 = 3;
const REQUEST: u16 = 1;
const MULTI: u16 = 2;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
const IFA_F_PERMANENT: u8 = 0x80;
const RT_SCOPE_HOST: u8 = 254;
/// Interfaces by their index.
const LOOPBACK: u32 = 1;
const ETHERNET: u32 = 2;

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
    if protocol != ROUTE {
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

/// A request: its header, and what comes after it.
struct Request<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    body: &'a [u8],
    whole: &'a [u8],
}

/// The messages of what was sent.
fn requests(mut data: &[u8]) -> impl Iterator<Item = Request<'_>> {
    core::iter::from_fn(move || {
        let &[l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, ..] = data else {
            return None;
        };
        let len = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])).ok()?;
        let whole = data.get(..len)?;
        let body = whole.get(HEADER..)?;
        data = data.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(Request {
            kind: u16::from_le_bytes([k0, k1]),
            flags: u16::from_le_bytes([f0, f1]),
            sequence: u32::from_le_bytes([s0, s1, s2, s3]),
            body,
            whole,
        })
    })
}

/// A message being made.
struct Message(Vec<u8>);

impl Message {
    fn new(kind: u16, flags: u16, sequence: u32, port: u32) -> Self {
        let mut raw = Vec::with_capacity(256);
        raw.extend([0; 4]);
        raw.extend(kind.to_le_bytes());
        raw.extend(flags.to_le_bytes());
        raw.extend(sequence.to_le_bytes());
        raw.extend(port.to_le_bytes());
        Self(raw)
    }

    fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// A `struct rtattr`.
    fn attribute(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let len = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.put(&len.to_le_bytes())
            .put(&kind.to_le_bytes())
            .put(value);
        self.pad()
    }

    fn pad(&mut self) -> &mut Self {
        let len = self.0.len().next_multiple_of(4);
        self.0.resize(len, 0);
        self
    }

    fn finish(mut self) -> Vec<u8> {
        let len = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0[..4].copy_from_slice(&len.to_le_bytes());
        self.pad();
        self.0
    }
}

fn link(one: &Interface, mut message: Message) -> Vec<u8> {
    message
        .put(&[0, 0])
        .put(&one.hardware.to_le_bytes())
        .put(&one.index.to_le_bytes())
        .put(&one.flags.to_le_bytes())
        .put(&[0; 4]);
    let loopback = one.is_loopback();
    let broadcast = if loopback { [0; 6] } else { [0xff; 6] };
    let state = if loopback { 0 } else { 6 };
    let [received, received_bytes, sent, sent_bytes] = one.counters;
    // `struct rtnl_link_stats64`, and the same with halves.
    let counts = [received, sent, received_bytes, sent_bytes];
    let mut stats64 = [0; 24 * 8];
    let mut stats = [0; 24 * 4];
    for (at, count) in counts.into_iter().enumerate() {
        stats64[at * 8..at * 8 + 8].copy_from_slice(&count.to_le_bytes());
        stats[at * 4..at * 4 + 4].copy_from_slice(&count.to_le_bytes()[..4]);
    }
    message
        .attribute(3, &[one.name.as_bytes(), &[0]].concat()) // IFLA_IFNAME
        .attribute(13, &1000_u32.to_le_bytes()) // IFLA_TXQLEN
        .attribute(16, &[state]) // IFLA_OPERSTATE
        .attribute(17, &[0]) // IFLA_LINKMODE
        .attribute(4, &one.mtu.to_le_bytes()) // IFLA_MTU
        .attribute(1, &one.mac) // IFLA_ADDRESS
        .attribute(2, &broadcast) // IFLA_BROADCAST
        .attribute(23, &stats64) // IFLA_STATS64
        .attribute(7, &stats); // IFLA_STATS
    message.finish()
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn family_of(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 2 } else { 10 }
}

/// Messages of a dump; `None` for what there is no dump of.
fn dump(request: &Request<'_>, port: u32) -> Option<Vec<Vec<u8>>> {
    let message = |kind| Message::new(kind, MULTI, request.sequence, port);
    let wanted = request.body.first().copied().unwrap_or(0);
    let of_family = |ip: IpAddr| wanted == 0 || wanted == family_of(ip);
    let all = interface::all();
    let mut found = Vec::new();
    match request.kind {
        // RTM_GETLINK, answered by RTM_NEWLINK
        18 => found.extend(all.iter().map(|one| link(one, message(16)))),
        // RTM_GETADDR, answered by RTM_NEWADDR
        22 => {
            for one in &all {
                for prefix in one.addresses.iter().filter(|prefix| of_family(prefix.ip)) {
                    let mut message = message(20);
                    let scope = if prefix.ip.is_loopback() {
                        RT_SCOPE_HOST
                    } else {
                        0
                    };
                    message
                        .put(&[family_of(prefix.ip), prefix.len, IFA_F_PERMANENT, scope])
                        .put(&one.index.to_le_bytes())
                        .attribute(1, &octets(prefix.ip)); // IFA_ADDRESS
                    if let Some(broadcast) = prefix.broadcast() {
                        message.attribute(2, &octets(prefix.ip)); // IFA_LOCAL
                        if !prefix.ip.is_loopback() {
                            message.attribute(4, &broadcast.octets()); // IFA_BROADCAST
                        }
                        message.attribute(3, &[one.name.as_bytes(), &[0]].concat()); // IFA_LABEL
                    }
                    message.attribute(8, &u32::from(IFA_F_PERMANENT).to_le_bytes()); // IFA_FLAGS
                    // IFA_CACHEINFO: for ever
                    message.attribute(6, &[[0xff; 8], [0; 8]].concat());
                    found.push(message.finish());
                }
            }
        }
        // RTM_GETROUTE, answered by RTM_NEWROUTE
        26 => {
            for route in interface::routes()
                .iter()
                .filter(|route| of_family(route.to.ip))
            {
                let mut message = message(24);
                let scope = if route.gateway.is_some() { 0 } else { 253 };
                // Table main, protocol boot, unicast.
                message
                    .put(&[family_of(route.to.ip), route.to.len, 0, 0, 254, 3, scope, 1])
                    .put(&[0; 4])
                    .attribute(15, &254_u32.to_le_bytes()); // RTA_TABLE
                if route.to.len > 0 {
                    message.attribute(1, &octets(route.to.ip)); // RTA_DST
                }
                if let Some(gateway) = route.gateway {
                    message.attribute(5, &octets(gateway)); // RTA_GATEWAY
                }
                message.attribute(4, &route.index.to_le_bytes()); // RTA_OIF
                found.push(message.finish());
            }
        }
        // RTM_GETNEIGH, answered by RTM_NEWNEIGH
        30 => {
            for (ip, mac) in stack::neighbours() {
                let mut message = message(28);
                // NUD_REACHABLE, NUD_INCOMPLETE; unicast.
                let state: u16 = if mac.is_some() { 2 } else { 1 };
                message
                    .put(&[family_of(ip), 0, 0, 0])
                    .put(&ETHERNET.to_le_bytes())
                    .put(&state.to_le_bytes())
                    .put(&[0, 1])
                    .attribute(1, &octets(ip)); // NDA_DST
                if let Some(mac) = mac {
                    message.attribute(2, &mac); // NDA_LLADDR
                }
                found.push(message.finish());
            }
        }
        // RTM_GETRULE, answered by RTM_NEWRULE: the tables local, main and default, of either family.
        34 => {
            let tables: [(u8, u32); 3] = [(255, 0), (254, 32_766), (253, 32_767)];
            for (table, priority) in tables {
                let mut message = message(32);
                // All of its family, to a table (FR_ACT_TO_TBL).
                message
                    .put(&[
                        if wanted == 0 { 2 } else { wanted },
                        0,
                        0,
                        0,
                        table,
                        0,
                        0,
                        1,
                    ])
                    .put(&[0; 4])
                    .attribute(15, &u32::from(table).to_le_bytes()); // FRA_TABLE
                if priority > 0 {
                    message.attribute(6, &priority.to_le_bytes()); // FRA_PRIORITY
                }
                found.push(message.finish());
            }
        }
        _ => return None,
    }
    let mut done = message(DONE);
    done.put(&[0; 4]);
    found.push(done.finish());
    Some(found)
}

/// The address that a request for a route is about (RTA_DST).
fn wanted_route(mut attributes: &[u8]) -> Option<IpAddr> {
    while let &[l0, l1, kind, 0, ..] = attributes {
        let len = usize::from(u16::from_le_bytes([l0, l1]));
        let value = attributes.get(4..len)?;
        if kind == 1 {
            let v4 = <[u8; 4]>::try_from(value).map(IpAddr::from);
            return v4
                .or_else(|_| <[u8; 16]>::try_from(value).map(IpAddr::from))
                .ok();
        }
        attributes = attributes.get(len.next_multiple_of(4)..)?;
    }
    None
}

/// The way that packets to `to` take, as one message; `ENETUNREACH`.
fn way(to: IpAddr, mut message: Message) -> Result<Vec<u8>, Errno> {
    let from = interface::source(to).ok_or(Errno::ENETUNREACH)?;
    let local = interface::is_local(to);
    let all = interface::routes();
    let near = all
        .iter()
        .any(|route| route.gateway.is_none() && route.to.has(to));
    let gateway = all
        .iter()
        .filter(|route| route.to.ip.is_ipv4() == to.is_ipv4())
        .find_map(|route| route.gateway);
    let bits = if to.is_ipv4() { 32 } else { 128 };
    // Table main, whichever it was found in; RTN_LOCAL, RTN_UNICAST; RTM_F_CLONED.
    let kind = if local { 2 } else { 1 };
    message
        .put(&[family_of(to), bits, 0, 0, 254, 0, 0, kind])
        .put(&0x200_u32.to_le_bytes())
        .attribute(15, &254_u32.to_le_bytes()) // RTA_TABLE
        .attribute(1, &octets(to)); // RTA_DST
    if let Some(gateway) = gateway.filter(|_| !local && !near) {
        message.attribute(5, &octets(gateway)); // RTA_GATEWAY
    }
    let index = if local { LOOPBACK } else { ETHERNET };
    message
        .attribute(4, &index.to_le_bytes()) // RTA_OIF
        .attribute(7, &octets(from)); // RTA_PREFSRC
    Ok(message.finish())
}

/// What a request is answered with.
fn answer(request: &Request<'_>, port: u32) -> Vec<Vec<u8>> {
    let error = |error: i32| {
        let mut message = Message::new(ERROR, 0, request.sequence, port);
        let quoted = if error == 0 {
            &request.whole[..HEADER]
        } else {
            request.whole
        };
        message.put(&(-error).to_le_bytes()).put(quoted);
        alloc::vec![message.finish()]
    };
    if request.flags & REQUEST == 0 || request.kind < 16 {
        return Vec::new();
    }
    if request.flags & DUMP == DUMP
        && let Some(found) = dump(request, port)
    {
        return found;
    }
    if request.kind == 18
        && let Some(index) = request.body.get(4..8)
        && let Some(one) = interface::all()
            .iter()
            .find(|one| one.index.to_le_bytes() == *index)
    {
        return alloc::vec![link(one, Message::new(16, 0, request.sequence, port))];
    }
    if request.kind == 26
        && let Some(to) = request.body.get(12..).and_then(wanted_route)
    {
        return match way(to, Message::new(24, 0, request.sequence, port)) {
            Ok(message) => alloc::vec![message],
            Err(Errno(number)) => error(number),
        };
    }
    match request.kind {
        18 => error(Errno::ENODEV.0),
        kind if kind % 4 == 2 => error(Errno::EOPNOTSUPP.0),
        _ if request.flags & ACK != 0 && request.kind < 16 => error(0),
        _ => error(Errno::EPERM.0),
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
        let message = Outgoing {
            data,
            to: None,
            ancillary,
        };
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
        for one in requests(message.data).flat_map(|request| answer(&request, port)) {
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

    fn option(&self, level: u32, _name: u32) -> Result<Vec<u8>, Errno> {
        // SOL_NETLINK
        if level == 270 {
            Ok(alloc::vec![0; 4])
        } else {
            Err(Errno::ENOPROTOOPT)
        }
    }

    fn set_option(&self, level: u32, _name: u32, _value: &[u8]) -> Result<(), Errno> {
        match level {
            options::SOCKET | 270 => Ok(()),
            _ => Err(Errno::ENOPROTOOPT),
        }
    }

    fn close(&self) {
        self.inbox.discard();
        self.sock.changed();
    }
}
