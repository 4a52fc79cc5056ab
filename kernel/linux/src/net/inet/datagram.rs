//! What sockets of UDP have in common with those of ICMP and raw ones: what comes in is told apart by ports, or
//! identifiers, and each sending is a packet. What finds no room in the receiver's queue is lost, as on any network.
mod protocol;

use super::{
    ICMP, ICMPV6, UDPLITE, connection,
    cork::{self, Corked, UDP_HEADER},
    destination,
    failure::{Failure, Told},
    given,
    listed::Listed,
    ports::{Binding, Owner, Ports, unspecified},
    sharing, source, told,
};
use crate::net::{
    address::{Address, family},
    interface,
    message::{Ancillary, Outgoing, Packet},
    options::{self, IP, IPV6, Options},
    queue::Queue,
    sock::{Kind, Sock},
    socket::Socket,
    stack::{self, Header},
};
use abi::Errno;
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::net::{IpAddr, SocketAddr};
use linux_raw_sys::net as linux;
use machine::{
    sync::{Mutex, SpinLock},
    time,
};

/// Of UDP; of UDP-Lite (RFC 3828), whose datagrams differ in what the checksum is of; identifiers of ping sockets,
/// which tell answers apart as ports do; and of raw sockets, for which they mean nothing.
static PORTS: [Ports<Endpoint>; 4] = [const { Ports::new() }; 4];

/// Those of a kind of sockets.
pub(super) fn ports(kind: Kind, protocol: u32) -> &'static Ports<Endpoint> {
    let index = match (kind, protocol) {
        (Kind::Raw, _) => 3,
        (_, ICMP | ICMPV6) => 2,
        (_, UDPLITE) => 1,
        _ => 0,
    };
    &PORTS[index]
}

/// All sockets of a kind, to be listed.
pub fn listed(kind: Kind, protocol: u32) -> Vec<Listed> {
    let all = ports(kind, protocol).all();
    all.iter().map(|(bound, end)| end.listed(*bound)).collect()
}

/// `SOL_RAW`
const RAW: u32 = 255;

/// A socket as datagrams find it.
pub(super) struct Endpoint {
    pub(super) sock: Arc<Sock>,
    pub(super) inbox: Queue,
    /// What has come back.
    failures: Queue,
    pub(super) state: SpinLock<State>,
}

#[derive(Default)]
pub(super) struct State {
    bound: Option<Arc<Binding<Endpoint>>>,
    /// It was bound by bind(2), and stays so when an association is dissolved.
    asked: bool,
    /// Where it is, once it is connected.
    pub(super) local: Option<IpAddr>,
    pub(super) peer: Option<SocketAddr>,
    shut: [bool; 2],
    /// `ICMP_FILTER`, `ICMP6_FILTER`: a bit for each type of message that is not wanted.
    filter: [u8; 32],
}

/// How a socket that has an address sends to another.
type Send = fn(&Endpoint, &[u8], SocketAddr, SocketAddr, Header) -> Result<(), Errno>;

/// A socket, opened.
struct Datagrams {
    end: Arc<Endpoint>,
    send: Send,
    /// What is being put together.
    corked: Mutex<Option<Corked<Way>>>,
}

/// Where a datagram goes, and what its headers say.
struct Way {
    from: SocketAddr,
    to: SocketAddr,
    header: Header,
    segment: Option<u16>,
}

/// A new socket, which sends by `send`.
pub(super) fn create(sock: Arc<Sock>, send: Send) -> Arc<Socket> {
    let end = Arc::new(Endpoint {
        sock: sock.clone(),
        inbox: Queue::new(),
        failures: Queue::new(),
        state: SpinLock::new(State::default()),
    });
    if sock.kind == Kind::Raw {
        // It gets what comes from now on. There are as many as there are numbers for them.
        let _ = end.port();
    }
    let corked = Mutex::new(None);
    Socket::new(sock, Box::new(Datagrams { end, send, corked }))
}

impl Datagrams {
    /// Where a message goes.
    fn way(&self, message: &Outgoing<'_>) -> Result<Way, Errno> {
        let end = &self.end;
        let (peer, shut) = {
            let state = end.state.lock();
            (state.peer, state.shut[1])
        };
        if shut {
            return Err(Errno::EPIPE);
        }
        let to = match message.to {
            Some(Address::Unspecified) | None => peer.ok_or(Errno::EDESTADDRREQ)?,
            Some(address) => destination(given(&end.sock, address)?),
        };
        if to.port() == 0 && !end.is_icmp() {
            return Err(Errno::EINVAL);
        }
        let bound = end.port()?;
        let packet = &message.ancillary.packet;
        let asked = match packet.address {
            Some((ip, _)) if !interface::is_local(ip) => return Err(Errno::EINVAL),
            Some((ip, _)) => ip,
            None => bound.address.ip(),
        };
        let ip = source(Some(asked), to.ip())?;
        Ok(Way {
            from: SocketAddr::new(ip, bound.address.port()),
            to,
            header: end.header(to.ip(), packet),
            segment: packet.segment,
        })
    }

    /// Sends a datagram.
    fn put(&self, data: &[u8], way: &Way) -> Result<(), Errno> {
        let end = &self.end;
        let &Way {
            from, to, header, ..
        } = way;
        if end.is_icmp() {
            end.check_size(data.len(), to.ip())?;
            return (self.send)(end, data, from, to, header);
        }
        let size = cork::segment(&end.sock.options.lock(), way.segment, data.len(), to.ip())?;
        let Some(size) = size else {
            end.check_size(UDP_HEADER + data.len(), to.ip())?;
            return (self.send)(end, data, from, to, header);
        };
        data.chunks(size)
            .try_for_each(|piece| (self.send)(end, piece, from, to, header))
    }

    /// Puts a sending to what is being put together, or begins that. If it is the last, all of it is sent.
    fn hold(&self, message: &Outgoing<'_>, last: bool) -> Result<(), Errno> {
        let mut held = self.corked.lock();
        let mut corked = match held.take() {
            Some(corked) => corked,
            None => Corked::new(self.way(message)?),
        };
        // What has become too large is gone.
        corked.add(message.data)?;
        if last {
            return self.put(&corked.data, &corked.way);
        }
        *held = Some(corked);
        Ok(())
    }
}

impl Owner for Endpoint {
    fn shares(&self) -> bool {
        true
    }
    fn takes(&self, from: SocketAddr) -> Option<bool> {
        match self.state.lock().peer {
            None => Some(false),
            Some(peer) if self.is_icmp() => (peer.ip() == from.ip()).then_some(true),
            Some(peer) => (peer == from).then_some(true),
        }
    }
}

impl Endpoint {
    pub(super) fn ports(&self) -> &'static Ports<Self> {
        ports(self.sock.kind, self.sock.protocol)
    }

    /// Whether it is one of [`icmp`]'s.
    fn is_icmp(&self) -> bool {
        self.sock.kind == Kind::Raw || matches!(self.sock.protocol, ICMP | ICMPV6)
    }

    /// Whether an option is its filter.
    fn has_filter(&self, level: u32, name: u32) -> bool {
        let of_level = match level {
            RAW => self.sock.protocol == ICMP,
            ICMPV6 => self.sock.protocol == ICMPV6,
            _ => false,
        };
        self.sock.kind == Kind::Raw && of_level && name == 1
    }

    /// Whether a raw socket wants messages of ICMP of a type.
    pub(super) fn wants_type(&self, kind: u8) -> bool {
        let bit = self.state.lock().filter[usize::from(kind / 8)] >> (kind % 8) & 1;
        bit == 0 || !matches!(self.sock.protocol, ICMP | ICMPV6)
    }

    /// Whether it takes what comes from somebody.
    pub(super) fn wants(&self, from: SocketAddr) -> bool {
        self.takes(from).is_some() && !self.state.lock().shut[0]
    }

    /// Its port; a random one if it has none yet.
    fn port(self: &Arc<Self>) -> Result<Arc<Binding<Self>>, Errno> {
        if let Some(binding) = &self.state.lock().bound {
            return Ok(binding.clone());
        }
        let v6 = self.sock.domain == family::INET6;
        let sharing = sharing(&self.sock.options.lock());
        let any = SocketAddr::new(unspecified(v6), 0);
        let binding = self
            .ports()
            .bind(any, sharing, self)
            .map_err(|_| Errno::EAGAIN)?;
        let mut state = self.state.lock();
        Ok(state.bound.get_or_insert(binding).clone())
    }

    /// What is listed of it.
    pub(super) fn listed(&self, bound: SocketAddr) -> Listed {
        let state = self.state.lock();
        let (ip, peer) = (state.local.unwrap_or(bound.ip()), state.peer);
        drop(state);
        let port = match self.sock.kind {
            Kind::Raw => u16::try_from(self.sock.protocol).unwrap_or(0),
            _ => bound.port(),
        };
        let listed = Listed::new(&self.sock, SocketAddr::new(ip, port));
        Listed {
            state: match peer {
                Some(_) => connection::State::Established,
                None => connection::State::Close,
            },
            peer: peer.unwrap_or(listed.peer),
            unread: self.inbox.bytes(),
            ..listed
        }
    }

    /// Whether what it sends to `to` may not be cut (`IP_PMTUDISC_DO`, `IP_PMTUDISC_PROBE`).
    fn keeps_whole(&self, to: IpAddr) -> bool {
        let (level, name) = match to {
            IpAddr::V4(_) => (IP, linux::IP_MTU_DISCOVER),
            IpAddr::V6(_) => (IPV6, linux::IPV6_MTU_DISCOVER),
        };
        let asked = self.sock.options.lock().get(level, name);
        matches!(asked, Ok(2 | 3))
    }

    /// `EMSGSIZE` for a packet of so many bytes that would be cut, if that may not be.
    fn check_size(&self, len: usize, to: IpAddr) -> Result<(), Errno> {
        if self.keeps_whole(to) && !interface::is_local(to) && !stack::fits(len, to) {
            return Err(Errno::EMSGSIZE);
        }
        Ok(())
    }

    /// What the headers of its datagrams say, but for what is said of one.
    fn header(&self, to: IpAddr, packet: &Packet) -> Header {
        let options = self.sock.options.lock();
        let value = |level, name| options.get(level, name).ok();
        let (hops, class) = match (to, to.is_multicast()) {
            (IpAddr::V4(_), false) => (value(IP, linux::IP_TTL), value(IP, linux::IP_TOS)),
            (IpAddr::V4(_), true) => (value(IP, linux::IP_MULTICAST_TTL), value(IP, linux::IP_TOS)),
            (IpAddr::V6(_), false) => (
                value(IPV6, linux::IPV6_UNICAST_HOPS),
                value(IPV6, linux::IPV6_TCLASS),
            ),
            (IpAddr::V6(_), true) => (
                value(IPV6, linux::IPV6_MULTICAST_HOPS),
                value(IPV6, linux::IPV6_TCLASS),
            ),
        };
        let byte = |value: Option<i32>| value.and_then(|value| u8::try_from(value).ok());
        Header {
            protocol: u8::try_from(self.sock.protocol).unwrap_or(0),
            hops: packet.hops.or(byte(hops)).unwrap_or(stack::HOPS),
            class: packet.class.or(byte(class)).unwrap_or(0),
        }
    }

    /// A datagram has come by an interface.
    pub(super) fn deliver(
        &self,
        data: &[u8],
        from: SocketAddr,
        to: IpAddr,
        header: Header,
        interface: u32,
    ) {
        let (limit, ancillary) = {
            let options = self.sock.options.lock();
            let ancillary = Ancillary {
                packet: wanted(&options, self.sock.domain, to, header, interface),
                time: stamp(&options),
                ..Ancillary::default()
            };
            (options.buffers[0], ancillary)
        };
        let message = Outgoing::new(data, &ancillary);
        let from = told(&self.sock, from);
        let taken = self
            .inbox
            .push_message(&message, Some(from), limit, usize::MAX, None);
        let counts = interface::mib().of(to.is_ipv6());
        match taken {
            Ok(()) if self.is_icmp() => self.sock.readable(),
            Ok(()) => {
                counts.udp_in_datagrams.count();
                self.sock.readable();
            }
            Err(_) => counts.udp_rcvbuf_errors.count(),
        }
    }

    /// A datagram has not arrived. A connected socket is told, if that will stay so; any, if it has asked for it
    /// (ip(7), `IP_RECVERR`), of each by itself.
    pub(super) fn failed(&self, failure: &Failure<'_>) {
        let Some((error, hard)) = failure.error() else {
            return;
        };
        let v6 = self.sock.domain == family::INET6;
        let (asked, limit) = {
            let options = self.sock.options.lock();
            let asked = options.is_set(if v6 {
                options::RECVERR6
            } else {
                options::RECVERR
            });
            (asked, options.buffers[0])
        };
        if asked {
            let ancillary = Ancillary {
                error: Some(Told::new(failure, error, v6)),
                ..Ancillary::default()
            };
            let message = Outgoing::new(failure.data, &ancillary);
            let to = told(&self.sock, failure.to);
            // Those for which there is no room are lost.
            let _ = self
                .failures
                .push_message(&message, Some(to), limit, usize::MAX, None);
        }
        let connected = self.state.lock().peer == Some(failure.to);
        if asked || connected && hard {
            self.sock.fail(error);
        }
    }
}

/// What a socket of a domain has asked for of a packet's header.
fn wanted(options: &Options, domain: u16, to: IpAddr, header: Header, interface: u32) -> Packet {
    let v6 = to.is_ipv6();
    let flags = match v6 {
        true => [options::RECVHOPLIMIT, options::RECVTCLASS],
        false => [options::RECVTTL, options::RECVTOS],
    };
    let [hops, class] = flags.map(|flag| options.is_set(flag));
    let (info, address) = match (domain, to) {
        (family::INET, to) => (options::PKTINFO, to),
        (_, IpAddr::V4(ip)) => (options::RECVPKTINFO, ip.to_ipv6_mapped().into()),
        (_, to) => (options::RECVPKTINFO, to),
    };
    Packet {
        v6,
        address: options.is_set(info).then_some((address, interface)),
        hops: hops.then_some(header.hops),
        class: class.then_some(header.class),
        segment: None,
    }
}

/// The time, if a socket has asked for it.
fn stamp(options: &Options) -> Option<(u64, bool)> {
    let exact = options.is_set(options::TIMESTAMPNS);
    (exact || options.is_set(options::TIMESTAMP)).then(|| (time::realtime_ns(), exact))
}
