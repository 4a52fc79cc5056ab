//! UDP sockets. What finds no room in the receiver's queue is lost, as on any network.
use super::{
    destination, given, hexadecimal, may_bind,
    ports::{Binding, Owner, Ports, unspecified},
    sharing, source, told,
};
use crate::{
    fs::Poll,
    net::{
        address::{Address, family},
        interface,
        message::{Ancillary, How, Outgoing, Received},
        options,
        queue::Queue,
        sock::Sock,
        socket::{Protocol, Socket},
        stack,
    },
};
use abi::Errno;
use alloc::{boxed::Box, string::String, sync::Arc};
use core::fmt::Write;
use core::net::{IpAddr, SocketAddr};
use linux_raw_sys::net as linux;
use machine::sync::SpinLock;

static PORTS: Ports<Endpoint> = Ports::new();

/// The most bytes of a datagram.
const MOST: usize = 65_507;

/// A socket as datagrams find it.
pub(super) struct Endpoint {
    sock: Arc<Sock>,
    inbox: Queue,
    state: SpinLock<State>,
}

#[derive(Default)]
struct State {
    bound: Option<Arc<Binding<Endpoint>>>,
    /// It was bound by bind(2), and stays so when an association is dissolved.
    asked: bool,
    /// Where it is, once it is connected.
    local: Option<IpAddr>,
    peer: Option<SocketAddr>,
    shut: [bool; 2],
}

/// A UDP socket, opened.
pub struct Udp(Arc<Endpoint>);

/// A new socket.
pub fn create(sock: Arc<Sock>) -> Arc<Socket> {
    let endpoint = Arc::new(Endpoint {
        sock: sock.clone(),
        inbox: Queue::new(),
        state: SpinLock::new(State::default()),
    });
    Socket::new(sock, Box::new(Udp(endpoint)))
}

impl Owner for Endpoint {
    fn shares(&self) -> bool {
        true
    }
    fn takes(&self, from: SocketAddr) -> Option<bool> {
        match self.state.lock().peer {
            None => Some(false),
            Some(peer) => (peer == from).then_some(true),
        }
    }
}

impl Endpoint {
    /// Its port; a random one if it has none yet.
    fn port(self: &Arc<Self>) -> Result<Arc<Binding<Self>>, Errno> {
        if let Some(binding) = &self.state.lock().bound {
            return Ok(binding.clone());
        }
        let v6 = self.sock.domain == family::INET6;
        let sharing = sharing(&self.sock.options.lock());
        let any = SocketAddr::new(unspecified(v6), 0);
        let binding = PORTS.bind(any, sharing, self).map_err(|_| Errno::EAGAIN)?;
        let mut state = self.state.lock();
        Ok(state.bound.get_or_insert(binding).clone())
    }

    /// Sends to a socket of this machine. If there is none, a connected sender learns of it the next time.
    fn send_here(&self, message: &Outgoing<'_>, from: SocketAddr, to: SocketAddr, connected: bool) {
        let Some(receiver) = PORTS.find(to, from) else {
            if connected {
                self.sock.fail(Errno::ECONNREFUSED);
            }
            return;
        };
        interface::loopback().sent(message.data.len());
        receiver.deliver(message.data, from, to.ip());
        interface::loopback().received(message.data.len());
    }

    /// A datagram has come.
    pub(super) fn deliver(&self, data: &[u8], from: SocketAddr, to: IpAddr) {
        let ancillary = Ancillary {
            destination: Some(to),
            ..Ancillary::default()
        };
        let message = Outgoing {
            data,
            to: None,
            ancillary: &ancillary,
        };
        let limit = self.sock.options.lock().buffers[0];
        let from = told(&self.sock, from);
        if self
            .inbox
            .push_message(&message, Some(from), limit, usize::MAX, None)
            .is_ok()
        {
            self.sock.readable();
        }
    }
}

impl Protocol for Udp {
    fn bind(&self, address: &Address) -> Result<(), Errno> {
        let end = &self.0;
        let address = given(&end.sock, address)?;
        if end.state.lock().bound.is_some() {
            return Err(Errno::EINVAL);
        }
        may_bind(address)?;
        let sharing = sharing(&end.sock.options.lock());
        let binding = PORTS.bind(address, sharing, end)?;
        let mut state = end.state.lock();
        state.bound = Some(binding);
        state.asked = true;
        Ok(())
    }

    fn connect(&self, address: &Address) -> Result<(), Errno> {
        let end = &self.0;
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
        let end = &self.0;
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
        if to.port() == 0 {
            return Err(Errno::EINVAL);
        }
        let bound = end.port()?;
        let ip = source(Some(bound.address.ip()), to.ip())?;
        let from = SocketAddr::new(ip, bound.address.port());
        if interface::is_local(to.ip()) {
            end.send_here(message, from, to, peer == Some(to));
        } else {
            stack::send_datagram(message.data, from, to)?;
        }
        Ok(message.data.len())
    }

    fn receive(&self, buf: &mut [u8], how: How) -> Result<Received, Errno> {
        let end = &self.0;
        if how.urgent {
            return Err(Errno::EOPNOTSUPP);
        }
        end.sock.check_error()?;
        let mut received = match end.inbox.take_message(buf, how) {
            Err(Errno::EAGAIN) if end.state.lock().shut[0] => return Ok(Received::default()),
            result => result?,
        };
        let options = end.sock.options.lock();
        let wanted = match received.ancillary.destination {
            Some(IpAddr::V4(_)) if end.sock.domain == family::INET => options::PKTINFO,
            _ => options::RECVPKTINFO,
        };
        if !options.is_set(wanted) {
            received.ancillary.destination = None;
        }
        Ok(received)
    }

    fn shutdown(&self, receiving: bool, sending: bool) -> Result<(), Errno> {
        let mut state = self.0.state.lock();
        if state.peer.is_none() {
            return Err(Errno::ENOTCONN);
        }
        state.shut[0] |= receiving;
        state.shut[1] |= sending;
        drop(state);
        self.0.sock.changed();
        Ok(())
    }

    fn local(&self) -> Address {
        let state = self.0.state.lock();
        let v6 = self.0.sock.domain == family::INET6;
        let mut address = match &state.bound {
            Some(binding) => binding.address,
            None => SocketAddr::new(unspecified(v6), 0),
        };
        if let Some(ip) = state.local {
            address.set_ip(ip);
        }
        told(&self.0.sock, address)
    }

    fn peer(&self) -> Result<Address, Errno> {
        let peer = self.0.state.lock().peer.ok_or(Errno::ENOTCONN)?;
        Ok(told(&self.0.sock, peer))
    }

    fn poll(&self) -> Poll {
        let [receive, send] = self.0.state.lock().shut;
        let mut events = Poll::OUT;
        if self.0.inbox.packets() > 0 {
            events |= Poll::IN;
        }
        if receive {
            events |= Poll::IN | Poll::RDHUP;
        }
        if receive && send {
            events |= Poll::HUP;
        }
        events
    }

    fn queued(&self) -> [usize; 2] {
        [self.0.inbox.first(), 0]
    }

    fn set_option(&self, level: u32, name: u32, _value: &[u8]) -> Result<(), Errno> {
        let v6 = self.0.sock.domain == family::INET6;
        match (level, name) {
            (options::TCP, _) => Err(Errno::ENOPROTOOPT),
            (options::IPV6, _) if !v6 => Err(Errno::ENOPROTOOPT),
            (options::IPV6, linux::IPV6_V6ONLY) if self.0.state.lock().bound.is_some() => {
                Err(Errno::EINVAL)
            }
            _ => Ok(()),
        }
    }

    fn close(&self) {
        let bound = self.0.state.lock().bound.take();
        drop(bound);
        self.0.inbox.discard();
        self.0.sock.changed();
    }
}

/// A datagram from another machine; whether anybody takes it.
pub fn deliver(data: &[u8], from: SocketAddr, to: SocketAddr) -> bool {
    let Some(receiver) = PORTS.find(to, from) else {
        return false;
    };
    receiver.deliver(data, from, to.ip());
    true
}

/// A datagram from here to another machine has not arrived. A connected socket is told, if that will stay so; any, if
/// it has asked for it (ip(7), `IP_RECVERR`).
pub fn unreachable(from: SocketAddr, to: SocketAddr, error: Errno, hard: bool) {
    let Some(sender) = PORTS.find(from, to) else {
        return;
    };
    let asked = {
        let options = sender.sock.options.lock();
        options.is_set(options::RECVERR) || options.is_set(options::RECVERR6)
    };
    let connected = sender.state.lock().peer == Some(to);
    if asked || connected && hard {
        sender.sock.fail(error);
    }
}

/// /proc/net/udp and udp6.
pub fn list(v6: bool) -> String {
    let mut text = String::from(
        "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode \
         ref pointer drops\n",
    );
    let of_family = |end: &Endpoint| (end.sock.domain == family::INET6) == v6;
    let all = PORTS.all();
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
