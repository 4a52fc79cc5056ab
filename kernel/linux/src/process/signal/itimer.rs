//! Interval timers: the real one (`setitimer(ITIMER_REAL)`, `alarm`) sends SIGALRM after a time, and again after each
//! interval; those of CPU time send SIGVTALRM and SIGPROF. All CPU time counts as the program's own, so these two run
//! alike.
//!
//! As in Linux the real timer's next interval is armed when the signal is taken: a program that blocks SIGALRM gets
//! one, not a pile.
use super::{Recipient, SigInfo};
use crate::process::{
    Process,
    clock::{Clock, next_expiry},
};
use alloc::sync::{Arc, Weak};
use linux_raw_sys::general::{RLIMIT_CPU, SIGALRM, SIGKILL, SIGPROF, SIGVTALRM, SIGXCPU};
use machine::{
    sync::SpinLock,
    time::{Alarm, Instant, Timer},
};

/// Time left and interval, in nanoseconds; zeros when a timer is not armed.
pub type Setting = (u64, u64);

/// The interval timers of a process. Their locks are taken before those of signals and of threads.
#[derive(Default)]
pub(crate) struct IntervalTimers {
    real: SpinLock<RealTimer>,
    cpu: [SpinLock<CpuTimer>; 3],
}

/// The real timer.
#[derive(Default)]
struct RealTimer {
    /// 0 when it is not armed.
    expires: u64,
    interval_ns: u64,
    /// It has expired and its signal was not taken yet.
    fired: bool,
    /// Counts armings: an alarm that comes late knows that it is not meant any more.
    generation: u64,
    /// Dropped without the lock if it may be waiting for that, which is from when it is due until `fired` is set.
    alarm: Option<Timer>,
}

/// The real timer's alarm.
struct Expiry {
    process: Weak<Process>,
    generation: u64,
}

impl Alarm for Expiry {
    fn ring(&self) {
        // If it is the last reference, nothing is left in the process but memory: it has ended.
        if let Some(process) = self.process.upgrade() {
            process.real_timer_is_due(self.generation);
        }
    }
}

impl RealTimer {
    fn setting(&self, now: u64) -> Setting {
        match (self.expires.saturating_sub(now), self.interval_ns) {
            (0, 0) => (0, 0),
            // Due but not taken yet: not the 0 that means "not armed".
            (left, interval) => (left.max(1000), interval),
        }
    }

    fn arm(&mut self, process: &Arc<Process>, expires: u64) {
        self.generation += 1;
        self.expires = expires;
        let expiry = Expiry {
            process: Arc::downgrade(process),
            generation: self.generation,
        };
        self.alarm = Some(Timer::arm(Instant(expires), Arc::new(expiry)));
    }
}

impl Process {
    /// What the real timer is set to.
    pub fn real_timer(&self) -> Setting {
        self.itimers.real.lock().setting(Instant::now().0)
    }

    /// Arms the real timer to expire in `value_ns` (0: not at all) and then each `interval_ns` (0: only once); the
    /// setting before.
    pub fn set_real_timer(self: &Arc<Self>, value_ns: u64, interval_ns: u64) -> Setting {
        let mut timer = self.itimers.real.lock();
        let now = Instant::now().0;
        let old = timer.setting(now);
        let alarm = timer.alarm.take();
        timer.generation += 1;
        (timer.expires, timer.interval_ns, timer.fired) = (0, 0, false);
        if value_ns != 0 {
            timer.interval_ns = interval_ns;
            timer.arm(self, now.saturating_add(value_ns));
        }
        drop(timer);
        drop(alarm);
        old
    }

    /// The real timer's alarm has rung. Runs in interrupt context.
    fn real_timer_is_due(&self, generation: u64) {
        let mut timer = self.itimers.real.lock();
        if timer.generation != generation {
            return;
        }
        // Under the lock: who takes the signal finds that it has fired.
        timer.fired = true;
        self.send_kernel(Recipient::Process, SIGALRM as i32);
    }

    /// Called for each signal that is taken: the real timer's own starts the next interval. As that merges with others
    /// of its number, so does any of these.
    pub(super) fn alarm_signal_taken(self: &Arc<Self>, info: &SigInfo) {
        if info.signal != SIGALRM as i32 {
            return;
        }
        let mut timer = self.itimers.real.lock();
        if timer.fired {
            timer.fired = false;
            if timer.interval_ns != 0 {
                let now = Instant::now().0;
                let (expires, _) = next_expiry(timer.expires, timer.interval_ns, now);
                timer.arm(self, expires);
            }
        }
    }
}

/// A timer of CPU time.
#[derive(Default)]
struct CpuTimer {
    /// In the CPU time that it goes by; 0 when it is not armed.
    expires: u64,
    interval_ns: u64,
    /// Counts armings: an alarm that comes late knows that it is not meant any more.
    generation: u64,
    /// Taken out before it is dropped without the lock, but by itself.
    alarm: Option<Timer>,
}

/// Which timer of CPU time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CpuTime {
    /// `ITIMER_VIRTUAL`
    Virtual,
    /// `ITIMER_PROF`
    Prof,
    /// `RLIMIT_CPU`
    Limit,
}

impl CpuTime {
    /// The signal that tells.
    fn signal(self) -> i32 {
        match self {
            Self::Virtual => SIGVTALRM as i32,
            Self::Prof => SIGPROF as i32,
            Self::Limit => SIGXCPU.cast_signed(),
        }
    }
}

/// The alarm of a timer of CPU time: has so much been used?
struct Look {
    process: Weak<Process>,
    which: CpuTime,
    generation: u64,
}

impl Alarm for Look {
    fn ring(&self) {
        // As in `Expiry`.
        if let Some(process) = self.process.upgrade() {
            process.look_at_cpu_timer(self.which, self.generation);
        }
    }
}

impl CpuTimer {
    fn setting(&self, now: u64) -> Setting {
        match self.expires {
            0 => (0, self.interval_ns),
            // Due but not noticed yet: not the 0 that means "not armed".
            expires => (expires.saturating_sub(now).max(1000), self.interval_ns),
        }
    }

    fn arm(&mut self, process: &Arc<Process>, which: CpuTime, now: u64) {
        self.generation += 1;
        let look = Look {
            process: Arc::downgrade(process),
            which,
            generation: self.generation,
        };
        let at = Clock::Process(process.pid).look_at(self.expires, now);
        self.alarm = Some(Timer::arm(at, Arc::new(look)));
    }

    /// So much CPU time has been used: whether it has expired.
    fn advance(&mut self, now: u64) -> bool {
        let expired = now >= self.expires;
        if expired {
            self.expires = match self.interval_ns {
                0 => 0,
                interval => next_expiry(self.expires, interval, now).0,
            };
        }
        expired
    }
}

impl Process {
    /// The CPU time that a timer goes by.
    fn used_ns(&self, which: CpuTime) -> u64 {
        match which {
            CpuTime::Virtual => self.usage_of_threads().user_ns(),
            CpuTime::Prof | CpuTime::Limit => self.cpu_time_ns(),
        }
    }

    /// As [`Process::real_timer`], for a timer of CPU time.
    pub fn cpu_timer(&self, which: CpuTime) -> Setting {
        let timer = self.itimers.cpu[which as usize].lock();
        timer.setting(self.used_ns(which))
    }

    /// As [`Process::set_real_timer`], for a timer of CPU time.
    pub fn set_cpu_timer(
        self: &Arc<Self>,
        which: CpuTime,
        value_ns: u64,
        interval_ns: u64,
    ) -> Setting {
        let mut timer = self.itimers.cpu[which as usize].lock();
        let now = self.used_ns(which);
        let old = timer.setting(now);
        let alarm = timer.alarm.take();
        timer.generation += 1;
        timer.interval_ns = interval_ns;
        timer.expires = 0;
        if value_ns != 0 {
            timer.expires = now.saturating_add(value_ns);
            timer.arm(self, which, now);
        }
        drop(timer);
        drop(alarm);
        old
    }

    /// Looks after its limit of CPU time from now on: each second above it tells.
    pub fn watch_cpu_limit(self: &Arc<Self>) {
        const SECOND: u64 = 1_000_000_000;
        let limit = self.limits.soft(RLIMIT_CPU);
        let left = limit
            .max(1)
            .saturating_mul(SECOND)
            .saturating_sub(self.cpu_time_ns());
        let left = if limit == u64::MAX { 0 } else { left.max(1) };
        self.set_cpu_timer(CpuTime::Limit, left, SECOND);
    }

    /// The alarm of a timer of CPU time has rung. Runs in interrupt context.
    fn look_at_cpu_timer(self: &Arc<Self>, which: CpuTime, generation: u64) {
        let mut timer = self.itimers.cpu[which as usize].lock();
        if timer.generation != generation {
            return;
        }
        let now = self.used_ns(which);
        if timer.advance(now) {
            let is_over = which == CpuTime::Limit && self.limits.has_used_up(now);
            let signal = if is_over {
                SIGKILL.cast_signed()
            } else {
                which.signal()
            };
            self.send_kernel(Recipient::Running, signal);
        }
        if timer.expires != 0 {
            timer.arm(self, which, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_armed_timer_never_shows_that_nothing_is_left() {
        let real = RealTimer {
            expires: 5000,
            interval_ns: 100,
            ..RealTimer::default()
        };
        assert_eq!(real.setting(2000), (3000, 100));
        assert_eq!(real.setting(6000), (1000, 100));
        assert_eq!(RealTimer::default().setting(6000), (0, 0));
        let cpu = CpuTimer {
            expires: 5000,
            ..CpuTimer::default()
        };
        assert_eq!(
            (cpu.setting(2000), cpu.setting(6000)),
            ((3000, 0), (1000, 0))
        );
    }

    #[test]
    fn cpu_timers_expire_once_or_in_steps() {
        let mut timer = CpuTimer {
            expires: 100,
            interval_ns: 30,
            ..CpuTimer::default()
        };
        assert!(!timer.advance(99));
        assert!(timer.advance(135));
        assert_eq!(timer.expires, 160);
        timer.interval_ns = 0;
        assert!(timer.advance(160));
        assert_eq!(timer.expires, 0);
    }
}
