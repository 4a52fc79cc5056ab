//! The events of an instance that wait to be read, and how they are read: `struct inotify_event`.
use crate::fs::Edges;
use abi::Errno;
use alloc::{boxed::Box, collections::VecDeque};
use linux_raw_sys::general as linux;
use machine::sync::{Signals, SpinLock, WaitQueue};

/// Most events that wait to be read from one instance.
pub const MAX_QUEUED_EVENTS: usize = 16384;
/// Size of a record without the name; names are filled up to a multiple of it.
const RECORD: usize = 16;

struct Event {
    descriptor: i32,
    mask: u32,
    cookie: u32,
    name: Option<Box<[u8]>>,
}

impl Event {
    /// Whether it says the same, be it of another rename.
    fn is_like(&self, other: &Self) -> bool {
        let told = |event: &Self| (event.descriptor, event.mask);
        told(self) == told(other) && self.name == other.name
    }

    /// Length of the name as it is read, with its end.
    fn name_len(&self) -> usize {
        let name = self.name.as_deref();
        name.map_or(0, |name| (name.len() + 1).next_multiple_of(RECORD))
    }

    fn len(&self) -> usize {
        RECORD + self.name_len()
    }

    /// Fills `to`, which is as long as it.
    fn put(&self, to: &mut [u8]) {
        to.fill(0);
        to[..4].copy_from_slice(&self.descriptor.to_le_bytes());
        to[4..8].copy_from_slice(&self.mask.to_le_bytes());
        to[8..12].copy_from_slice(&self.cookie.to_le_bytes());
        to[12..RECORD].copy_from_slice(&self.name_len().to_le_bytes()[..4]);
        if let Some(name) = &self.name {
            to[RECORD..RECORD + name.len()].copy_from_slice(name);
        }
    }
}

/// Events, oldest first.
pub(super) struct Queue {
    events: SpinLock<VecDeque<Event>>,
    waiters: WaitQueue,
    edges: Edges,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self {
            events: SpinLock::new(VecDeque::new()),
            waiters: WaitQueue::new(),
            edges: Edges::new(),
        }
    }

    /// Puts an event behind the others, unless the last one says the same.
    pub(super) fn push(&self, descriptor: i32, mask: u32, name: Option<&[u8]>, cookie: u32) {
        let mut event = Event {
            descriptor,
            mask,
            cookie,
            name: name.map(Box::from),
        };
        let mut events = self.events.lock();
        if events.len() >= MAX_QUEUED_EVENTS {
            event = Event {
                descriptor: -1,
                mask: linux::IN_Q_OVERFLOW,
                cookie: 0,
                name: None,
            };
        }
        if events.back().is_some_and(|last| last.is_like(&event)) {
            return;
        }
        events.push_back(event);
        drop(events);
        self.edges.readable();
        self.waiters.wake_all();
    }

    /// Takes events into `buf`, as many as have room; `EINVAL` if not even the first has.
    fn take(&self, buf: &mut [u8]) -> Option<Result<usize, Errno>> {
        let mut done = 0;
        loop {
            let mut events = self.events.lock();
            let Some(event) = events.front() else {
                break;
            };
            let Some(room) = buf.get_mut(done..done + event.len()) else {
                if done == 0 {
                    return Some(Err(Errno::EINVAL));
                }
                break;
            };
            event.put(room);
            done += room.len();
            let taken = events.pop_front();
            drop(events);
            drop(taken);
        }
        (done > 0).then_some(Ok(done))
    }

    /// Takes events into `buf` once there are any; `EAGAIN` if there are none and it must not wait.
    pub(super) fn read(&self, buf: &mut [u8], nonblock: bool) -> Result<usize, Errno> {
        if nonblock {
            return self.take(buf).unwrap_or(Err(Errno::EAGAIN));
        }
        self.waiters
            .wait_until(None, Signals::Interrupt, || self.take(buf))
            .unwrap_or(Err(Errno::ERESTARTSYS))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.lock().is_empty()
    }

    /// How many bytes all of them are.
    pub(super) fn bytes(&self) -> usize {
        self.events.lock().iter().map(Event::len).sum()
    }

    /// Those who wait for events.
    pub(super) fn waiters(&self) -> &WaitQueue {
        &self.waiters
    }

    pub(super) fn edges(&self) -> [u64; 2] {
        self.edges.counts()
    }
}
