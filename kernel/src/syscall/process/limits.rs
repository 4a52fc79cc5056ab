//! Resource limits and usage. Limits on the address space, descriptors and signals hold; the others are kept for the
//! program to see.
use crate::{
    fs::descriptor,
    mm::{
        space,
        user::{self, Plain},
    },
    process::{self, PID, credentials},
    sched::Thread,
    sync::SpinLock,
    syscall::{Errno, SysResult, time::Timespec},
};
use linux_raw_sys::general as linux;

/// `struct rlimit`
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What holds now.
    pub soft: u64,
    /// What `soft` can be raised to.
    pub hard: u64,
}

// SAFETY: two integers of 8 bytes.
unsafe impl Plain for Limit {}

/// Number of resources.
const RESOURCES: usize = 16;
const UNLIMITED: u64 = u64::MAX;

static LIMITS: SpinLock<[Limit; RESOURCES]> = SpinLock::new(initial());

const fn initial() -> [Limit; RESOURCES] {
    let mut limits = [Limit {
        soft: UNLIMITED,
        hard: UNLIMITED,
    }; RESOURCES];
    limits[linux::RLIMIT_STACK as usize].soft = 8 << 20;
    limits[linux::RLIMIT_CORE as usize].soft = 0;
    limits[linux::RLIMIT_NOFILE as usize] = Limit {
        soft: 1024,
        hard: descriptor::MAX_LIMIT as u64,
    };
    let queue = process::signal::QUEUE_LIMIT as u64;
    limits[linux::RLIMIT_SIGPENDING as usize] = Limit {
        soft: queue,
        hard: queue,
    };
    limits[linux::RLIMIT_MSGQUEUE as usize] = Limit {
        soft: 819_200,
        hard: 819_200,
    };
    limits[linux::RLIMIT_NICE as usize] = Limit { soft: 0, hard: 0 };
    limits[linux::RLIMIT_RTPRIO as usize] = Limit { soft: 0, hard: 0 };
    limits
}

/// The limit on `resource`, a `RLIMIT_` number.
pub fn limit(resource: u32) -> Result<Limit, Errno> {
    LIMITS
        .lock()
        .get(resource as usize)
        .copied()
        .ok_or(Errno::EINVAL)
}

/// getrlimit(2)
pub fn getrlimit(resource: usize, to: usize) -> SysResult {
    user::write(to, &limit(resource as u32)?)?;
    Ok(0)
}

/// setrlimit(2)
pub fn setrlimit(resource: usize, from: usize) -> SysResult {
    let new: Limit = user::read(from)?;
    if new.soft > new.hard {
        return Err(Errno::EINVAL);
    }
    let resource = resource as u32;
    if resource == linux::RLIMIT_NOFILE && new.hard > descriptor::MAX_LIMIT as u64 {
        return Err(Errno::EPERM);
    }
    let may_raise = credentials::capable(linux::CAP_SYS_RESOURCE);
    {
        let mut limits = LIMITS.lock();
        let limit = limits.get_mut(resource as usize).ok_or(Errno::EINVAL)?;
        if new.hard > limit.hard && !may_raise {
            return Err(Errno::EPERM);
        }
        *limit = new;
    }
    match resource {
        linux::RLIMIT_AS => space::set_limit(new.soft as usize),
        linux::RLIMIT_NOFILE => descriptor::set_limit(new.soft as usize),
        linux::RLIMIT_SIGPENDING => process::signal::set_limit(new.soft as usize),
        _ => {}
    }
    Ok(0)
}

/// prlimit64(2)
pub fn prlimit64(pid: usize, resource: usize, new: usize, old: usize) -> SysResult {
    if !matches!(pid as i32, 0 | PID) {
        return Err(Errno::ESRCH);
    }
    let before = limit(resource as u32)?;
    if new != 0 {
        setrlimit(resource, new)?;
    }
    if old != 0 {
        user::write(old, &before)?;
    }
    Ok(0)
}

/// `struct rusage`
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Usage {
    user: Timespec,
    system: Timespec,
    max_resident_kib: i64,
    others: [i64; 13],
}

// SAFETY: integers of 8 bytes only.
unsafe impl Plain for Usage {}

/// getrusage(2): all CPU time counts as user time; resident memory is what is resident now.
pub fn getrusage(who: usize, to: usize) -> SysResult {
    let used = match who as i32 {
        linux::RUSAGE_CHILDREN => {
            user::write(to, &Usage::default())?;
            return Ok(0);
        }
        who if who == linux::RUSAGE_SELF as i32 => process::cpu_time_ns(),
        who if who == linux::RUSAGE_THREAD as i32 => {
            crate::sched::with_current(Thread::cpu_time_ns)
        }
        _ => return Err(Errno::EINVAL),
    };
    let (_, resident) = space::usage();
    let usage = Usage {
        user: Timespec::micros_from_ns(used),
        max_resident_kib: (resident >> 10) as i64,
        ..Usage::default()
    };
    user::write(to, &usage)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_has_linux_size() {
        assert_eq!(size_of::<Usage>(), 144);
    }
}
