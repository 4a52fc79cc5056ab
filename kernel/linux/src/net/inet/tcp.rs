//! TCP sockets: what each is now, and how it becomes connected. What carries a connection is [`Connection`]'s.
mod protocol;

use super::{
    connection::{Connection, State},
    listed::Listed,
    listener::{Listener, Refusal},
    loopback,
    ports::{Binding, Owner, Ports},
    sharing, source,
};
use crate::net::{address::family, interface, options, sock::Sock, socket::Socket, stack};
use abi::Errno;
use alloc::{
    boxed::Box,
    collections::BTreeMap,
    sync::{Arc, Weak},
    vec::Vec,
};
use core::net::SocketAddr;
use core::sync::atomic::AtomicBool;
use machine::sync::SpinLock;

/// Sockets of TCP.
struct Table {
    ports: Ports<Tcb>,
    /// By their inode numbers.
    open: SpinLock<BTreeMap<u64, Weak<Tcb>>>,
}

static TABLE: Table = Table {
    ports: Ports::new(),
    open: SpinLock::new(BTreeMap::new()),
};

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
    TABLE.open.lock().insert(sock.ino, Arc::downgrade(&tcb));
    Socket::new(
        sock,
        Box::new(Tcp {
            tcb,
            bound: SpinLock::new(bound),
            begun: AtomicBool::new(false),
        }),
    )
}

impl Drop for Tcb {
    fn drop(&mut self) {
        TABLE.open.lock().remove(&self.sock.ino);
    }
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
        let binding = TABLE.ports.bind(address, sharing, &self.tcb)?;
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
        let listener = TABLE.ports.find(to, from).map(|tcb| tcb.role());
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
        let counts = &interface::mib().tcp;
        counts.active_opens.count();
        counts.passive_opens.count();
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
    match TABLE.ports.find(to, from)?.role() {
        Role::Listens(listener, binding) => Some(Arc::new(Accepting(listener, binding))),
        _ => None,
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

    /// What is listed of it; nothing if it neither listens nor is connected.
    fn listed(&self) -> Option<Listed> {
        match self.role() {
            Role::Closed | Role::Refused | Role::Connecting(_) => None,
            Role::Listens(listener, binding) => {
                let [waiting, most] = listener.counts();
                Some(Listed {
                    state: State::Listen,
                    unread: waiting,
                    backlog: Some(most),
                    ..Listed::new(&self.sock, binding.address)
                })
            }
            Role::Connected(connection) => {
                let [unread, unsent] = connection.queued();
                let listed = Listed {
                    peer: connection.peer(),
                    state: connection.state(),
                    unread,
                    unsent,
                    ..Listed::new(&self.sock, connection.local())
                };
                (listed.state != State::Close).then_some(Listed {
                    connection: Some(connection),
                    ..listed
                })
            }
        }
    }
}

/// How many sockets there are.
pub fn count() -> usize {
    TABLE.open.lock().len()
}

/// All that listen or are connected.
pub fn listed() -> Vec<Listed> {
    let open: Vec<_> = TABLE
        .open
        .lock()
        .values()
        .filter_map(Weak::upgrade)
        .collect();
    open.iter().filter_map(|tcb| tcb.listed()).collect()
}
