//! Timers that send signals: `alarm`, interval timers, POSIX timers.
use crate::{
    process::{
        self,
        clock::Clock,
        signal::{
            LAST,
            itimer::CpuTime,
            timer::{self, Notify},
        },
    },
    syscall::time::{SECOND, Timespec},
};
use abi::{Errno, SysResult};
use linux_raw_sys::general as linux;
use machine::mm::user;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// `struct itimerval`, and `struct itimerspec` with nanoseconds
#[repr(C)]
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes)]
struct Interval {
    interval: Timespec,
    value: Timespec,
}

/// alarm(2)
pub fn alarm(seconds: usize) -> SysResult {
    let value = u64::from(seconds as u32) * SECOND;
    let (left, _) = process::with_current(|process| process.set_real_timer(value, 0));
    // Rounded to the nearest second, but never to "no alarm was set".
    let rounded = (left + SECOND / 2) / SECOND;
    Ok(if left == 0 {
        0
    } else {
        rounded.max(1) as usize
    })
}

/// One of the three interval timers; `None` is the real one.
fn interval_timer(which: usize) -> Result<Option<CpuTime>, Errno> {
    match which as u32 {
        linux::ITIMER_REAL => Ok(None),
        linux::ITIMER_VIRTUAL => Ok(Some(CpuTime::Virtual)),
        linux::ITIMER_PROF => Ok(Some(CpuTime::Prof)),
        _ => Err(Errno::EINVAL),
    }
}

fn write_interval(to: usize, (value, interval): (u64, u64)) -> SysResult {
    if to != 0 {
        let interval = Interval {
            interval: Timespec::micros_from_ns(interval),
            value: Timespec::micros_from_ns(value),
        };
        user::write(to, &interval)?;
    }
    Ok(0)
}

/// setitimer(2)
pub fn setitimer(which: usize, new: usize, old: usize) -> SysResult {
    let which = interval_timer(which)?;
    let (value, interval) = match new {
        // Linux takes a null pointer for zeros.
        0 => (0, 0),
        addr => {
            let new: Interval = user::read(addr)?;
            (new.value.micros_to_ns()?, new.interval.micros_to_ns()?)
        }
    };
    let previous = process::with_current(|process| match which {
        None => process.set_real_timer(value, interval),
        Some(which) => process.set_cpu_timer(which, value, interval),
    });
    write_interval(old, previous)
}

/// getitimer(2)
pub fn getitimer(which: usize, to: usize) -> SysResult {
    let which = interval_timer(which)?;
    if to == 0 {
        return Err(Errno::EFAULT);
    }
    let setting = process::with_current(|process| match which {
        None => process.real_timer(),
        Some(which) => process.cpu_timer(which),
    });
    write_interval(to, setting)
}

/// The part of `struct sigevent` that the kernel reads.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes)]
pub(in crate::syscall) struct Event {
    /// `sigev_value`
    pub(in crate::syscall) value: u64,
    /// `sigev_signo`
    pub(in crate::syscall) signal: i32,
    /// `sigev_notify`
    pub(in crate::syscall) notify: u32,
    thread: i32,
    padding: u32,
}

impl Event {
    fn decode(self) -> Result<Notify, Errno> {
        let to = match self.notify {
            linux::SIGEV_NONE => return Ok(Notify::Nothing),
            // SIGEV_THREAD by itself is for the C library; the kernel takes it for a signal.
            linux::SIGEV_SIGNAL | linux::SIGEV_THREAD => None,
            linux::SIGEV_THREAD_ID => {
                let threads = process::with_current(|process| process.thread_ids());
                if !threads.contains(&self.thread) {
                    return Err(Errno::EINVAL);
                }
                Some(self.thread)
            }
            _ => return Err(Errno::EINVAL),
        };
        if !(1..=LAST).contains(&self.signal) {
            return Err(Errno::EINVAL);
        }
        Ok(Notify::Signal {
            signal: self.signal,
            value: Some(self.value),
            to,
        })
    }
}

/// timer_create(2)
pub fn timer_create(clock: usize, event: usize, to: usize) -> SysResult {
    let clock = Clock::from_id(clock as i32)?;
    let notify = match event {
        0 => Notify::Signal {
            signal: linux::SIGALRM as i32,
            value: None,
            to: None,
        },
        addr => user::read::<Event>(addr)?.decode()?,
    };
    process::with_current(|process| {
        let id = process.create_timer(clock, notify)?;
        if let Err(error) = user::write(to, &id) {
            process.delete_timer(id)?;
            return Err(error);
        }
        Ok(0)
    })
}

/// timer_settime(2)
pub fn timer_settime(id: usize, flags: usize, new: usize, old: usize) -> SysResult {
    if new == 0 {
        return Err(Errno::EINVAL);
    }
    let new: Interval = user::read(new)?;
    let (value, interval) = (new.value.to_ns()?, new.interval.to_ns()?);
    let absolute = flags as u32 & linux::TIMER_ABSTIME != 0;
    let previous =
        process::with_current(|process| process.set_timer(id as i32, absolute, value, interval))?;
    if old != 0 {
        write_setting(old, previous)?;
    }
    Ok(0)
}

/// timer_gettime(2)
pub fn timer_gettime(id: usize, to: usize) -> SysResult {
    let setting = process::with_current(|process| process.timer(id as i32))?;
    write_setting(to, setting)
}

fn write_setting(to: usize, (value, interval): timer::Setting) -> SysResult {
    let setting = Interval {
        interval: Timespec::from_ns(interval),
        value: Timespec::from_ns(value),
    };
    user::write(to, &setting)?;
    Ok(0)
}

/// timer_getoverrun(2)
pub fn timer_getoverrun(id: usize) -> SysResult {
    process::with_current(|process| process.timer_overrun(id as i32))
}

/// timer_delete(2)
pub fn timer_delete(id: usize) -> SysResult {
    process::with_current(|process| process.delete_timer(id as i32))?;
    Ok(0)
}
