//! Futexes with priority inheritance: the word holds its owner's thread id, and the kernel hands it over when the owner
//! unlocks it or ends, to the thread of the highest priority, of those to the one that has waited longest. Meanwhile
//! the owner runs at that priority, and so does who it waits for in turn.
use super::{Sleeper, TABLE, bucket_index, check, insert, release};
use crate::process::LinuxThread;
use crate::process::table;
use abi::Errno;
use alloc::{collections::VecDeque, sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicBool, Ordering};
use linux_raw_sys::general::{FUTEX_OWNER_DIED, FUTEX_TID_MASK, FUTEX_WAITERS};
use machine::{
    mm::user,
    sched::{self, Level, Thread, Tid},
    sync::{Signals, WaitError, Waiter},
    time::Instant,
};

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

/// Place in its bucket of the thread that is to have the futex at `addr` next.
fn first(bucket: &VecDeque<Arc<Sleeper>>, addr: usize) -> Option<usize> {
    let waits = |sleeper: &Sleeper| sleeper.key() == addr && sleeper.pi.0 == addr;
    let waiting = bucket
        .iter()
        .enumerate()
        .filter(|(_, sleeper)| waits(sleeper));
    // The last of equal ones from the back is the first.
    let first = waiting
        .rev()
        .max_by_key(|(_, sleeper)| sleeper.waiter.level());
    first.map(|(place, _)| place)
}

/// How many threads that wait for each other are followed, as in Linux.
const CHAIN_LIMIT: usize = 1024;

/// Lends the thread `tid` the highest level of those that wait for futexes it has; if that changes its own, then also
/// whoever it waits for. Called without locks.
fn settle(tid: Tid) {
    let mut tid = tid;
    for _ in 0..CHAIN_LIMIT {
        let levels = TABLE.iter().filter_map(|bucket| {
            let bucket = bucket.lock();
            let waiting = bucket.iter().filter(|sleeper| {
                let addr = sleeper.pi.0;
                let word = (addr != 0 && sleeper.key() == addr)
                    .then(|| user::load_u32_nofault(addr))
                    .flatten();
                word.is_some_and(|word| word & FUTEX_TID_MASK == tid as u32)
            });
            waiting.map(|sleeper| sleeper.waiter.level()).max()
        });
        let level = levels.max().unwrap_or(0);
        let awaited = table::with_thread(tid, |thread| {
            let before = thread.level();
            thread.inherit(level);
            let awaited = thread.linux().awaited_futex.load(Ordering::Relaxed);
            if thread.level() == before { 0 } else { awaited }
        });
        let Some(addr) = awaited.filter(|&addr| addr != 0) else {
            return;
        };
        match user::load_u32_nofault(addr) {
            Some(word) if word & FUTEX_TID_MASK != 0 => tid = (word & FUTEX_TID_MASK) as Tid,
            _ => return,
        }
    }
}

/// As [`settle`], for the owner of the futex at `addr`, if there is any reason to.
fn settle_owner(addr: usize, level: Level) {
    let owner = user::load_u32_nofault(addr).map_or(0, |word| word & FUTEX_TID_MASK) as Tid;
    if level != 0 && owner != 0 {
        settle(owner);
    }
}

/// Locks the futex at `addr`: takes it if it is free, else sleeps until it is handed over. `EDEADLK` when the caller
/// has it, `ESRCH` when its owner is no thread.
pub fn lock(addr: usize, deadline: Option<Instant>) -> Result<(), Errno> {
    let tid = sched::current_tid();
    let sleeper = Sleeper::new(Waiter::new(), addr, u32::MAX, (addr, tid));
    if acquire(addr, Some(&sleeper))? {
        return Ok(());
    }
    sleep(&sleeper, deadline).map_err(|error| match error {
        WaitError::TimedOut => Errno::ETIMEDOUT,
        WaitError::Interrupted => Errno::ERESTARTNOINTR,
    })
}

/// Sleeps until the futex is handed over; its owner has the level of the calling thread meanwhile.
fn sleep(sleeper: &Arc<Sleeper>, deadline: Option<Instant>) -> Result<(), WaitError> {
    let addr = sleeper.pi.0;
    let level = sleeper.waiter.level();
    sched::with_current(|thread| {
        let awaited = &thread.linux().awaited_futex;
        awaited.store(addr, Ordering::Relaxed);
    });
    if sleeper.key() == addr {
        settle_owner(addr, level);
    }
    let result = sleeper.sleep(deadline, Signals::Interrupt);
    sched::with_current(|thread| thread.linux().awaited_futex.store(0, Ordering::Relaxed));
    if result.is_err() {
        settle_owner(addr, level);
    }
    result
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
            insert(&mut bucket, Arc::clone(sleeper));
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

/// Hands the futex at `addr` over to whoever has waited longest, with `mark` in its word; with nobody waiting the word
/// becomes `free(word)`. False when it is not the thread `tid`'s.
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
        let left = first(&bucket, addr).map_or(0, |place| bucket[place].waiter.level());
        drop(bucket);
        // The new owner first: it may be running before this thread is done here.
        settle_owner(addr, left);
        release(next.into_iter().collect());
        if table::with_thread(tid, Thread::has_inherited) == Some(true) {
            settle(tid);
        }
        return Ok(true);
    }
}

/// Hands over the futexes that others wait for and that the thread `tid` had when it ended. It is not in the thread
/// table any more.
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

/// Sleeps while the word at `addr` is `value`, until [`requeue`] moves the sleeper to the futex at `target` and that is
/// handed over.
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
    sleep(&sleeper, deadline).map_err(|error| match error {
        WaitError::TimedOut => Errno::ETIMEDOUT,
        // Done again from the beginning it would miss the wake-up that has moved it.
        WaitError::Interrupted if sleeper.key() == target => Errno::EAGAIN,
        WaitError::Interrupted => Errno::ERESTARTNOINTR,
    })
}

/// If the word at `from` is `expected` (`EAGAIN` otherwise), lets one thread out of [`wait_requeue`] have the futex at
/// `to` and up to `move_count` more wait for it; how many. The one waits, too, if somebody has the futex.
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
        let level = moved.iter().map(|sleeper| sleeper.waiter.level()).max();
        for sleeper in &moved {
            sleeper.key.store(to, Ordering::Relaxed);
        }
        let bucket = match &mut high {
            Some(high) if target > source => high,
            _ => &mut low,
        };
        for sleeper in moved {
            insert(bucket, sleeper);
        }
        drop((high, low));
        settle_owner(to, level.unwrap_or(0));
        release(woken);
        return Ok(count);
    }
}
