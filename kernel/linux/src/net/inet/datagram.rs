//! What sockets of UDP have in common with those of ICMP and raw ones: what comes in is told apart by ports, or
//! identifiers, and each sending is a packet. What finds no room in the receiver's queue is lost, as on any network.
use super::{
    ICMP, ICMPV6, UDPLITE, connection, destination,
    failure::{Failure, Told},
    given,
    listed::Listed,
    may_bind,
    ports::{Binding, Owner, Ports, unspecified},
    sharing, source, told,
};
use crate::{
    fs::Poll,
    net::{
        address::{Address, family},
        interface,
        message::{Ancillary, How, Outgoing, Packet, Received},
        options::{self, IP, IPV6, Options},
        queue::Queue,
        sock::{Kind, Sock},
        socket::{Protocol, Socket},
        stack::{self, Header},
    },
};
use abi::Errno;
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::net::{IpAddr, SocketAddr};
use linux_raw_sys::net as linux;
use machine::{sync::SpinLock, time};

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
/// Bytes of UDP's header.
const UDP_HEADER: usize = 8;
/// The most bytes of a datagram.
const MOST: usize = 65_507;

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
    Socket::new(sock, Box::new(Datagrams { end, send }))
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
        if self
            .inbox
            .push_message(&message, Some(from), limit, usize::MAX, None)
            .is_ok()
        {
            self.sock.readable();
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
    }
}

/// The time, if a socket has asked for it.
fn stamp(options: &Options) -> Option<(u64, bool)> {
    let exact = options.is_set(options::TIMESTAMPNS);
    (exact || options.is_set(options::TIMESTAMP)).then(|| (time::realtime_ns(), exact))
}

impl Protocol for Datagrams {
    fn bind(&self, address: &Address) -> Result<(), Errno> {
        let end = &self.end;
        let address = given(&end.sock, address)?;
        if end.sock.kind != Kind::Raw && end.state.lock().bound.is_some() {
            return Err(Errno::EINVAL);
        }
        let address = match end.sock.kind {
            Kind::Raw => SocketAddr::new(address.ip(), 0),
            _ => address,
        };
        may_bind(match end.is_icmp() {
            true => SocketAddr::new(address.ip(), 0),
            false => address,
        })?;
        let sharing = sharing(&end.sock.options.lock());
        let binding = end.ports().bind(address, sharing, end)?;
        let mut state = end.state.lock();
        state.bound = Some(binding);
        state.asked = true;
        Ok(())
    }

    fn connect(&self, address: &Address) -> Result<(), Errno> {
        let end = &self.end;
        if *address == Address::Unspecified {
            let mut state = end.state.lock();
            state.peer = None;
            state.local = None;
            let left = if state.asked {
                None
            } else {
                state.bound.take()
            };
            drop(state);
            drop(left);
            return Ok(());
        }
        let to = destination(given(&end.sock, address)?);
        let bound = end.port()?;
        let ip = source(Some(bound.address.ip()), to.ip())?;
        let mut state = end.state.lock();
        state.peer = Some(to);
        state.local = Some(ip);
        drop(state);
        end.sock.changed();
        Ok(())
    }

    fn send(&self, message: &Outgoing<'_>) -> Result<usize, Errno> {
        let end = &self.end;
        end.sock.check_error()?;
        if message.data.len() > MOST {
            return Err(Errno::EMSGSIZE);
        }
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
        let from = SocketAddr::new(ip, bound.address.port());
        let header = end.header(to.ip(), packet);
        let len = message.data.len() + if end.is_icmp() { 0 } else { UDP_HEADER };
        if end.keeps_whole(to.ip()) && !interface::is_local(to.ip()) && !stack::fits(len, to.ip()) {
            return Err(Errno::EMSGSIZE);
        }
        (self.send)(end, message.data, from, to, header)?;
        Ok(message.data.len())
    }

    fn receive(&self, buf: &mut [u8], how: How) -> Result<Received, Errno> {
        let end = &self.end;
        if how.urgent {
            return Err(Errno::EOPNOTSUPP);
        }
        end.sock.check_error()?;
        match end.inbox.take_message(buf, how) {
            Err(Errno::EAGAIN) if end.state.lock().shut[0] => Ok(Received::default()),
            result => result,
        }
    }

    fn receive_error(&self, buf: &mut [u8]) -> Result<Received, Errno> {
        self.end.failures.take_message(buf, How::default())
    }

    fn shutdown(&self, receiving: bool, sending: bool) -> Result<(), Errno> {
        let mut state = self.end.state.lock();
        if state.peer.is_none() {
            return Err(Errno::ENOTCONN);
        }
        state.shut[0] |= receiving;
        state.shut[1] |= sending;
        drop(state);
        self.end.sock.changed();
        Ok(())
    }

    fn local(&self) -> Address {
        let state = self.end.state.lock();
        let v6 = self.end.sock.domain == family::INET6;
        let mut address = match &state.bound {
            Some(binding) => binding.address,
            None => SocketAddr::new(unspecified(v6), 0),
        };
        if let Some(ip) = state.local {
            address.set_ip(ip);
        }
        if self.end.sock.kind == Kind::Raw {
            address.set_port(u16::try_from(self.end.sock.protocol).unwrap_or(0));
        }
        told(&self.end.sock, address)
    }

    fn peer(&self) -> Result<Address, Errno> {
        let peer = self.end.state.lock().peer.ok_or(Errno::ENOTCONN)?;
        Ok(told(&self.end.sock, peer))
    }

    fn poll(&self) -> Poll {
        let [receive, send] = self.end.state.lock().shut;
        let mut events = Poll::OUT;
        if self.end.inbox.packets() > 0 {
            events |= Poll::IN;
        }
        if self.end.failures.packets() > 0 {
            events |= Poll::ERR;
        }
        if receive {
            events |= Poll::IN | Poll::RDHUP;
        }
        if receive && send {
            events |= Poll::HUP;
        }
        events
    }

    fn option(&self, level: u32, name: u32) -> Result<Vec<u8>, Errno> {
        if !self.end.has_filter(level, name) {
            return Err(Errno::ENOPROTOOPT);
        }
        let len = if level == RAW { 4 } else { 32 };
        Ok(self.end.state.lock().filter[..len].to_vec())
    }

    fn queued(&self) -> [usize; 2] {
        [self.end.inbox.first(), 0]
    }

    fn set_option(&self, level: u32, name: u32, value: &[u8]) -> Result<(), Errno> {
        let v6 = self.end.sock.domain == family::INET6;
        match (level, name) {
            (options::TCP, _) => Err(Errno::ENOPROTOOPT),
            (level, name) if self.end.has_filter(level, name) => {
                let mut state = self.end.state.lock();
                for (byte, room) in value.iter().zip(&mut state.filter) {
                    *room = *byte;
                }
                Ok(())
            }
            (RAW | ICMPV6, _) => Err(Errno::ENOPROTOOPT),
            (options::UDPLITE, _) if self.end.sock.protocol != UDPLITE => Err(Errno::ENOPROTOOPT),
            (options::IPV6, _) if !v6 => Err(Errno::ENOPROTOOPT),
            (options::IPV6, linux::IPV6_V6ONLY) if self.end.state.lock().bound.is_some() => {
                Err(Errno::EINVAL)
            }
            _ => Ok(()),
        }
    }

    fn close(&self) {
        let bound = self.end.state.lock().bound.take();
        drop(bound);
        self.end.inbox.discard();
        self.end.sock.changed();
    }
}
