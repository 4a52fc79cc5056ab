//! Clocks that programs can name, and when to look at them: timers run on the monotonic clock, whatever clock they are
//! set on.
use super::{Pid, table};
use abi::Errno;
use alloc::{sync::Weak, vec::Vec};
use linux_raw_sys::general as linux;
use machine::{
    arch::cpu,
    sched::{self, Tid},
    sync::{Mutex, WaitQueue},
    time::{Instant, realtime_ns},
};

/// Who waits for a time of day, and is told when the real-time clock is set.
pub(crate) struct Watchers {
    /// Threads.
    pub(crate) sleepers: WaitQueue,
    files: Mutex<Vec<Weak<dyn Watcher>>>,
}

/// What waits for a time of day.
pub(crate) trait Watcher: Send + Sync {
    /// The real-time clock has been set.
    fn clock_was_set(&self);
}

/// All that do, but for the timers of processes.
pub(crate) static WATCHERS: Watchers = Watchers {
    sleepers: WaitQueue::new(),
    files: Mutex::new(Vec::new()),
};

impl Watchers {
    /// Tells `file`, too, as long as there is one.
    pub(crate) fn add(&self, file: Weak<dyn Watcher>) {
        let mut files = self.files.lock();
        files.retain(|file| file.strong_count() > 0);
        files.push(file);
    }

    /// Tells all.
    pub(crate) fn clock_was_set(&self) {
        let files = self.files.lock().clone();
        for file in files.iter().filter_map(Weak::upgrade) {
            file.clock_was_set();
        }
        self.sleepers.wake_all();
    }
}

/// A clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clock {
    /// Time of day.
    Real,
    /// Time since boot: the machine never sleeps.
    Monotonic,
    /// A process' CPU time; 0 for the caller's.
    Process(Pid),
    /// A thread's CPU time; 0 for the caller's.
    Thread(Tid),
}

/// How often a clock of CPU time is looked at when it is about to reach a time: Linux, too, looks once a tick.
const TICK: u64 = 4_000_000;

impl Clock {
    /// The clock a program names. `EINVAL` when there is no such clock.
    pub fn from_id(id: i32) -> Result<Self, Errno> {
        if id < 0 {
            return Self::from_cpu_clock(id);
        }
        Ok(match id as u32 {
            linux::CLOCK_REALTIME
            | linux::CLOCK_REALTIME_COARSE
            | linux::CLOCK_REALTIME_ALARM
            | linux::CLOCK_TAI => Self::Real,
            linux::CLOCK_MONOTONIC
            | linux::CLOCK_MONOTONIC_RAW
            | linux::CLOCK_MONOTONIC_COARSE
            | linux::CLOCK_BOOTTIME
            | linux::CLOCK_BOOTTIME_ALARM => Self::Monotonic,
            linux::CLOCK_PROCESS_CPUTIME_ID => Self::Process(0),
            linux::CLOCK_THREAD_CPUTIME_ID => Self::Thread(0),
            _ => return Err(Errno::EINVAL),
        })
    }

    /// Ids that `clock_getcpuclockid` and `pthread_getcpuclockid` make: the inverted thread or process id above three
    /// bits, of which bit 2 means a thread and the lower two the kind of time (3: a descriptor's clock).
    fn from_cpu_clock(id: i32) -> Result<Self, Errno> {
        let owner = !(id >> 3);
        match (id & 3, id & 4 != 0) {
            (3, _) => Err(Errno::EINVAL),
            (_, true) => Ok(Self::Thread(owner)),
            (_, false) if owner == 0 || table::find(owner).is_some() => Ok(Self::Process(owner)),
            (_, false) => Err(Errno::EINVAL),
        }
    }

    /// The same clock for all threads.
    pub fn resolved(self) -> Self {
        match self {
            Self::Thread(0) => Self::Thread(sched::current_tid()),
            Self::Process(0) => Self::Process(super::with_current(|process| process.pid)),
            other => other,
        }
    }

    /// What it shows. `EINVAL` when it was a thread's or a process' that has ended. May be called in interrupt context
    /// once it is resolved.
    pub fn now_ns(self) -> Result<u64, Errno> {
        Ok(match self.resolved() {
            Self::Real => realtime_ns(),
            Self::Monotonic => Instant::now().0,
            Self::Process(pid) => table::process_cpu_time_ns(pid).ok_or(Errno::EINVAL)?,
            Self::Thread(tid) => table::thread_cpu_time_ns(tid).ok_or(Errno::EINVAL)?,
        })
    }

    /// When to look whether it has reached `at`, if it shows `now`: the moment itself, or for CPU time the earliest
    /// that it can be.
    pub fn look_at(self, at: u64, now: u64) -> Instant {
        let left = at.saturating_sub(now);
        let wait = match self {
            Self::Real => left,
            Self::Monotonic => return Instant(at),
            // Each CPU that runs it would look at each of its ticks.
            Self::Process(_) => left.max(TICK) / cpu::count().max(1) as u64,
            Self::Thread(_) => left.max(TICK),
        };
        Instant(Instant::now().0.saturating_add(wait))
    }
}

/// The first expiry after `now`, in steps of `interval` from `last`, and how many steps that is; `last` if that is not
/// past.
pub(super) fn next_expiry(last: u64, interval: u64, now: u64) -> (u64, u64) {
    let Some(past) = now.checked_sub(last) else {
        return (last, 0);
    };
    let steps = past / interval + 1;
    (last.saturating_add(steps.saturating_mul(interval)), steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_clocks_are_decoded_as_glibc_makes_them() {
        let thread_clock = (!7 << 3) | 6;
        assert_eq!(Clock::from_id(thread_clock), Ok(Clock::Thread(7)));
        assert_eq!(Clock::from_id((!0 << 3) | 2), Ok(Clock::Process(0)));
        assert_eq!(Clock::from_id((!9 << 3) | 2), Err(Errno::EINVAL));
    }

    #[test]
    fn missed_intervals_are_skipped() {
        assert_eq!(next_expiry(100, 10, 99), (100, 0));
        assert_eq!(next_expiry(100, 10, 100), (110, 1));
        assert_eq!(next_expiry(100, 10, 109), (110, 1));
        assert_eq!(next_expiry(100, 10, 135), (140, 4));
    }
}
