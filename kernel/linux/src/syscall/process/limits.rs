//! Resource limits and usage.
use crate::{
    credentials,
    process::{self, Process, limits::Limit, usage},
    syscall::time::Timespec,
};
use abi::{Errno, SysResult};
use linux_raw_sys::general as linux;
use machine::{mm::user, sched::Used};
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
    if resource == linux::RLIMIT_CPU
        && let Some(process) = process::find(process.pid)
    {
        process.watch_cpu_limit();
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
    max_resident_kib: u64,
    /// Of shared memory, data and stack, which Linux does not tell either.
    areas: [u64; 3],
    minor_faults: u64,
    major_faults: u64,
    swapped: u64,
    blocks_in: u64,
    blocks_out: u64,
    /// Of messages sent and received, and of signals, which Linux does not tell either.
    messages: [u64; 3],
    voluntary_switches: u64,
    involuntary_switches: u64,
}

impl Usage {
    pub(super) fn of(usage: &usage::Usage) -> Self {
        let Used {
            minor_faults,
            major_faults,
            waits,
            preemptions,
            read,
            written,
            ..
        } = usage.used;
        Self {
            user: Timespec::micros_from_ns(usage.user_ns()),
            system: Timespec::micros_from_ns(usage.system_ns),
            max_resident_kib: u64::try_from(usage.most_resident >> 10).unwrap_or(u64::MAX),
            minor_faults,
            major_faults,
            blocks_in: read >> 9,
            blocks_out: written >> 9,
            voluntary_switches: waits,
            involuntary_switches: preemptions,
            ..Self::default()
        }
    }
}

/// getrusage(2)
pub fn getrusage(who: usize, to: usize) -> SysResult {
    const SELF: i32 = linux::RUSAGE_SELF.cast_signed();
    const THREAD: i32 = linux::RUSAGE_THREAD.cast_signed();
    let usage = match who as i32 {
        linux::RUSAGE_CHILDREN => process::with_current(|process| process.usage_of_children()),
        SELF => process::with_current(|process| process.usage()),
        THREAD => usage::Usage::of_caller(),
        _ => return Err(Errno::EINVAL),
    };
    user::write(to, &Usage::of(&usage))?;
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
