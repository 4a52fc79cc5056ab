//! POSIX timers (`timer_create`): a signal to the process or to a thread after a time, and again after each interval.
//!
//! As in Linux a timer has at most one signal pending, and the next interval begins when that is taken: what the program has missed
//! by then is the signal's overrun count.
use super::{
    SigInfo, discard_timer,
    queue::{charge, uncharge},
    send,
};
use crate::process::clock::{Clock, next_expiry};
use abi::Errno;
use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};
use linux_raw_sys::general as linux;
use machine::{
    sched::Tid,
    sync::SpinLock,
    time::{self, Timer as Alarm, realtime_ns},
};

/// Shortest interval of a timer whose signal is ignored, as nobody would notice more.
const IGNORED_INTERVAL: u64 = 4_000_000;

/// What a timer does when it expires.
#[derive(Clone, Copy, Debug)]
pub enum Notify {
    /// Nothing; the program looks at it.
    Nothing,
    /// A signal with a value, to a thread or to the process.
    Signal {
        /// Its number.
        signal: i32,
        /// `sigev_value`; `None` for the timer's id.
        value: Option<u64>,
        /// The thread.
        to: Option<Tid>,
    },
}

/// Time until the next expiry, and the time between expiries, in nanoseconds; zeros when it is not armed.
pub type Setting = (u64, u64);

struct Timer {
    clock: Clock,
    /// What it runs on while armed: `clock`, but a time span does not change when the real-time clock is set.
    runs_on: Clock,
    notify: Notify,
    /// On the clock it runs on; meaningful while armed.
    expires: u64,
    interval: u64,
    armed: bool,
    /// Its signal is pending.
    queued: bool,
    /// Of the last signal taken.
    overrun: u64,
    /// Counts armings: an alarm that comes late knows that it is not meant any more.
    generation: u32,
    /// Dropped without the lock if its function may be waiting for that, which is from when it is due until `queued` is set.
    alarm: Option<Alarm>,
}

struct Timers {
    map: BTreeMap<i32, Timer>,
    next: i32,
}

/// Taken before the locks of signals and of the thread table.
static TIMERS: SpinLock<Timers> = SpinLock::new(Timers {
    map: BTreeMap::new(),
    next: 0,
});

impl Timers {
    fn get(&mut self, id: i32) -> Result<&mut Timer, Errno> {
        self.map.get_mut(&id).ok_or(Errno::EINVAL)
    }
}

impl Timer {
    /// Arms the alarm for the expiry.
    fn arm(&mut self, id: i32, now: u64) {
        self.generation = self.generation.wrapping_add(1);
        let arg = (self.generation as usize) << 32 | id as usize;
        self.alarm = Some(Alarm::arm(
            self.runs_on.look_at(self.expires, now),
            Arc::new(Due(arg)),
        ));
    }

    /// Goes on to the first expiry after `now`; how many there were.
    fn forward(&mut self, now: u64) -> u64 {
        let (expires, steps) = next_expiry(self.expires, self.interval, now);
        self.expires = expires;
        steps
    }

    fn is_silent(&self) -> bool {
        matches!(self.notify, Notify::Nothing)
    }

    fn setting(&self, now: u64) -> Setting {
        if !self.armed {
            return (0, 0);
        }
        let waits = self.queued || self.is_silent();
        let expires = if waits && self.interval != 0 {
            next_expiry(self.expires, self.interval, now).0
        } else {
            self.expires
        };
        let left = expires.saturating_sub(now);
        // Due but not noticed yet: not the 0 that means "not armed".
        let least = u64::from(!self.is_silent());
        (left.max(least), self.interval)
    }

    /// The timer has expired: its signal becomes pending, or it goes on without.
    fn expire(&mut self, id: i32, now: u64) {
        let Notify::Signal { signal, value, to } = self.notify else {
            return;
        };
        let fields = [u64::from(id as u32), value.unwrap_or(id as u64), 0, 0];
        let info = SigInfo {
            fields,
            ..SigInfo::from_kernel(signal, linux::SI_TIMER, 0)
        };
        match send(to, info) {
            Ok(true) => {
                self.queued = true;
                self.armed = self.interval != 0;
            }
            // Ignored, or no room for it.
            Ok(false) | Err(Errno::EAGAIN) if self.interval != 0 => {
                self.forward(now.saturating_add(IGNORED_INTERVAL));
                self.arm(id, now);
            }
            _ => self.armed = false,
        }
    }
}

/// An alarm: generation and id.
struct Due(usize);

impl time::Alarm for Due {
    fn ring(&self) {
        due(self.0);
    }
}

/// What an alarm does, in interrupt context.
fn due(arg: usize) {
    let id = arg as u32 as i32;
    let mut timers = TIMERS.lock();
    let Ok(timer) = timers.get(id) else { return };
    if timer.generation != (arg >> 32) as u32 {
        return;
    }
    match timer.runs_on.now_ns() {
        // The clock was set back, or CPU time has not come so far.
        Ok(now) if now < timer.expires => timer.arm(id, now),
        Ok(now) => timer.expire(id, now),
        // A clock that has stopped for good.
        Err(_) => timer.armed = false,
    }
}

/// Makes a timer; its id. `EAGAIN` when there are too many.
pub fn create(clock: Clock, notify: Notify) -> Result<i32, Errno> {
    let clock = clock.resolved();
    clock.now_ns()?;
    if !charge() {
        return Err(Errno::EAGAIN);
    }
    let mut timers = TIMERS.lock();
    let id = loop {
        let id = timers.next;
        timers.next = id.checked_add(1).unwrap_or(0);
        if !timers.map.contains_key(&id) {
            break id;
        }
    };
    let timer = Timer {
        clock,
        runs_on: clock,
        notify,
        expires: 0,
        interval: 0,
        armed: false,
        queued: false,
        overrun: 0,
        generation: 0,
        alarm: None,
    };
    timers.map.insert(id, timer);
    Ok(id)
}

/// Removes a timer, and its signal if that is pending.
pub fn delete(id: i32) -> Result<(), Errno> {
    let mut timers = TIMERS.lock();
    let timer = timers.map.remove(&id).ok_or(Errno::EINVAL)?;
    timer.discard(id);
    drop(timers);
    uncharge(1);
    // Without the lock: this waits for the alarm's function.
    drop(timer);
    Ok(())
}

impl Timer {
    /// Makes its signal not pending.
    fn discard(&self, id: i32) {
        if let Notify::Signal { signal, to, .. } = self.notify
            && self.queued
        {
            discard_timer(id, signal, to);
        }
    }
}

/// Arms a timer to expire after `value` nanoseconds, or at `value` on its clock (0: not at all), and then each `interval` (0: once);
/// the setting before. A signal that is pending is forgotten.
pub fn set(id: i32, absolute: bool, value: u64, interval: u64) -> Result<Setting, Errno> {
    let mut timers = TIMERS.lock();
    let timer = timers.get(id)?;
    let now = timer.runs_on.now_ns().map_err(|_| Errno::ESRCH)?;
    let old = timer.setting(now);
    timer.runs_on = match timer.clock {
        Clock::Real if !absolute => Clock::Monotonic,
        clock => clock,
    };
    let now = timer.runs_on.now_ns().map_err(|_| Errno::ESRCH)?;
    timer.discard(id);
    let alarm = timer.alarm.take();
    timer.generation = timer.generation.wrapping_add(1);
    (timer.queued, timer.overrun) = (false, 0);
    timer.armed = value != 0;
    timer.interval = if timer.armed { interval } else { 0 };
    if timer.armed {
        timer.expires = if absolute {
            value
        } else {
            now.saturating_add(value)
        };
        if !timer.is_silent() {
            timer.arm(id, now);
        }
    }
    drop(timers);
    drop(alarm);
    Ok(old)
}

/// What a timer is set to.
pub fn get(id: i32) -> Result<Setting, Errno> {
    let mut timers = TIMERS.lock();
    let timer = timers.get(id)?;
    let now = timer.runs_on.now_ns().map_err(|_| Errno::ESRCH)?;
    Ok(timer.setting(now))
}

/// Expiries that the last signal of the timer's that was taken stands for, beside its own.
pub fn overrun(id: i32) -> Result<usize, Errno> {
    TIMERS
        .lock()
        .get(id)
        .map(|timer| clamped(timer.overrun) as usize)
}

/// Linux counts to the largest `int`.
fn clamped(overrun: u64) -> u32 {
    overrun.min(i32::MAX as u64) as u32
}

/// Called for each signal that is taken.
pub(super) fn taken(info: &mut SigInfo) {
    let Some(id) = info.timer() else { return };
    let mut timers = TIMERS.lock();
    let Ok(timer) = timers.get(id) else { return };
    // The program can send what looks like a timer's signal.
    if !timer.queued {
        return;
    }
    timer.queued = false;
    timer.overrun = 0;
    if timer.interval != 0
        && let Ok(now) = timer.runs_on.now_ns()
    {
        timer.overrun = timer.forward(now).saturating_sub(1);
        timer.arm(id, now);
    }
    info.fields[0] |= u64::from(clamped(timer.overrun)) << 32;
}

/// The real-time clock was set: timers on it are due at another time.
pub fn clock_was_set() {
    let mut late = Vec::new();
    let now = realtime_ns();
    let mut timers = TIMERS.lock();
    for (&id, timer) in &mut timers.map {
        if timer.runs_on == Clock::Real && timer.armed && !timer.queued && !timer.is_silent() {
            late.extend(timer.alarm.take());
            timer.arm(id, now);
        }
    }
    drop(timers);
    // Without the lock, as in `delete`.
    drop(late);
}
