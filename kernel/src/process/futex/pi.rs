//! Futexes with priority inheritance: the word holds its owner's thread id, and the kernel hands it over to the longest waiting
//! thread when the owner unlocks it or ends.
//!
//! No thread's priority is raised: all have the same one.
use super::{Sleeper, TABLE, bucket_index, check, release};
use crate::{
    mm::user,
    process::table,
    sched::{self, Tid},
    sync::{Signals, WaitError, Waiter},
    syscall::Errno,
    time::Instant,
};
use alloc::{collections::VecDeque, sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicBool, Ordering};
use linux_raw_sys::general::{FUTEX_OWNER_DIED, FUTEX_TID_MASK, FUTEX_WAITERS};

/// Whether a thread has ever waited for such a futex: if not, threads end without looking for any.
static USED: AtomicBool = AtomicBool::new(false);

/// Changes the word at `addr` while its bucket is locked. `None`: not so, or not now, and the caller is to start anew.
fn exchange(addr: usize, old: u32, new: u32) -> Option<()> {
    user::cmpxchg_u32(addr, old, new)
        .is_ok_and(|found| found == old)
        .then_some(())
}

/// Brings the word's page in, to be written.
fn bring_in(addr: usize) -> Result<(), Errno> {
    // Writes 0 over 0, or nothing.
    user::cmpxchg_u32(addr, 0, 0).map(|_| ())
}

/// Place in its bucket of the thread that has waited longest for the futex at `addr`.
fn first(bucket: &VecDeque<Arc<Sleeper>>, addr: usize) -> Option<usize> {
    bucket
        .iter()
        .position(|sleeper| sleeper.key() == addr && sleeper.pi.0 == addr)
}

/// Locks the futex at `addr`: takes it if it is free, else sleeps until it is handed over. `EDEADLK` when the caller has it, `ESRCH`
/// when its owner is no thread.
pub fn lock(addr: usize, deadline: Option<Instant>) -> Result<(), Errno> {
    let tid = sched::current_tid();
    let sleeper = Sleeper::new(Waiter::new(), addr, u32::MAX, (addr, tid));
    if acquire(addr, Some(&sleeper))? {
        return Ok(());
    }
    sleeper
        .sleep(deadline, Signals::Interrupt)
        .map_err(|error| match error {
            WaitError::TimedOut => Errno::ETIMEDOUT,
            WaitError::Interrupted => Errno::ERESTARTNOINTR,
        })
}

/// As [`lock`], but `EAGAIN` instead of sleeping.
pub fn try_lock(addr: usize) -> Result<(), Errno> {
    acquire(addr, None).map(|_| ())
}

/// Takes the futex for the calling thread; false when the sleeper has been entered instead.
fn acquire(addr: usize, sleeper: Option<&Arc<Sleeper>>) -> Result<bool, Errno> {
    check(addr)?;
    let tid = sched::current_tid() as u32;
    loop {
        bring_in(addr)?;
        let mut bucket = TABLE[bucket_index(addr)].lock();
        let Some(value) = user::load_u32_nofault(addr) else {
            continue;
        };
        let owner = value & FUTEX_TID_MASK;
        if owner == tid {
            return Err(Errno::EDEADLK);
        }
        if owner == 0 {
            let waiters = first(&bucket, addr).map_or(0, |_| FUTEX_WAITERS);
            if exchange(addr, value, tid | (value & FUTEX_OWNER_DIED) | waiters).is_some() {
                return Ok(true);
            }
            continue;
        }
        if !table::contains(owner as Tid) {
            return Err(Errno::ESRCH);
        }
        let Some(sleeper) = sleeper else {
            return Err(Errno::EAGAIN);
        };
        if exchange(addr, value, value | FUTEX_WAITERS).is_some() {
            USED.store(true, Ordering::Relaxed);
            bucket.push_back(Arc::clone(sleeper));
            return Ok(false);
        }
    }
}

/// Unlocks the futex at `addr`, which the calling thread has (`EPERM` otherwise).
pub fn unlock(addr: usize) -> Result<(), Errno> {
    check(addr)?;
    let tid = sched::current_tid();
    if give_up(addr, tid, 0, |_| 0)? {
        Ok(())
    } else {
        Err(Errno::EPERM)
    }
}

/// The thread `tid` has ended with the futex at `addr`; not so: false.
pub(in crate::process) fn owner_died(addr: usize, tid: Tid) -> Result<bool, Errno> {
    give_up(addr, tid, FUTEX_OWNER_DIED, |value| {
        FUTEX_OWNER_DIED | (value & FUTEX_WAITERS)
    })
}

/// Hands the futex at `addr` over to whoever has waited longest, with `mark` in its word; with nobody waiting the word becomes
/// `free(word)`. False when it is not the thread `tid`'s.
fn give_up(addr: usize, tid: Tid, mark: u32, free: impl Fn(u32) -> u32) -> Result<bool, Errno> {
    loop {
        bring_in(addr)?;
        let mut bucket = TABLE[bucket_index(addr)].lock();
        let Some(value) = user::load_u32_nofault(addr) else {
            continue;
        };
        if value & FUTEX_TID_MASK != tid as u32 {
            return Ok(false);
        }
        let place = first(&bucket, addr);
        let new = match place {
            Some(place) => bucket[place].pi.1 as u32 | FUTEX_WAITERS | mark,
            None => free(value),
        };
        if exchange(addr, value, new).is_none() {
            continue;
        }
        let next = place.and_then(|place| bucket.remove(place));
        if let Some(next) = &next {
            next.woken.store(true, Ordering::Release);
        }
        drop(bucket);
        release(next.into_iter().collect());
        return Ok(true);
    }
}

/// Hands over the futexes that others wait for and that the thread `tid` had when it ended. It is not in the thread table any more.
pub(in crate::process) fn release_owned(tid: Tid) {
    if !USED.load(Ordering::Relaxed) {
        return;
    }
    for bucket in &TABLE {
        loop {
            let owned = bucket
                .lock()
                .iter()
                .map(|sleeper| sleeper.pi.0)
                .find(|&addr| {
                    let word = (addr != 0).then(|| user::load_u32_nofault(addr)).flatten();
                    word.is_some_and(|word| word & FUTEX_TID_MASK == tid as u32)
                });
            // One that cannot be handed over, because its memory is gone, stays.
            if !owned.is_some_and(|addr| owner_died(addr, tid) == Ok(true)) {
                break;
            }
        }
    }
}

/// Sleeps while the word at `addr` is `value`, until [`requeue`] moves the sleeper to the futex at `target` and that is handed over.
pub fn wait_requeue(
    addr: usize,
    value: u32,
    deadline: Option<Instant>,
    target: usize,
) -> Result<(), Errno> {
    check(addr)?;
    check(target)?;
    if addr == target {
        return Err(Errno::EINVAL);
    }
    let pi = (target, sched::current_tid());
    let sleeper = Sleeper::new(Waiter::new(), addr, u32::MAX, pi);
    sleeper.enter(value)?;
    sleeper
        .sleep(deadline, Signals::Interrupt)
        .map_err(|error| match error {
            WaitError::TimedOut => Errno::ETIMEDOUT,
            // Done again from the beginning it would miss the wake-up that has moved it.
            WaitError::Interrupted if sleeper.key() == target => Errno::EAGAIN,
            WaitError::Interrupted => Errno::ERESTARTNOINTR,
        })
}

/// If the word at `from` is `expected` (`EAGAIN` otherwise), lets one thread out of [`wait_requeue`] have the futex at `to` and up to
/// `move_count` more wait for it; how many. The one waits, too, if somebody has the futex.
pub fn requeue(from: usize, to: usize, move_count: usize, expected: u32) -> Result<usize, Errno> {
    check(from)?;
    check(to)?;
    if from == to {
        return Err(Errno::EINVAL);
    }
    let (source, target) = (bucket_index(from), bucket_index(to));
    loop {
        user::load_u32(from)?;
        bring_in(to)?;
        let mut low = TABLE[source.min(target)].lock();
        let mut high = (source != target).then(|| TABLE[source.max(target)].lock());
        let (Some(now), Some(word)) = (user::load_u32_nofault(from), user::load_u32_nofault(to))
        else {
            continue;
        };
        if now != expected {
            return Err(Errno::EAGAIN);
        }
        let bucket = match &mut high {
            Some(high) if source > target => high,
            _ => &mut low,
        };
        let on_source = || bucket.iter().filter(|sleeper| sleeper.key() == from);
        if on_source().any(|sleeper| sleeper.pi.0 != to) {
            return Err(Errno::EINVAL);
        }
        let count = on_source().count().min(move_count.saturating_add(1));
        let Some(head) = on_source().next() else {
            return Ok(0);
        };
        let owner = word & FUTEX_TID_MASK;
        let new = if owner != 0 {
            word | FUTEX_WAITERS
        } else if count > 1 {
            head.pi.1 as u32 | (word & FUTEX_OWNER_DIED) | FUTEX_WAITERS
        } else {
            head.pi.1 as u32 | (word & FUTEX_OWNER_DIED)
        };
        if owner != 0 && !table::contains(owner as Tid) {
            return Err(Errno::ESRCH);
        }
        if exchange(to, word, new).is_none() {
            continue;
        }
        USED.store(true, Ordering::Relaxed);
        let mut moved: Vec<_> = Vec::with_capacity(count);
        bucket.retain(|sleeper| {
            let goes = sleeper.key() == from && moved.len() < count;
            if goes {
                moved.push(Arc::clone(sleeper));
            }
            !goes
        });
        let mut woken = Vec::new();
        if owner == 0 {
            woken.push(moved.remove(0));
            woken[0].woken.store(true, Ordering::Release);
        }
        for sleeper in &moved {
            sleeper.key.store(to, Ordering::Relaxed);
        }
        let bucket = match &mut high {
            Some(high) if target > source => high,
            _ => &mut low,
        };
        bucket.extend(moved);
        drop((high, low));
        release(woken);
        return Ok(count);
    }
}
