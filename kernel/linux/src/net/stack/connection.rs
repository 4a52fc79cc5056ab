//! A TCP connection with another machine, as the stack and its socket have it.
//!
//! What others ask about (events, state, bytes) is noted at each change, so that asking takes no lock. Who holds the
//! stack's lock may take a connection's, not the other way round.
use super::{
    Key, STACK, link, now,
    tcp::{
        Settings, Tcb,
        segment::{Head, Segment},
        seq::Seq,
    },
};
use crate::{
    fs::Poll,
    net::{
        inet::connection::{Connection, Info, State},
        interface,
        message::{How, Received, Sending},
        options::{
            CORK, KEEPALIVE, KEEPCNT, KEEPIDLE, KEEPINTVL, MAXSEG, NODELAY, OOBINLINE, SYNCNT,
            USER_TIMEOUT,
        },
        sock::Sock,
    },
};
use abi::Errno;
use alloc::sync::Arc;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use machine::{
    drivers::net as driver,
    mm::frame,
    sync::{Mutex, MutexGuard},
};

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1000 * MILLISECOND;
/// How long one that was closed here waits for the other end to close (`tcp_fin_timeout`).
const FIN: u64 = 60 * SECOND;
/// How long what nobody here waits for is sent again (`tcp_orphan_retries`).
const ORPHAN: u64 = 100 * SECOND;

/// See the module.
pub struct Remote {
    pub(super) sock: Arc<Sock>,
    key: Key,
    control: Mutex<Control>,
    seen: Seen,
    /// No socket has it any more, since then; 0: one has.
    orphaned: AtomicU64,
    /// shutdown(2) of receiving.
    deaf: AtomicBool,
    /// When the stack is to look at it again, at the latest, in nanoseconds; 0: at no time. Changed by the stack alone.
    pub(super) armed: AtomicU64,
}

struct Control {
    tcb: Tcb,
    /// Where the other end is on the wire: where its last segment came from.
    mac: Option<[u8; 6]>,
}

/// What was so at the last change.
#[derive(Default)]
struct Seen {
    events: AtomicU32,
    state: AtomicU8,
    unread: AtomicUsize,
    unsent: AtomicUsize,
}

/// What the stack has to do for a connection that has gone on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Step {
    /// When to look at it again.
    pub(super) next: Option<u64>,
    /// It is over, and what remains of it.
    pub(super) over: bool,
    pub(super) remains: Option<(Seq, Seq)>,
    /// It is not known where the other end is on the wire.
    pub(super) lost_way: bool,
    /// Something was sent.
    sent: bool,
}

fn settings(sock: &Sock) -> Settings {
    let options = sock.options.lock();
    let number = |(level, name): (u32, u32)| {
        let value = options.get(level, name).unwrap_or(0);
        u32::try_from(value).unwrap_or(0)
    };
    let seconds = |name| u64::from(number(name)) * SECOND;
    let limit = u64::from(number(USER_TIMEOUT)) * MILLISECOND;
    Settings {
        buffers: options.asked_buffers(),
        nodelay: options.is_set(NODELAY),
        cork: options.is_set(CORK),
        inline: options.is_set(OOBINLINE),
        keepalive: options
            .is_set(KEEPALIVE)
            .then(|| (seconds(KEEPIDLE), seconds(KEEPINTVL), number(KEEPCNT))),
        user_timeout: (limit > 0).then_some(limit),
        syn_retries: number(SYNCNT),
        mss: u16::try_from(number(MAXSEG)).ok().filter(|&mss| mss > 0),
    }
}

impl Remote {
    fn new(sock: Arc<Sock>, key: Key, tcb: Tcb) -> Arc<Self> {
        let seen = Seen::default();
        seen.state.store(tcb.state().into(), Ordering::Relaxed);
        Arc::new(Self {
            sock,
            key,
            control: Mutex::new(Control { tcb, mac: None }),
            seen,
            orphaned: AtomicU64::new(0),
            deaf: AtomicBool::new(false),
            armed: AtomicU64::new(0),
        })
    }

    /// One that another machine has asked for by `syn`, which was answered with the number `own`.
    pub(super) fn passive(
        sock: Arc<Sock>,
        key: Key,
        own: Seq,
        syn: &Head,
        rtt: Option<u64>,
    ) -> Arc<Self> {
        let tcb = Tcb::accept(own, syn, link::mss(key.1.ip()), settings(&sock), rtt, now());
        Self::new(sock, key, tcb)
    }

    /// One that is asked for here.
    pub(super) fn active(sock: Arc<Sock>, key: Key, own: Seq) -> Arc<Self> {
        let tcb = Tcb::connect(own, link::mss(key.1.ip()), settings(&sock), now());
        Self::new(sock, key, tcb)
    }

    /// The ends of the connection, this one first.
    pub(super) fn key(&self) -> Key {
        self.key
    }

    /// A segment has come from `mac`; whether it was acceptable. Without a step, there may be more that goes with it:
    /// it is to be looked after when all that has come was taken.
    pub(super) fn segment(
        &self,
        segment: &Segment<'_>,
        mac: [u8; 6],
        now: u64,
    ) -> (bool, Option<Step>) {
        let mut control = self.control.lock();
        let accepted = control.tcb.segment(segment, now);
        if accepted {
            control.mac = Some(mac);
        }
        let waits = accepted && control.tcb.may_wait(segment);
        let step = (!waits).then(|| self.go_on(control, now));
        (accepted, step)
    }

    /// It was found out where the other end is on the wire.
    pub(super) fn found(&self, mac: [u8; 6], now: u64) -> Step {
        let mut control = self.control.lock();
        control.mac = Some(mac);
        self.go_on(control, now)
    }

    /// Does what its time has come for, and sends what is to be sent.
    pub(super) fn advance(&self, now: u64) -> Step {
        let mut control = self.control.lock();
        control.tcb.tick(now);
        if control.tcb.timeouts() > 1 {
            // It may be elsewhere.
            control.mac = None;
        }
        self.go_on(control, now)
    }

    fn go_on(&self, mut control: MutexGuard<'_, Control>, now: u64) -> Step {
        self.see_to_orphan(&mut control.tcb, now);
        let (blocked, sent) = self.pump(&mut control, now);
        let tcb = &control.tcb;
        let state = tcb.state();
        let over = matches!(state, State::Close | State::TimeWait);
        let next = match blocked {
            // The device has no room.
            true if control.mac.is_some() => Some(now + MILLISECOND),
            _ => tcb.deadline().map(|next| next.max(now + MILLISECOND)),
        };
        let since = self.orphaned.load(Ordering::Relaxed);
        let step = Step {
            next: super::earlier(next, (since > 0).then(|| (since + FIN).max(now + SECOND))),
            over,
            remains: (state == State::TimeWait).then(|| tcb.remains()),
            lost_way: blocked && control.mac.is_none() && !over,
            sent,
        };
        self.note(control);
        step
    }

    /// Nobody has it any more: data that come are for nobody, and the other end should close, too.
    fn see_to_orphan(&self, tcb: &mut Tcb, now: u64) {
        let since = self.orphaned.load(Ordering::Relaxed);
        let late = tcb.state() == State::FinWait2 && now.saturating_sub(since) > FIN;
        if since != 0 && (tcb.unread() > 0 || late) {
            tcb.abort();
        }
    }

    /// Sends what is to be sent; whether something may be left, and whether something was sent.
    fn pump(&self, control: &mut Control, now: u64) -> (bool, bool) {
        let Control { tcb, mac } = control;
        let Some(mac) = *mac else {
            return (true, false);
        };
        let (local, peer) = self.key;
        let before = tcb.sent_again();
        let (mut left, mut sent) = (true, false);
        while left && driver::can_send() {
            let Some(outgoing) = tcb.transmit(now) else {
                left = false;
                continue;
            };
            sent = true;
            let data = outgoing.data;
            link::send_segment(mac, [local, peer], &outgoing.head, data.len(), |to| {
                tcb.copy(data, to);
            });
        }
        let again = tcb.sent_again().wrapping_sub(before);
        if again > 0 {
            let again = usize::try_from(again).unwrap_or(0);
            interface::mib().tcp.retrans_segs.add(again);
        }
        (left, sent)
    }

    /// Notes what there is now, and tells those who wait for it.
    fn note(&self, mut control: MutexGuard<'_, Control>) {
        let tcb = &mut control.tcb;
        let seen = &self.seen;
        let before = State::from_number(seen.state.load(Ordering::Relaxed));
        // One that waits for old segments is over for its socket.
        let state = match tcb.state() {
            State::TimeWait => State::Close,
            state => state,
        };
        seen.state.store(state.into(), Ordering::Relaxed);
        let (unread, unsent) = (tcb.unread(), tcb.unsent());
        let had = seen.unread.swap(unread, Ordering::Relaxed);
        let (more, less) = (
            unread > had,
            unsent < seen.unsent.swap(unsent, Ordering::Relaxed),
        );
        if unread > had {
            STACK.unread.fetch_add(unread - had, Ordering::Relaxed);
        } else {
            STACK.unread.fetch_sub(had - unread, Ordering::Relaxed);
        }
        let connecting = matches!(state, State::SynSent | State::SynReceived);
        let ended = !connecting && !tcb.may_receive() || self.deaf.load(Ordering::Relaxed);
        let shut = !connecting && !tcb.may_send();
        let mut events = Poll::empty();
        if unread > tcb.urgent().skips() {
            events |= Poll::IN;
        }
        if tcb.urgent().is_there() {
            events |= Poll::PRI;
        }
        if ended {
            events |= Poll::IN | Poll::RDHUP;
        }
        if ended && shut {
            events |= Poll::HUP;
        }
        if shut || !connecting && unsent * 3 <= tcb.send_limit() * 2 {
            events |= Poll::OUT;
        }
        let error = tcb.take_error();
        let urgent = tcb.take_announced();
        let old = seen.events.swap(events.bits(), Ordering::Relaxed);
        drop(control);
        if let Some(error) = error.filter(|_| self.orphaned.load(Ordering::Relaxed) == 0) {
            self.sock.fail(error);
        }
        if urgent {
            self.sock.urgent();
        }
        if state == State::Close && state != before {
            let counts = &interface::mib().tcp;
            match before {
                State::SynSent | State::SynReceived => counts.attempt_fails.count(),
                State::Established | State::CloseWait => counts.estab_resets.count(),
                _ => (),
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
        self.control.lock().tcb.abort();
    }

    /// Its state, if no socket has it any more.
    pub(super) fn orphaned_state(&self) -> Option<State> {
        let orphaned = self.orphaned.load(Ordering::Relaxed) != 0;
        orphaned.then(|| self.control.lock().tcb.state())
    }

    /// Whether the other end was asked for a connection and has not answered.
    pub(super) fn is_asked_for(&self) -> bool {
        self.seen.state.load(Ordering::Relaxed) == State::SynSent.into()
    }

    /// Ends a connection that is being made from here.
    pub(super) fn give_up(&self, error: Errno) {
        self.control.lock().tcb.fail(error);
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        let unread = self.seen.unread.load(Ordering::Relaxed);
        STACK.unread.fetch_sub(unread, Ordering::Relaxed);
    }
}

/// What a socket has of a connection: it ends with the socket, the connection itself not at once.
pub struct Handle(pub(super) Arc<Remote>);

impl Handle {
    /// Runs `f`, sends what follows, and has the stack know if it must.
    fn with<R>(&self, f: impl FnOnce(&mut Tcb, u64) -> R) -> R {
        let remote = &self.0;
        let now = now();
        let mut control = remote.control.lock();
        let result = f(&mut control.tcb, now);
        let step = remote.go_on(control, now);
        let armed = remote.armed.load(Ordering::Relaxed);
        let sooner = step.next.is_some_and(|next| armed == 0 || next < armed);
        if step.over || step.lost_way || sooner {
            super::with(|stack| stack.settle(remote, step, now));
        } else if step.sent {
            driver::flush();
        }
        result
    }

    fn unread(&self) -> usize {
        self.0.seen.unread.load(Ordering::Relaxed)
    }
}

impl Connection for Handle {
    fn local(&self) -> SocketAddr {
        self.0.key.0
    }
    fn peer(&self) -> SocketAddr {
        self.0.key.1
    }
    fn state(&self) -> State {
        State::from_number(self.0.seen.state.load(Ordering::Relaxed))
    }

    fn send(&self, data: &[u8], how: Sending) -> Result<usize, Errno> {
        self.0.sock.check_error()?;
        if matches!(self.state(), State::SynSent | State::SynReceived) {
            return Err(Errno::EAGAIN);
        }
        self.with(|tcb, now| {
            if !tcb.may_send() {
                return Err(Errno::EPIPE);
            }
            match tcb.send(data, how, now)? {
                0 if !data.is_empty() => Err(Errno::EAGAIN),
                len => Ok(len),
            }
        })
    }

    fn receive(&self, buf: &mut [u8], how: How) -> Result<Received, Errno> {
        let remote = &self.0;
        if matches!(self.state(), State::SynSent | State::SynReceived) {
            return Err(Errno::EAGAIN);
        }
        let ended = self.poll().contains(Poll::RDHUP);
        let (stored, at_mark) = if self.unread() == 0 {
            (0, false)
        } else if how.peek {
            (remote.control.lock().tcb.peek(buf), false)
        } else {
            // All that waits to be read may take a part of what is free.
            let grow = STACK.unread.load(Ordering::Relaxed) >> 12 < frame::available() / 8;
            self.with(|tcb, now| (tcb.receive(buf, grow, now), tcb.urgent().is_at_mark()))
        };
        let received = Received {
            stored,
            len: stored,
            at_mark,
            ..Received::default()
        };
        match stored {
            0 if buf.is_empty() || remote.deaf.load(Ordering::Relaxed) => Ok(received),
            0 if ended => remote.sock.take_error().map_or(Ok(received), Err),
            0 => Err(Errno::EAGAIN),
            _ => Ok(received),
        }
    }

    fn urgent(&self, peek: bool) -> Result<Option<u8>, Errno> {
        match self.with(|tcb, _| tcb.read_urgent(peek)) {
            Err(Errno::EAGAIN) if self.poll().contains(Poll::RDHUP) => Ok(None),
            result => result.map(Some),
        }
    }

    fn is_at_mark(&self) -> bool {
        self.0.control.lock().tcb.urgent().is_at_mark()
    }

    fn shutdown(&self, receiving: bool, sending: bool) {
        if receiving {
            self.0.deaf.store(true, Ordering::Relaxed);
        }
        self.with(|tcb, _| {
            if sending {
                tcb.close();
            }
        });
        self.0.sock.changed();
    }

    fn close(&self, reset: bool) {
        let remote = &self.0;
        let mut settings = settings(&remote.sock);
        settings.user_timeout.get_or_insert(ORPHAN);
        self.with(|tcb, now| {
            remote.orphaned.store(now.max(1), Ordering::Relaxed);
            tcb.configure(settings);
            if reset || tcb.unread() > 0 {
                tcb.abort();
            } else {
                tcb.close();
            }
            tcb.stop_reading();
        });
    }

    fn poll(&self) -> Poll {
        Poll::from_bits_truncate(self.0.seen.events.load(Ordering::Relaxed))
    }

    fn queued(&self) -> [usize; 2] {
        let unread = match self.unread() {
            0 => 0,
            unread => self.0.control.lock().tcb.urgent().unread(unread),
        };
        [unread, self.0.seen.unsent.load(Ordering::Relaxed)]
    }

    fn info(&self) -> Option<Info> {
        Some(self.0.control.lock().tcb.info(now()))
    }

    fn configured(&self) {
        let settings = settings(&self.0.sock);
        self.with(|tcb, _| tcb.configure(settings));
    }
}
