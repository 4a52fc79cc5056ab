//! eventfd and timerfd.
use super::{Edges, File, Metadata, Poll, Seek, numbers::next_ino};
use crate::process::clock::{WATCHERS, Watcher};
use abi::Errno;
use alloc::{
    sync::{Arc, Weak},
    vec::Vec,
};
use machine::{
    sync::{Mutex, Signals, SpinLock, WaitQueue},
    time::{self, Instant, Timer},
};

/// eventfd(2): a counter.
pub struct EventFd {
    count: SpinLock<u64>,
    semaphore: bool,
    queue: WaitQueue,
    edges: Edges,
    ino: u64,
}

impl EventFd {
    /// A counter that starts with `count`; reads take 1 if `semaphore`, else all.
    pub fn new(count: u64, semaphore: bool) -> Arc<Self> {
        Arc::new(Self {
            count: SpinLock::new(count),
            semaphore,
            queue: WaitQueue::new(),
            edges: Edges::new(),
            ino: next_ino(),
        })
    }

    fn wait<T>(&self, nonblock: bool, mut attempt: impl FnMut() -> Option<T>) -> Result<T, Errno> {
        let value = if nonblock {
            attempt().ok_or(Errno::EAGAIN)?
        } else {
            self.queue
                .wait_until(None, Signals::Interrupt, attempt)
                .map_err(|_| Errno::ERESTARTSYS)?
        };
        self.queue.wake_all();
        Ok(value)
    }
}

impl File for EventFd {
    fn read(&self, _offset: u64, buf: &mut [u8], nonblock: bool) -> Result<usize, Errno> {
        let buf = buf.get_mut(..8).ok_or(Errno::EINVAL)?;
        let taken = self.wait(nonblock, || {
            let mut count = self.count.lock();
            let taken = if self.semaphore {
                (*count).min(1)
            } else {
                *count
            };
            *count -= taken;
            self.edges.writable();
            (taken > 0).then_some(taken)
        })?;
        buf.copy_from_slice(&taken.to_le_bytes());
        Ok(8)
    }
    fn write(&self, _offset: u64, buf: &[u8], nonblock: bool) -> Result<usize, Errno> {
        let bytes = buf.first_chunk().ok_or(Errno::EINVAL)?;
        let add = u64::from_le_bytes(*bytes);
        if add == u64::MAX {
            return Err(Errno::EINVAL);
        }
        self.wait(nonblock, || {
            let mut count = self.count.lock();
            let sum = count.checked_add(add).filter(|&sum| sum < u64::MAX)?;
            *count = sum;
            self.edges.readable();
            Some(8)
        })
    }
    fn poll(&self) -> Poll {
        let count = *self.count.lock();
        let mut events = Poll::empty();
        if count > 0 {
            events |= Poll::IN;
        }
        if count < u64::MAX - 1 {
            events |= Poll::OUT;
        }
        events
    }
    fn poll_queue(&self) -> Option<&WaitQueue> {
        Some(&self.queue)
    }
    fn edges(&self) -> [u64; 2] {
        self.edges.counts()
    }
    fn seek(&self) -> Seek {
        Seek::Nowhere
    }
    fn metadata(&self) -> Result<Metadata, Errno> {
        Ok(Metadata::anonymous(self.ino, 0o600))
    }
    fn link_text(&self) -> Vec<u8> {
        b"anon_inode:[eventfd]".to_vec()
    }
}

/// timerfd(2).
pub struct TimerFd {
    realtime: bool,
    state: SpinLock<State>,
    /// Wakes the queue at the next expiration; dropped before `queue`.
    alarm: Mutex<Option<Timer>>,
    queue: Arc<Alarm>,
    ino: u64,
}

#[derive(Clone, Copy, Default)]
struct State {
    /// Next expiration that was not read yet, on the monotonic clock; 0: disarmed.
    next: u64,
    interval: u64,
    /// The same on the real-time clock, if that is what was asked for.
    real: Option<u64>,
    /// Whether setting the clock ends it (`TFD_TIMER_CANCEL_ON_SET`), and has.
    cancels: bool,
    cancelled: bool,
}

/// What timerfd_settime(2) sets, times in nanoseconds.
#[derive(Clone, Copy)]
pub struct Setting {
    /// The first expiration; 0 to disarm.
    pub value: u64,
    /// Between further ones; 0 for none.
    pub interval: u64,
    /// `TFD_TIMER_ABSTIME`
    pub absolute: bool,
    /// `TFD_TIMER_CANCEL_ON_SET`
    pub cancels: bool,
}

struct Alarm {
    queue: WaitQueue,
    edges: Edges,
}

impl time::Alarm for Alarm {
    fn ring(&self) {
        self.edges.readable();
        self.queue.wake_all();
    }
}

impl TimerFd {
    /// A disarmed timer on the monotonic or the real-time clock.
    pub fn new(realtime: bool) -> Arc<Self> {
        let timer = Arc::new(Self {
            realtime,
            state: SpinLock::new(State::default()),
            alarm: Mutex::new(None),
            queue: Arc::new(Alarm {
                queue: WaitQueue::new(),
                edges: Edges::new(),
            }),
            ino: next_ino(),
        });
        if realtime {
            let watcher: Weak<Self> = Arc::downgrade(&timer);
            WATCHERS.add(watcher);
        }
        timer
    }

    fn arm(&self, slot: &mut Option<Timer>) {
        *slot = None;
        let next = self.state.lock().next;
        if next != 0 {
            *slot = Some(Timer::arm(Instant(next), self.queue.clone()));
        }
    }

    /// timerfd_settime(2); returns the old (value, interval). `ECANCELED` if the clock has been set and nobody has read
    /// that yet.
    pub fn set(&self, new: Setting) -> Result<(u64, u64), Errno> {
        let mut alarm = self.alarm.lock();
        let old = self.get();
        let now = Instant::now().0;
        let real = (self.realtime && new.absolute && new.value > 0).then_some(new.value);
        let next = match (new.value, real) {
            (0, _) => 0,
            (_, Some(real)) => on_monotonic(real),
            (value, None) if new.absolute => value,
            (value, None) => now.saturating_add(value),
        };
        let cancels = new.cancels && new.absolute && self.realtime;
        let was_cancelled = {
            let mut state = self.state.lock();
            let was_cancelled = state.cancelled && cancels;
            *state = State {
                next,
                interval: new.interval,
                real,
                cancels,
                cancelled: was_cancelled && next == 0,
            };
            was_cancelled
        };
        self.arm(&mut alarm);
        drop(alarm);
        self.queue.queue.wake_all();
        if was_cancelled && next != 0 {
            return Err(Errno::ECANCELED);
        }
        Ok(old)
    }

    /// timerfd_gettime(2): time to the next expiration, interval.
    pub fn get(&self) -> (u64, u64) {
        let state = *self.state.lock();
        let now = Instant::now().0;
        let left = match state.next {
            0 => 0,
            next if next > now => next - now,
            _ if state.interval == 0 => 0,
            next => state.interval - (now - next) % state.interval,
        };
        (left, state.interval)
    }

    /// Takes the expirations there have been; `ECANCELED` if the clock has been set.
    fn take(&self) -> Option<Result<u64, Errno>> {
        let mut state = self.state.lock();
        if core::mem::take(&mut state.cancelled) {
            return Some(Err(Errno::ECANCELED));
        }
        let now = Instant::now().0;
        if state.next == 0 || state.next > now {
            return None;
        }
        // Without an interval there is one expiration.
        let Some(more) = (now - state.next).checked_div(state.interval) else {
            state.next = 0;
            return Some(Ok(1));
        };
        let passed = (more + 1) * state.interval;
        state.next += passed;
        state.real = state.real.map(|real| real.saturating_add(passed));
        Some(Ok(more + 1))
    }
}

/// The time on the monotonic clock at which the real-time clock shows `real`; not 0.
fn on_monotonic(real: u64) -> u64 {
    let left = real.saturating_sub(time::realtime_ns());
    Instant::now().0.saturating_add(left).max(1)
}

impl Watcher for TimerFd {
    fn clock_was_set(&self) {
        let mut alarm = self.alarm.lock();
        {
            let mut state = self.state.lock();
            state.cancelled |= state.cancels;
            if let (Some(real), true) = (state.real, state.next != 0) {
                state.next = on_monotonic(real);
            }
        }
        self.arm(&mut alarm);
        drop(alarm);
        self.queue.edges.readable();
        self.queue.queue.wake_all();
    }
}

impl Drop for TimerFd {
    fn drop(&mut self) {
        // Before the `Alarm` it points to.
        *self.alarm.lock() = None;
    }
}

impl File for TimerFd {
    fn read(&self, _offset: u64, buf: &mut [u8], nonblock: bool) -> Result<usize, Errno> {
        let buf = buf.get_mut(..8).ok_or(Errno::EINVAL)?;
        let count = if nonblock {
            self.take().unwrap_or(Err(Errno::EAGAIN))?
        } else {
            self.queue
                .queue
                .wait_until(None, Signals::Interrupt, || self.take())
                .unwrap_or(Err(Errno::ERESTARTSYS))?
        };
        self.arm(&mut self.alarm.lock());
        buf.copy_from_slice(&count.to_le_bytes());
        Ok(8)
    }
    fn poll(&self) -> Poll {
        let State {
            next, cancelled, ..
        } = *self.state.lock();
        if cancelled || next != 0 && next <= Instant::now().0 {
            Poll::IN
        } else {
            Poll::empty()
        }
    }
    fn poll_queue(&self) -> Option<&WaitQueue> {
        Some(&self.queue.queue)
    }
    fn edges(&self) -> [u64; 2] {
        self.queue.edges.counts()
    }
    fn seek(&self) -> Seek {
        Seek::Nowhere
    }
    fn metadata(&self) -> Result<Metadata, Errno> {
        Ok(Metadata::anonymous(self.ino, 0o600))
    }
    fn link_text(&self) -> Vec<u8> {
        b"anon_inode:[timerfd]".to_vec()
    }
}
