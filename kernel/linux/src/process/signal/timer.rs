//! POSIX timers (`timer_create`): a signal to the process or to a thread after a time, and again after each interval.
//!
//! As in Linux a timer has at most one signal pending, and the next interval begins when that is taken: what the
//! program has missed by then is the signal's overrun count.
use super::{Recipient, SigInfo};
use crate::process::{
    Process,
    clock::{Clock, next_expiry},
};
use abi::Errno;
use alloc::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{Arc, Weak},
    vec::Vec,
};
use linux_raw_sys::general as linux;
use machine::{
    sched::Tid,
    sync::SpinLock,
    time::{self, Alarm, realtime_ns},
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
    generation: u64,
    /// Dropped without the lock if it may be waiting for that, which is from when it is due until `queued` is set.
    alarm: Option<time::Timer>,
}

/// The timers of a process by their ids. The lock is taken before those of signals and of threads.
#[derive(Default)]
pub(crate) struct PosixTimers(SpinLock<Timers>);

#[derive(Default)]
struct Timers {
    map: BTreeMap<i32, Timer>,
    next: i32,
}

impl Timers {
    fn get(&mut self, id: i32) -> Result<&mut Timer, Errno> {
        self.map.get_mut(&id).ok_or(Errno::EINVAL)
    }

    /// Enters a timer; its id, which is one that was not used of late.
    fn insert(&mut self, timer: Timer) -> i32 {
        loop {
            let id = self.next;
            self.next = id.checked_add(1).unwrap_or(0);
            if let Entry::Vacant(place) = self.map.entry(id) {
                place.insert(timer);
                return id;
            }
        }
    }
}

/// The alarm of a timer.
struct Due {
    process: Weak<Process>,
    id: i32,
    generation: u64,
}

impl Alarm for Due {
    fn ring(&self) {
        // If it is the last reference, nothing is left in the process but memory: it has ended.
        if let Some(process) = self.process.upgrade() {
            process.timer_is_due(self.id, self.generation);
        }
    }
}

impl Timer {
    fn new(clock: Clock, notify: Notify) -> Self {
        Self {
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
        }
    }

    /// Arms the alarm for the expiry.
    fn arm(&mut self, process: &Arc<Process>, id: i32, now: u64) {
        self.generation += 1;
        let due = Due {
            process: Arc::downgrade(process),
            id,
            generation: self.generation,
        };
        let at = self.runs_on.look_at(self.expires, now);
        self.alarm = Some(time::Timer::arm(at, Arc::new(due)));
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
    fn expire(&mut self, process: &Arc<Process>, id: i32, now: u64) {
        let Notify::Signal { signal, value, to } = self.notify else {
            return;
        };
        let fields = [u64::from(id as u32), value.unwrap_or(id as u64), 0, 0];
        let info = SigInfo {
            fields,
            ..SigInfo::from_kernel(signal, linux::SI_TIMER, 0)
        };
        let to = to.map_or(Recipient::Running, Recipient::Thread);
        match process.send(to, info) {
            Ok(true) => {
                self.queued = true;
                self.armed = self.interval != 0;
            }
            // Ignored, or no room for it.
            Ok(false) | Err(Errno::EAGAIN) if self.interval != 0 => {
                self.forward(now.saturating_add(IGNORED_INTERVAL));
                self.arm(process, id, now);
            }
            _ => self.armed = false,
        }
    }
}

impl Timer {
    /// Makes its signal not pending.
    fn discard(&self, process: &Process, id: i32) {
        if let Notify::Signal { signal, to, .. } = self.notify
            && self.queued
        {
            process.discard_timer(id, signal, to);
        }
    }
}

impl Process {
    /// The alarm of a timer has rung. Runs in interrupt context.
    fn timer_is_due(self: &Arc<Self>, id: i32, generation: u64) {
        let mut timers = self.timers.0.lock();
        let Ok(timer) = timers.get(id) else { return };
        if timer.generation != generation {
            return;
        }
        match timer.runs_on.now_ns() {
            // The clock was set back, or CPU time has not come so far.
            Ok(now) if now < timer.expires => timer.arm(self, id, now),
            Ok(now) => timer.expire(self, id, now),
            // A clock that has stopped for good.
            Err(_) => timer.armed = false,
        }
    }

    /// timer_create(2): makes a timer; its id. `EAGAIN` when there are too many.
    pub fn create_timer(&self, clock: Clock, notify: Notify) -> Result<i32, Errno> {
        let clock = clock.resolved();
        clock.now_ns()?;
        let limit = self.limits.soft(linux::RLIMIT_SIGPENDING) as usize;
        if !self.signals.account.charge(limit) {
            return Err(Errno::EAGAIN);
        }
        Ok(self.timers.0.lock().insert(Timer::new(clock, notify)))
    }

    /// timer_delete(2): removes a timer, and its signal if that is pending.
    pub fn delete_timer(&self, id: i32) -> Result<(), Errno> {
        let mut timers = self.timers.0.lock();
        let timer = timers.map.remove(&id).ok_or(Errno::EINVAL)?;
        timer.discard(self, id);
        drop(timers);
        self.signals.account.uncharge(1);
        // Without the lock: this waits for the alarm.
        drop(timer);
        Ok(())
    }

    /// Deletes all.
    pub(in crate::process) fn end_posix_timers(&self) {
        let gone = core::mem::take(&mut self.timers.0.lock().map);
        for (&id, timer) in &gone {
            timer.discard(self, id);
        }
        self.signals.account.uncharge(gone.len());
        // Without the lock: this waits for alarms.
        drop(gone);
    }

    /// timer_settime(2): arms a timer to expire after `value` nanoseconds, or at `value` on its clock (0: not at all),
    /// and then each `interval` (0: once); the setting before. A signal that is pending is forgotten.
    pub fn set_timer(
        self: &Arc<Self>,
        id: i32,
        absolute: bool,
        value: u64,
        interval: u64,
    ) -> Result<Setting, Errno> {
        let mut timers = self.timers.0.lock();
        let timer = timers.get(id)?;
        let now = timer.runs_on.now_ns().map_err(|_| Errno::ESRCH)?;
        let old = timer.setting(now);
        timer.runs_on = match timer.clock {
            Clock::Real if !absolute => Clock::Monotonic,
            clock => clock,
        };
        let now = timer.runs_on.now_ns().map_err(|_| Errno::ESRCH)?;
        timer.discard(self, id);
        let alarm = timer.alarm.take();
        timer.generation += 1;
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
                timer.arm(self, id, now);
            }
        }
        drop(timers);
        drop(alarm);
        Ok(old)
    }

    /// timer_gettime(2): what a timer is set to.
    pub fn timer(&self, id: i32) -> Result<Setting, Errno> {
        let mut timers = self.timers.0.lock();
        let timer = timers.get(id)?;
        let now = timer.runs_on.now_ns().map_err(|_| Errno::ESRCH)?;
        Ok(timer.setting(now))
    }

    /// Expiries that the last signal of the timer's that was taken stands for, beside its own.
    pub fn timer_overrun(&self, id: i32) -> Result<usize, Errno> {
        self.timers
            .0
            .lock()
            .get(id)
            .map(|timer| clamped(timer.overrun) as usize)
    }

    /// Called for each signal that is taken.
    pub(super) fn timer_signal_taken(self: &Arc<Self>, info: &mut SigInfo) {
        let Some(id) = info.timer() else { return };
        let mut timers = self.timers.0.lock();
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
            timer.arm(self, id, now);
        }
        info.fields[0] |= u64::from(clamped(timer.overrun)) << 32;
    }

    /// The real-time clock was set: timers on it are due at another time.
    pub fn clock_was_set(self: &Arc<Self>) {
        let mut late = Vec::new();
        let now = realtime_ns();
        let mut timers = self.timers.0.lock();
        for (&id, timer) in &mut timers.map {
            if timer.runs_on == Clock::Real && timer.armed && !timer.queued && !timer.is_silent() {
                late.extend(timer.alarm.take());
                timer.arm(self, id, now);
            }
        }
        drop(timers);
        // Without the lock, as in `delete`.
        drop(late);
    }
}

/// Linux counts to the largest `int`.
fn clamped(overrun: u64) -> u32 {
    overrun.min(i32::MAX as u64) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silent() -> Timer {
        Timer::new(Clock::Monotonic, Notify::Nothing)
    }

    #[test]
    fn ids_are_not_used_again_at_once() {
        let mut timers = Timers::default();
        assert_eq!([timers.insert(silent()), timers.insert(silent())], [0, 1]);
        timers.map.remove(&0);
        assert_eq!(timers.insert(silent()), 2);
        timers.next = i32::MAX;
        let ids = [timers.insert(silent()), timers.insert(silent())];
        assert_eq!(ids, [i32::MAX, 0]);
        assert_eq!(timers.insert(silent()), 3);
        assert!(timers.get(7).is_err());
    }

    #[test]
    fn a_silent_timer_shows_the_next_expiry() {
        let mut timer = silent();
        assert_eq!(timer.setting(50), (0, 0));
        (timer.armed, timer.expires, timer.interval) = (true, 100, 30);
        assert_eq!(timer.setting(60), (40, 30));
        assert_eq!(timer.setting(110), (20, 30));
        timer.interval = 0;
        assert_eq!(timer.setting(110), (0, 0));
    }

    #[test]
    fn one_that_is_due_and_not_noticed_does_not_look_unarmed() {
        let notify = Notify::Signal {
            signal: 10,
            value: None,
            to: None,
        };
        let mut timer = Timer::new(Clock::Monotonic, notify);
        (timer.armed, timer.expires, timer.interval) = (true, 100, 30);
        assert_eq!(timer.setting(110), (1, 30));
        timer.queued = true;
        assert_eq!(timer.setting(110), (20, 30));
        assert_eq!((timer.forward(165), timer.expires), (3, 190));
    }
}
