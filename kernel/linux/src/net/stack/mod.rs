//! TCP and UDP with other machines: smoltcp over the network device.
//!
//! smoltcp walks through all sockets of a set for each packet. So each connection is alone in a set, a table says which
//! one a segment is for, and the stack is shown that set only; listening and accepting are not left to it at all. One
//! lock guards its interface. A thread of the kernel's takes frames and serves timers; who sends or receives has the
//! stack send at once.
//!
//! Left out: fragments, offloads, addresses by DHCP.
pub mod connection;
mod device;
mod frame;
mod isn;
mod neighbour;
#[cfg(test)]
mod tests;

use super::{
    inet::connection::Connection,
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
use connection::{Handle, Remote};
use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicBool, Ordering};
use device::Device;
use frame::Frame;
use machine::{
    drivers::{net as driver, random},
    sched::{self, NoState},
    sync::{Mutex, Signals},
    time,
};
use neighbour::Neighbours;
use smoltcp::{
    iface::{Config, Interface, SocketSet},
    socket::udp,
    time::Instant,
    wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr, IpProtocol},
};

/// Frames that are taken before timers are looked at.
const BUDGET: usize = 64;
/// Connections being made by others that are kept at once (`tcp_max_syn_backlog`).
const HALF_OPEN: usize = 1024;
/// Datagrams that wait for the hardware address of where they go.
const PARKED: usize = 64;
/// Answers a second to what is for nobody: resets, and ICMP's unreachable and echo.
const ANSWERS: u32 = 1000;
const SECOND: u64 = 1_000_000_000;

/// What the stack asks of those above it.
pub trait Upper: Send + Sync {
    /// Who takes a connection from `from` to `to`.
    fn accepting(&self, to: SocketAddr, from: SocketAddr) -> Option<Arc<dyn Accepting>>;
    /// A datagram has come; whether anybody takes it.
    fn datagram(&self, data: &[u8], from: SocketAddr, to: SocketAddr) -> bool;
    /// A datagram from here to `to` has not arrived; `hard`: nor will others.
    fn unreachable(&self, from: SocketAddr, to: SocketAddr, error: Errno, hard: bool);
}

/// Who listens.
pub trait Accepting: Send + Sync {
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
}

static STACK: Shared = Shared {
    state: Mutex::new(None),
    earlier: AtomicBool::new(false),
};

struct Stack {
    interface: Interface,
    connections: BTreeMap<(SocketAddr, SocketAddr), Arc<Remote>>,
    /// By time and ends.
    timers: BTreeMap<(u64, SocketAddr, SocketAddr), Arc<Remote>>,
    half_open: usize,
    parked: VecDeque<SocketSet<'static>>,
    neighbours: Neighbours,
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

/// Starts the stack if there is a device and an address for it.
pub fn start(upper: &'static dyn Upper) {
    let config = config::get();
    let Some(mac) = driver::mac().filter(|_| !config.addresses.is_empty()) else {
        return;
    };
    let addresses = config.addresses.iter().map(|&(ip, len)| Prefix { ip, len });
    let ethernet = interface::set_up(Ethernet {
        mac,
        addresses: addresses.collect(),
        gateways: config.gateways.clone(),
    });
    let mut settings = Config::new(HardwareAddress::Ethernet(EthernetAddress(mac)));
    settings.random_seed = random::number();
    let mut interface = Interface::new(settings, &mut Device::idle(), instant(now()));
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
    *STACK.state.lock() = Some(Stack {
        interface,
        connections: BTreeMap::new(),
        timers: BTreeMap::new(),
        half_open: 0,
        parked: VecDeque::new(),
        neighbours: Neighbours::default(),
        isn: isn::Generator::new(),
        upper,
        answers: (0, 0),
    });
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
            with(|stack| stack.take(&mut buf[..len]));
            taken += 1;
        }
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
        if stack.connections.contains_key(&(from, to)) {
            return Err(Errno::EADDRNOTAVAIL);
        }
        let remote = Remote::active(stack, sock.clone(), from, to)?;
        stack.connections.insert(remote.key(), remote.clone());
        stack.look_after(&remote, None);
        Ok(Handle(remote))
    })
    .unwrap_or(Err(Errno::ENETUNREACH))
}

/// Sends a datagram; `ENETUNREACH` if there is no device, `EMSGSIZE` if it would need fragments.
pub fn send_datagram(data: &[u8], from: SocketAddr, to: SocketAddr) -> Result<(), Errno> {
    // The headers of IP and UDP.
    let headers = if to.is_ipv4() { 28 } else { 48 };
    if data.len() + headers > driver::FRAME - 14 {
        return Err(Errno::EMSGSIZE);
    }
    let buffer = |len: usize| {
        let metadata = vec![udp::PacketMetadata::EMPTY; len.min(1)];
        udp::PacketBuffer::new(metadata, vec![0; len])
    };
    let mut socket = udp::Socket::new(buffer(0), buffer(data.len().max(1)));
    let mut metadata = udp::UdpMetadata::from(to);
    metadata.local_address = Some(IpAddress::from(from.ip()));
    socket.bind(from).map_err(|_| Errno::EINVAL)?;
    socket
        .send_slice(data, metadata)
        .map_err(|_| Errno::ENOBUFS)?;
    let mut set = SocketSet::new(vec![]);
    set.add(socket);
    with(|stack| {
        stack.neighbours.seek(to.ip(), now());
        stack.send_parked(set);
    })
    .ok_or(Errno::ENETUNREACH)
}

/// What a code of "destination unreachable" means, and whether it will stay so (Linux: `icmp_err_convert`).
fn unreachable(code: u8) -> Option<(Errno, bool)> {
    Some(match code {
        0 | 11 => (Errno::ENETUNREACH, false),
        6 | 9 => (Errno::ENETUNREACH, true),
        1 | 5 | 12 => (Errno::EHOSTUNREACH, false),
        7 | 8 | 10 | 13..=15 => (Errno::EHOSTUNREACH, true),
        2 => (Errno::ENOPROTOOPT, true),
        3 => (Errno::ECONNREFUSED, true),
        // Of packets that are too large: smoltcp sends none but those that fit into a frame.
        _ => return None,
    })
}

impl Stack {
    /// A frame has come.
    fn take(&mut self, frame: &mut [u8]) {
        match frame::parse(frame) {
            Frame::Segment { from, to, opens } => {
                if let Some(remote) = self.connections.get(&(to, from)).cloned() {
                    // Frames that may be for a new one have no acknowledgement that this changes.
                    remote.shift.coming(frame);
                    self.look_after(&remote, Some(frame));
                    // An old connection of the same ends is over: a new one may begin.
                    if self.connections.contains_key(&(to, from)) || !opens {
                        return;
                    }
                }
                if opens
                    && interface::is_local(to.ip())
                    && let Some(accepting) = self.upper.accepting(to, from)
                {
                    return self.open(accepting, to, from, frame);
                }
                self.answer(frame);
            }
            Frame::Datagram { from, to, data } => {
                let own = interface::is_local(to.ip());
                if !self.upper.datagram(data, from, to) && own {
                    self.answer(frame);
                }
            }
            Frame::Neighbour(from) => {
                self.neighbours.heard(from, now());
                self.answer(frame);
                self.send_waiting();
            }
            Frame::Unreachable {
                protocol,
                from,
                to,
                code,
            } => {
                if let Some((error, hard)) = unreachable(code) {
                    self.tell(protocol, from, to, error, hard);
                }
            }
            Frame::Control => {
                self.answer(frame);
                self.send_waiting();
            }
            Frame::Other => (),
        }
    }

    /// What was sent from here has not arrived.
    fn tell(
        &mut self,
        protocol: IpProtocol,
        from: SocketAddr,
        to: SocketAddr,
        error: Errno,
        hard: bool,
    ) {
        match protocol {
            IpProtocol::Udp => self.upper.unreachable(from, to, error, hard),
            // One that is there already goes on trying (RFC 5461).
            IpProtocol::Tcp => {
                if let Some(remote) = self.connections.get(&(from, to)).cloned()
                    && remote.give_up(error)
                {
                    self.look_after(&remote, None);
                }
            }
            _ => (),
        }
    }

    /// Has the stack see a frame that is for no socket, unless there were many of them.
    fn answer(&mut self, frame: &[u8]) {
        let second = now() / SECOND;
        if self.answers.0 != second {
            self.answers = (second, 0);
        }
        self.answers.1 += 1;
        if self.answers.1 > ANSWERS {
            return;
        }
        let mut none = SocketSet::new(vec![]);
        let now = instant(now());
        self.interface.poll_ingress_single(
            now,
            &mut Device {
                frame: Some(frame),
                shift: None,
            },
            &mut none,
        );
    }

    /// A connection is asked for.
    fn open(
        &mut self,
        accepting: Arc<dyn Accepting>,
        to: SocketAddr,
        from: SocketAddr,
        frame: &[u8],
    ) {
        // Silence has the other end try again, when there may be room.
        if self.half_open >= HALF_OPEN {
            return;
        }
        let Some(sock) = accepting.child() else {
            return;
        };
        let Ok(remote) = Remote::passive(&self.isn, sock, to, from, accepting) else {
            return;
        };
        self.half_open += 1;
        self.connections.insert(remote.key(), remote.clone());
        self.look_after(&remote, Some(frame));
    }

    /// Shows a connection a frame, has it send what it wants to, and sees what has become of it.
    fn look_after(&mut self, remote: &Arc<Remote>, frame: Option<&[u8]>) {
        let ns = now();
        let at = instant(ns);
        let (_, peer) = remote.key();
        if frame.is_none() && remote.is_asked_for() {
            if self.neighbours.is_silent(peer.ip(), ns) {
                remote.give_up(Errno::EHOSTUNREACH);
            }
            self.neighbours.seek(peer.ip(), ns);
        }
        let next = {
            let mut set = remote.set.lock();
            if frame.is_some() {
                let mut device = Device {
                    frame,
                    shift: Some(&remote.shift),
                };
                self.interface
                    .poll_ingress_single(at, &mut device, &mut set);
            }
            let mut device = Device::of(&remote.shift);
            for _ in 0..BUDGET {
                let result = self.interface.poll_egress(at, &mut device, &mut set);
                if result == smoltcp::iface::PollResult::None {
                    break;
                }
            }
            self.interface.poll_at(at, &set)
        };
        remote.note(frame.is_some());
        if remote.is_established() && remote.waits.lock().is_some() {
            self.half_open = self.half_open.saturating_sub(1);
            let accepting = remote.waits.lock().take();
            if let Some(accepting) = accepting.filter(|_| !remote.is_over()) {
                let connection = Arc::new(Handle(remote.clone()));
                if !accepting.established(remote.sock.clone(), connection) {
                    remote.abort();
                    let mut set = remote.set.lock();
                    let mut device = Device::of(&remote.shift);
                    self.interface.poll_egress(at, &mut device, &mut set);
                    drop(set);
                    remote.note(false);
                }
            }
        }
        let next = next.map(|next| u64::try_from(next.total_micros()).unwrap_or(0) * 1000);
        let next = match (next, remote.deadline()) {
            (Some(next), Some(deadline)) => Some(next.min(deadline)),
            (next, deadline) => next.or(deadline),
        };
        self.set_timer(remote, next.map(|next| next.max(ns + 1_000_000)));
    }

    /// Says when to look at a connection again, or that it is over.
    fn set_timer(&mut self, remote: &Arc<Remote>, next: Option<u64>) {
        let (local, peer) = remote.key();
        let old = remote.timer.swap(0, Ordering::Relaxed);
        if old != 0 {
            self.timers.remove(&(old, local, peer));
        }
        if remote.is_over() {
            let known = self.connections.get(&(local, peer));
            if known.is_some_and(|known| Arc::ptr_eq(known, remote)) {
                self.connections.remove(&(local, peer));
            }
            if remote.waits.lock().take().is_some() {
                self.half_open = self.half_open.saturating_sub(1);
            }
            return;
        }
        let Some(next) = next else { return };
        let first = self
            .timers
            .first_key_value()
            .is_none_or(|(&(first, ..), _)| next < first);
        remote.timer.store(next, Ordering::Relaxed);
        self.timers.insert((next, local, peer), remote.clone());
        if first && let Some(queue) = driver::queue() {
            STACK.earlier.store(true, Ordering::Relaxed);
            queue.wake_all();
        }
    }

    /// Looks at the connections whose time has come; when the next one's comes.
    fn serve_timers(&mut self) -> Option<u64> {
        for _ in 0..BUDGET {
            let (&key, _) = self.timers.first_key_value()?;
            if key.0 > now() {
                return Some(key.0);
            }
            let remote = self.timers.remove(&key)?;
            remote.timer.store(0, Ordering::Relaxed);
            self.look_after(&remote, None);
        }
        Some(now())
    }

    /// Sends a datagram, or keeps it until it is known where to.
    fn send_parked(&mut self, mut set: SocketSet<'static>) {
        self.interface
            .poll_egress(instant(now()), &mut Device::idle(), &mut set);
        let sent = set.iter().all(|(_, socket)| match socket {
            smoltcp::socket::Socket::Udp(socket) => socket.send_queue() == 0,
            _ => true,
        });
        if !sent {
            // The oldest are lost first.
            if self.parked.len() >= PARKED {
                self.parked.pop_front();
            }
            self.parked.push_back(set);
        }
    }

    /// It may be known now where something goes that has waited.
    fn send_waiting(&mut self) {
        for set in core::mem::take(&mut self.parked) {
            self.send_parked(set);
        }
        let waiting: Vec<_> = self.timers.values().take(BUDGET * 4).cloned().collect();
        for remote in waiting {
            self.look_after(&remote, None);
        }
    }
}
