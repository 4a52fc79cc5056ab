//! A TCP connection with another machine: a socket of smoltcp's in a set of its own.
//!
//! What others ask about (events, state, bytes) is noted at each change, so that asking needs no lock of the stack's.
use super::{
    STACK, Stack,
    isn::{Generator, Shift},
    now,
};
use crate::{
    fs::Poll,
    net::{
        inet::connection::{Connection, State},
        message::How,
        options::{KEEPALIVE, KEEPIDLE, NODELAY, USER_TIMEOUT},
        sock::Sock,
    },
};
use abi::Errno;
use alloc::{sync::Arc, vec, vec::Vec};
use core::net::SocketAddr;
use core::sync::atomic::{
    AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};
use machine::sync::{Mutex, SpinLock};
use smoltcp::{
    iface::{SocketHandle, SocketSet},
    socket::tcp::{self, CongestionControl, SocketBuffer},
    time::Duration,
};

/// Bytes that may wait to be read and to be sent, of a connection that another machine has made.
const ACCEPTED: [usize; 2] = [16 << 10, 32 << 10];
/// The same of one that was made from here: there are fewer, and what they fetch is larger.
const CONNECTED: [usize; 2] = [256 << 10, 64 << 10];
/// How long a connection is tried to be made (Linux: `tcp_syn_retries` of 6).
const CONNECT: Duration = Duration::from_secs(127);
/// How long one that was closed here waits for the other end (`tcp_fin_timeout`).
const FIN: u64 = 60_000_000_000;

/// See the module.
pub struct Remote {
    pub(super) sock: Arc<Sock>,
    local: SocketAddr,
    peer: SocketAddr,
    /// By which its sequence numbers differ on the wire.
    pub(super) shift: Shift,
    pub(super) set: Mutex<SocketSet<'static>>,
    handle: SocketHandle,
    seen: Seen,
    /// Whom it is for, while a connection that another machine makes is not there yet.
    pub(super) waits: SpinLock<Option<Arc<dyn super::Accepting>>>,
    /// No socket has it any more, since then; 0: one has.
    orphaned: AtomicU64,
    /// shutdown(2) of receiving.
    deaf: AtomicBool,
    /// Why it was given up while it was made; 0: it was not.
    given_up: AtomicI32,
    /// When the stack is to look at it again, in nanoseconds; 0: at no time.
    pub(super) timer: AtomicU64,
}

/// What was so at the last change.
#[derive(Default)]
struct Seen {
    events: AtomicU32,
    state: AtomicU8,
    unread: AtomicUsize,
    unsent: AtomicUsize,
}

fn buffers(sock: &Sock, [receive, send]: [usize; 2]) -> Result<tcp::Socket<'static>, Errno> {
    let [asked, asked_send] = sock.options.lock().asked_buffers();
    let make = |len: usize| -> Result<SocketBuffer<'static>, Errno> {
        let mut memory = Vec::new();
        memory.try_reserve_exact(len).map_err(|_| Errno::ENOBUFS)?;
        memory.resize(len, 0);
        Ok(SocketBuffer::new(memory))
    };
    let (receive, send) = (asked.unwrap_or(receive), asked_send.unwrap_or(send));
    let mut socket = tcp::Socket::new(make(receive)?, make(send)?);
    socket.set_congestion_control(CongestionControl::Reno);
    Ok(socket)
}

impl Remote {
    fn new(
        isn: &Generator,
        sock: Arc<Sock>,
        local: SocketAddr,
        peer: SocketAddr,
        socket: tcp::Socket<'static>,
        waits: Option<Arc<dyn super::Accepting>>,
    ) -> Arc<Self> {
        let mut set = SocketSet::new(vec![]);
        let handle = set.add(socket);
        Arc::new(Self {
            sock,
            local,
            peer,
            shift: isn.shift(local, peer),
            set: Mutex::new(set),
            handle,
            seen: Seen::default(),
            waits: SpinLock::new(waits),
            orphaned: AtomicU64::new(0),
            deaf: AtomicBool::new(false),
            given_up: AtomicI32::new(0),
            timer: AtomicU64::new(0),
        })
    }

    /// One that another machine asks for.
    pub(super) fn passive(
        isn: &Generator,
        sock: Arc<Sock>,
        local: SocketAddr,
        peer: SocketAddr,
        accepting: Arc<dyn super::Accepting>,
    ) -> Result<Arc<Self>, Errno> {
        let mut socket = buffers(&sock, ACCEPTED)?;
        socket.listen(local).map_err(|_| Errno::EADDRNOTAVAIL)?;
        socket.set_timeout(Some(CONNECT));
        Ok(Self::new(isn, sock, local, peer, socket, Some(accepting)))
    }

    /// One that is asked for here.
    pub(super) fn active(
        stack: &mut Stack,
        sock: Arc<Sock>,
        local: SocketAddr,
        peer: SocketAddr,
    ) -> Result<Arc<Self>, Errno> {
        let mut socket = buffers(&sock, CONNECTED)?;
        socket.set_timeout(Some(CONNECT));
        let made = socket.connect(stack.interface.context(), peer, local);
        made.map_err(|_| Errno::ENETUNREACH)?;
        let remote = Self::new(&stack.isn, sock, local, peer, socket, None);
        remote
            .seen
            .state
            .store(tcp_state(tcp::State::SynSent).into(), Ordering::Relaxed);
        Ok(remote)
    }

    /// The ends of the connection, this one first.
    pub(super) fn key(&self) -> (SocketAddr, SocketAddr) {
        (self.local, self.peer)
    }

    /// Options that are TCP's to know.
    fn apply_options(&self, socket: &mut tcp::Socket<'_>) {
        let options = self.sock.options.lock();
        socket.set_nagle_enabled(!options.is_set(NODELAY));
        let seconds = |name: (u32, u32)| {
            options
                .get(name.0, name.1)
                .ok()
                .and_then(|n| u64::try_from(n).ok())
        };
        let idle = seconds(KEEPIDLE).filter(|_| options.is_set(KEEPALIVE));
        socket.set_keep_alive(idle.map(Duration::from_secs));
        let limit = seconds(USER_TIMEOUT).filter(|&limit| limit > 0);
        if socket.state() != tcp::State::SynSent {
            // Linux gives up after about as long (`tcp_retries2`).
            socket.set_timeout(Some(
                limit.map_or(Duration::from_secs(924), Duration::from_millis),
            ));
        }
    }

    /// Runs `f` on the socket, lets the stack send what follows, and notes what has changed.
    fn with<R>(self: &Arc<Self>, f: impl FnOnce(&mut tcp::Socket<'static>) -> R) -> R {
        let mut stack = STACK.state.lock();
        let result = f(self.set.lock().get_mut(self.handle));
        if let Some(stack) = &mut *stack {
            stack.look_after(self, None);
        }
        result
    }

    /// Notes what there is now. `came`: a segment has, which may have ended it.
    pub(super) fn note(self: &Arc<Self>, came: bool) {
        let mut set = self.set.lock();
        let socket = set.get_mut::<tcp::Socket<'static>>(self.handle);
        let seen = &self.seen;
        let before = State::from_number(seen.state.load(Ordering::Relaxed));
        let state = tcp_state(socket.state());
        seen.state.store(state.into(), Ordering::Relaxed);
        let (unread, unsent) = (socket.recv_queue(), socket.send_queue());
        let more = unread > seen.unread.swap(unread, Ordering::Relaxed);
        let less = unsent < seen.unsent.swap(unsent, Ordering::Relaxed);
        let orphaned = self.orphaned.load(Ordering::Relaxed);
        if orphaned != 0 && (unread > 0 || now().saturating_sub(orphaned) > FIN) {
            // Nobody reads it; or the other end does not close.
            socket.abort();
        }
        let connecting = matches!(state, State::SynSent | State::SynReceived);
        let ended = !socket.may_recv() && !connecting || self.deaf.load(Ordering::Relaxed);
        let shut = !socket.may_send() && !connecting;
        let mut events = Poll::empty();
        if unread > 0 {
            events |= Poll::IN;
        }
        if ended {
            events |= Poll::IN | Poll::RDHUP;
        }
        if ended && shut {
            events |= Poll::HUP;
        }
        if shut || !connecting && unsent * 3 <= socket.send_capacity() * 2 {
            events |= Poll::OUT;
        }
        drop(set);
        let old = seen.events.swap(events.bits(), Ordering::Relaxed);
        if state == State::Close && before != State::Close {
            let given_up = self.given_up.load(Ordering::Relaxed);
            let error = match before {
                State::SynSent if given_up != 0 => Some(Errno(given_up)),
                State::SynSent if came => Some(Errno::ECONNREFUSED),
                State::SynSent | State::SynReceived => Some(Errno::ETIMEDOUT),
                State::LastAck | State::Closing | State::TimeWait => None,
                State::CloseWait if came => Some(Errno::EPIPE),
                _ if orphaned != 0 => None,
                _ if came => Some(Errno::ECONNRESET),
                _ => Some(Errno::ETIMEDOUT),
            };
            if let Some(error) = error {
                self.sock.fail(error);
            }
        }
        if old != events.bits() || state != before {
            self.sock.changed();
            return;
        }
        if more {
            self.sock.readable();
        }
        if less {
            self.sock.writable();
        }
    }

    /// Nobody wants it.
    pub(super) fn abort(&self) {
        self.orphaned.store(now().max(1), Ordering::Relaxed);
        let mut set = self.set.lock();
        set.get_mut::<tcp::Socket<'static>>(self.handle).abort();
    }

    /// Whether the other end was asked for a connection and has not answered.
    pub(super) fn is_asked_for(&self) -> bool {
        self.seen.state.load(Ordering::Relaxed) == State::SynSent.into()
    }

    /// Ends a connection that is being made from here; whether it was one.
    pub(super) fn give_up(&self, error: Errno) -> bool {
        if !self.is_asked_for() {
            return false;
        }
        self.given_up.store(error.0, Ordering::Relaxed);
        let mut set = self.set.lock();
        set.get_mut::<tcp::Socket<'static>>(self.handle).abort();
        true
    }

    /// Whether the stack can forget it.
    pub(super) fn is_over(&self) -> bool {
        let state = State::from_number(self.seen.state.load(Ordering::Relaxed));
        state == State::Close
    }

    /// Whether it was made.
    pub(super) fn is_established(&self) -> bool {
        let state = State::from_number(self.seen.state.load(Ordering::Relaxed));
        !matches!(state, State::Listen | State::SynReceived | State::SynSent)
    }

    /// When an orphan is given up.
    pub(super) fn deadline(&self) -> Option<u64> {
        match self.orphaned.load(Ordering::Relaxed) {
            0 => None,
            since => Some(since + FIN + 1),
        }
    }
}

fn tcp_state(state: tcp::State) -> State {
    match state {
        tcp::State::Closed => State::Close,
        tcp::State::Listen => State::Listen,
        tcp::State::SynSent => State::SynSent,
        tcp::State::SynReceived => State::SynReceived,
        tcp::State::Established => State::Established,
        tcp::State::FinWait1 => State::FinWait1,
        tcp::State::FinWait2 => State::FinWait2,
        tcp::State::CloseWait => State::CloseWait,
        tcp::State::Closing => State::Closing,
        tcp::State::LastAck => State::LastAck,
        tcp::State::TimeWait => State::TimeWait,
    }
}

/// What a socket has of a connection: it ends with the socket, the connection itself not at once.
pub struct Handle(pub(super) Arc<Remote>);

impl Connection for Handle {
    fn local(&self) -> SocketAddr {
        self.0.local
    }
    fn peer(&self) -> SocketAddr {
        self.0.peer
    }
    fn state(&self) -> State {
        State::from_number(self.0.seen.state.load(Ordering::Relaxed))
    }

    fn send(&self, data: &[u8]) -> Result<usize, Errno> {
        let remote = &self.0;
        remote.sock.check_error()?;
        if self.state() == State::SynSent {
            return Err(Errno::EAGAIN);
        }
        let sent = remote.with(|socket| {
            remote.apply_options(socket);
            socket.send_slice(data)
        });
        match sent {
            Ok(0) if !data.is_empty() => Err(Errno::EAGAIN),
            Ok(len) => Ok(len),
            Err(_) => Err(Errno::EPIPE),
        }
    }

    fn receive(&self, buf: &mut [u8], how: How) -> Result<usize, Errno> {
        let remote = &self.0;
        if self.state() == State::SynSent {
            return Err(Errno::EAGAIN);
        }
        let received = if how.peek {
            let mut set = remote.set.lock();
            set.get_mut::<tcp::Socket<'static>>(remote.handle)
                .peek_slice(buf)
        } else if remote.seen.unread.load(Ordering::Relaxed) == 0
            && self.poll() & Poll::RDHUP == Poll::empty()
        {
            Ok(0)
        } else {
            remote.with(|socket| socket.recv_slice(buf))
        };
        match received {
            Ok(0) if buf.is_empty() || remote.deaf.load(Ordering::Relaxed) => Ok(0),
            Ok(0) => Err(Errno::EAGAIN),
            Ok(len) => Ok(len),
            Err(_) => remote.sock.take_error().map_or(Ok(0), Err),
        }
    }

    fn shutdown(&self, receiving: bool, sending: bool) {
        if receiving {
            self.0.deaf.store(true, Ordering::Relaxed);
        }
        self.0.with(|socket| {
            if sending {
                socket.close();
            }
        });
        self.0.sock.changed();
    }

    fn close(&self, reset: bool) {
        let remote = &self.0;
        remote.orphaned.store(now().max(1), Ordering::Relaxed);
        remote.with(|socket| {
            if reset || socket.recv_queue() > 0 {
                socket.abort();
            } else {
                socket.close();
            }
        });
    }

    fn poll(&self) -> Poll {
        Poll::from_bits_truncate(self.0.seen.events.load(Ordering::Relaxed))
    }

    fn queued(&self) -> [usize; 2] {
        let seen = &self.0.seen;
        [
            seen.unread.load(Ordering::Relaxed),
            seen.unsent.load(Ordering::Relaxed),
        ]
    }

    fn configured(&self) {
        self.0.with(|socket| self.0.apply_options(socket));
    }
}
