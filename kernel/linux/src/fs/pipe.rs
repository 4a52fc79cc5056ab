//! Pipes, with and without a name.
use super::{
    Edges, File, Metadata, Poll,
    numbers::next_ino,
    tree::{Kind, Node, SpecialFile},
};
use crate::credentials;
use abi::Errno;
use alloc::{boxed::Box, format, sync::Arc, vec::Vec};
use linux_raw_sys::{general as linux, ioctl};
use machine::{
    mm::{PAGE, user},
    sync::{Signals, SpinLock, WaitQueue},
};

/// Capacity in bytes that pipes begin with.
pub const CAPACITY: usize = 65536;
/// What needs a capability to be exceeded (`fs.pipe-max-size`).
pub const MAX_CAPACITY: usize = 1 << 20;
/// Writes up to this are not interleaved with others.
const PIPE_BUF: usize = 4096;
/// Bytes copied under the lock at a time.
const CHUNK: usize = 8192;

/// Bytes in the order they were put in; memory is taken when the first are.
pub struct Ring {
    bytes: Vec<u8>,
    capacity: usize,
    start: usize,
    len: usize,
}

impl Default for Ring {
    fn default() -> Self {
        Self::new()
    }
}

impl Ring {
    /// An empty ring.
    pub const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            capacity: CAPACITY,
            start: 0,
            len: 0,
        }
    }
    /// Bytes in it.
    pub fn len(&self) -> usize {
        self.len
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
    /// Bytes that fit.
    pub fn space(&self) -> usize {
        self.capacity - self.len
    }
    /// Bytes that fit when it is empty.
    pub fn capacity(&self) -> usize {
        self.capacity
    }
    /// Makes it as large as `memory`, which is given its old memory in exchange; `EBUSY` if there is more in it.
    fn resize(&mut self, memory: &mut Vec<u8>) -> Result<(), Errno> {
        if self.len > memory.len() {
            return Err(Errno::EBUSY);
        }
        self.peek(memory);
        self.capacity = memory.len();
        core::mem::swap(&mut self.bytes, memory);
        self.start = 0;
        Ok(())
    }
    /// Whether [`Ring::supply`] is to be called before [`Ring::push`].
    pub fn wants_memory(&self) -> bool {
        self.bytes.is_empty()
    }
    /// Gives it its memory.
    pub fn supply(&mut self, memory: Vec<u8>) {
        if self.bytes.is_empty() && memory.len() == self.capacity {
            self.bytes = memory;
        }
    }
    /// Memory for a ring; `ENOMEM`.
    pub fn memory(capacity: usize) -> Result<Vec<u8>, Errno> {
        let mut memory = Vec::new();
        memory
            .try_reserve_exact(capacity)
            .map_err(|_| Errno::ENOMEM)?;
        memory.resize(capacity, 0);
        Ok(memory)
    }
    /// Puts in what fits of `from`; how much.
    pub fn push(&mut self, from: &[u8]) -> usize {
        if self.bytes.is_empty() {
            return 0;
        }
        let total = from.len().min(self.space());
        let at = (self.start + self.len) % self.capacity;
        let first = total.min(self.capacity - at);
        self.bytes[at..at + first].copy_from_slice(&from[..first]);
        self.bytes[..total - first].copy_from_slice(&from[first..total]);
        self.len += total;
        total
    }
    /// Copies out what there is without taking it; how much.
    pub fn peek(&self, to: &mut [u8]) -> usize {
        let total = to.len().min(self.len);
        let first = total.min(self.capacity - self.start);
        to[..first].copy_from_slice(&self.bytes[self.start..self.start + first]);
        to[first..total].copy_from_slice(&self.bytes[..total - first]);
        total
    }
    /// Takes out what there is; how much.
    pub fn pop(&mut self, to: &mut [u8]) -> usize {
        let total = self.peek(to);
        self.skip(total);
        total
    }
    /// Puts back what was taken out last; what does not fit is lost.
    fn unpop(&mut self, from: &[u8]) {
        if self.bytes.is_empty() {
            return;
        }
        for &byte in from.iter().rev().take(self.space()) {
            self.start = (self.start + self.capacity - 1) % self.capacity;
            self.bytes[self.start] = byte;
            self.len += 1;
        }
    }
    /// Forgets as much of what there is.
    pub fn skip(&mut self, len: usize) {
        let len = len.min(self.len);
        self.start = (self.start + len) % self.capacity;
        self.len -= len;
    }
}

/// A pipe; its ends are [`End`]s.
pub struct Pipe {
    state: SpinLock<State>,
    queue: WaitQueue,
    edges: Edges,
    ino: u64,
}

struct State {
    ring: Ring,
    readers: usize,
    writers: usize,
    /// Ends opened ever, for those who wait in open(2).
    openings: u64,
}

impl Pipe {
    /// A pipe without ends.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            state: SpinLock::new(State {
                ring: Ring::new(),
                readers: 0,
                writers: 0,
                openings: 0,
            }),
            queue: WaitQueue::new(),
            edges: Edges::new(),
            ino: next_ino(),
        })
    }

    /// Gives the ring its memory.
    fn supply(&self) -> Result<(), Errno> {
        loop {
            let state = self.state.lock();
            if !state.ring.wants_memory() {
                return Ok(());
            }
            let capacity = state.ring.capacity();
            drop(state);
            let memory = Ring::memory(capacity)?;
            self.state.lock().ring.supply(memory);
        }
    }

    /// An end has come or gone.
    fn changed(&self) {
        self.edges.readable();
        self.edges.writable();
        self.queue.wake_all();
    }

    /// Waits until `ready` says something; `EAGAIN` instead of waiting.
    fn wait(
        &self,
        nonblock: bool,
        mut ready: impl FnMut(&State) -> Option<Result<usize, Errno>>,
    ) -> Result<usize, Errno> {
        let mut attempt = || ready(&self.state.lock());
        if nonblock {
            return attempt().unwrap_or(Err(Errno::EAGAIN));
        }
        let waited = self.queue.wait_until(None, Signals::Interrupt, attempt);
        waited.unwrap_or(Err(Errno::ERESTARTSYS))
    }

    fn read(&self, buf: &mut [u8], nonblock: bool) -> Result<usize, Errno> {
        let mut was_full = false;
        let mut attempt = || {
            let mut done = 0;
            while done < buf.len() {
                let end = buf.len().min(done + CHUNK);
                let mut state = self.state.lock();
                was_full |= state.ring.space() < PIPE_BUF;
                let len = state.ring.pop(&mut buf[done..end]);
                if len == 0 {
                    return if done > 0 {
                        Some(Ok(done))
                    } else if state.writers == 0 {
                        Some(Ok(0))
                    } else {
                        None
                    };
                }
                done += len;
            }
            Some(Ok(done))
        };
        let len = if nonblock {
            attempt().unwrap_or(Err(Errno::EAGAIN))?
        } else {
            self.queue
                .wait_until(None, Signals::Interrupt, attempt)
                .map_err(|_| Errno::ERESTARTSYS)??
        };
        if len > 0 {
            if was_full {
                self.edges.writable();
            }
            self.queue.wake_all();
        }
        Ok(len)
    }

    fn write(&self, buf: &[u8], nonblock: bool) -> Result<usize, Errno> {
        self.supply()?;
        let atomic = buf.len() <= PIPE_BUF;
        let mut done = 0;
        while done < buf.len() {
            let attempt = || {
                let mut state = self.state.lock();
                if state.readers == 0 {
                    return Some(Err(Errno::EPIPE));
                }
                if state.ring.space() == 0 || atomic && state.ring.space() < buf.len() {
                    return None;
                }
                let end = buf.len().min(done + CHUNK);
                Some(Ok(state.ring.push(&buf[done..end])))
            };
            let result = if nonblock {
                attempt().unwrap_or(Err(Errno::EAGAIN))
            } else {
                self.queue
                    .wait_until(None, Signals::Interrupt, attempt)
                    .unwrap_or(Err(Errno::ERESTARTSYS))
            };
            match result {
                Ok(len) => {
                    done += len;
                    self.edges.readable();
                    self.queue.wake_all();
                }
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }
}

/// An end of a pipe, or both (a named pipe opened for reading and writing).
pub struct End {
    pipe: Arc<Pipe>,
    reads: bool,
    writes: bool,
    /// Node and path of a named pipe.
    named: Option<(Arc<Node>, Vec<u8>)>,
}

impl End {
    fn new(
        pipe: &Arc<Pipe>,
        flags: u32,
        named: Option<(Arc<Node>, Vec<u8>)>,
    ) -> Result<Arc<Self>, Errno> {
        let access = flags & linux::O_ACCMODE;
        let end = Self {
            pipe: pipe.clone(),
            reads: access != linux::O_WRONLY,
            writes: access != linux::O_RDONLY,
            named,
        };
        let mut state = pipe.state.lock();
        state.readers += usize::from(end.reads);
        state.writers += usize::from(end.writes);
        state.openings += 1;
        drop(state);
        pipe.changed();
        Ok(Arc::new(end))
    }
}

/// For splice(2) and tee(2).
impl End {
    /// Whether both are ends of one pipe.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.pipe, &other.pipe)
    }

    /// Reads.
    pub fn take(&self, buf: &mut [u8], nonblock: bool) -> Result<usize, Errno> {
        self.pipe.read(buf, nonblock)
    }

    /// Writes; no signal is sent.
    pub fn give(&self, buf: &[u8], nonblock: bool) -> Result<usize, Errno> {
        self.pipe.write(buf, nonblock)
    }

    /// Waits for something to read, and copies it without taking it.
    pub fn look(&self, buf: &mut [u8], nonblock: bool) -> Result<usize, Errno> {
        self.pipe
            .wait(nonblock, |state| match state.ring.peek(buf) {
                0 if state.writers > 0 => None,
                len => Some(Ok(len)),
            })
    }

    /// Waits until something can be written; how much. `EPIPE` without a reader.
    pub fn room(&self, nonblock: bool) -> Result<usize, Errno> {
        self.pipe.wait(nonblock, |state| match state.ring.space() {
            _ if state.readers == 0 => Some(Err(Errno::EPIPE)),
            0 => None,
            space => Some(Ok(space)),
        })
    }
}

impl End {
    /// `F_GETPIPE_SZ`
    pub fn capacity(&self) -> usize {
        self.pipe.state.lock().ring.capacity()
    }

    /// `F_SETPIPE_SZ`: the capacity, a power of two of at least a page. `EBUSY` if there is more in the pipe.
    pub fn set_capacity(&self, wanted: usize) -> Result<usize, Errno> {
        const LARGEST: usize = 1 << 31;
        if wanted > LARGEST {
            return Err(Errno::EINVAL);
        }
        let capacity = wanted.max(PAGE).next_power_of_two();
        if capacity > MAX_CAPACITY && capacity > self.capacity() {
            credentials::require(linux::CAP_SYS_RESOURCE)?;
        }
        let mut memory = Ring::memory(capacity)?;
        let resized = self.pipe.state.lock().ring.resize(&mut memory);
        // Not under the lock: the old memory is freed.
        drop(memory);
        resized?;
        self.pipe.changed();
        Ok(capacity)
    }
}

/// A new pipe's read and write end.
pub fn pair() -> Result<(Arc<End>, Arc<End>), Errno> {
    let pipe = Pipe::new();
    Ok((
        End::new(&pipe, linux::O_RDONLY, None)?,
        End::new(&pipe, linux::O_WRONLY, None)?,
    ))
}

/// A named pipe.
struct Fifo(Arc<Pipe>);

/// A named pipe that nobody has open.
pub fn fifo() -> Kind {
    Kind::Fifo(Box::new(Fifo(Pipe::new())))
}

impl SpecialFile for Fifo {
    /// Waits for the other side unless `O_NONBLOCK` or `O_RDWR`.
    fn open(&self, node: &Arc<Node>, path: Vec<u8>, flags: u32) -> Result<Arc<dyn File>, Errno> {
        let Self(pipe) = self;
        let access = flags & linux::O_ACCMODE;
        let nonblock = flags & linux::O_NONBLOCK != 0;
        if access == linux::O_WRONLY && nonblock && pipe.state.lock().readers == 0 {
            return Err(Errno::ENXIO);
        }
        let end = End::new(pipe, flags, Some((node.clone(), path)))?;
        if nonblock || access == linux::O_RDWR {
            return Ok(end);
        }
        let before = pipe.state.lock().openings;
        let met = pipe.queue.wait_until(None, Signals::Interrupt, || {
            let state = pipe.state.lock();
            let other = if end.reads {
                state.writers
            } else {
                state.readers
            };
            (other > 0 || state.openings > before).then_some(())
        });
        if met.is_err() {
            end.release();
            return Err(Errno::ERESTARTSYS);
        }
        Ok(end)
    }
}

impl File for End {
    fn read(&self, _offset: u64, buf: &mut [u8], nonblock: bool) -> Result<usize, Errno> {
        if buf.is_empty() {
            return Ok(0);
        }
        self.pipe.read(buf, nonblock)
    }
    fn unread(&self, bytes: &[u8]) -> bool {
        self.pipe.state.lock().ring.unpop(bytes);
        self.pipe.changed();
        true
    }
    fn write(&self, _offset: u64, buf: &[u8], nonblock: bool) -> Result<usize, Errno> {
        self.pipe.write(buf, nonblock)
    }
    fn poll(&self) -> Poll {
        let state = self.pipe.state.lock();
        let mut events = Poll::empty();
        if self.reads {
            if !state.ring.is_empty() {
                events |= Poll::IN;
            }
            if state.writers == 0 {
                events |= Poll::HUP;
            }
        }
        if self.writes {
            if state.ring.space() >= PIPE_BUF {
                events |= Poll::OUT;
            }
            if state.readers == 0 {
                events |= Poll::ERR;
            }
        }
        events
    }
    fn poll_queue(&self) -> Option<&WaitQueue> {
        Some(&self.pipe.queue)
    }
    fn edges(&self) -> [u64; 2] {
        self.pipe.edges.counts()
    }
    fn drives_signals(&self) -> bool {
        true
    }
    fn metadata(&self) -> Result<Metadata, Errno> {
        match &self.named {
            Some((node, _)) => node.metadata(),
            None => Ok(Metadata::anonymous(self.pipe.ino, linux::S_IFIFO | 0o600)),
        }
    }
    fn node(&self) -> Option<&Arc<Node>> {
        self.named.as_ref().map(|(node, _)| node)
    }
    fn link_text(&self) -> Vec<u8> {
        match &self.named {
            Some((_, path)) => path.clone(),
            None => format!("pipe:[{}]", self.pipe.ino).into_bytes(),
        }
    }
    fn ioctl(&self, request: u32, arg: usize) -> Result<usize, Errno> {
        if request != ioctl::FIONREAD {
            return Err(Errno::ENOTTY);
        }
        let len = self.pipe.state.lock().ring.len() as i32;
        user::copy_out(arg, &len.to_le_bytes())?;
        Ok(0)
    }
    fn release(&self) {
        let mut state = self.pipe.state.lock();
        state.readers -= usize::from(self.reads);
        state.writers -= usize::from(self.writes);
        let unused = if state.readers + state.writers == 0 {
            core::mem::take(&mut state.ring)
        } else {
            Ring::new()
        };
        drop(state);
        drop(unused);
        self.pipe.changed();
    }
    fn reopen(&self, flags: u32) -> Result<Arc<dyn File>, Errno> {
        Ok(End::new(&self.pipe, flags, None)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ring_wraps() {
        let mut ring = Ring::new();
        assert_eq!(ring.push(b"x"), 0);
        ring.supply(Ring::memory(CAPACITY).unwrap());
        let bytes: Vec<u8> = (0..CAPACITY + 5).map(|n| n as u8).collect();
        assert_eq!(ring.push(&bytes), CAPACITY);
        let mut out = alloc::vec![0; 1000];
        assert_eq!(ring.pop(&mut out), 1000);
        assert_eq!(ring.push(&bytes[CAPACITY..]), 5);
        assert_eq!(ring.len(), CAPACITY - 995);
        let mut rest = alloc::vec![0; CAPACITY];
        assert_eq!(ring.pop(&mut rest), CAPACITY - 995);
        assert_eq!(rest[..CAPACITY - 995], bytes[1000..]);
        assert!(ring.is_empty());
    }
}
