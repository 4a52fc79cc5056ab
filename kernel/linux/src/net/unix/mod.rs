//! Local sockets, unix(7): streams, datagrams, sequenced packets; names in the file system and abstract ones; open
//! files and credentials along with what is sent.
//!
//! Left out: urgent data, and the collection of sockets that are only in messages to each other.
mod datagram;
mod names;
mod stream;

pub use names::list;

use super::{
    address::{Address, Name, family},
    message::{Ancillary, How, Outgoing, Received},
    options::{self, BUFFER},
    queue::Queue,
    sock::{Kind, Sock, Ucred},
    socket::{Protocol, Socket},
};
use crate::fs::Poll;
use abi::Errno;
use alloc::{
    boxed::Box,
    format,
    string::String,
    sync::{Arc, Weak},
    vec::Vec,
};
use linux_raw_sys::net as linux;
use machine::sync::SpinLock;
use names::Bound;

/// A local socket as others reach it.
pub(super) struct Endpoint {
    sock: Arc<Sock>,
    /// What it is to receive.
    inbox: Arc<Queue>,
    state: SpinLock<State>,
}

struct State {
    bound: Option<Bound>,
    role: Role,
    /// Who is at the other end, or listens there (`SO_PEERCRED`).
    peer: Ucred,
    /// shutdown(2) of receiving and sending, or the peer's.
    shut: [bool; 2],
}

enum Role {
    None,
    /// It listens.
    Listener(stream::Backlog),
    /// It is connected: of a connection to one other, of datagrams to where they go by default.
    Connected {
        to: Weak<Endpoint>,
        name: Name,
    },
}

/// A local socket, opened.
pub struct Unix(Arc<Endpoint>);

/// A new socket.
pub fn create(kind: Kind) -> Arc<Socket> {
    let endpoint = Endpoint::new(Sock::new(family::UNIX, kind, 0));
    open(endpoint)
}

fn open(endpoint: Arc<Endpoint>) -> Arc<Socket> {
    Socket::new(endpoint.sock.clone(), Box::new(Unix(endpoint)))
}

/// socketpair(2)
pub fn pair(kind: Kind) -> [Arc<Socket>; 2] {
    let ends = [(); 2].map(|()| Endpoint::new(Sock::new(family::UNIX, kind, 0)));
    let maker = Ucred::current();
    for (own, other) in [(0, 1), (1, 0)] {
        let mut state = ends[own].state.lock();
        state.peer = maker;
        state.role = Role::Connected {
            to: Arc::downgrade(&ends[other]),
            name: Name::Unnamed,
        };
    }
    ends.map(open)
}

impl Endpoint {
    fn new(sock: Arc<Sock>) -> Arc<Self> {
        Arc::new(Self {
            sock,
            inbox: Arc::new(Queue::new()),
            state: SpinLock::new(State {
                bound: None,
                role: Role::None,
                peer: Ucred::NOBODY,
                shut: [false; 2],
            }),
        })
    }

    fn name(&self) -> Name {
        self.state
            .lock()
            .bound
            .as_ref()
            .map_or(Name::Unnamed, |bound| bound.name.clone())
    }

    /// Who it is connected to; `None` if nobody, `Some(None)` if that one is gone.
    fn connected(&self) -> Option<Option<Arc<Self>>> {
        match &self.state.lock().role {
            Role::Connected { to, .. } => Some(to.upgrade()),
            _ => None,
        }
    }

    fn is_connection(&self) -> bool {
        self.sock.kind != Kind::Datagram
    }

    /// Its line in /proc/net/unix.
    fn line(&self) -> String {
        let state = self.state.lock();
        let (flags, st) = match state.role {
            Role::Listener(_) => (0x10000, 1),
            Role::Connected { .. } => (0, 3),
            Role::None => (0, 1),
        };
        let name = match state.bound.as_ref().map(|bound| &bound.name) {
            Some(Name::Path(path)) => format!(" {}", String::from_utf8_lossy(path)),
            Some(Name::Abstract(name)) => {
                format!(" @{}", String::from_utf8_lossy(name).replace('\0', "@"))
            }
            _ => String::new(),
        };
        let (kind, ino) = (u32::from(self.sock.kind), self.sock.ino);
        format!(
            "{:016x}: 00000002 00000000 {flags:08x} {kind:04x} {st:02x} {ino}{name}",
            0
        )
    }

    /// Binds it without a name being asked for, if it has none.
    fn autobind(self: &Arc<Self>) -> Result<(), Errno> {
        let passes = self.sock.options.lock().is_set(options::PASSCRED);
        if passes && self.state.lock().bound.is_none() {
            let bound = names::bind(self, &Name::Unnamed)?;
            self.state.lock().bound = Some(bound);
        }
        Ok(())
    }

    /// What goes along with everything that is sent.
    fn stamp(ancillary: &Ancillary) -> Ancillary {
        Ancillary {
            rights: ancillary.rights.clone(),
            credentials: ancillary.credentials.or_else(|| Some(Ucred::current())),
            ..Ancillary::default()
        }
    }

    /// Takes from what is received what the receiver has not asked for.
    fn strip(&self, received: &mut Received) {
        if !self.sock.options.lock().is_set(options::PASSCRED) {
            received.ancillary.credentials = None;
        }
    }
}

fn name_of(address: &Address) -> Result<&Name, Errno> {
    match address {
        Address::Unix(name) => Ok(name),
        _ => Err(Errno::EINVAL),
    }
}

impl Protocol for Unix {
    fn bind(&self, address: &Address) -> Result<(), Errno> {
        let name = name_of(address)?;
        if self.0.state.lock().bound.is_some() {
            // Linux finds the file before it sees that the socket has a name.
            return match (name, names::find(name)) {
                (Name::Path(_), Ok(_)) => Err(Errno::EADDRINUSE),
                _ => Err(Errno::EINVAL),
            };
        }
        let bound = names::bind(&self.0, name)?;
        self.0.state.lock().bound = Some(bound);
        Ok(())
    }

    fn connect(&self, address: &Address) -> Result<(), Errno> {
        if self.0.is_connection() {
            stream::connect(&self.0, name_of(address)?)
        } else {
            datagram::connect(&self.0, address)
        }
    }

    fn listen(&self, backlog: usize) -> Result<(), Errno> {
        if !self.0.is_connection() {
            return Err(Errno::EOPNOTSUPP);
        }
        stream::listen(&self.0, backlog)
    }

    fn accept(&self) -> Result<Arc<Socket>, Errno> {
        if !self.0.is_connection() {
            return Err(Errno::EOPNOTSUPP);
        }
        stream::accept(&self.0)
    }

    fn is_listening(&self) -> bool {
        matches!(self.0.state.lock().role, Role::Listener(_))
    }

    fn send(&self, message: &Outgoing<'_>) -> Result<usize, Errno> {
        let ancillary = Endpoint::stamp(message.ancillary);
        let message = Outgoing {
            ancillary: &ancillary,
            ..*message
        };
        if self.0.is_connection() {
            stream::send(&self.0, &message)
        } else {
            datagram::send(&self.0, &message)
        }
    }

    fn receive(&self, buf: &mut [u8], how: How) -> Result<Received, Errno> {
        if how.urgent {
            return Err(Errno::EOPNOTSUPP);
        }
        let mut received = if self.0.is_connection() {
            stream::receive(&self.0, buf, how)?
        } else {
            datagram::receive(&self.0, buf, how)?
        };
        self.0.strip(&mut received);
        Ok(received)
    }

    fn shutdown(&self, receiving: bool, sending: bool) -> Result<(), Errno> {
        let end = &self.0;
        let mut state = end.state.lock();
        state.shut[0] |= receiving;
        state.shut[1] |= sending;
        drop(state);
        if receiving {
            end.inbox.refuse();
            end.inbox.end();
        }
        if end.is_connection()
            && let Some(Some(peer)) = end.connected()
        {
            let mut state = peer.state.lock();
            state.shut[1] |= receiving;
            state.shut[0] |= sending;
            drop(state);
            if sending {
                peer.inbox.end();
            }
            peer.sock.changed();
        }
        end.sock.changed();
        Ok(())
    }

    fn local(&self) -> Address {
        Address::Unix(self.0.name())
    }

    fn peer(&self) -> Result<Address, Errno> {
        match &self.0.state.lock().role {
            Role::Connected { name, .. } => Ok(Address::Unix(name.clone())),
            _ => Err(Errno::ENOTCONN),
        }
    }

    fn poll(&self) -> Poll {
        if self.0.is_connection() {
            stream::poll(&self.0)
        } else {
            datagram::poll(&self.0)
        }
    }

    fn queued(&self) -> [usize; 2] {
        let unread = if self.0.sock.kind == Kind::Stream {
            self.0.inbox.bytes()
        } else {
            self.0.inbox.first()
        };
        let unsent = match self.0.connected() {
            Some(Some(peer)) if self.0.is_connection() => peer.inbox.bytes(),
            _ => 0,
        };
        [unread, unsent]
    }

    fn option(&self, level: u32, name: u32) -> Result<Vec<u8>, Errno> {
        if level != options::SOCKET {
            return Err(Errno::EOPNOTSUPP);
        }
        if name != linux::SO_PEERCRED {
            return Err(Errno::ENOPROTOOPT);
        }
        let Ucred { pid, uid, gid } = self.0.state.lock().peer;
        Ok([pid.to_le_bytes(), uid.to_le_bytes(), gid.to_le_bytes()].concat())
    }

    fn set_option(&self, level: u32, _name: u32, _value: &[u8]) -> Result<(), Errno> {
        if level == options::SOCKET {
            Ok(())
        } else {
            Err(Errno::EOPNOTSUPP)
        }
    }

    fn close(&self) {
        let end = &self.0;
        let peer = end.connected().flatten();
        let (bound, role) = {
            let mut state = end.state.lock();
            state.shut = [true; 2];
            (
                state.bound.take(),
                core::mem::replace(&mut state.role, Role::None),
            )
        };
        drop(bound);
        let unread = end.inbox.discard();
        if let Role::Listener(backlog) = role {
            backlog.close();
        }
        if let Some(peer) = peer.filter(|_| end.is_connection()) {
            peer.state.lock().shut = [true; 2];
            peer.inbox.end();
            if unread {
                peer.sock.fail(Errno::ECONNRESET);
            } else {
                peer.sock.changed();
            }
        }
        // Others may wait for room in what nobody reads any more.
        end.sock.changed();
    }
}

/// What may wait, sent by a socket, in messages.
fn limit(sock: &Sock) -> usize {
    let size = sock.options.lock().buffers[1];
    debug_assert!(size <= 2 * BUFFER, "no more can be asked for");
    size
}
