//! TCP connections between sockets of this machine: two queues, no packets, no timers, nothing lost.
use super::connection::{Connection, State};
use crate::{
    fs::Poll,
    net::{
        interface,
        message::{Ancillary, How, Outgoing, Received, Sending},
        options::OOBINLINE,
        queue::Queue,
        sock::Sock,
    },
};
use abi::Errno;
use alloc::sync::Arc;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};

/// One end of a connection.
pub struct Loopback {
    own: Arc<Sock>,
    other: Arc<Sock>,
    /// What it is to receive.
    inbox: Arc<Queue>,
    /// What the other end is to receive.
    outbox: Arc<Queue>,
    local: SocketAddr,
    peer: SocketAddr,
    /// The connection was reset, by either end.
    reset: Arc<AtomicBool>,
    /// shutdown(2) of receiving.
    deaf: AtomicBool,
}

/// A connection: the end that has connected, and the other.
pub fn pair(
    own: &Arc<Sock>,
    other: &Arc<Sock>,
    local: SocketAddr,
    peer: SocketAddr,
) -> [Arc<Loopback>; 2] {
    let (there, back) = (Arc::new(Queue::new()), Arc::new(Queue::new()));
    for (inbox, sock) in [(&back, own), (&there, other)] {
        configure(inbox, sock);
    }
    let reset = Arc::new(AtomicBool::new(false));
    let end = |own: &Arc<Sock>,
               other: &Arc<Sock>,
               inbox: &Arc<Queue>,
               outbox: &Arc<Queue>,
               local,
               peer| {
        Arc::new(Loopback {
            own: own.clone(),
            other: other.clone(),
            inbox: inbox.clone(),
            outbox: outbox.clone(),
            local,
            peer,
            reset: reset.clone(),
            deaf: AtomicBool::new(false),
        })
    };
    [
        end(own, other, &back, &there, local, peer),
        end(other, own, &there, &back, peer, local),
    ]
}

/// Options of the socket that is to receive have changed.
fn configure(inbox: &Queue, sock: &Sock) {
    let inline = sock.options.lock().is_set(OOBINLINE);
    inbox.urgent(|urgent, _| urgent.set_inline(inline));
}

impl Loopback {
    fn is_reset(&self) -> bool {
        self.reset.load(Ordering::Acquire)
    }

    fn limit(&self) -> usize {
        self.own.options.lock().send_limit()
    }

    /// The other end learns that the connection is no more.
    fn reset(&self) {
        if self.reset.swap(true, Ordering::AcqRel) {
            return;
        }
        // Who knows the end already could only write.
        let error = if self.outbox.has_ended() {
            Errno::EPIPE
        } else {
            Errno::ECONNRESET
        };
        self.outbox.end();
        self.other.fail(error);
    }
}

impl Connection for Loopback {
    fn local(&self) -> SocketAddr {
        self.local
    }
    fn peer(&self) -> SocketAddr {
        self.peer
    }

    fn state(&self) -> State {
        match (self.inbox.has_ended(), self.outbox.has_ended()) {
            _ if self.is_reset() => State::Close,
            (false, false) => State::Established,
            (true, false) => State::CloseWait,
            (false, true) => State::FinWait2,
            (true, true) => State::Close,
        }
    }

    fn send(&self, data: &[u8], how: Sending) -> Result<usize, Errno> {
        self.own.check_error()?;
        if self.outbox.has_ended() || self.is_reset() {
            return Err(Errno::EPIPE);
        }
        if data.is_empty() {
            // Nothing goes out, so nothing comes back.
            return Ok(0);
        }
        let ancillary = Ancillary::default();
        let message = Outgoing {
            how,
            ..Outgoing::new(data, &ancillary)
        };
        match self.outbox.push_bytes(&message, self.limit()) {
            Ok(len) => {
                interface::loopback().sent(len);
                interface::loopback().received(len);
                if how.urgent && len == data.len() {
                    self.other.urgent();
                } else {
                    self.other.readable();
                }
                Ok(len)
            }
            // The other end is closed: the bytes go out, and a reset comes back.
            Err(Errno::EPIPE) if !self.outbox.has_ended() => {
                self.reset.store(true, Ordering::Release);
                let error = if self.inbox.has_ended() {
                    Errno::EPIPE
                } else {
                    Errno::ECONNRESET
                };
                self.inbox.end();
                self.own.fail(error);
                Ok(data.len())
            }
            Err(error) => Err(error),
        }
    }

    fn receive(&self, buf: &mut [u8], how: How) -> Result<Received, Errno> {
        let before = self.inbox.bytes();
        let result = self.inbox.take_bytes(buf, how, false);
        let received = match result {
            Ok(received) => received,
            Err(Errno::EAGAIN) if self.deaf.load(Ordering::Relaxed) => Received::default(),
            Err(error) => return Err(error),
        };
        if received.stored == 0 && !buf.is_empty() {
            // After what was sent before it.
            return self.own.take_error().map_or(Ok(received), Err);
        }
        let limit = self.other.options.lock().send_limit();
        // Who waits for room is woken once there is some to speak of.
        if !how.peek && before >= limit / 3 {
            self.other.writable();
        }
        Ok(received)
    }

    fn urgent(&self, peek: bool) -> Result<Option<u8>, Errno> {
        let ended = self.inbox.has_ended() || self.deaf.load(Ordering::Relaxed);
        match self.inbox.urgent(|urgent, _| urgent.read(peek)) {
            Err(Errno::EAGAIN) if ended => Ok(None),
            result => result.map(Some),
        }
    }

    fn is_at_mark(&self) -> bool {
        self.inbox.urgent(|urgent, _| urgent.is_at_mark())
    }

    fn configured(&self) {
        configure(&self.inbox, &self.own);
        self.own.changed();
    }

    fn shutdown(&self, receiving: bool, sending: bool) {
        if receiving {
            self.deaf.store(true, Ordering::Relaxed);
        }
        if sending {
            self.outbox.end();
            self.other.changed();
        }
        self.own.changed();
    }

    fn close(&self, reset: bool) {
        let unread = self.inbox.discard();
        if unread || reset {
            self.reset();
        } else {
            self.outbox.end();
            self.other.changed();
        }
    }

    fn poll(&self) -> Poll {
        let ended = self.inbox.has_ended() || self.deaf.load(Ordering::Relaxed);
        let mut events = Poll::empty();
        if ended || self.is_reset() {
            events |= Poll::IN | Poll::RDHUP;
        }
        let (is_there, unread) = self
            .inbox
            .urgent(|urgent, bytes| (urgent.is_there(), bytes.saturating_sub(urgent.skips())));
        if unread > 0 {
            events |= Poll::IN;
        }
        if is_there {
            events |= Poll::PRI;
        }
        let shut = self.outbox.has_ended() || self.is_reset();
        if ended && shut {
            events |= Poll::HUP;
        }
        let limit = self.limit();
        if shut || self.outbox.is_refused() || self.outbox.space(limit, false) >= limit / 3 {
            events |= Poll::OUT;
        }
        events
    }

    fn queued(&self) -> [usize; 2] {
        let unread = self.inbox.urgent(|urgent, bytes| urgent.unread(bytes));
        [unread, self.outbox.bytes()]
    }
}
