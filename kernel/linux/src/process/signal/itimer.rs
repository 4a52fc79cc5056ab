//! Interval timers: the real one (`setitimer(ITIMER_REAL)`, `alarm`) sends SIGALRM after a time, and again after each interval;
//! those of CPU time send SIGVTALRM and SIGPROF. All CPU time counts as the program's own, so these two run alike.
//!
//! As in Linux the real timer's next interval is armed when the signal is taken: a program that blocks SIGALRM gets one, not a pile.
use super::SigInfo;
use crate::process::{
    self, Pid,
    clock::{Clock, next_expiry},
};
use alloc::sync::Arc;
use linux_raw_sys::general::{SIGALRM, SIGPROF, SIGVTALRM};
use machine::{
    sync::SpinLock,
    time::{Alarm, Instant, Timer},
};

/// The real timer.
struct RealTimer {
    /// 0 when it is not armed.
    expires: u64,
    interval_ns: u64,
    /// It has expired and its signal was not taken yet.
    fired: bool,
    /// Counts armings: an alarm that comes late knows that it is not meant any more.
    generation: usize,
    /// Dropped without the lock if its function may be waiting for that, which is from when it is due until `fired` is set.
    alarm: Option<Timer>,
}

static REAL: SpinLock<RealTimer> = SpinLock::new(RealTimer {
    expires: 0,
    interval_ns: 0,
    fired: false,
    generation: 0,
    alarm: None,
});

impl RealTimer {
    fn setting(&self) -> (u64, u64) {
        let left = self.expires.saturating_sub(Instant::now().0);
        match (left, self.interval_ns) {
            (0, 0) => (0, 0),
            // Due but not taken yet: not the 0 that means "not armed".
            (left, interval) => (left.max(1000), interval),
        }
    }

    fn arm(&mut self, expires: u64) {
        self.generation = self.generation.wrapping_add(1);
        self.expires = expires;
        self.alarm = Some(Timer::arm(
            Instant(expires),
            Arc::new(Expiry(self.generation)),
        ));
    }
}

/// Time left and interval, in nanoseconds; zeros when it is not armed.
pub fn get() -> (u64, u64) {
    REAL.lock().setting()
}

/// Arms it to expire in `value_ns` (0: not at all) and then each `interval_ns` (0: only once); what [`get`] said before.
pub fn set(value_ns: u64, interval_ns: u64) -> (u64, u64) {
    let mut timer = REAL.lock();
    let old = timer.setting();
    let alarm = timer.alarm.take();
    timer.generation = timer.generation.wrapping_add(1);
    (timer.expires, timer.interval_ns, timer.fired) = (0, 0, false);
    if value_ns != 0 {
        timer.interval_ns = interval_ns;
        timer.arm(Instant::now().0.saturating_add(value_ns));
    }
    drop(timer);
    drop(alarm);
    old
}

/// The real timer's alarm, with its generation.
struct Expiry(usize);

impl Alarm for Expiry {
    fn ring(&self) {
        expired(self.0);
    }
}

fn expired(generation: usize) {
    let mut timer = REAL.lock();
    if timer.generation != generation {
        return;
    }
    // Under the lock: who takes the signal finds that it has fired.
    timer.fired = true;
    super::send_process(SIGALRM as i32);
}

/// Called for each signal that is taken: the timer's own starts the next interval. As that merges with others of its number, so does
/// any of these.
pub(super) fn taken(info: &SigInfo) {
    if info.signal != SIGALRM as i32 {
        return;
    }
    let mut timer = REAL.lock();
    if timer.fired {
        timer.fired = false;
        if timer.interval_ns != 0 {
            let now = Instant::now().0;
            let (expires, _) = next_expiry(timer.expires, timer.interval_ns, now);
            timer.arm(expires);
        }
    }
}

/// A timer of CPU time.
struct CpuTimer {
    signal: u32,
    pid: Pid,
    /// On the process's CPU clock; 0 when it is not armed.
    expires: u64,
    interval_ns: u64,
    /// Counts armings: an alarm that comes late knows that it is not meant any more.
    generation: usize,
    /// Taken out before it is dropped without the lock, but by its own function.
    alarm: Option<Timer>,
}

/// Which timer of CPU time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CpuTime {
    /// `ITIMER_VIRTUAL`
    Virtual,
    /// `ITIMER_PROF`
    Prof,
}

static CPU_TIMERS: [SpinLock<CpuTimer>; 2] = [
    SpinLock::new(CpuTimer::new(SIGVTALRM)),
    SpinLock::new(CpuTimer::new(SIGPROF)),
];

impl CpuTimer {
    const fn new(signal: u32) -> Self {
        Self {
            signal,
            pid: 0,
            expires: 0,
            interval_ns: 0,
            generation: 0,
            alarm: None,
        }
    }

    fn setting(&self, now: u64) -> (u64, u64) {
        match self.expires {
            0 => (0, self.interval_ns),
            // Due but not noticed yet: not the 0 that means "not armed".
            expires => (expires.saturating_sub(now).max(1000), self.interval_ns),
        }
    }

    fn arm(&mut self, which: usize, now: u64) {
        self.generation = self.generation.wrapping_add(1);
        let arg = self.generation << 1 | which;
        self.alarm = Some(Timer::arm(
            Clock::Process(self.pid).look_at(self.expires, now),
            Arc::new(Look(arg)),
        ));
    }
}

/// As [`get`], for a timer of CPU time.
pub fn get_cpu(which: CpuTime) -> (u64, u64) {
    let timer = CPU_TIMERS[which as usize].lock();
    timer.setting(process::with_current(|process| process.cpu_time_ns()))
}

/// As [`set`], for a timer of CPU time.
pub fn set_cpu(which: CpuTime, value_ns: u64, interval_ns: u64) -> (u64, u64) {
    let which = which as usize;
    let mut timer = CPU_TIMERS[which].lock();
    let (pid, now) = process::with_current(|process| (process.pid, process.cpu_time_ns()));
    timer.pid = pid;
    let old = timer.setting(now);
    let alarm = timer.alarm.take();
    timer.generation = timer.generation.wrapping_add(1);
    timer.interval_ns = interval_ns;
    timer.expires = 0;
    if value_ns != 0 {
        timer.expires = now.saturating_add(value_ns);
        timer.arm(which, now);
    }
    drop(timer);
    drop(alarm);
    old
}

/// The alarm of a timer of CPU time, with its generation and which it is: has so much been used?
struct Look(usize);

impl Alarm for Look {
    fn ring(&self) {
        look(self.0);
    }
}

fn look(arg: usize) {
    let which = arg & 1;
    let mut timer = CPU_TIMERS[which].lock();
    if timer.generation << 1 != arg & !1 {
        return;
    }
    let Ok(now) = Clock::Process(timer.pid).now_ns() else {
        return;
    };
    if now >= timer.expires {
        super::send_process(timer.signal as i32);
        timer.expires = match timer.interval_ns {
            0 => 0,
            interval => next_expiry(timer.expires, interval, now).0,
        };
    }
    if timer.expires != 0 {
        timer.arm(which, now);
    }
}
