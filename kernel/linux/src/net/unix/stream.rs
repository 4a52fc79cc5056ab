//! Connections: streams and sequenced packets.
use super::{Endpoint, Role, limit, names, open};
use crate::{
    fs::Poll,
    net::{
        address::Name,
        message::{How, Outgoing, Received},
        options,
        sock::{Kind, Ucred, Waiting},
        socket::Socket,
    },
};
use abi::Errno;
use alloc::{
    collections::VecDeque,
    sync::{Arc, Weak},
};

/// Connections that were made and not accepted yet.
pub(super) struct Backlog {
    ready: VecDeque<Arc<Socket>>,
    most: usize,
    waiting: Waiting,
}

impl Backlog {
    fn is_full(&self) -> bool {
        self.ready.len() > self.most
    }

    /// Nobody accepts any more.
    pub(super) fn close(self) {
        for socket in self.ready {
            socket.protocol.close();
        }
        self.waiting.wake();
    }
}

/// listen(2)
pub(super) fn listen(end: &Arc<Endpoint>, backlog: usize) -> Result<(), Errno> {
    let mut state = end.state.lock();
    if state.bound.is_none() {
        return Err(Errno::EINVAL);
    }
    let mut waiting = Waiting::new();
    match &mut state.role {
        Role::None => {
            state.role = Role::Listener(Backlog {
                ready: VecDeque::new(),
                most: backlog,
                waiting: Waiting::new(),
            });
        }
        Role::Listener(known) => {
            known.most = backlog;
            waiting = known.waiting.take();
        }
        Role::Connected { .. } => return Err(Errno::EINVAL),
    }
    drop(state);
    let maker = Ucred::current();
    end.state.lock().peer = maker;
    waiting.wake();
    end.sock.changed();
    Ok(())
}

/// accept(2)
pub(super) fn accept(end: &Arc<Endpoint>) -> Result<Arc<Socket>, Errno> {
    let mut state = end.state.lock();
    let shut = state.shut[0];
    let Role::Listener(backlog) = &mut state.role else {
        return Err(Errno::EINVAL);
    };
    let Some(socket) = backlog.ready.pop_front() else {
        return Err(if shut { Errno::EINVAL } else { Errno::EAGAIN });
    };
    let waiting = backlog.waiting.take();
    drop(state);
    waiting.wake();
    Ok(socket)
}

/// connect(2): the connection is there at once.
pub(super) fn connect(end: &Arc<Endpoint>, name: &Name) -> Result<(), Errno> {
    end.autobind()?;
    let listener = names::find(name)?;
    if listener.sock.kind != end.sock.kind {
        return Err(Errno::EPROTOTYPE);
    }
    match end.state.lock().role {
        Role::None => (),
        Role::Listener(_) => return Err(Errno::EINVAL),
        Role::Connected { .. } => return Err(Errno::EISCONN),
    }
    let maker = Ucred::current();
    let other = Endpoint::new(listener.sock.child());
    {
        let mut state = other.state.lock();
        state.peer = maker;
        state.role = Role::Connected {
            to: Arc::downgrade(end),
            name: end.name(),
        };
    }
    let socket = open(other.clone());
    let mut state = listener.state.lock();
    let (shut, peer) = (state.shut[0], state.peer);
    let Role::Listener(backlog) = &mut state.role else {
        return Err(Errno::ECONNREFUSED);
    };
    if shut {
        return Err(Errno::ECONNREFUSED);
    }
    if backlog.is_full() {
        backlog.waiting.add(&end.sock);
        return Err(Errno::EAGAIN);
    }
    // It is accepted as soon as it is in there: what it is connected to comes first.
    drop(state);
    {
        let mut state = end.state.lock();
        state.peer = peer;
        state.role = Role::Connected {
            to: Arc::downgrade(&other),
            name: listener.name(),
        };
    }
    let mut state = listener.state.lock();
    match &mut state.role {
        Role::Listener(backlog) => backlog.ready.push_back(socket),
        _ => {
            drop(state);
            end.state.lock().role = Role::None;
            return Err(Errno::ECONNREFUSED);
        }
    }
    drop(state);
    listener.sock.readable();
    end.sock.changed();
    Ok(())
}

/// Sends what there is room for.
pub(super) fn send(end: &Arc<Endpoint>, message: &Outgoing<'_>) -> Result<usize, Errno> {
    let connected = end.connected();
    if message.to.is_some() && end.sock.kind == Kind::Stream {
        return Err(if connected.is_some() {
            Errno::EISCONN
        } else {
            Errno::EOPNOTSUPP
        });
    }
    end.sock.check_error()?;
    let peer = match connected {
        None => return Err(Errno::ENOTCONN),
        Some(None) => return Err(Errno::EPIPE),
        Some(Some(peer)) => peer,
    };
    if end.state.lock().shut[1] {
        return Err(Errno::EPIPE);
    }
    let limit = limit(&end.sock);
    let len = if end.sock.kind == Kind::Stream {
        peer.inbox.push_bytes(message, limit)?
    } else {
        if message.data.len() > limit {
            return Err(Errno::EMSGSIZE);
        }
        peer.inbox
            .push_message(message, None, limit, usize::MAX, Some(&end.sock))?;
        message.data.len()
    };
    peer.sock.readable();
    Ok(len)
}

/// Receives what is there.
pub(super) fn receive(end: &Arc<Endpoint>, buf: &mut [u8], how: How) -> Result<Received, Errno> {
    let Some(peer) = end.connected() else {
        return Err(if end.sock.kind == Kind::Stream {
            Errno::EINVAL
        } else {
            Errno::ENOTCONN
        });
    };
    let result = if end.sock.kind == Kind::Stream {
        let passes = end.sock.options.lock().is_set(options::PASSCRED);
        end.inbox.take_bytes(buf, how, passes)
    } else {
        end.inbox.take_message(buf, how)
    };
    let ended = matches!(&result, Ok(received) if received.len == 0 && end.inbox.packets() == 0);
    if (ended || result.is_err())
        && let Some(error) = end.sock.take_error()
    {
        return Err(error);
    }
    let received = result?;
    if !how.peek
        && let Some(peer) = peer
    {
        peer.sock.writable();
    }
    Ok(received)
}

/// Events ready now.
pub(super) fn poll(end: &Arc<Endpoint>) -> Poll {
    let state = end.state.lock();
    let mut events = Poll::empty();
    let peer = match &state.role {
        Role::Listener(backlog) => {
            return if backlog.ready.is_empty() {
                events
            } else {
                Poll::IN
            };
        }
        Role::None => return Poll::OUT | Poll::HUP,
        Role::Connected { to, .. } => Weak::upgrade(to),
    };
    let [receive, send] = state.shut;
    drop(state);
    if receive {
        events |= Poll::IN | Poll::RDHUP;
    }
    if receive && send {
        events |= Poll::HUP;
    }
    if end.inbox.packets() > 0 {
        events |= Poll::IN;
    }
    let limit = limit(&end.sock);
    let messages = end.sock.kind != Kind::Stream;
    let room = match peer {
        Some(peer) if messages => peer.inbox.accepts_message(limit, usize::MAX, &end.sock),
        Some(peer) => peer.inbox.space(limit, false) > 0,
        None => true,
    };
    if room {
        events |= Poll::OUT;
    }
    events
}
