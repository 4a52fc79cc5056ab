//! Datagrams between local sockets: they are not lost, a sender waits until there is room.
use super::{Endpoint, Role, limit, name_of, names};
use crate::{
    fs::Poll,
    net::{
        address::{Address, Name},
        message::{How, Outgoing, Received},
    },
};
use abi::Errno;
use alloc::sync::Arc;

/// Messages that may wait from sockets that are not the receiver's peer (`net.unix.max_dgram_qlen`, and one).
const MOST: usize = 11;

/// connect(2): where datagrams go by default, and the only one they come from.
pub(super) fn connect(end: &Arc<Endpoint>, address: &Address) -> Result<(), Errno> {
    let role = match address {
        Address::Unspecified => Role::None,
        address => {
            let name = name_of(address)?;
            end.autobind()?;
            let other = find(end, name)?;
            Role::Connected {
                to: Arc::downgrade(&other),
                name: name.clone(),
            }
        }
    };
    let old = core::mem::replace(&mut end.state.lock().role, role);
    drop(old);
    end.sock.changed();
    Ok(())
}

fn find(end: &Arc<Endpoint>, name: &Name) -> Result<Arc<Endpoint>, Errno> {
    let other = names::find(name)?;
    if other.sock.kind != end.sock.kind {
        return Err(Errno::EPROTOTYPE);
    }
    if !may_send(end, &other) {
        return Err(Errno::EPERM);
    }
    Ok(other)
}

/// Whether `other` takes what `end` sends: whoever is connected takes from its peer only.
fn may_send(end: &Arc<Endpoint>, other: &Arc<Endpoint>) -> bool {
    match &other.state.lock().role {
        Role::Connected { to, .. } => core::ptr::eq(to.as_ptr(), Arc::as_ptr(end)),
        _ => true,
    }
}

/// How many messages may wait: no number for peers of each other.
fn most(end: &Arc<Endpoint>, other: &Arc<Endpoint>) -> usize {
    let mutual = matches!(
        &other.state.lock().role,
        Role::Connected { to, .. } if core::ptr::eq(to.as_ptr(), Arc::as_ptr(end))
    );
    if mutual { usize::MAX } else { MOST }
}

/// Sends a message if there is room.
pub(super) fn send(end: &Arc<Endpoint>, message: &Outgoing<'_>) -> Result<usize, Errno> {
    end.autobind()?;
    end.sock.check_error()?;
    let limit = limit(&end.sock);
    if message.data.len() > limit {
        return Err(Errno::EMSGSIZE);
    }
    let other = match message.to {
        Some(address) => find(end, name_of(address)?)?,
        None => match end.connected() {
            None => return Err(Errno::ENOTCONN),
            Some(None) => {
                // Told once; from then on it is not connected.
                end.state.lock().role = Role::None;
                return Err(Errno::ECONNREFUSED);
            }
            Some(Some(other)) => other,
        },
    };
    if !may_send(end, &other) {
        return Err(Errno::EPERM);
    }
    if end.state.lock().shut[1] {
        return Err(Errno::EPIPE);
    }
    let most = most(end, &other);
    let from = Some(Address::Unix(end.name()));
    let sent = other
        .inbox
        .push_message(message, from, limit, most, Some(&end.sock));
    match sent {
        // It is closed, or receives no more.
        Err(Errno::EPIPE) if is_closed(&other) => Err(Errno::ECONNREFUSED),
        Err(error) => Err(error),
        Ok(()) => {
            other.sock.readable();
            Ok(message.data.len())
        }
    }
}

fn is_closed(end: &Endpoint) -> bool {
    end.state.lock().shut == [true; 2]
}

/// Receives a message.
pub(super) fn receive(end: &Arc<Endpoint>, buf: &mut [u8], how: How) -> Result<Received, Errno> {
    end.sock.check_error()?;
    end.inbox.take_message(buf, how)
}

/// Events ready now.
pub(super) fn poll(end: &Arc<Endpoint>) -> Poll {
    let mut events = Poll::empty();
    let [receive, send] = end.state.lock().shut;
    if end.inbox.packets() > 0 {
        events |= Poll::IN;
    }
    if receive {
        events |= Poll::IN | Poll::RDHUP;
    }
    if receive && send {
        events |= Poll::HUP;
    }
    let room = match end.connected() {
        Some(Some(other)) => {
            let most = most(end, &other);
            other
                .inbox
                .accepts_message(limit(&end.sock), most, &end.sock)
        }
        _ => true,
    };
    if room {
        events |= Poll::OUT;
    }
    events
}
