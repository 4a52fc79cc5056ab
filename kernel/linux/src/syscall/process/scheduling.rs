//! Where and when threads run: affinity, policies, priorities, memory barriers.
use crate::process::LinuxThread;
use crate::{
    credentials,
    process::{self, Process},
    syscall::time::Timespec,
};
use abi::{Errno, SysResult};
use alloc::{vec, vec::Vec};
use core::sync::atomic::{AtomicUsize, Ordering, fence};
use linux_raw_sys::general as linux;
use machine::{
    arch::cpu,
    mm::{PAGE, user},
    sched::{self, Level, Policy, Thread, Tid},
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Bytes of an affinity mask.
const MASK_LEN: usize = 8;

/// The CPUs that are there.
fn online() -> u64 {
    u64::MAX >> (64 - cpu::count().clamp(1, 64))
}

/// sched_getaffinity(2); the result is the number of bytes written.
pub fn sched_getaffinity(tid: usize, len: usize, to: usize) -> SysResult {
    if len < MASK_LEN || !len.is_multiple_of(MASK_LEN) {
        return Err(Errno::EINVAL);
    }
    let mask = process::with_thread(tid as i32, |thread| thread.affinity()).ok_or(Errno::ESRCH)?;
    user::write(to, &(mask & online()))?;
    Ok(MASK_LEN)
}

/// sched_setaffinity(2)
pub fn sched_setaffinity(tid: usize, len: usize, from: usize) -> SysResult {
    let mut bytes = [0; MASK_LEN];
    let len = len.min(MASK_LEN);
    user::copy_in(from, &mut bytes[..len])?;
    let mask = u64::from_le_bytes(bytes) & online();
    process::with_thread(tid as i32, |thread| {
        if !owns(thread) {
            credentials::require(linux::CAP_SYS_NICE)?;
        }
        if mask == 0 {
            return Err(Errno::EINVAL);
        }
        thread.set_affinity(mask);
        Ok(0)
    })
    .ok_or(Errno::ESRCH)?
}

/// getcpu(2): one NUMA node.
pub fn getcpu(cpu: usize, node: usize, _unused: usize) -> SysResult {
    if cpu != 0 {
        user::write(cpu, &cpu::current().0)?;
    }
    if node != 0 {
        user::write(node, &0u32)?;
    }
    Ok(0)
}

/// The thread's policy.
fn policy_of(tid: usize) -> Result<Policy, Errno> {
    if (tid as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    process::with_thread(tid as i32, Thread::policy).ok_or(Errno::ESRCH)
}

/// `EINVAL` for a policy that is none, or a priority it does not have.
fn check_policy(policy: u32, priority: u32) -> Result<Level, Errno> {
    let priorities = match policy {
        linux::SCHED_NORMAL | linux::SCHED_BATCH | linux::SCHED_IDLE => 0..=0,
        linux::SCHED_FIFO | linux::SCHED_RR => 1..=99,
        _ => return Err(Errno::EINVAL),
    };
    let is_priority = priorities.contains(&priority);
    is_priority
        .then_some(priority as Level)
        .ok_or(Errno::EINVAL)
}

/// Whether the thread is the calling one's user's.
fn owns(thread: &Thread) -> bool {
    let caller = credentials::current().user.effective;
    let user = credentials::of(thread).user;
    caller == user.effective || caller == user.real
}

/// Whether `RLIMIT_NICE` allows a nice value.
fn limit_allows(process: &Process, nice: i32) -> bool {
    (20 - nice) as u64 <= process.limits.soft(linux::RLIMIT_NICE)
}

/// Whether a change of policy takes `CAP_SYS_NICE`: to more than `RLIMIT_RTPRIO` allows, or past a reset, or out of
/// `SCHED_IDLE`.
fn needs_privilege(thread: &Thread, old: Policy, new: Policy) -> bool {
    let process = &thread.linux().process;
    let most = process.limits.soft(linux::RLIMIT_RTPRIO);
    let realtime = matches!(new.policy, linux::SCHED_FIFO | linux::SCHED_RR);
    let rises = new.priority > old.priority && u64::from(new.priority) > most;
    let leaves_idle = old.policy == linux::SCHED_IDLE && new.policy != linux::SCHED_IDLE;
    realtime && (rises || new.policy != old.policy && most == 0)
        || old.reset_on_fork && !new.reset_on_fork
        || leaves_idle && !limit_allows(process, thread.nice())
}

/// Sets the policy, or only the priority.
fn set_policy(tid: usize, policy: Option<u32>, from: usize) -> SysResult {
    if (tid as i32) < 0 || from == 0 {
        return Err(Errno::EINVAL);
    }
    let priority = user::read(from)?;
    let old = policy_of(tid)?;
    let (policy, reset_on_fork) = match policy {
        Some(policy) => {
            let reset = policy & linux::SCHED_RESET_ON_FORK != 0;
            (policy & !linux::SCHED_RESET_ON_FORK, reset)
        }
        None => (old.policy, old.reset_on_fork),
    };
    let new = Policy {
        policy,
        priority: check_policy(policy, priority)?,
        reset_on_fork,
    };
    change_policy(tid, old, new)
}

fn change_policy(tid: usize, old: Policy, new: Policy) -> SysResult {
    process::with_thread(tid as i32, |thread| {
        if !owns(thread) || needs_privilege(thread, old, new) {
            credentials::require(linux::CAP_SYS_NICE)?;
        }
        thread.set_policy(new);
        Ok(0)
    })
    .ok_or(Errno::ESRCH)?
}

/// sched_getparam(2)
pub fn sched_getparam(tid: usize, to: usize) -> SysResult {
    if to == 0 {
        return Err(Errno::EINVAL);
    }
    user::write(to, &policy_of(tid)?.priority)?;
    Ok(0)
}

/// sched_setparam(2)
pub fn sched_setparam(tid: usize, from: usize) -> SysResult {
    set_policy(tid, None, from)
}

/// sched_getscheduler(2)
pub fn sched_getscheduler(tid: usize) -> SysResult {
    let policy = policy_of(tid)?;
    let reset = if policy.reset_on_fork {
        linux::SCHED_RESET_ON_FORK
    } else {
        0
    };
    Ok((policy.policy | reset) as usize)
}

/// sched_setscheduler(2)
pub fn sched_setscheduler(tid: usize, policy: usize, from: usize) -> SysResult {
    if (policy as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    set_policy(tid, Some(policy as u32), from)
}

/// `struct sched_attr`, as far as Linux 6.1 knows it.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, FromBytes, Immutable, IntoBytes)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
    least_use: u32,
    most_use: u32,
}

/// Its length.
const KNOWN_SIZE: u32 = 56;

/// The first published length of `struct sched_attr`.
const FIRST_SIZE: usize = 48;

/// sched_getattr(2)
pub fn sched_getattr(tid: usize, to: usize, size: usize, flags: usize) -> SysResult {
    let size = size & 0xffff_ffff;
    if to == 0 || !(FIRST_SIZE..=PAGE).contains(&size) || flags & 0xffff_ffff != 0 {
        return Err(Errno::EINVAL);
    }
    let policy = policy_of(tid)?;
    let nice = process::with_thread(tid as i32, Thread::nice).ok_or(Errno::ESRCH)?;
    let size = size.min(size_of::<Attributes>());
    let realtime = matches!(policy.policy, linux::SCHED_FIFO | linux::SCHED_RR);
    let attributes = Attributes {
        size: u32::try_from(size).unwrap_or(KNOWN_SIZE),
        policy: policy.policy,
        flags: u64::from(policy.reset_on_fork) * u64::from(linux::SCHED_FLAG_RESET_ON_FORK),
        nice: if realtime { 0 } else { nice },
        priority: policy.priority,
        most_use: 1024,
        ..Attributes::default()
    };
    user::copy_out(to, &attributes.as_bytes()[..size])?;
    Ok(0)
}

/// sched_setattr(2), without deadlines and clamps of use.
pub fn sched_setattr(tid: usize, from: usize, flags: usize) -> SysResult {
    if from == 0 || flags & 0xffff_ffff != 0 {
        return Err(Errno::EINVAL);
    }
    let given: u32 = user::read(from)?;
    let size = match given as usize {
        0 => FIRST_SIZE,
        size => size,
    };
    let read = match (FIRST_SIZE..=PAGE).contains(&size) {
        true => user::read_struct(from, size),
        false => Err(Errno::E2BIG),
    };
    if read == Err(Errno::E2BIG) {
        user::write(from, &KNOWN_SIZE)?;
    }
    let attributes: Attributes = read?;
    let keeps_policy = attributes.flags & u64::from(linux::SCHED_FLAG_KEEP_POLICY) != 0;
    let keeps = u64::from(linux::SCHED_FLAG_KEEP_POLICY | linux::SCHED_FLAG_KEEP_PARAMS);
    let resets = u64::from(linux::SCHED_FLAG_RESET_ON_FORK);
    // They mean something to deadlines only.
    let deadlines = u64::from(linux::SCHED_FLAG_RECLAIM | linux::SCHED_FLAG_DL_OVERRUN);
    let known = keeps | resets | deadlines;
    if attributes.policy.cast_signed() < 0 || attributes.flags & !known != 0 {
        return Err(Errno::EINVAL);
    }
    let old = policy_of(tid)?;
    let policy = if keeps_policy {
        old.policy
    } else {
        attributes.policy
    };
    let keeps_parameters = attributes.flags & u64::from(linux::SCHED_FLAG_KEEP_PARAMS) != 0;
    let priority = match keeps_parameters {
        true => old.priority,
        false => attributes.priority,
    };
    let new = Policy {
        policy,
        priority: check_policy(policy, priority)?,
        reset_on_fork: attributes.flags & resets != 0,
    };
    change_policy(tid, old, new)?;
    let is_nice = matches!(policy, linux::SCHED_NORMAL | linux::SCHED_BATCH);
    if is_nice && !keeps_parameters {
        let nice = attributes.nice.clamp(-20, 19);
        let set = process::with_thread(tid as i32, |thread| set_nice(thread, nice));
        set.ok_or(Errno::ESRCH)??;
    }
    Ok(0)
}

/// sched_rr_get_interval(2): the time slice; 0 for SCHED_FIFO, which has none.
pub fn sched_rr_get_interval(tid: usize, to: usize) -> SysResult {
    let slice = policy_of(tid)?.slice().unwrap_or(0);
    user::write(to, &Timespec::from_ns(slice))?;
    Ok(0)
}

/// sched_get_priority_max(2)
pub fn sched_get_priority_max(policy: usize) -> SysResult {
    priority_bound(policy, 99)
}

/// sched_get_priority_min(2)
pub fn sched_get_priority_min(policy: usize) -> SysResult {
    priority_bound(policy, 1)
}

fn priority_bound(policy: usize, realtime: usize) -> SysResult {
    match policy as u32 {
        linux::SCHED_FIFO | linux::SCHED_RR => Ok(realtime),
        linux::SCHED_NORMAL | linux::SCHED_BATCH | linux::SCHED_IDLE | linux::SCHED_DEADLINE => {
            Ok(0)
        }
        _ => Err(Errno::EINVAL),
    }
}

/// getpriority(2): the best of the nice values that are meant. Nice value 0 is returned as 20.
pub fn getpriority(which: usize, who: usize) -> SysResult {
    // The system call gives 20 minus the nice value, which is never negative.
    let values = prioritised(which, who)?.into_iter();
    let values = values.filter_map(|tid| process::with_thread(tid, |thread| 20 - thread.nice()));
    values.max().map(|value| value as usize).ok_or(Errno::ESRCH)
}

/// The threads that getpriority(2) and setpriority(2) mean; 0 for the caller, its group, its user.
fn prioritised(which: usize, who: usize) -> Result<Vec<Tid>, Errno> {
    let who = who as i32;
    let threads_of = |is_meant: &dyn Fn(&Process) -> bool| {
        let meant = process::processes().filter(|process| is_meant(process));
        meant.flat_map(|process| process.thread_ids()).collect()
    };
    match which as u32 {
        linux::PRIO_PROCESS => Ok(vec![who]),
        linux::PRIO_PGRP => {
            let group = match who {
                0 => process::with_current(|process| process.pgid()),
                group => group,
            };
            Ok(threads_of(&|process| process.pgid() == group))
        }
        linux::PRIO_USER => {
            let user = match who.cast_unsigned() {
                0 => credentials::current().user.real,
                user => user,
            };
            Ok(threads_of(&|process| {
                process.user().is_some_and(|ids| ids.real == user)
            }))
        }
        _ => Err(Errno::EINVAL),
    }
}

/// setpriority(2)
pub fn setpriority(which: usize, who: usize, nice: usize) -> SysResult {
    let nice = (nice as i32).clamp(-20, 19);
    let mut result = Err(Errno::ESRCH);
    for tid in prioritised(which, who)? {
        let set = process::with_thread(tid, |thread| set_nice(thread, nice));
        // As on Linux an error stays, whatever succeeds after it.
        result = match (result, set) {
            (Ok(_) | Err(Errno::ESRCH), Some(set)) => set,
            (result, _) => result,
        };
    }
    result
}

fn set_nice(thread: &Thread, nice: i32) -> SysResult {
    if !credentials::capable(linux::CAP_SYS_NICE) {
        if !owns(thread) {
            return Err(Errno::EPERM);
        }
        if nice < thread.nice() && !limit_allows(&thread.linux().process, nice) {
            return Err(Errno::EACCES);
        }
    }
    thread.set_nice(nice);
    Ok(0)
}

/// The threads that ioprio_get(2) and ioprio_set(2) mean, whose numbers for kinds are one higher.
fn io_prioritised(which: usize, who: usize) -> Result<Vec<Tid>, Errno> {
    prioritised(which.wrapping_sub(1), who)
}

/// ioprio_get(2): the best of those that are meant, of which none (0) is the worst.
pub fn ioprio_get(which: usize, who: usize) -> SysResult {
    let priority = |tid| {
        process::with_thread(tid, |thread| {
            thread.linux().settings.io_priority.load(Ordering::Relaxed)
        })
    };
    let all = io_prioritised(which, who)?.into_iter();
    let best = all.filter_map(priority).min_by_key(|&one| (one == 0, one));
    best.ok_or(Errno::ESRCH)
}

/// ioprio_set(2)
pub fn ioprio_set(which: usize, who: usize, priority: usize) -> SysResult {
    /// From Linux' ioprio.h.
    const CLASS_SHIFT: u32 = 13;
    const LEVELS: usize = 8;
    let level = priority & ((1 << CLASS_SHIFT) - 1);
    match (priority & 0xffff) >> CLASS_SHIFT {
        // None, real time, best effort, idle.
        0 if level == 0 => (),
        1 if level < LEVELS => credentials::require(linux::CAP_SYS_NICE)?,
        2 if level < LEVELS => (),
        3 => (),
        _ => return Err(Errno::EINVAL),
    }
    let mut result = Err(Errno::ESRCH);
    for tid in io_prioritised(which, who)? {
        let set = process::with_thread(tid, |thread| {
            if !owns(thread) {
                credentials::require(linux::CAP_SYS_NICE)?;
            }
            let own = &thread.linux().settings.io_priority;
            own.store(priority & 0xffff, Ordering::Relaxed);
            Ok(0)
        });
        result = match set {
            Some(Err(error)) => return Err(error),
            Some(Ok(_)) => Ok(0),
            None => result,
        };
    }
    result
}

/// membarrier(2)
pub fn membarrier(command: usize, flags: usize, _cpu: usize) -> SysResult {
    /// From Linux' membarrier.h.
    const GLOBAL: usize = 1;
    const GLOBAL_EXPEDITED: usize = 2;
    const REGISTER_GLOBAL_EXPEDITED: usize = 4;
    const PRIVATE_EXPEDITED: usize = 8;
    const REGISTER_PRIVATE_EXPEDITED: usize = 16;
    const GET_REGISTRATIONS: usize = 512;
    const REGISTRATIONS: usize = REGISTER_GLOBAL_EXPEDITED | REGISTER_PRIVATE_EXPEDITED;
    fn barrier(_: usize, _: usize) {
        fence(Ordering::SeqCst);
    }
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let with = |f: fn(&AtomicUsize, usize) -> usize, bits| {
        process::with_current(|process| f(&process.settings.barriers, bits))
    };
    let registered = || with(|all, _| all.load(Ordering::Relaxed), 0);
    match command & 0xffff_ffff {
        0 => {
            let barriers = GLOBAL | GLOBAL_EXPEDITED | PRIVATE_EXPEDITED | GET_REGISTRATIONS;
            return Ok(barriers | REGISTRATIONS);
        }
        PRIVATE_EXPEDITED if registered() & REGISTER_PRIVATE_EXPEDITED == 0 => {
            return Err(Errno::EPERM);
        }
        GLOBAL | GLOBAL_EXPEDITED | PRIVATE_EXPEDITED => {
            fence(Ordering::SeqCst);
            cpu::broadcast(barrier, 0, 0);
        }
        bit @ (REGISTER_GLOBAL_EXPEDITED | REGISTER_PRIVATE_EXPEDITED) => {
            with(|all, bit| all.fetch_or(bit, Ordering::Relaxed), bit);
        }
        GET_REGISTRATIONS => return Ok(registered()),
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// sched_yield(2)
pub fn sched_yield() -> SysResult {
    sched::yield_now();
    Ok(0)
}
