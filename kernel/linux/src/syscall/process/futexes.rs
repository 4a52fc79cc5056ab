//! Futexes and the lists of robust ones: arguments in, [`crate::process::futex`] does the work.
use crate::process::LinuxThread;
use crate::process::restart::Restart;
use crate::{
    process::{
        self,
        futex::{self as futexes, Watched, Word, pi},
    },
    syscall::time::{Timespec, deadline_after, deadline_at_realtime},
};
use abi::{Errno, SysResult};
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use linux_raw_sys::general as linux;
use machine::{mm::user, sched, time::Instant};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// `FUTEX2_SIZE_U32`, the only size there is.
const FUTEX_32: u32 = 2;

/// Size of `struct robust_list_head`.
const ROBUST_HEAD: usize = 24;

/// set_robust_list(2)
pub fn set_robust_list(head: usize, len: usize) -> SysResult {
    if len != ROBUST_HEAD {
        return Err(Errno::EINVAL);
    }
    sched::with_current(|thread| thread.linux().robust_list.store(head, Ordering::Relaxed));
    Ok(0)
}

/// get_robust_list(2)
pub fn get_robust_list(tid: usize, head: usize, len: usize) -> SysResult {
    let list = process::with_thread(tid as i32, |thread| {
        thread.linux().robust_list.load(Ordering::Relaxed)
    });
    user::write(head, &(list.ok_or(Errno::ESRCH)? as u64))?;
    user::write(len, &(ROBUST_HEAD as u64))?;
    Ok(0)
}

/// futex(2)
pub fn futex(
    addr: usize,
    op: usize,
    value: usize,
    timeout: usize,
    second: usize,
    value3: usize,
) -> SysResult {
    let op = op as u32;
    let (value, value3) = (value as u32, value3 as u32);
    let command = op & !(linux::FUTEX_PRIVATE_FLAG | linux::FUTEX_CLOCK_REALTIME);
    let realtime = op & linux::FUTEX_CLOCK_REALTIME != 0;
    let shared = op & linux::FUTEX_PRIVATE_FLAG == 0;
    let absolute = matches!(
        command,
        linux::FUTEX_WAIT_BITSET | linux::FUTEX_WAIT_REQUEUE_PI | linux::FUTEX_LOCK_PI2
    );
    if realtime && !absolute {
        return Err(Errno::ENOSYS);
    }
    let at = if realtime || command == linux::FUTEX_LOCK_PI {
        deadline_at_realtime
    } else {
        Instant
    };
    // Linux wakes one even when asked for none.
    let count = (value as i32).max(1) as usize;
    let first = || Word::at(addr, shared);
    let other = || Word::at(second, shared);
    match command {
        linux::FUTEX_WAIT => {
            let deadline = read_timeout(timeout)?.map(deadline_after);
            futex_wait(addr, shared, value, u32::MAX, deadline)
        }
        linux::FUTEX_WAIT_BITSET => {
            let deadline = read_timeout(timeout)?.map(at);
            futex_wait(addr, shared, value, value3, deadline)
        }
        linux::FUTEX_WAKE => Ok(futexes::wake(first()?, count, u32::MAX)),
        linux::FUTEX_WAKE_BITSET if value3 == 0 => Err(Errno::EINVAL),
        linux::FUTEX_WAKE_BITSET => Ok(futexes::wake(first()?, count, value3)),
        linux::FUTEX_REQUEUE | linux::FUTEX_CMP_REQUEUE => {
            let expected = (command == linux::FUTEX_CMP_REQUEUE).then_some(value3);
            // The timeout's place has the number to move. Negative numbers are errors here, 0 is 0.
            let wake_count = usize::try_from(value as i32).map_err(|_| Errno::EINVAL)?;
            let move_count = usize::try_from(timeout as i32).map_err(|_| Errno::EINVAL)?;
            futexes::requeue(first()?, other()?, wake_count, move_count, expected)
        }
        linux::FUTEX_WAKE_OP => {
            let second_count = (timeout as i32).max(1) as usize;
            futexes::wake_op(first()?, other()?, count, second_count, value3)
        }
        linux::FUTEX_LOCK_PI | linux::FUTEX_LOCK_PI2 => {
            let deadline = read_timeout(timeout)?.map(at);
            pi::lock(first()?, deadline).map(|()| 0)
        }
        linux::FUTEX_TRYLOCK_PI => pi::try_lock(first()?).map(|()| 0),
        linux::FUTEX_UNLOCK_PI => pi::unlock(first()?).map(|()| 0),
        linux::FUTEX_WAIT_REQUEUE_PI => {
            let deadline = read_timeout(timeout)?.map(at);
            pi::wait_requeue(first()?, value, deadline, other()?).map(|()| 0)
        }
        linux::FUTEX_CMP_REQUEUE_PI if value != 1 => Err(Errno::EINVAL),
        linux::FUTEX_CMP_REQUEUE_PI => {
            let move_count = usize::try_from(timeout as i32).map_err(|_| Errno::EINVAL)?;
            pi::requeue(first()?, other()?, move_count, value3)
        }
        _ => Err(Errno::ENOSYS),
    }
}

/// Sleeps while the word at `addr` has `value`.
pub(crate) fn futex_wait(
    addr: usize,
    shared: bool,
    value: u32,
    bitset: u32,
    deadline: Option<Instant>,
) -> SysResult {
    let word = Word::at(addr, shared)?;
    match (futexes::wait(word, value, bitset, deadline), deadline) {
        (Err(Errno::ERESTARTSYS), Some(deadline)) => Err(Restart::Futex {
            addr,
            shared,
            value,
            bitset,
            deadline,
        }
        .arrange()),
        (result, _) => result.map(|()| 0),
    }
}

/// `struct futex_waitv`
#[repr(C)]
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes)]
struct WaitEntry {
    value: u64,
    addr: u64,
    flags: u32,
    reserved: u32,
}

/// futex_waitv(2)
pub fn futex_waitv(
    entries: usize,
    count: usize,
    flags: usize,
    timeout: usize,
    clock: usize,
) -> SysResult {
    let count = count as u32;
    if flags as u32 != 0 || !(1..=linux::FUTEX_WAITV_MAX).contains(&count) || entries == 0 {
        return Err(Errno::EINVAL);
    }
    let deadline = match (read_timeout(timeout)?, clock as u32) {
        (None, _) => None,
        (Some(ns), linux::CLOCK_MONOTONIC) => Some(Instant(ns)),
        (Some(ns), linux::CLOCK_REALTIME) => Some(deadline_at_realtime(ns)),
        _ => return Err(Errno::EINVAL),
    };
    let mut words = Vec::new();
    for index in 0..count as usize {
        let entry: WaitEntry = user::read(entries + index * size_of::<WaitEntry>())?;
        if entry.reserved != 0 || entry.flags & !linux::FUTEX_PRIVATE_FLAG != FUTEX_32 {
            return Err(Errno::EINVAL);
        }
        words.push(Watched {
            word: Word::at(
                entry.addr as usize,
                entry.flags & linux::FUTEX_PRIVATE_FLAG == 0,
            )?,
            value: u32::try_from(entry.value).map_err(|_| Errno::EINVAL)?,
        });
    }
    futexes::wait_any(&words, deadline)
}

/// A timeout in nanoseconds; `None` without one.
fn read_timeout(addr: usize) -> Result<Option<u64>, Errno> {
    match addr {
        0 => Ok(None),
        addr => user::read::<Timespec>(addr)?.to_ns().map(Some),
    }
}
