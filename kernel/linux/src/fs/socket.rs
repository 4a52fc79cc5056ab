//! Pairs of connected sockets (socketpair(2) of `AF_UNIX`): streams, datagrams, sequenced packets. There is no other
//! networking, and no passing of descriptors: there is no other process to pass them to.
use super::{
    Edges, File, Metadata, Poll,
    pipe::{CAPACITY, Ring},
    tree::next_ino,
};
use crate::process::Pid;
use abi::Errno;
use alloc::{collections::VecDeque, format, sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use linux_raw_sys::{general as linux, ioctl};
use machine::{
    mm::user,
    sync::{Signals, SpinLock, WaitQueue},
    time::Instant,
};

const CHUNK: usize = 8192;
/// Messages that may wait (Linux: `net.unix.max_dgram_qlen` plus one is 11; pipes of messages are longer here).
const MOST: usize = 278;

/// What keeps of the boundaries between what is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Nothing.
    Stream = 1,
    /// Each sending is a message.
    Datagram = 2,
    /// As datagrams, with an end.
    SeqPacket = 5,
}

struct Pair {
    kind: Kind,
    maker: Maker,
    state: SpinLock<State>,
    queue: WaitQueue,
    /// Of each side.
    edges: [Edges; 2],
}

struct State {
    /// What side `n` is to receive.
    rings: [Ring; 2],
    /// Lengths of the messages in there, unless it is a stream.
    messages: [VecDeque<usize>; 2],
    /// Side `n` receives no more (its own shutdown, or the peer's of sending).
    ended: [bool; 2],
    /// Side `n` was closed.
    closed: [bool; 2],
}

/// Who has made a pair (`SO_PEERCRED`).
#[derive(Clone, Copy, Debug)]
pub struct Maker {
    /// The process.
    pub pid: Pid,
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
}

/// One of the two sockets.
pub struct Socket {
    pair: Arc<Pair>,
    side: usize,
    ino: u64,
    /// `SO_RCVTIMEO` and `SO_SNDTIMEO` in nanoseconds, 0 for none.
    pub timeouts: [AtomicU64; 2],
    /// `SO_RCVBUF` and `SO_SNDBUF`. What is sent waits for the peer within the second, and within [`CAPACITY`].
    pub buffers: [AtomicUsize; 2],
}

/// `SO_RCVBUF` and `SO_SNDBUF` of a new socket (`net.core.rmem_default`, `wmem_default`).
const BUFFER: usize = 212_992;
/// The least they can be set to (`SOCK_MIN_RCVBUF`, `SOCK_MIN_SNDBUF`).
const LEAST_BUFFERS: [usize; 2] = [2304, 4608];

/// A connected pair.
pub fn pair(kind: Kind, maker: Maker) -> (Arc<Socket>, Arc<Socket>) {
    let pair = Arc::new(Pair {
        kind,
        maker,
        state: SpinLock::new(State {
            rings: [Ring::new(), Ring::new()],
            messages: [VecDeque::new(), VecDeque::new()],
            ended: [false; 2],
            closed: [false; 2],
        }),
        queue: WaitQueue::new(),
        edges: [Edges::new(), Edges::new()],
    });
    let socket = |side| {
        Arc::new(Socket {
            pair: pair.clone(),
            side,
            ino: next_ino(),
            timeouts: [AtomicU64::new(0), AtomicU64::new(0)],
            buffers: [AtomicUsize::new(BUFFER), AtomicUsize::new(BUFFER)],
        })
    };
    (socket(0), socket(1))
}

impl Pair {
    /// A side has ended something.
    fn changed(&self) {
        for edges in &self.edges {
            edges.readable();
            edges.writable();
        }
        self.queue.wake_all();
    }

    /// There is more for a side to read.
    fn sent_to(&self, side: usize) {
        self.edges[side].readable();
        self.queue.wake_all();
    }

    /// There is more room for what a side sends.
    fn taken_from(&self, side: usize) {
        self.edges[side].writable();
        self.queue.wake_all();
    }
}

impl Socket {
    fn wait(
        &self,
        timeout: usize,
        nonblock: bool,
        mut attempt: impl FnMut() -> Option<Result<usize, Errno>>,
    ) -> Result<usize, Errno> {
        if nonblock {
            return attempt().unwrap_or(Err(Errno::EAGAIN));
        }
        let deadline = match self.timeouts[timeout].load(Ordering::Relaxed) {
            0 => None,
            ns => Some(Instant(Instant::now().0.saturating_add(ns))),
        };
        match self
            .pair
            .queue
            .wait_until(deadline, Signals::Interrupt, attempt)
        {
            Ok(result) => result,
            Err(machine::sync::WaitError::TimedOut) => Err(Errno::EAGAIN),
            Err(machine::sync::WaitError::Interrupted) => Err(Errno::ERESTARTSYS),
        }
    }

    /// Sets `SO_RCVBUF` (0) or `SO_SNDBUF` (1): to twice what is asked, for Linux counts its own records, too.
    pub fn set_buffer(&self, which: usize, asked: usize) {
        let size = (2 * asked.min(BUFFER)).max(LEAST_BUFFERS[which]);
        self.buffers[which].store(size, Ordering::Relaxed);
        self.pair.taken_from(self.side);
    }

    /// How much may wait for the peer.
    fn capacity(&self) -> usize {
        self.buffers[1].load(Ordering::Relaxed).min(CAPACITY)
    }

    /// How much more may wait for the peer.
    fn space(&self, state: &State) -> usize {
        let waiting = state.rings[1 - self.side].len();
        self.capacity().saturating_sub(waiting)
    }

    /// Who has made the peer, too.
    pub fn maker(&self) -> Maker {
        self.pair.maker
    }

    /// What it keeps of boundaries.
    pub fn kind(&self) -> Kind {
        self.pair.kind
    }

    /// recv(2) of one message: bytes stored, and its length. What does not fit is lost.
    pub fn receive_message(
        &self,
        buf: &mut [u8],
        nonblock: bool,
        peek: bool,
    ) -> Result<(usize, usize), Errno> {
        let side = self.side;
        let mut stored = 0;
        let len = self.wait(0, nonblock, || {
            let mut state = self.pair.state.lock();
            let Some(&len) = state.messages[side].front() else {
                let ended = state.ended[side]
                    || (state.closed[1 - side] && self.pair.kind == Kind::SeqPacket);
                return ended.then_some(Ok(0));
            };
            stored = len.min(buf.len());
            let to = &mut buf[..stored];
            if peek {
                state.rings[side].peek(to);
            } else {
                state.messages[side].pop_front();
                state.rings[side].pop(to);
                state.rings[side].skip(len - stored);
            }
            Some(Ok(len))
        })?;
        if !peek {
            self.pair.taken_from(1 - side);
        }
        Ok((stored, len))
    }

    /// send(2) of one message: all of it or nothing.
    pub fn send_message(&self, buf: &[u8], nonblock: bool) -> Result<usize, Errno> {
        let peer = 1 - self.side;
        if buf.len() > self.capacity() {
            return Err(Errno::EMSGSIZE);
        }
        self.supply(peer)?;
        let len = self.wait(1, nonblock, || {
            let mut state = self.pair.state.lock();
            if state.closed[peer] && self.pair.kind == Kind::Datagram {
                return Some(Err(Errno::ECONNREFUSED));
            }
            if state.ended[peer] || state.closed[peer] {
                return Some(Err(Errno::EPIPE));
            }
            let fits = self.space(&state) >= buf.len() && state.messages[peer].len() < MOST;
            fits.then(|| {
                state.rings[peer].push(buf);
                state.messages[peer].push_back(buf.len());
                Ok(buf.len())
            })
        })?;
        self.pair.sent_to(peer);
        Ok(len)
    }

    /// Sees to it that what is to be received has somewhere to go.
    fn supply(&self, side: usize) -> Result<(), Errno> {
        if self.pair.state.lock().rings[side].wants_memory() {
            let memory = Ring::memory()?;
            self.pair.state.lock().rings[side].supply(memory);
        }
        Ok(())
    }

    /// recv(2) with `MSG_PEEK` or not.
    pub fn receive(&self, buf: &mut [u8], nonblock: bool, peek: bool) -> Result<usize, Errno> {
        if buf.is_empty() {
            return Ok(0);
        }
        let side = self.side;
        let len = self.wait(0, nonblock, || {
            let mut done = 0;
            while done < buf.len() {
                let end = buf.len().min(done + CHUNK);
                let mut state = self.pair.state.lock();
                let len = if peek {
                    state.rings[side].peek(&mut buf[done..end])
                } else {
                    state.rings[side].pop(&mut buf[done..end])
                };
                if len == 0 && done == 0 {
                    return (state.ended[side] || state.closed[1 - side]).then_some(Ok(0));
                }
                done += len;
                if len == 0 || peek {
                    break;
                }
            }
            Some(Ok(done))
        })?;
        if len > 0 && !peek {
            self.pair.taken_from(1 - side);
        }
        Ok(len)
    }

    /// send(2).
    pub fn send(&self, buf: &[u8], nonblock: bool) -> Result<usize, Errno> {
        let peer = 1 - self.side;
        self.supply(peer)?;
        let mut done = 0;
        while done < buf.len() {
            let result = self.wait(1, nonblock, || {
                let mut state = self.pair.state.lock();
                if state.ended[peer] || state.closed[peer] {
                    return Some(Err(Errno::EPIPE));
                }
                let end = buf.len().min(done + CHUNK.min(self.space(&state)));
                match state.rings[peer].push(&buf[done..end]) {
                    0 => None,
                    len => Some(Ok(len)),
                }
            });
            match result {
                Ok(len) => {
                    done += len;
                    self.pair.sent_to(peer);
                }
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// shutdown(2).
    pub fn shutdown(&self, receiving: bool, sending: bool) {
        let mut state = self.pair.state.lock();
        state.ended[self.side] |= receiving;
        state.ended[1 - self.side] |= sending;
        drop(state);
        self.pair.changed();
    }
}

impl File for Socket {
    fn read(&self, _offset: u64, buf: &mut [u8], nonblock: bool) -> Result<usize, Errno> {
        match self.pair.kind {
            Kind::Stream => self.receive(buf, nonblock, false),
            _ => Ok(self.receive_message(buf, nonblock, false)?.0),
        }
    }
    fn write(&self, _offset: u64, buf: &[u8], nonblock: bool) -> Result<usize, Errno> {
        match self.pair.kind {
            Kind::Stream => self.send(buf, nonblock),
            _ => self.send_message(buf, nonblock),
        }
    }
    fn poll(&self) -> Poll {
        let state = self.pair.state.lock();
        let (own, peer) = (self.side, 1 - self.side);
        let mut events = Poll::empty();
        let ended = state.ended[own] || state.closed[peer];
        if !state.rings[own].is_empty() || !state.messages[own].is_empty() || ended {
            events |= Poll::IN;
        }
        if ended {
            events |= Poll::RDHUP;
        }
        let refused = state.ended[peer] || state.closed[peer];
        if ended && refused {
            events |= Poll::HUP;
        }
        if refused || self.space(&state) > 0 {
            events |= Poll::OUT;
        }
        events
    }
    fn poll_queue(&self) -> Option<&WaitQueue> {
        Some(&self.pair.queue)
    }
    fn edges(&self) -> [u64; 2] {
        self.pair.edges[self.side].counts()
    }
    fn metadata(&self) -> Result<Metadata, Errno> {
        Ok(Metadata::anonymous(self.ino, linux::S_IFSOCK | 0o777))
    }
    fn link_text(&self) -> Vec<u8> {
        format!("socket:[{}]", self.ino).into_bytes()
    }
    fn ioctl(&self, request: u32, arg: usize) -> Result<usize, Errno> {
        if request != ioctl::FIONREAD {
            return Err(Errno::ENOTTY);
        }
        let len = self.pair.state.lock().rings[self.side].len() as i32;
        user::copy_out(arg, &len.to_le_bytes())?;
        Ok(0)
    }
    fn release(&self) {
        let unused = {
            let mut state = self.pair.state.lock();
            state.closed[self.side] = true;
            core::mem::take(&mut state.rings[self.side])
        };
        drop(unused);
        self.pair.changed();
    }
}
