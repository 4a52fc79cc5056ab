//! TCP and UDP with other machines, over the network device.
//!
//! A connection is a state machine of [`tcp`]'s, and a table says which one a segment is for. One that is asked for by
//! another machine is a few bytes until it is made ([`requests`]), and again when it is over ([`time_wait`]). A thread
//! of the kernel's takes frames and serves timers; who sends has its segments sent at once. smoltcp answers ARP, ND
//! and ICMP.
//!
//! Left out: offloads.
pub mod connection;
mod device;
mod dhcp;
mod fragments;
mod frame;
mod input;
mod isn;
mod link;
mod neighbour;
mod passive;
mod requests;
mod start;
mod tcp;
#[cfg(test)]
mod tests;
mod time_wait;
mod timing;

pub use start::start;

use super::{
    inet::{
        connection::{Connection, State},
        failure::Failure,
    },
    interface,
    sock::Sock,
};
use abi::Errno;
use alloc::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    vec::Vec,
};
use connection::{Handle, Remote};
use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicBool, AtomicUsize};
use dhcp::Lease;
use fragments::Fragments;
use machine::{drivers::net as driver, sync::Mutex, time};
use neighbour::Neighbours;
use requests::Requests;
use smoltcp::{iface::Interface, time::Instant};
use time_wait::TimeWait;

/// Frames that are taken before timers are looked at.
const BUDGET: usize = 64;
/// Datagrams that wait for the hardware address of where they go.
const PARKED: usize = 64;
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
pub type Key = (SocketAddr, SocketAddr);

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
    fragments: Fragments,
    /// By time and ends.
    timers: BTreeMap<(u64, Key), Arc<Remote>>,
    /// Connections that have got data, of which more may have come already.
    receiving: Vec<Arc<Remote>>,
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

/// Runs `f`, and has what it sends go out.
fn with<R>(f: impl FnOnce(&mut Stack) -> R) -> Option<R> {
    let result = STACK.state.lock().as_mut().map(f);
    driver::flush();
    result
}

/// Begins a connection; `ENETUNREACH` if there is no device.
pub fn connect(sock: &Arc<Sock>, from: SocketAddr, to: SocketAddr) -> Result<Handle, Errno> {
    with(|stack| {
        let key = (from, to);
        if stack.connections.contains_key(&key) {
            return Err(Errno::EADDRNOTAVAIL);
        }
        interface::mib().tcp.active_opens.count();
        stack.requests.remove(&key);
        stack.time_wait.forget(&key);
        let remote = Remote::active(sock.clone(), key, stack.isn.first(key));
        stack.connections.insert(key, remote.clone());
        stack.look_after(&remote);
        Ok(Handle(remote))
    })
    .unwrap_or(Err(Errno::ENETUNREACH))
}

/// Sends a datagram of UDP; `ENETUNREACH` if there is no device. Those of UDP-Lite stay within the machine.
pub fn send_datagram(
    data: &[u8],
    from: SocketAddr,
    to: SocketAddr,
    header: Header,
) -> Result<(), Errno> {
    if header.protocol != UDP {
        return Err(Errno::ENETUNREACH);
    }
    let frame = link::datagram(data, from, to, header);
    with(|stack| stack.send_datagram(to.ip(), frame)).ok_or(Errno::ENETUNREACH)
}

/// Whether a packet with so much in it goes out in one piece.
pub fn fits(len: usize, to: IpAddr) -> bool {
    len <= link::most_payload(to)
}

/// Sends a packet with a payload of any protocol; errors as with a datagram.
pub fn send_packet(payload: &[u8], from: IpAddr, to: IpAddr, header: Header) -> Result<(), Errno> {
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

/// Connections that no socket has (any more), and what state they are in.
pub fn without_socket() -> Vec<(Key, State)> {
    let list = |stack: &mut Stack| {
        let orphans = stack.connections.iter().filter_map(|(key, remote)| {
            let state = remote.orphaned_state()?;
            Some((*key, state))
        });
        let asked = stack.requests.keys().map(|key| (key, State::SynReceived));
        let over = stack.time_wait.keys().map(|key| (key, State::TimeWait));
        orphans.chain(asked).chain(over).collect()
    };
    with(list).unwrap_or_default()
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
            fragments: Fragments::default(),
            timers: BTreeMap::new(),
            receiving: Vec::new(),
            waiting: Vec::new(),
            parked: VecDeque::new(),
            neighbours: Neighbours::default(),
            lease: None,
            isn,
            upper,
            answers: (0, 0),
        }
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
