//! epoll(7): level- and edge-triggered, one-shot.
//!
//! Each entry watches its file's queue: when that is woken, the entry goes to the end of the list of those that may be
//! ready. A wait looks at what is in the list, and at nothing else; what is still ready after it was reported, and is
//! level-triggered, goes to the end again, so that all have their turn. An edge is a change of the file's
//! [`File::edges`] or an event that was not there at the last look. Entries hold the open file description weakly and
//! vanish with it.
use super::{
    File, Metadata, OpenFile, Poll, Seek, downcast, numbers::next_ino, signalfd::SignalFd,
};
use abi::Errno;
use alloc::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Weak},
    vec::Vec,
};
use core::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
};
use linux_raw_sys::general as linux;
use machine::{
    sync::{Mutex, Registration, Signals, SpinLock, WaitError, WaitQueue, Waiter, Watcher},
    time::Instant,
};
use smallvec::SmallVec;

const MAX_DEPTH: usize = 5;
const ALWAYS: u32 = linux::EPOLLERR | linux::EPOLLHUP;
const EXCLUSIVE_OK: u32 = linux::EPOLLIN
    | linux::EPOLLOUT
    | ALWAYS
    | linux::EPOLLWAKEUP
    | linux::EPOLLET
    | linux::EPOLLEXCLUSIVE;

/// Descriptor and description: a descriptor may be closed and used again while a duplicate keeps the old entry.
type Key = (i32, usize);

/// What is reported of entries: events and the program's data.
pub type Taken = SmallVec<[(u32, u64); 8]>;

/// An epoll instance.
pub struct Epoll {
    /// The interest list.
    interest: Mutex<BTreeMap<Key, Arc<Entry>>>,
    ready: Arc<Ready>,
    ino: u64,
}

/// What entries tell of themselves.
#[derive(Debug)]
struct Ready {
    /// Those that may be ready, each once.
    list: SpinLock<VecDeque<Arc<Entry>>>,
    queue: WaitQueue,
}

struct Entry {
    key: Key,
    open: Weak<OpenFile>,
    file: Arc<dyn File>,
    ready: Arc<Ready>,
    /// It is in the list.
    listed: AtomicBool,
    state: SpinLock<State>,
}

struct State {
    events: u32,
    data: u64,
    /// One-shot and reported.
    disarmed: bool,
    /// At the last report.
    seen: Option<News>,
}

/// A file's edges, and events.
type News = ([u64; 2], u32);

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoll entry of descriptor {}", self.key.0)
    }
}

impl Watcher for Entry {
    fn woken(self: Arc<Self>) {
        let ready = self.ready.clone();
        if !self.listed.swap(true, Ordering::SeqCst) {
            ready.list.lock().push_back(self);
        }
        // One that is listed may have been looked at since by who watches this instance, and found not to be ready.
        ready.queue.wake_all();
    }
}

impl Entry {
    fn is_gone(&self) -> bool {
        self.open.strong_count() == 0
    }

    /// Whether there is something to report, as far as levels say.
    fn is_ready(&self) -> bool {
        let events = {
            let state = self.state.lock();
            if state.disarmed {
                return false;
            }
            state.events
        };
        events_of(self.file.poll()) & (events | ALWAYS) != 0
    }

    /// What there is to report, which is taken as reported: the events and the program's data.
    fn look(&self) -> Option<(u32, u64)> {
        // Edges first: what comes after them is looked at once more.
        let edges = self.file.edges();
        let now = events_of(self.file.poll());
        let mut state = self.state.lock();
        let wanted = if state.disarmed {
            0
        } else {
            state.events | ALWAYS
        };
        let events = now & wanted;
        if state.events & linux::EPOLLET != 0 {
            let news = match state.seen {
                Some((at, old)) => is_news(events, at, edges) || events & !old != 0,
                None => true,
            };
            if events == 0 || !news {
                // What is gone may come back as an edge.
                if let Some((_, old)) = &mut state.seen {
                    *old &= events;
                }
                return None;
            }
        }
        if events == 0 {
            return None;
        }
        state.seen = Some((edges, events));
        state.disarmed = state.events & linux::EPOLLONESHOT != 0;
        Some((events, state.data))
    }

    /// Whether it is to be looked at again without its file's queue having been woken: it may be ready still, or its
    /// file is one that is ready for some threads and not for others.
    fn stays(&self, reported: bool) -> bool {
        let state = self.state.lock();
        let level = state.events & linux::EPOLLET == 0 && !state.disarmed;
        reported && level || downcast::<SignalFd>(&*self.file).is_some()
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
            interest: Mutex::new(BTreeMap::new()),
            ready: Arc::new(Ready {
                list: SpinLock::new(VecDeque::new()),
                queue: WaitQueue::new(),
            }),
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
        let (events, data) = event;
        let exclusive = events & linux::EPOLLEXCLUSIVE != 0;
        if let Some(inner) = downcast::<Self>(&*open.file) {
            if core::ptr::eq(inner, self) {
                return Err(Errno::EINVAL);
            }
            if operation == linux::EPOLL_CTL_ADD {
                if exclusive {
                    return Err(Errno::EINVAL);
                }
                inner.check_loop(self, 1)?;
            }
        }
        let queue = open.file.poll_queue().ok_or(Errno::EPERM)?;
        let mut interest = self.interest.lock();
        // Of a description that is no more: its address may be another one's now.
        let stale = interest.get(&key).is_some_and(|entry| entry.is_gone());
        let old = if stale { interest.remove(&key) } else { None };
        let result = match operation {
            linux::EPOLL_CTL_ADD if exclusive && events & !EXCLUSIVE_OK != 0 => Err(Errno::EINVAL),
            linux::EPOLL_CTL_ADD if interest.contains_key(&key) => Err(Errno::EEXIST),
            linux::EPOLL_CTL_ADD => {
                let entry = Arc::new(Entry {
                    key,
                    open: Arc::downgrade(open),
                    file: open.file.clone(),
                    ready: self.ready.clone(),
                    listed: AtomicBool::new(false),
                    state: SpinLock::new(State {
                        events,
                        data,
                        disarmed: false,
                        seen: None,
                    }),
                });
                interest.insert(key, entry.clone());
                // Being woken must not allocate.
                self.ready.make_room(interest.len())?;
                queue.watch(entry.clone());
                Ok(Some(entry))
            }
            linux::EPOLL_CTL_MOD => match interest.get(&key) {
                None => Err(Errno::ENOENT),
                Some(entry) => {
                    let mut state = entry.state.lock();
                    if exclusive || state.events & linux::EPOLLEXCLUSIVE != 0 {
                        Err(Errno::EINVAL)
                    } else {
                        *state = State {
                            events,
                            data,
                            disarmed: false,
                            seen: None,
                        };
                        drop(state);
                        Ok(Some(entry.clone()))
                    }
                }
            },
            linux::EPOLL_CTL_DEL => match interest.remove(&key) {
                None => Err(Errno::ENOENT),
                Some(entry) => {
                    drop(interest);
                    self.forget(&entry);
                    return Ok(());
                }
            },
            _ => Err(Errno::EINVAL),
        };
        drop(interest);
        if let Some(old) = old {
            self.forget(&old);
        }
        if let Some(entry) = result? {
            entry.woken();
        }
        Ok(())
    }

    /// An entry that is not in the interest list any more is not told of anything, and is not reported.
    fn forget(&self, entry: &Arc<Entry>) {
        if let Some(queue) = entry.file.poll_queue() {
            let watcher: Arc<dyn Watcher> = entry.clone();
            queue.unwatch(&watcher);
        }
        let mut list = self.ready.list.lock();
        let place = list.iter().position(|one| Arc::ptr_eq(one, entry));
        let left = place.and_then(|place| list.remove(place));
        drop(list);
        drop(left);
    }

    /// `ELOOP` when `outer` can be reached from here, or the nesting is too deep.
    fn check_loop(&self, outer: &Self, depth: usize) -> Result<(), Errno> {
        if core::ptr::eq(self, outer) || depth > MAX_DEPTH {
            return Err(Errno::ELOOP);
        }
        let files: Vec<_> = {
            let interest = self.interest.lock();
            interest.values().map(|entry| entry.file.clone()).collect()
        };
        for file in files {
            if let Some(inner) = downcast::<Self>(&*file) {
                inner.check_loop(outer, depth + 1)?;
            }
        }
        Ok(())
    }

    /// Takes up to `max` events; whether there are any.
    fn take(&self, max: usize, taken: &mut Taken) -> bool {
        // One at a time; the lock keeps an entry from being reported twice.
        let mut interest = self.interest.lock();
        let mut again = SmallVec::<[_; 8]>::new();
        let mut gone = Vec::new();
        let (count, mut next) = {
            let mut list = self.ready.list.lock();
            (list.len(), list.pop_front())
        };
        let mut looked = 1;
        while let Some(entry) = next.take() {
            // From now on it is listed anew when it is woken.
            entry.listed.store(false, Ordering::SeqCst);
            if entry.is_gone() {
                let known = interest.get(&entry.key);
                if known.is_some_and(|known| Arc::ptr_eq(known, &entry)) {
                    interest.remove(&entry.key);
                }
                gone.push(entry);
            } else {
                let news = entry.look();
                if let Some(news) = news {
                    taken.push(news);
                }
                if entry.stays(news.is_some()) {
                    again.push(entry);
                }
            }
            if looked < count && taken.len() < max {
                looked += 1;
                next = self.ready.list.lock().pop_front();
            }
        }
        let mut is_left = false;
        for entry in again.drain(..) {
            if !entry.listed.swap(true, Ordering::SeqCst) {
                self.ready.list.lock().push_back(entry);
                is_left = true;
            }
        }
        drop(interest);
        for entry in gone {
            self.forget(&entry);
        }
        // Others that wait have a share in what is left.
        if !taken.is_empty() && (is_left || !self.ready.list.lock().is_empty()) {
            self.ready.queue.wake_one();
        }
        !taken.is_empty()
    }

    /// epoll_wait(2), into `taken`. `EINTR` by a signal.
    pub fn wait(
        &self,
        max: usize,
        deadline: Option<Instant>,
        taken: &mut Taken,
    ) -> Result<(), Errno> {
        let mut some = || self.take(max, taken).then_some(());
        if some().is_some() || deadline.is_some_and(|at| at <= Instant::now()) {
            return Ok(());
        }
        match self
            .ready
            .queue
            .wait_until(deadline, Signals::Interrupt, &mut some)
        {
            Ok(()) => Ok(()),
            Err(WaitError::TimedOut) => {
                some();
                Ok(())
            }
            Err(WaitError::Interrupted) => Err(Errno::EINTR),
        }
    }
}

impl Ready {
    /// Has room for so many entries; `ENOMEM`.
    fn make_room(&self, count: usize) -> Result<(), Errno> {
        let capacity = self.list.lock().capacity();
        if capacity >= count {
            return Ok(());
        }
        let mut longer = VecDeque::new();
        longer
            .try_reserve(count.next_power_of_two())
            .map_err(|_| Errno::ENOMEM)?;
        let mut list = self.list.lock();
        longer.extend(list.drain(..));
        core::mem::swap(&mut *list, &mut longer);
        drop(list);
        Ok(())
    }
}

impl Drop for Epoll {
    fn drop(&mut self) {
        let entries = core::mem::take(&mut *self.interest.lock());
        for entry in entries.values() {
            self.forget(entry);
        }
    }
}

/// Whether edges are of interest for what is the case: room to write is not to those who want to read.
fn is_news(events: u32, before: [u64; 2], now: [u64; 2]) -> bool {
    let writable = linux::EPOLLOUT | linux::EPOLLWRNORM | linux::EPOLLWRBAND;
    (events & !writable != 0 && before[0] != now[0])
        || (events & writable != 0 && before[1] != now[1])
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
        let listed: Vec<_> = self.ready.list.lock().iter().cloned().collect();
        let ready = listed
            .iter()
            .any(|entry| !entry.is_gone() && entry.is_ready());
        if ready { Poll::IN } else { Poll::empty() }
    }
    fn poll_queue(&self) -> Option<&WaitQueue> {
        Some(&self.ready.queue)
    }
    fn seek(&self) -> Seek {
        Seek::Nowhere
    }
    fn metadata(&self) -> Result<Metadata, Errno> {
        Ok(Metadata::anonymous(self.ino, 0o600))
    }
    fn link_text(&self) -> Vec<u8> {
        b"anon_inode:[eventpoll]".to_vec()
    }
}
