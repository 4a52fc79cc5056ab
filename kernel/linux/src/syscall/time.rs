//! Clocks and sleeping. Left out: setting the clock's rate.
use crate::process::restart::Restart;
use crate::{
    credentials,
    process::{
        self,
        clock::{Clock, WATCHERS},
    },
};
use abi::{Errno, SysResult};
use linux_raw_sys::general as linux;
use machine::{
    mm::user,
    sync::{Signals, WaitError, Waiter},
    time::{Instant, realtime_ns, set_realtime_ns},
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Nanoseconds in a second.
pub(crate) const SECOND: u64 = 1_000_000_000;

/// `struct timespec`, and `struct timeval` with microseconds in the second field.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes)]
pub struct Timespec {
    /// Seconds.
    pub seconds: i64,
    /// Nanoseconds (microseconds in a `timeval`).
    pub fraction: i64,
}

impl Timespec {
    /// From nanoseconds.
    pub fn from_ns(ns: u64) -> Self {
        Self {
            seconds: (ns / SECOND) as i64,
            fraction: (ns % SECOND) as i64,
        }
    }

    /// A `timeval` from nanoseconds, rounded down.
    pub fn micros_from_ns(ns: u64) -> Self {
        Self {
            seconds: (ns / SECOND) as i64,
            fraction: (ns % SECOND / 1000) as i64,
        }
    }

    /// In nanoseconds; what is too long becomes the longest. `EINVAL` for negative or unnormalised values.
    pub fn to_ns(self) -> Result<u64, Errno> {
        let fraction = u64::try_from(self.fraction)
            .ok()
            .filter(|&ns| ns < SECOND)
            .ok_or(Errno::EINVAL)?;
        let seconds = u64::try_from(self.seconds).map_err(|_| Errno::EINVAL)?;
        Ok(seconds.saturating_mul(SECOND).saturating_add(fraction))
    }

    /// A `timeval` in nanoseconds.
    pub fn micros_to_ns(self) -> Result<u64, Errno> {
        let fraction = self.fraction.checked_mul(1000).ok_or(Errno::EINVAL)?;
        Self { fraction, ..self }.to_ns()
    }
}

/// The time on the monotonic clock that is `ns` from now.
pub(crate) fn deadline_after(ns: u64) -> Instant {
    Instant(Instant::now().0.saturating_add(ns))
}

/// The time on the monotonic clock at which the real-time clock, unless it is set, shows `ns`.
pub(crate) fn deadline_at_realtime(ns: u64) -> Instant {
    deadline_after(ns.saturating_sub(realtime_ns()))
}

/// clock_gettime(2)
pub fn clock_gettime(clock: usize, to: usize) -> SysResult {
    let now = Clock::from_id(clock as i32)?.now_ns()?;
    user::write(to, &Timespec::from_ns(now))?;
    Ok(0)
}

/// clock_settime(2), for the real-time clock.
pub fn clock_settime(clock: usize, from: usize) -> SysResult {
    if clock as u32 != linux::CLOCK_REALTIME {
        return Err(Errno::EINVAL);
    }
    let time = user::read::<Timespec>(from)?.to_ns()?;
    credentials::require(linux::CAP_SYS_TIME)?;
    set_clock(time);
    Ok(0)
}

fn set_clock(ns: u64) {
    set_realtime_ns(ns);
    for process in process::processes() {
        process.clock_was_set();
    }
    WATCHERS.clock_was_set();
}

/// clock_getres(2): one nanosecond.
pub fn clock_getres(clock: usize, to: usize) -> SysResult {
    Clock::from_id(clock as i32)?;
    if to != 0 {
        user::write(to, &Timespec::from_ns(1))?;
    }
    Ok(0)
}

/// clock_nanosleep(2)
pub fn clock_nanosleep(clock: usize, flags: usize, request: usize, remaining: usize) -> SysResult {
    let clock = Clock::from_id(clock as i32)?;
    let ns = user::read::<Timespec>(request)?.to_ns()?;
    let absolute = flags as u32 & linux::TIMER_ABSTIME != 0;
    match (clock, absolute) {
        (Clock::Real, true) => sleep_until(ns),
        (Clock::Monotonic, true) => sleep(Instant(ns), 0),
        (Clock::Real | Clock::Monotonic, false) => sleep(deadline_after(ns), remaining),
        (Clock::Thread(0), _) => Err(Errno::EINVAL),
        (Clock::Process(_), true) => sleep_cpu(clock, ns, 0),
        (Clock::Process(_), false) => {
            sleep_cpu(clock, clock.now_ns()?.saturating_add(ns), remaining)
        }
        (Clock::Thread(_), _) => Err(Errno::EOPNOTSUPP),
    }
}

/// Sleeps until the real-time clock shows `until`, also when it is set meanwhile.
fn sleep_until(until: u64) -> SysResult {
    let waiter = Waiter::new();
    let _registration = WATCHERS.sleepers.register(&waiter);
    while realtime_ns() < until {
        let deadline = deadline_at_realtime(until);
        if waiter.wait(Some(deadline), Signals::Interrupt) == Err(WaitError::Interrupted) {
            return Err(Errno::ERESTARTNOHAND);
        }
    }
    Ok(0)
}

/// Sleeps until `clock`, a process', shows `until`; `remaining` as in [`sleep`].
pub(super) fn sleep_cpu(clock: Clock, until: u64, remaining: usize) -> SysResult {
    let waiter = Waiter::new();
    loop {
        let now = clock.now_ns()?;
        if now >= until {
            return Ok(0);
        }
        let look = clock.look_at(until, now);
        if waiter.wait(Some(look), Signals::Interrupt) == Err(WaitError::Interrupted) {
            break;
        }
    }
    if remaining != 0 {
        let left = until.saturating_sub(clock.now_ns()?);
        user::write(remaining, &Timespec::from_ns(left))?;
    }
    let restart = Restart::CpuSleep {
        clock,
        until,
        remaining,
    };
    Err(restart.arrange())
}

/// nanosleep(2)
pub fn nanosleep(request: usize, remaining: usize) -> SysResult {
    let ns = user::read::<Timespec>(request)?.to_ns()?;
    sleep(deadline_after(ns), remaining)
}

/// Sleeps until `deadline`; interrupted, it writes what is left to `remaining`, unless that is 0.
pub(super) fn sleep(deadline: Instant, remaining: usize) -> SysResult {
    let waiter = Waiter::new();
    loop {
        match waiter.wait(Some(deadline), Signals::Interrupt) {
            Ok(()) => {}
            Err(WaitError::TimedOut) => return Ok(0),
            Err(WaitError::Interrupted) => break,
        }
    }
    if remaining != 0 {
        let left = deadline.0.saturating_sub(Instant::now().0);
        user::write(remaining, &Timespec::from_ns(left))?;
    }
    let restart = Restart::Sleep {
        deadline,
        remaining,
    };
    Err(restart.arrange())
}

/// gettimeofday(2); the time zone is UTC.
pub fn gettimeofday(to: usize, zone: usize) -> SysResult {
    if to != 0 {
        user::write(to, &Timespec::micros_from_ns(realtime_ns()))?;
    }
    if zone != 0 {
        user::zero(zone, size_of::<linux::timezone>())?;
    }
    Ok(0)
}

/// settimeofday(2): the time zone is checked, and changes nothing.
pub fn settimeofday(from: usize, zone: usize) -> SysResult {
    const MOST_MINUTES: i32 = 15 * 60;
    let time = match from {
        0 => None,
        from => {
            let time: Timespec = user::read(from)?;
            Some(time.micros_to_ns()?)
        }
    };
    if zone != 0 {
        let [west, _]: [i32; 2] = user::read(zone)?;
        if !(-MOST_MINUTES..=MOST_MINUTES).contains(&west) {
            return Err(Errno::EINVAL);
        }
    }
    credentials::require(linux::CAP_SYS_TIME)?;
    if let Some(time) = time {
        set_clock(time);
    }
    Ok(0)
}

/// time(2)
pub fn time(to: usize) -> SysResult {
    let seconds = realtime_ns() / SECOND;
    if to != 0 {
        user::write(to, &(seconds as i64))?;
    }
    Ok(seconds as usize)
}

/// times(2), in ticks of 10 ms.
pub fn times(to: usize) -> SysResult {
    const TICK: u64 = SECOND / 100;
    if to != 0 {
        let (own, children) =
            process::with_current(|process| (process.usage(), process.usage_of_children()));
        let times = [own, children]
            .map(|usage| [usage.user_ns(), usage.system_ns].map(|ns| (ns / TICK) as i64));
        user::copy_out(to, times.as_bytes())?;
    }
    Ok((Instant::now().0 / TICK) as usize)
}

/// adjtimex(2), reading only.
pub fn adjtimex(to: usize) -> SysResult {
    /// Size of `struct timex` and the offsets of `status`, `tick` and `time` in it.
    const SIZE: usize = 208;
    const STATUS: usize = 40;
    const TIME: usize = 72;
    const TICK: usize = 88;
    /// The clock is not synchronised; also the state that is returned then.
    const STA_UNSYNC: u32 = 0x40;
    const TIME_ERROR: usize = 5;
    let modes: u32 = user::read(to)?;
    if modes != 0 {
        return Err(Errno::EPERM);
    }
    user::zero(to, SIZE)?;
    user::write(to + STATUS, &STA_UNSYNC)?;
    user::write(to + TIME, &Timespec::micros_from_ns(realtime_ns()))?;
    user::write(to + TICK, &10_000i64)?;
    Ok(TIME_ERROR)
}

/// clock_adjtime(2), reading only.
pub fn clock_adjtime(clock: usize, to: usize) -> SysResult {
    match Clock::from_id(clock as i32)? {
        Clock::Real => adjtimex(to),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_convert_both_ways() {
        let time = Timespec::from_ns(3 * SECOND + 5);
        assert_eq!(
            time,
            Timespec {
                seconds: 3,
                fraction: 5
            }
        );
        assert_eq!(time.to_ns(), Ok(3 * SECOND + 5));
        assert_eq!(
            Timespec {
                seconds: 1,
                fraction: 7
            }
            .micros_to_ns(),
            Ok(SECOND + 7000)
        );
        assert_eq!(
            Timespec {
                seconds: i64::MAX,
                fraction: 0
            }
            .to_ns(),
            Ok(u64::MAX)
        );
    }

    #[test]
    fn bad_times_are_refused() {
        for (seconds, fraction) in [(-1, 0), (0, -1), (0, SECOND as i64)] {
            assert_eq!(Timespec { seconds, fraction }.to_ns(), Err(Errno::EINVAL));
        }
    }
}
