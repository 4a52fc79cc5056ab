//! TCP and UDP with other machines, over the network device.
//!
//! A connection is a state machine of [`tcp`]'s, and a table says which one a segment is for. One that is asked for by
//! another machine is a few bytes until it is made ([`requests`]), and again when it is over ([`time_wait`]). A thread
//! of the kernel's takes frames and serves timers; who sends has its segments sent at once. smoltcp answers ARP, ND
//! and ICMP.
//!
//! Left out: fragments, offloads.
pub mod connection;
mod device;
mod dhcp;
mod frame;
mod isn;
mod link;
mod neighbour;
mod passive;
mod requests;
mod tcp;
#[cfg(test)]
mod tests;
mod time_wait;

use super::{
    inet::{connection::Connection, failure::Failure},
    interface::{self, Ethernet, Prefix},
    sock::Sock,
};
use crate::config;
use abi::Errno;
use alloc::{
    boxed::Box,
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    vec,
    vec::Vec,
};
use connection::{Handle, Remote, Step};
use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use device::Device;
use dhcp::Lease;
use frame::Frame;
use machine::{
    drivers::{net as driver, random},
    sched::{self, NoState},
    sync::{Mutex, Signals},
    time,
};
use neighbour::Neighbours;
use requests::Requests;
use smoltcp::{
    iface::{Config, Interface, SocketSet},
    time::Instant,
    wire::{EthernetAddress, HardwareAddress, IpCidr, IpProtocol},
};
use tcp::segment::{self, Segment};
use time_wait::{Answer, TimeWait};

/// Frames that are taken before timers are looked at.
const BUDGET: usize = 64;
/// Datagrams that wait for the hardware address of where they go.
const PARKED: usize = 64;
/// Answers a second to what is for nobody: resets, and ICMP's unreachable and echo.
const ANSWERS: u32 = 1000;
const SECOND: u64 = 1_000_000_000;
/// How many routers a packet may pass (`net.ipv4.ip_default_ttl`, `net.ipv6.conf.*.hop_limit`).
pub const HOPS: u8 = 64;
/// `IPPROTO_UDP`
const UDP: u8 = 17;

/// What a packet's header says besides addresses.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// `IPPROTO_*` of what it carries.
    pub protocol: u8,
    /// TTL, hop limit.
    pub hops: u8,
    /// TOS, traffic class.
    pub class: u8,
}

/// The ends of a connection, this one first.
pub(super) type Key = (SocketAddr, SocketAddr);

/// A packet that is neither TCP's nor UDP's.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Where it is from.
    pub from: IpAddr,
    /// Where it is for.
    pub to: IpAddr,
    /// What its header says besides.
    pub header: Header,
    /// All of it.
    pub whole: &'a [u8],
    /// What it carries.
    pub payload: &'a [u8],
}

/// What the stack asks of those above it.
pub trait Upper: Send + Sync {
    /// Who takes a connection from `from` to `to`.
    fn accepting(&self, to: SocketAddr, from: SocketAddr) -> Option<Arc<dyn Accepting>>;
    /// A datagram has come; whether anybody takes it.
    fn datagram(&self, data: &[u8], from: SocketAddr, to: SocketAddr, header: Header) -> bool;
    /// Another packet has come. What there is to be done about it is done without them.
    fn packet(&self, packet: &Packet<'_>);
    /// A datagram, or an echo, from here has not arrived.
    fn failed(&self, failure: &Failure<'_>);
}

/// Who listens.
pub trait Accepting: Send + Sync {
    /// Whether there is room for one more connection.
    fn has_room(&self) -> bool;
    /// Whether a connection is there only when something was sent on it (`TCP_DEFER_ACCEPT`).
    fn defers(&self) -> bool;
    /// How much it may be sent at first, if it was said (`SO_RCVBUF`).
    fn window(&self) -> Option<usize>;
    /// The socket of a new connection; `None` if there is no room.
    fn child(&self) -> Option<Arc<Sock>>;
    /// The connection is there; whether anybody still listens. Called with the stack's lock held.
    fn established(&self, sock: Arc<Sock>, connection: Arc<dyn Connection>) -> bool;
}

/// The stack, once there is a device.
struct Shared {
    state: Mutex<Option<Stack>>,
    /// A timer was set that comes before the one that the thread sleeps until.
    earlier: AtomicBool,
    /// Bytes that have come and were not read, of all connections.
    unread: AtomicUsize,
}

static STACK: Shared = Shared {
    state: Mutex::new(None),
    earlier: AtomicBool::new(false),
    unread: AtomicUsize::new(0),
};

struct Stack {
    interface: Interface,
    connections: BTreeMap<Key, Arc<Remote>>,
    requests: Requests,
    time_wait: TimeWait,
    /// By time and ends.
    timers: BTreeMap<(u64, Key), Arc<Remote>>,
    /// Connections, and datagrams, that wait for the hardware address of where they go.
    waiting: Vec<Arc<Remote>>,
    parked: VecDeque<(IpAddr, Vec<u8>)>,
    neighbours: Neighbours,
    /// The address, if it was given by DHCP.
    lease: Option<Lease>,
    isn: isn::Generator,
    upper: &'static dyn Upper,
    /// The second that answers are counted in, and how many there were.
    answers: (u64, u32),
}

/// Nanoseconds since the start.
fn now() -> u64 {
    time::Instant::now().0
}

fn instant(ns: u64) -> Instant {
    Instant::from_micros(i64::try_from(ns / 1000).unwrap_or(i64::MAX))
}

/// Starts the stack if there is a device and an address for it, or a network that gives one.
pub fn start(upper: &'static dyn Upper) {
    let config = config::get();
    let wanted = config.dhcp || !config.addresses.is_empty();
    let Some(mac) = driver::mac().filter(|_| wanted) else {
        return;
    };
    let mut settings = Config::new(HardwareAddress::Ethernet(EthernetAddress(mac)));
    settings.random_seed = random::number();
    let mut interface = Interface::new(settings, &mut Device(None), instant(now()));
    let (mut gateways, mut lease, mut given) = (config.gateways.clone(), None, None);
    if config.dhcp {
        let (asked, answer) = Lease::ask(&mut interface);
        match answer {
            Some((own, router)) => {
                given = Some(own);
                gateways.extend(router);
            }
            None => log::warn!("nobody gives an address by DHCP"),
        }
        lease = Some(asked);
    }
    let addresses = config.addresses.iter().map(|&(ip, len)| Prefix { ip, len });
    let mut addresses: Vec<_> = given.into_iter().chain(addresses).collect();
    if addresses.iter().any(|own| own.ip.is_ipv6()) {
        addresses.push(interface::link_local(mac));
    }
    let ethernet = interface::set_up(Ethernet {
        mac,
        addresses,
        gateways,
    });
    interface.update_ip_addrs(|list| {
        for own in &ethernet.addresses {
            // More than there is room for are left out, as the log says.
            if list.push(IpCidr::new(own.ip.into(), own.len)).is_err() {
                log::warn!("no room for the address {}", own.ip);
            }
        }
    });
    for gateway in &ethernet.gateways {
        let added = match *gateway {
            IpAddr::V4(ip) => interface.routes_mut().add_default_ipv4_route(ip).is_ok(),
            IpAddr::V6(ip) => interface.routes_mut().add_default_ipv6_route(ip).is_ok(),
        };
        if !added {
            log::warn!("no room for the gateway {gateway}");
        }
    }
    let mut stack = Stack::new(interface, isn::Generator::new(), upper);
    stack.lease = lease;
    *STACK.state.lock() = Some(stack);
    sched::spawn_kernel("net", Box::new(NoState), Box::new(run));
}

/// Takes frames and serves timers, for ever.
fn run() {
    let Some(queue) = driver::queue() else { return };
    let mut buf = vec![0; driver::FRAME];
    loop {
        driver::listen(false);
        let mut taken = 0;
        while taken < BUDGET
            && let Some(len) = driver::receive(&mut buf)
        {
            interface::ethernet().received(len);
            with(|stack| stack.take(&buf[..len]));
            taken += 1;
        }
        driver::can_send();
        let next = with(Stack::serve_timers).flatten();
        if taken == BUDGET {
            sched::yield_now();
            continue;
        }
        let deadline = next.map(time::Instant);
        // Woken by the device, and by who has set an earlier timer. That the time has come is seen above.
        let _ = queue.wait_until(deadline, Signals::Ignore, || {
            let earlier = STACK.earlier.swap(false, Ordering::Relaxed);
            (driver::listen(true) || earlier).then_some(())
        });
    }
}

fn with<R>(f: impl FnOnce(&mut Stack) -> R) -> Option<R> {
    STACK.state.lock().as_mut().map(f)
}

/// Begins a connection; `ENETUNREACH` if there is no device.
pub fn connect(sock: &Arc<Sock>, from: SocketAddr, to: SocketAddr) -> Result<Handle, Errno> {
    with(|stack| {
        let key = (from, to);
        if stack.connections.contains_key(&key) {
            return Err(Errno::EADDRNOTAVAIL);
        }
        stack.requests.remove(&key);
        stack.time_wait.forget(&key);
        let remote = Remote::active(sock.clone(), key, stack.isn.first(key));
        stack.connections.insert(key, remote.clone());
        stack.look_after(&remote);
        Ok(Handle(remote))
    })
    .unwrap_or(Err(Errno::ENETUNREACH))
}

/// Sends a datagram of UDP; `ENETUNREACH` if there is no device, `EMSGSIZE` if it would need fragments. Those of
/// UDP-Lite stay within the machine.
pub fn send_datagram(
    data: &[u8],
    from: SocketAddr,
    to: SocketAddr,
    header: Header,
) -> Result<(), Errno> {
    if header.protocol != UDP {
        return Err(Errno::ENETUNREACH);
    }
    if data.len() > link::most(to.ip()) {
        return Err(Errno::EMSGSIZE);
    }
    let frame = link::datagram(data, from, to, header);
    with(|stack| stack.send_datagram(to.ip(), frame)).ok_or(Errno::ENETUNREACH)
}

/// Sends a packet with a payload of any protocol; errors as with a datagram.
pub fn send_packet(payload: &[u8], from: IpAddr, to: IpAddr, header: Header) -> Result<(), Errno> {
    if payload.len() > link::most_payload(to) {
        return Err(Errno::EMSGSIZE);
    }
    let frame = link::frame(payload, from, to, header);
    with(|stack| stack.send_datagram(to, frame)).ok_or(Errno::ENETUNREACH)
}

/// Such a packet as it would be on the wire.
pub fn packet(payload: &[u8], from: IpAddr, to: IpAddr, header: Header) -> Vec<u8> {
    link::frame(payload, from, to, header).split_off(link::ETHERNET)
}

/// Machines in the same network that something was sent to lately, with their hardware addresses if they have answered.
pub fn neighbours() -> Vec<(IpAddr, Option<[u8; 6]>)> {
    with(|stack| stack.neighbours.list()).unwrap_or_default()
}

/// The earlier of two times, if there are any.
fn earlier(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    [one, other].into_iter().flatten().min()
}

impl Stack {
    fn new(interface: Interface, isn: isn::Generator, upper: &'static dyn Upper) -> Self {
        Self {
            interface,
            connections: BTreeMap::new(),
            requests: Requests::default(),
            time_wait: TimeWait::default(),
            timers: BTreeMap::new(),
            waiting: Vec::new(),
            parked: VecDeque::new(),
            neighbours: Neighbours::default(),
            lease: None,
            isn,
            upper,
            answers: (0, 0),
        }
    }

    /// A frame has come.
    fn take(&mut self, frame: &[u8]) {
        let parsed = frame::parse(frame);
        if !matches!(parsed, Frame::Segment { .. } | Frame::Datagram { .. })
            && let Some(packet) = frame::packet(frame)
            && interface::is_local(packet.to)
        {
            self.upper.packet(&packet);
        }
        match parsed {
            Frame::Segment { from, to, segment } => {
                let mut mac = [0; 6];
                mac.copy_from_slice(&frame[6..12]);
                self.segment((to, from), &segment, mac);
            }
            Frame::Datagram {
                from,
                to,
                data,
                header,
            } => {
                if to.port() == dhcp::PORT && self.renew(Some(frame)) {
                    return;
                }
                let own = interface::is_local(to.ip());
                if !self.upper.datagram(data, from, to, header) && own {
                    self.answer(frame);
                }
            }
            Frame::Neighbour(from, mac) => {
                self.neighbours.heard(from, mac, now());
                self.answer(frame);
                self.send_waiting();
            }
            Frame::Failed(failure) => self.tell(&failure),
            Frame::Control => self.answer(frame),
            Frame::Other => (),
        }
    }

    /// A segment has come for the first of two ends.
    fn segment(&mut self, key: Key, segment: &Segment<'_>, mac: [u8; 6]) {
        let now = now();
        let head = &segment.head;
        if let Some(remote) = self.connections.get(&key).cloned() {
            let (accepted, step) = remote.segment(segment, mac, now);
            self.settle(&remote, step, now);
            // An answer to a SYN that was not sent, from an old connection of the same ends.
            if !accepted && remote.is_asked_for() {
                self.refuse(key, segment, mac);
            }
            return;
        }
        match self.time_wait.segment(&key, segment) {
            Answer::Unknown | Answer::Opens => (),
            Answer::Nothing => return,
            Answer::Send(head) => {
                if self.may_answer() {
                    link::send_segment(mac, [key.0, key.1], &head, 0, |_| ());
                }
                return;
            }
        }
        if !interface::is_local(key.0.ip()) {
            return;
        }
        if head.syn && head.ack.is_none() {
            let accepting = self.upper.accepting(key.0, key.1);
            match accepting {
                Some(accepting) => self.asked(key, segment, mac, &*accepting, now),
                None => self.refuse(key, segment, mac),
            }
        } else if head.rst {
            if self
                .requests
                .get(&key)
                .is_some_and(|request| request.syn.seq.plus(1) == head.seq)
            {
                self.requests.remove(&key);
            }
        } else if !self.open(key, segment, mac, now) {
            self.refuse(key, segment, mac);
        }
    }

    /// What was sent from here has not arrived.
    fn tell(&mut self, failure: &Failure<'_>) {
        match IpProtocol::from(failure.protocol) {
            IpProtocol::Udp | IpProtocol::Icmp | IpProtocol::Icmpv6 => self.upper.failed(failure),
            // One that is there already goes on trying (RFC 5461).
            IpProtocol::Tcp => {
                if let Some((error, _)) = failure.error()
                    && let Some(remote) = self.connections.get(&(failure.from, failure.to)).cloned()
                    && remote.is_asked_for()
                {
                    remote.give_up(error);
                    self.look_after(&remote);
                }
            }
            _ => (),
        }
    }

    /// Whether there were not many answers in this second.
    fn may_answer(&mut self) -> bool {
        let second = now() / SECOND;
        if self.answers.0 != second {
            self.answers = (second, 0);
        }
        self.answers.1 += 1;
        self.answers.1 <= ANSWERS
    }

    /// A segment is for no connection.
    fn refuse(&mut self, (local, peer): Key, segment: &Segment<'_>, mac: [u8; 6]) {
        if let Some(head) = segment::refusal(segment)
            && self.may_answer()
        {
            link::send_segment(mac, [local, peer], &head, 0, |_| ());
        }
    }

    /// Has smoltcp answer a frame.
    fn answer(&mut self, frame: &[u8]) {
        if self.may_answer() {
            let mut none = SocketSet::new(vec![]);
            let mut device = Device(Some(frame));
            self.interface
                .poll_ingress_single(instant(now()), &mut device, &mut none);
        }
    }

    /// Has a connection do what there is to do.
    fn look_after(&mut self, remote: &Arc<Remote>) {
        let now = now();
        let step = remote.advance(now);
        self.settle(remote, step, now);
    }

    /// Sees what has become of a connection.
    fn settle(&mut self, remote: &Arc<Remote>, step: Step, now: u64) {
        let key = remote.key();
        let mut step = step;
        if step.lost_way {
            if let Some(mac) = self.neighbours.find(key.1.ip(), now) {
                step = remote.found(mac, now);
            } else {
                if remote.is_asked_for() && self.neighbours.is_silent(key.1.ip(), now) {
                    remote.give_up(Errno::EHOSTUNREACH);
                    step = remote.advance(now);
                }
                if !self.waiting.iter().any(|one| Arc::ptr_eq(one, remote)) {
                    self.waiting.push(remote.clone());
                }
                step.next = earlier(step.next, Some(now + SECOND));
            }
        }
        if step.over {
            let known = self.connections.get(&key);
            if known.is_some_and(|known| Arc::ptr_eq(known, remote)) {
                self.connections.remove(&key);
                if let Some(remains) = step.remains {
                    self.time_wait.add(key, remains, now);
                    self.hurry(now + 60 * SECOND);
                }
            }
            let old = remote.armed.swap(0, Ordering::Relaxed);
            self.timers.remove(&(old, key));
            return;
        }
        // One that comes too early does no harm: it is set anew then.
        let old = remote.armed.load(Ordering::Relaxed);
        let Some(next) = step.next.filter(|&next| old == 0 || next < old) else {
            return;
        };
        self.timers.remove(&(old, key));
        remote.armed.store(next, Ordering::Relaxed);
        self.hurry(next);
        self.timers.insert((next, key), remote.clone());
    }

    /// Has the thread look at timers at a time, if it would later.
    fn hurry(&self, next: u64) {
        let first = self.timers.first_key_value();
        if first.is_none_or(|(&(first, _), _)| next < first)
            && let Some(queue) = driver::queue()
        {
            STACK.earlier.store(true, Ordering::Relaxed);
            queue.wake_all();
        }
    }

    /// Takes a frame about the address that was given, or asks for it again; whether there is one.
    fn renew(&mut self, frame: Option<&[u8]>) -> bool {
        let Some(lease) = &mut self.lease else {
            return false;
        };
        let given = lease.go_on(&mut self.interface, frame);
        if let Some((own, _)) = given
            && !interface::is_local(own.ip)
        {
            log::warn!(
                "DHCP gives {}, which is not the address that programs know",
                own.ip
            );
        }
        true
    }

    /// Looks at what has its time come; when the next comes.
    fn serve_timers(&mut self) -> Option<u64> {
        let mut others = earlier(self.requests.serve(now()), self.time_wait.serve(now()));
        if self.renew(None)
            && let Some(lease) = &self.lease
        {
            others = earlier(others, lease.due(&mut self.interface));
        }
        for _ in 0..BUDGET {
            let Some((&key, _)) = self.timers.first_key_value() else {
                return others;
            };
            if key.0 > now() {
                return earlier(Some(key.0), others);
            }
            let Some(remote) = self.timers.remove(&key) else {
                break;
            };
            remote.armed.store(0, Ordering::Relaxed);
            self.look_after(&remote);
        }
        Some(now())
    }

    /// Sends a datagram, or keeps it until it is known where to.
    fn send_datagram(&mut self, to: IpAddr, frame: Vec<u8>) {
        match self.neighbours.find(to, now()) {
            Some(mac) => link::send_frame(mac, &frame),
            None => {
                // The oldest are lost first.
                if self.parked.len() >= PARKED {
                    self.parked.pop_front();
                }
                self.parked.push_back((to, frame));
            }
        }
    }

    /// It may be known now where something goes that has waited.
    fn send_waiting(&mut self) {
        for (to, frame) in core::mem::take(&mut self.parked) {
            self.send_datagram(to, frame);
        }
        for remote in core::mem::take(&mut self.waiting) {
            self.look_after(&remote);
        }
    }
}
