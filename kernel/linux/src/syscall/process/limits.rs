//! Resource limits and usage.
use crate::{
    credentials,
    process::{self, Process, limits::Limit},
    syscall::time::Timespec,
};
use abi::{Errno, SysResult};
use linux_raw_sys::general as linux;
use machine::{
    mm::{space::Space, user},
    sched::Thread,
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// getrlimit(2)
pub fn getrlimit(resource: usize, to: usize) -> SysResult {
    let limit = process::with_current(|process| process.limits.get(resource as u32))?;
    user::write(to, &limit)?;
    Ok(0)
}

/// setrlimit(2)
pub fn setrlimit(resource: usize, from: usize) -> SysResult {
    let new: Limit = user::read(from)?;
    process::with_current(|process| set(process, resource as u32, new))?;
    Ok(0)
}

/// Changes a limit; the old one.
fn set(process: &Process, resource: u32, new: Limit) -> Result<Limit, Errno> {
    let may_raise = credentials::capable(linux::CAP_SYS_RESOURCE);
    let old = process.limits.set(resource, new, may_raise)?;
    if matches!(resource, linux::RLIMIT_AS | linux::RLIMIT_DATA)
        && let Some(space) = process.space()
    {
        space.set_limits(process.limits.of_space());
    }
    Ok(old)
}

/// prlimit64(2)
pub fn prlimit64(pid: usize, resource: usize, new: usize, old: usize) -> SysResult {
    let new: Option<Limit> = match new {
        0 => None,
        addr => Some(user::read(addr)?),
    };
    let before = process::with_process(pid as i32, |process| match new {
        Some(new) => set(process, resource as u32, new),
        None => process.limits.get(resource as u32),
    })??;
    if old != 0 {
        user::write(old, &before)?;
    }
    Ok(0)
}

/// `struct rusage`
#[repr(C)]
#[derive(Clone, Copy, Default, FromBytes, Immutable, IntoBytes)]
pub(super) struct Usage {
    user: Timespec,
    system: Timespec,
    max_resident_kib: i64,
    others: [i64; 13],
}

impl Usage {
    /// That of so much CPU time.
    pub(super) fn of(cpu_ns: u64) -> Self {
        Self {
            user: Timespec::micros_from_ns(cpu_ns),
            ..Self::default()
        }
    }
}

/// getrusage(2): all CPU time counts as user time; resident memory is what is resident now.
pub fn getrusage(who: usize, to: usize) -> SysResult {
    let used = match who as i32 {
        linux::RUSAGE_CHILDREN => {
            let used = process::with_current(|process| process.children_cpu_ns());
            user::write(to, &Usage::of(used))?;
            return Ok(0);
        }
        who if who == linux::RUSAGE_SELF as i32 => {
            process::with_current(|process| process.cpu_time_ns())
        }
        who if who == linux::RUSAGE_THREAD as i32 => {
            machine::sched::with_current(Thread::cpu_time_ns)
        }
        _ => return Err(Errno::EINVAL),
    };
    let (_, resident) = process::with_space(Space::usage);
    let usage = Usage {
        max_resident_kib: (resident >> 10) as i64,
        ..Usage::of(used)
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
