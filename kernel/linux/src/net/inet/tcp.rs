//! TCP sockets: bind, listen, connect, accept; what carries a connection is [`Connection`]'s.
use super::{
    connection::{Connection, State},
    destination, given, hexadecimal,
    listener::{Listener, Refusal},
    loopback, may_bind,
    ports::{Binding, Owner, Ports, unspecified},
    sharing, source, tcp_info, told,
};
use crate::{
    fs::Poll,
    net::{
        address::{Address, family},
        interface,
        message::{How, Outgoing, Received},
        options,
        sock::Sock,
        socket::{Protocol, Socket},
        stack,
    },
};
use abi::Errno;
use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};
use core::fmt::Write;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use linux_raw_sys::net as linux;
use machine::sync::SpinLock;

static PORTS: Ports<Tcb> = Ports::new();

/// What a socket is now: shared by the socket and the table of ports.
pub(super) struct Tcb {
    sock: Arc<Sock>,
    role: SpinLock<Role>,
}

#[derive(Clone)]
enum Role {
    Closed,
    Listens(Arc<Listener>, Arc<Binding<Tcb>>),
    /// It waits for room at who listens.
    Connecting(SocketAddr),
    /// Nobody listened there; connect(2), which did not wait, is to tell.
    Refused,
    Connected(Arc<dyn Connection>),
}

/// A TCP socket, opened.
pub struct Tcp {
    tcb: Arc<Tcb>,
    /// Its port; an accepted socket shares the listening one's.
    bound: SpinLock<Option<Arc<Binding<Tcb>>>>,
    /// connect(2) has said that it goes on, and not yet how it has ended.
    #[doc(alias = "SS_CONNECTING")]
    begun: AtomicBool,
}

/// A new socket.
pub fn create(sock: Arc<Sock>) -> Arc<Socket> {
    open(sock, Role::Closed, None)
}

fn open(sock: Arc<Sock>, role: Role, bound: Option<Arc<Binding<Tcb>>>) -> Arc<Socket> {
    let tcb = Arc::new(Tcb {
        sock: sock.clone(),
        role: SpinLock::new(role),
    });
    Socket::new(
        sock,
        Box::new(Tcp {
            tcb,
            bound: SpinLock::new(bound),
            begun: AtomicBool::new(false),
        }),
    )
}

impl Owner for Tcb {
    fn shares(&self) -> bool {
        !matches!(&*self.role.lock(), Role::Listens(..))
    }
    fn takes(&self, _from: SocketAddr) -> Option<bool> {
        matches!(&*self.role.lock(), Role::Listens(..)).then_some(false)
    }
}

impl Tcb {
    fn role(&self) -> Role {
        self.role.lock().clone()
    }

    fn listener(&self) -> Option<Arc<Listener>> {
        match &*self.role.lock() {
            Role::Listens(listener, _) => Some(listener.clone()),
            _ => None,
        }
    }

    fn connection(&self) -> Option<Arc<dyn Connection>> {
        match &*self.role.lock() {
            Role::Connected(connection) => Some(connection.clone()),
            _ => None,
        }
    }
}

impl Tcp {
    fn sock(&self) -> &Arc<Sock> {
        &self.tcb.sock
    }

    fn binding(&self) -> Option<Arc<Binding<Tcb>>> {
        self.bound.lock().clone()
    }

    /// Its port; a random one if it has none yet.
    fn bind_to(&self, address: SocketAddr) -> Result<Arc<Binding<Tcb>>, Errno> {
        let sharing = sharing(&self.sock().options.lock());
        let binding = PORTS.bind(address, sharing, &self.tcb)?;
        *self.bound.lock() = Some(binding.clone());
        Ok(binding)
    }

    fn is_v6(&self) -> bool {
        self.sock().domain == family::INET6
    }

    /// Connects to who listens at `to`, on this machine.
    fn connect_here(&self, to: SocketAddr) -> Result<(), Errno> {
        let bound = self.binding();
        let ip = source(bound.as_ref().map(|bound| bound.address.ip()), to.ip())?;
        let from = SocketAddr::new(ip, bound.as_ref().map_or(0, |bound| bound.address.port()));
        let listener = PORTS.find(to, from).map(|tcb| tcb.role());
        let Some(Role::Listens(listener, share)) = listener else {
            *self.tcb.role.lock() = Role::Closed;
            return Err(Errno::ECONNREFUSED);
        };
        let binding = match bound {
            Some(binding) => binding,
            None => self
                .bind_to(SocketAddr::new(ip, 0))
                .map_err(|_| Errno::EADDRNOTAVAIL)?,
        };
        let from = SocketAddr::new(ip, binding.address.port());
        match listener.room(self.sock()) {
            Ok(()) => (),
            Err(Refusal::Full) => {
                *self.tcb.role.lock() = Role::Connecting(to);
                return Err(Errno::EINPROGRESS);
            }
            Err(Refusal::Closed) => {
                *self.tcb.role.lock() = Role::Closed;
                return Err(Errno::ECONNREFUSED);
            }
        }
        let child = listener.sock.child();
        let [own, other] = loopback::pair(self.sock(), &child, from, to);
        let socket = open(child, Role::Connected(other), Some(share));
        {
            let mut role = self.tcb.role.lock();
            if matches!(*role, Role::Connected(_)) {
                // Somebody else has looked whether there is room, too.
                return Ok(());
            }
            *role = Role::Connected(own);
        }
        if listener.push(socket).is_err() {
            *self.tcb.role.lock() = Role::Closed;
            return Err(Errno::ECONNREFUSED);
        }
        self.sock().changed();
        Ok(())
    }
}

impl Tcp {
    /// A connection cannot be made, as connect(2) or `SO_ERROR` is to tell.
    fn refuse(&self, error: Errno) {
        *self.tcb.role.lock() = Role::Refused;
        self.sock().fail(error);
    }

    /// Begins a connection with another machine.
    fn connect_out(&self, to: SocketAddr) -> Result<(), Errno> {
        let bound = self.binding();
        let ip = source(bound.as_ref().map(|bound| bound.address.ip()), to.ip())?;
        let binding = match bound {
            Some(binding) => binding,
            None => self
                .bind_to(SocketAddr::new(ip, 0))
                .map_err(|_| Errno::EADDRNOTAVAIL)?,
        };
        let from = SocketAddr::new(ip, binding.address.port());
        let connection = stack::connect(self.sock(), from, to)?;
        *self.tcb.role.lock() = Role::Connected(Arc::new(connection));
        Err(Errno::EINPROGRESS)
    }
}

/// A listening socket, to the stack.
struct Accepting(Arc<Listener>, Arc<Binding<Tcb>>);

impl stack::Accepting for Accepting {
    fn has_room(&self) -> bool {
        !self.0.is_full()
    }

    fn defers(&self) -> bool {
        self.0.sock.options.lock().is_set(options::DEFER_ACCEPT)
    }

    fn window(&self) -> Option<usize> {
        self.0.sock.options.lock().asked_buffers()[0]
    }

    fn child(&self) -> Option<Arc<Sock>> {
        let child = self.0.sock.child();
        self.0.room(&child).is_ok().then_some(child)
    }

    fn established(&self, sock: Arc<Sock>, connection: Arc<dyn Connection>) -> bool {
        let socket = open(sock, Role::Connected(connection), Some(self.1.clone()));
        self.0.push(socket).is_ok()
    }
}

/// Who listens at `to`, for the stack.
pub fn accepting(to: SocketAddr, from: SocketAddr) -> Option<Arc<dyn stack::Accepting>> {
    match PORTS.find(to, from)?.role() {
        Role::Listens(listener, binding) => Some(Arc::new(Accepting(listener, binding))),
        _ => None,
    }
}

impl Protocol for Tcp {
    fn bind(&self, address: &Address) -> Result<(), Errno> {
        let address = given(self.sock(), address)?;
        if self.binding().is_some() || !matches!(self.tcb.role(), Role::Closed) {
            return Err(Errno::EINVAL);
        }
        may_bind(address)?;
        self.bind_to(address)?;
        Ok(())
    }

    fn connect(&self, address: &Address) -> Result<(), Errno> {
        match self.tcb.role() {
            Role::Closed => (),
            Role::Connecting(_) => return Err(Errno::EALREADY),
            Role::Connected(connection) if connection.state() == State::SynSent => {
                return Err(Errno::EALREADY);
            }
            // It was refused, or was never made: another one can be tried.
            Role::Connected(connection) if connection.state() == State::Close => {
                self.sock().check_error()?;
            }
            Role::Connected(connection) if *address == Address::Unspecified => {
                connection.close(true);
                *self.tcb.role.lock() = Role::Closed;
                *self.bound.lock() = None;
                return Ok(());
            }
            Role::Connected(_) if self.begun.swap(false, Ordering::Relaxed) => return Ok(()),
            Role::Refused => {
                *self.tcb.role.lock() = Role::Closed;
                if *address != Address::Unspecified {
                    self.sock().check_error()?;
                    return Err(Errno::ECONNABORTED);
                }
            }
            Role::Connected(_) | Role::Listens(..) => return Err(Errno::EISCONN),
        }
        if *address == Address::Unspecified {
            return Ok(());
        }
        self.sock().check_error()?;
        let to = destination(given(self.sock(), address)?);
        if to.is_ipv4() && self.is_v6() && self.sock().options.lock().is_set(options::V6ONLY) {
            return Err(Errno::ENETUNREACH);
        }
        let begun = if interface::is_local(to.ip()) {
            self.connect_here(to)
        } else {
            self.connect_out(to)
        };
        // Who does not wait hears of it later, even if it has ended already.
        match begun {
            Ok(()) | Err(Errno::EINPROGRESS) => (),
            Err(Errno::ECONNREFUSED) => self.refuse(Errno::ECONNREFUSED),
            error => return error,
        }
        self.begun.store(true, Ordering::Relaxed);
        Err(Errno::EINPROGRESS)
    }

    fn connecting(&self) -> Result<(), Errno> {
        match self.tcb.role() {
            Role::Connecting(to) => match self.connect_here(to) {
                Ok(()) => Ok(()),
                Err(Errno::EINPROGRESS) => Err(Errno::EAGAIN),
                Err(error) => {
                    self.refuse(error);
                    Ok(())
                }
            },
            Role::Connected(connection) if connection.state() == State::SynSent => {
                Err(Errno::EAGAIN)
            }
            _ => Ok(()),
        }
    }

    fn listen(&self, backlog: usize) -> Result<(), Errno> {
        match self.tcb.role() {
            Role::Closed => (),
            Role::Listens(listener, _) => {
                listener.set_backlog(backlog);
                return Ok(());
            }
            Role::Connecting(_) | Role::Refused | Role::Connected(_) => {
                return Err(Errno::EINVAL);
            }
        }
        let bound = self.binding();
        let address = match &bound {
            Some(binding) => binding.address,
            None => SocketAddr::new(unspecified(self.is_v6()), 0),
        };
        // Who shares a port by SO_REUSEADDR may not once somebody listens there.
        if PORTS.all().iter().any(|(other, tcb)| {
            *other == address && !Arc::ptr_eq(tcb, &self.tcb) && !tcb.shares() && {
                let own = self.sock().options.lock().is_set(options::REUSEPORT);
                !own || !tcb.sock.options.lock().is_set(options::REUSEPORT)
            }
        }) {
            return Err(Errno::EADDRINUSE);
        }
        let binding = match bound {
            Some(binding) => binding,
            None => self.bind_to(address)?,
        };
        let listener = Listener::new(self.sock().clone(), backlog);
        *self.tcb.role.lock() = Role::Listens(listener, binding);
        self.sock().changed();
        Ok(())
    }

    fn accept(&self) -> Result<Arc<Socket>, Errno> {
        let listener = self.tcb.listener().ok_or(Errno::EINVAL)?;
        listener.pop().ok_or(Errno::EAGAIN)
    }

    fn is_listening(&self) -> bool {
        self.tcb.listener().is_some()
    }

    fn send(&self, message: &Outgoing<'_>) -> Result<usize, Errno> {
        match self.tcb.role() {
            // An address is not looked at.
            Role::Connected(connection) => connection.send(message.data),
            Role::Connecting(_) => Err(Errno::EAGAIN),
            Role::Closed | Role::Refused | Role::Listens(..) => {
                self.sock().check_error()?;
                Err(Errno::EPIPE)
            }
        }
    }

    fn receive(&self, buf: &mut [u8], how: How) -> Result<Received, Errno> {
        if how.urgent {
            return Err(Errno::EINVAL);
        }
        let stored = match self.tcb.role() {
            Role::Connected(connection) => connection.receive(buf, how)?,
            Role::Connecting(_) => return Err(Errno::EAGAIN),
            Role::Refused => {
                self.sock().check_error()?;
                0
            }
            Role::Closed | Role::Listens(..) => {
                self.sock().check_error()?;
                return Err(Errno::ENOTCONN);
            }
        };
        Ok(Received {
            stored,
            len: stored,
            ..Received::default()
        })
    }

    fn shutdown(&self, receiving: bool, sending: bool) -> Result<(), Errno> {
        match self.tcb.role() {
            Role::Connected(connection) => {
                if connection.state() == State::Close {
                    return Err(Errno::ENOTCONN);
                }
                connection.shutdown(receiving, sending);
                Ok(())
            }
            // It listens no more, and keeps its port.
            Role::Listens(listener, _) if receiving => {
                *self.tcb.role.lock() = Role::Closed;
                reset_all(&listener);
                self.sock().changed();
                Ok(())
            }
            Role::Listens(..) => Ok(()),
            Role::Closed | Role::Connecting(_) | Role::Refused => Err(Errno::ENOTCONN),
        }
    }

    fn local(&self) -> Address {
        let address = match (self.tcb.connection(), self.binding()) {
            (Some(connection), _) => connection.local(),
            (None, Some(binding)) => binding.address,
            (None, None) => SocketAddr::new(unspecified(self.is_v6()), 0),
        };
        told(self.sock(), address)
    }

    fn peer(&self) -> Result<Address, Errno> {
        let connection = self.tcb.connection().ok_or(Errno::ENOTCONN)?;
        if connection.state() == State::Close {
            return Err(Errno::ENOTCONN);
        }
        Ok(told(self.sock(), connection.peer()))
    }

    fn poll(&self) -> Poll {
        match self.tcb.role() {
            Role::Closed => Poll::OUT | Poll::HUP,
            Role::Refused => Poll::IN | Poll::OUT | Poll::HUP | Poll::RDHUP,
            Role::Listens(listener, _) => match listener.counts() {
                [0, _] => Poll::empty(),
                _ => Poll::IN,
            },
            Role::Connecting(_) => match self.connecting() {
                Err(Errno::EAGAIN) => Poll::empty(),
                _ => self.poll(),
            },
            Role::Connected(connection) => connection.poll(),
        }
    }

    fn queued(&self) -> [usize; 2] {
        self.tcb
            .connection()
            .map_or([0; 2], |connection| connection.queued())
    }

    fn option(&self, level: u32, name: u32) -> Result<Vec<u8>, Errno> {
        match (level, name) {
            (options::TCP, linux::TCP_INFO) => Ok(self.info()),
            (options::TCP, linux::TCP_CONGESTION) => Ok(b"cubic\0\0\0\0\0\0\0\0\0\0\0".to_vec()),
            (options::TCP, linux::TCP_ULP) => Ok(Vec::new()),
            _ => Err(Errno::ENOPROTOOPT),
        }
    }

    fn set_option(&self, level: u32, name: u32, value: &[u8]) -> Result<(), Errno> {
        match (level, name) {
            (options::TCP, linux::TCP_CONGESTION) => {
                let end = value
                    .iter()
                    .position(|&byte| byte == 0)
                    .unwrap_or(value.len());
                if &value[..end] == b"cubic" {
                    Ok(())
                } else {
                    Err(Errno::ENOENT)
                }
            }
            (options::TCP, linux::TCP_ULP) => Err(Errno::ENOENT),
            (options::IPV6, _) if !self.is_v6() => Err(Errno::ENOPROTOOPT),
            (level, name) if (level, name) == options::V6ONLY && self.binding().is_some() => {
                Err(Errno::EINVAL)
            }
            (options::UDP, _) => Err(Errno::ENOPROTOOPT),
            _ => Ok(()),
        }
    }

    fn configured(&self) {
        if let Some(connection) = self.tcb.connection() {
            connection.configured();
        }
    }

    fn close(&self) {
        let role = core::mem::replace(&mut *self.tcb.role.lock(), Role::Closed);
        let linger = self.sock().options.lock().linger;
        match role {
            Role::Connected(connection) => connection.close(linger == Some(0)),
            Role::Listens(listener, _) => {
                reset_all(&listener);
            }
            Role::Closed | Role::Connecting(_) | Role::Refused => (),
        }
        let bound = self.bound.lock().take();
        drop(bound);
    }
}

/// Nobody accepts these connections any more.
fn reset_all(listener: &Listener) {
    for socket in listener.close() {
        reset(&socket);
    }
}

/// Ends a connection that nobody has accepted.
fn reset(socket: &Socket) {
    socket.sock.options.lock().linger = Some(0);
    socket.protocol.close();
}

impl Tcp {
    fn info(&self) -> Vec<u8> {
        let told = self.tcb.connection().and_then(|one| one.info());
        tcp_info::encode(self.tcb.state(), told)
    }
}

impl Tcb {
    fn state(&self) -> State {
        match self.role() {
            Role::Closed | Role::Refused => State::Close,
            Role::Listens(..) => State::Listen,
            Role::Connecting(_) => State::SynSent,
            Role::Connected(connection) => connection.state(),
        }
    }
}

/// /proc/net/tcp and tcp6: sockets that have a port of their own.
pub fn list(v6: bool) -> String {
    let mut text = String::from(
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n",
    );
    let of_family = |tcb: &Tcb| (tcb.sock.domain == family::INET6) == v6;
    let all = PORTS.all();
    for (index, (bound, tcb)) in all.iter().filter(|(_, tcb)| of_family(tcb)).enumerate() {
        let connection = tcb.connection();
        let none = SocketAddr::new(unspecified(v6), 0);
        let local = connection.as_ref().map_or(*bound, |one| one.local());
        let peer = connection.as_ref().map_or(none, |one| one.peer());
        let queued = match tcb.role() {
            Role::Listens(listener, _) => listener.counts(),
            _ => connection.map_or([0; 2], |one| one.queued()),
        };
        let _ = writeln!(
            text,
            "{index:4}: {} {} {:02X} {:08X}:{:08X} 00:00000000 00000000     0        0 {} \
             1 0000000000000000 100 0 0 10 0",
            hexadecimal(local, v6),
            hexadecimal(peer, v6),
            u8::from(tcb.state()),
            queued[1],
            queued[0],
            tcb.sock.ino,
        );
    }
    text
}
