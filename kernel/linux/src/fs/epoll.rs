//! epoll(7): level- and edge-triggered, one-shot.
//!
//! A wait registers with the queues of all entries and then looks at each: it costs time in the number of entries, and
//! loses no event. An edge is a change of the file's [`File::edges`] or an event that was not there at the last
//! look. When there is more than a wait may take, the next one begins where it has left off. Entries hold the open file
//! description weakly and vanish with it.
use super::{File, Metadata, OpenFile, Poll, downcast, tree::next_ino};
use abi::Errno;
use alloc::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    vec::Vec,
};
use core::ops::Bound;
use linux_raw_sys::general as linux;
use machine::{
    sync::{Mutex, Registration, Signals, WaitError, WaitQueue, Waiter},
    time::Instant,
};

const MAX_DEPTH: usize = 5;
/// Below all keys.
const FIRST: Key = (i32::MIN, 0);
const ALWAYS: u32 = linux::EPOLLERR | linux::EPOLLHUP;
const EXCLUSIVE_OK: u32 = linux::EPOLLIN
    | linux::EPOLLOUT
    | ALWAYS
    | linux::EPOLLWAKEUP
    | linux::EPOLLET
    | linux::EPOLLEXCLUSIVE;

/// Descriptor and description: a descriptor may be closed and used again while a duplicate keeps the old entry.
type Key = (i32, usize);

/// An epoll instance.
pub struct Epoll {
    interest: Mutex<Interest>,
    queue: WaitQueue,
    ino: u64,
}

/// The interest list.
struct Interest {
    entries: BTreeMap<Key, Entry>,
    /// Where the next look begins: behind the entry that was reported last, if others were left out, so that all have
    /// their turn.
    after: Key,
}

struct Entry {
    open: Weak<OpenFile>,
    file: Arc<dyn File>,
    events: u32,
    data: u64,
    /// One-shot and reported.
    disarmed: bool,
    /// At the last report.
    seen: Option<News>,
}

/// A file's edges, and events.
type News = ([u64; 2], u32);

impl Entry {
    fn ready(&self) -> u32 {
        if self.disarmed {
            return 0;
        }
        events_of(self.file.poll()) & (self.events | ALWAYS)
    }

    /// What there is to report.
    fn look(&mut self) -> Option<News> {
        let edges = self.file.edges();
        let events = self.ready();
        if self.events & linux::EPOLLET != 0 {
            let news = match self.seen {
                Some((at, old)) => is_news(events, at, edges) || events & !old != 0,
                None => true,
            };
            if events == 0 || !news {
                // What is gone may come back as an edge.
                if let Some((_, old)) = &mut self.seen {
                    *old &= events;
                }
                return None;
            }
        }
        (events != 0).then_some((edges, events))
    }

    /// It is reported: the events and the program's data.
    fn report(&mut self, news: News) -> (u32, u64) {
        self.seen = Some(news);
        self.disarmed = self.events & linux::EPOLLONESHOT != 0;
        (news.1, self.data)
    }
}

/// Adds the `*RDNORM`/`*WRNORM` companions of `IN` and `OUT`.
pub fn events_of(poll: Poll) -> u32 {
    let mut events = poll.bits();
    if poll.contains(Poll::IN) {
        events |= linux::EPOLLRDNORM;
    }
    if poll.contains(Poll::OUT) {
        events |= linux::EPOLLWRNORM;
    }
    events
}

impl Epoll {
    /// An instance without entries.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            interest: Mutex::new(Interest {
                entries: BTreeMap::new(),
                after: FIRST,
            }),
            queue: WaitQueue::new(),
            ino: next_ino(),
        })
    }

    /// epoll_ctl(2); `event` is (events, data).
    pub fn control(
        &self,
        operation: u32,
        fd: i32,
        open: &Arc<OpenFile>,
        event: (u32, u64),
    ) -> Result<(), Errno> {
        let key = (fd, Arc::as_ptr(open) as usize);
        if let Some(inner) = downcast::<Self>(&*open.file) {
            if core::ptr::eq(inner, self) {
                return Err(Errno::EINVAL);
            }
            if operation == linux::EPOLL_CTL_ADD {
                inner.check_loop(self, 1)?;
            }
        }
        if open.file.poll_queue().is_none() && downcast::<Self>(&*open.file).is_none() {
            return Err(Errno::EPERM);
        }
        let (events, data) = event;
        let exclusive = events & linux::EPOLLEXCLUSIVE != 0;
        let mut interest = self.interest.lock();
        let entries = &mut interest.entries;
        entries.retain(|_, entry| entry.open.strong_count() > 0);
        match operation {
            linux::EPOLL_CTL_ADD => {
                if exclusive && events & !EXCLUSIVE_OK != 0 {
                    return Err(Errno::EINVAL);
                }
                if entries.contains_key(&key) {
                    return Err(Errno::EEXIST);
                }
                let entry = Entry {
                    open: Arc::downgrade(open),
                    file: open.file.clone(),
                    events,
                    data,
                    disarmed: false,
                    seen: None,
                };
                entries.insert(key, entry);
            }
            linux::EPOLL_CTL_MOD => {
                let entry = entries.get_mut(&key).ok_or(Errno::ENOENT)?;
                if exclusive || entry.events & linux::EPOLLEXCLUSIVE != 0 {
                    return Err(Errno::EINVAL);
                }
                (entry.events, entry.data) = event;
                entry.disarmed = false;
                entry.seen = None;
            }
            linux::EPOLL_CTL_DEL => {
                let old = entries.remove(&key).ok_or(Errno::ENOENT)?;
                drop(interest);
                drop(old);
                return Ok(());
            }
            _ => return Err(Errno::EINVAL),
        }
        drop(interest);
        self.queue.wake_all();
        Ok(())
    }

    /// `ELOOP` when `outer` can be reached from here, or the nesting is too deep.
    fn check_loop(&self, outer: &Self, depth: usize) -> Result<(), Errno> {
        if core::ptr::eq(self, outer) || depth > MAX_DEPTH {
            return Err(Errno::ELOOP);
        }
        for file in self.files() {
            if let Some(inner) = downcast::<Self>(&*file) {
                inner.check_loop(outer, depth + 1)?;
            }
        }
        Ok(())
    }

    fn files(&self) -> Vec<Arc<dyn File>> {
        let entries = &self.interest.lock().entries;
        entries.values().map(|entry| entry.file.clone()).collect()
    }

    /// Takes up to `max` events as (events, data).
    fn take(&self, max: usize) -> Vec<(u32, u64)> {
        let mut ready = Vec::new();
        let mut interest = self.interest.lock();
        let Interest { entries, after } = &mut *interest;
        let mut gone = Vec::new();
        let mut next = FIRST;
        let mut last = FIRST;
        for turn in [
            (Bound::Excluded(*after), Bound::Unbounded),
            (Bound::Unbounded, Bound::Included(*after)),
        ] {
            for (&key, entry) in entries.range_mut(turn) {
                if entry.open.strong_count() == 0 {
                    gone.push(key);
                } else if let Some(news) = entry.look() {
                    if ready.len() == max {
                        next = last;
                    } else {
                        ready.push(entry.report(news));
                        last = key;
                    }
                }
            }
        }
        *after = next;
        let closed: Vec<_> = gone.iter().map(|key| entries.remove(key)).collect();
        drop(interest);
        drop(closed);
        ready
    }

    /// epoll_wait(2). `EINTR` by a signal.
    pub fn wait(&self, max: usize, deadline: Option<Instant>) -> Result<Vec<(u32, u64)>, Errno> {
        let ready = self.take(max);
        if !ready.is_empty() || deadline.is_some_and(|at| at <= Instant::now()) {
            return Ok(ready);
        }
        let waiter = Waiter::new();
        loop {
            let own = self.queue.register(&waiter);
            let mut files = Vec::new();
            for file in self.files() {
                collect(file, &mut files, 0);
            }
            let registrations = register(&files, &waiter);
            let ready = self.take(max);
            if !ready.is_empty() {
                return Ok(ready);
            }
            match waiter.wait(deadline, Signals::Interrupt) {
                Ok(()) => (),
                Err(WaitError::TimedOut) => return Ok(self.take(max)),
                Err(WaitError::Interrupted) => return Err(Errno::EINTR),
            }
            drop(registrations);
            drop(own);
        }
    }
}

/// Whether edges are of interest for what is the case: room to write is not to those who want to read.
fn is_news(events: u32, before: [u64; 2], now: [u64; 2]) -> bool {
    let writable = linux::EPOLLOUT | linux::EPOLLWRNORM | linux::EPOLLWRBAND;
    (events & !writable != 0 && before[0] != now[0])
        || (events & writable != 0 && before[1] != now[1])
}

/// `file`, and for an epoll instance the files it watches.
pub fn collect(file: Arc<dyn File>, to: &mut Vec<Arc<dyn File>>, depth: usize) {
    if let Some(epoll) = downcast::<Epoll>(&*file)
        && depth <= MAX_DEPTH
    {
        for inner in epoll.files() {
            collect(inner, to, depth + 1);
        }
    }
    to.push(file);
}

/// Registers `waiter` with the queues of all files.
pub fn register<'a>(files: &'a [Arc<dyn File>], waiter: &Arc<Waiter>) -> Vec<Registration<'a>> {
    files
        .iter()
        .filter_map(|file| file.poll_queue())
        .map(|queue| queue.register(waiter))
        .collect()
}

impl File for Epoll {
    fn poll(&self) -> Poll {
        let interest = self.interest.lock();
        let ready = interest
            .entries
            .values()
            .any(|entry| entry.open.strong_count() > 0 && entry.ready() != 0);
        if ready { Poll::IN } else { Poll::empty() }
    }
    fn poll_queue(&self) -> Option<&WaitQueue> {
        Some(&self.queue)
    }
    fn metadata(&self) -> Result<Metadata, Errno> {
        Ok(Metadata::anonymous(self.ino, 0o600))
    }
    fn link_text(&self) -> Vec<u8> {
        b"anon_inode:[eventpoll]".to_vec()
    }
}
