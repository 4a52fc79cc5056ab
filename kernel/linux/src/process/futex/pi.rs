//! Futexes with priority inheritance: the word holds its owner's thread id, and the kernel hands it over when the owner
//! unlocks it or ends, to the thread of the highest priority, of those to the one that has waited longest. Meanwhile
//! the owner runs at that priority, and so does who it waits for in turn. Left out: one that only a thread of another
//! process waits for, and that is in no robust list, stays when its owner ends.
use super::{Sleeper, TABLE, Taken, Word, bucket_index, insert, release};
use crate::process::{self, table};
use abi::Errno;
use alloc::{collections::VecDeque, sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicI32, Ordering};
use linux_raw_sys::general::{FUTEX_OWNER_DIED, FUTEX_TID_MASK, FUTEX_WAITERS};
use machine::{
    mm::user,
    sched::{self, Level, Thread, Tid},
    sync::{Signals, WaitError, Waiter},
    time::Instant,
};

/// What a sleeper waits to be handed over.
pub(super) struct Awaited {
    word: Word,
    /// Who waits.
    tid: Tid,
    /// Who has it, once the sleeper waits for it: changed under the lock of its bucket only. While somebody waits, the
    /// word changes hands by the kernel alone.
    owner: AtomicI32,
}

impl Sleeper {
    /// The futex that it is asleep on and is to be handed over.
    fn awaited(&self) -> Option<&Awaited> {
        self.pi
            .as_ref()
            .filter(|awaited| awaited.word.key == self.key())
    }

    /// The thread with the futex that it waits for; 0 for none.
    fn awaits_thread(&self) -> Tid {
        self.awaited()
            .map_or(0, |awaited| awaited.owner.load(Ordering::Relaxed))
    }

    fn set_owner(&self, owner: Tid) {
        if let Some(awaited) = &self.pi {
            awaited.owner.store(owner, Ordering::Relaxed);
        }
    }

    /// The thread that waits for a futex to be handed over; 0 if it waits for none.
    fn tid(&self) -> Tid {
        self.pi.as_ref().map_or(0, |awaited| awaited.tid)
    }
}

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

/// Place in its bucket of the thread that is to have a futex next.
fn first(bucket: &VecDeque<Arc<Sleeper>>, word: Word) -> Option<usize> {
    let waits = |sleeper: &Sleeper| {
        let awaited = sleeper.awaited();
        awaited.is_some_and(|awaited| awaited.word.key == word.key)
    };
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
        let (mut level, mut next) = (0, 0);
        for bucket in &TABLE {
            for sleeper in bucket.lock().iter() {
                if sleeper.awaits_thread() == tid {
                    level = level.max(sleeper.waiter.level());
                } else if sleeper.tid() == tid {
                    next = sleeper.awaits_thread();
                }
            }
        }
        let changed = table::with_thread(tid, |thread| {
            let before = thread.level();
            thread.inherit(level);
            thread.level() != before
        });
        if changed != Some(true) || next == 0 {
            return;
        }
        tid = next;
    }
}

/// As [`settle`], for the owner of what somebody of this level waits or has waited for, if there is any reason to.
fn settle_owner(owner: Tid, level: Level) {
    if level != 0 && owner != 0 {
        settle(owner);
    }
}

/// Locks a futex: takes it if it is free, else sleeps until it is handed over. `EDEADLK` when the caller
/// has it, `ESRCH` when its owner is no thread.
pub fn lock(word: Word, deadline: Option<Instant>) -> Result<(), Errno> {
    let sleeper = Sleeper::new(Waiter::new(), word.key, u32::MAX, Some(awaited(word)));
    if acquire(word, Some(&sleeper))? {
        return Ok(());
    }
    sleep(&sleeper, deadline).map_err(|error| match error {
        WaitError::TimedOut => Errno::ETIMEDOUT,
        WaitError::Interrupted => Errno::ERESTARTNOINTR,
    })
}

/// What the calling thread wants.
fn awaited(word: Word) -> Awaited {
    Awaited {
        word,
        tid: sched::current_tid(),
        owner: AtomicI32::new(0),
    }
}

/// Sleeps until the futex is handed over; its owner has the level of the calling thread meanwhile.
fn sleep(sleeper: &Arc<Sleeper>, deadline: Option<Instant>) -> Result<(), WaitError> {
    let level = sleeper.waiter.level();
    settle_owner(sleeper.awaits_thread(), level);
    let result = sleeper.sleep(deadline, Signals::Interrupt);
    if result.is_err() {
        settle_owner(sleeper.awaits_thread(), level);
    }
    result
}

/// As [`lock`], but `EAGAIN` instead of sleeping.
pub fn try_lock(word: Word) -> Result<(), Errno> {
    acquire(word, None).map(|_| ())
}

/// Takes the futex for the calling thread; false when the sleeper has been entered instead.
fn acquire(word: Word, sleeper: Option<&Arc<Sleeper>>) -> Result<bool, Errno> {
    let addr = word.addr;
    let tid = sched::current_tid() as u32;
    loop {
        bring_in(addr)?;
        let mut bucket = TABLE[bucket_index(word.key)].lock();
        let Some(value) = user::load_u32_nofault(addr) else {
            continue;
        };
        let owner = value & FUTEX_TID_MASK;
        if owner == tid {
            return Err(Errno::EDEADLK);
        }
        if owner == 0 {
            let waiters = first(&bucket, word).map_or(0, |_| FUTEX_WAITERS);
            if exchange(addr, value, tid | (value & FUTEX_OWNER_DIED) | waiters).is_some() {
                own(&bucket, word, tid as Tid);
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
            mark_used();
            insert(&mut bucket, Arc::clone(sleeper));
            own(&bucket, word, owner as Tid);
            return Ok(false);
        }
    }
}

/// A thread of the process waits for a futex to be handed over: threads that end look for what they have.
fn mark_used() {
    process::with_current(|process| process.waits_for_owners.store(true, Ordering::Relaxed));
}

/// All who wait for a futex wait for the thread `owner`.
fn own(bucket: &VecDeque<Arc<Sleeper>>, word: Word, owner: Tid) {
    for sleeper in bucket.iter().filter(|sleeper| sleeper.key() == word.key) {
        sleeper.set_owner(owner);
    }
}

/// Unlocks a futex, which the calling thread has (`EPERM` otherwise).
pub fn unlock(word: Word) -> Result<(), Errno> {
    let tid = sched::current_tid();
    if give_up(word, tid, 0, |_| 0)? {
        Ok(())
    } else {
        Err(Errno::EPERM)
    }
}

/// The thread `tid` has ended with the futex; not so: false.
pub(in crate::process) fn owner_died(word: Word, tid: Tid) -> Result<bool, Errno> {
    give_up(word, tid, FUTEX_OWNER_DIED, |value| {
        FUTEX_OWNER_DIED | (value & FUTEX_WAITERS)
    })
}

/// Hands a futex over to whoever has waited longest, with `mark` in its word; with nobody waiting the word becomes
/// `free(word)`. False when it is not the thread `tid`'s.
fn give_up(word: Word, tid: Tid, mark: u32, free: impl Fn(u32) -> u32) -> Result<bool, Errno> {
    let addr = word.addr;
    loop {
        bring_in(addr)?;
        let mut bucket = TABLE[bucket_index(word.key)].lock();
        let Some(value) = user::load_u32_nofault(addr) else {
            continue;
        };
        if value & FUTEX_TID_MASK != tid as u32 {
            return Ok(false);
        }
        let place = first(&bucket, word);
        let heir = place.map_or(0, |place| bucket[place].tid());
        let new = match heir {
            0 => free(value),
            heir => heir as u32 | FUTEX_WAITERS | mark,
        };
        if exchange(addr, value, new).is_none() {
            continue;
        }
        let next = place.and_then(|place| bucket.remove(place));
        if let Some(next) = &next {
            next.woken.store(true, Ordering::Release);
        }
        own(&bucket, word, heir);
        let left = first(&bucket, word).map_or(0, |place| bucket[place].waiter.level());
        drop(bucket);
        // The new owner first: it may be running before this thread is done here.
        settle_owner(heir, left);
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
    if !process::with_current(|process| process.waits_for_owners.load(Ordering::Relaxed)) {
        return;
    }
    for bucket in &TABLE {
        loop {
            let owned = bucket.lock().iter().find_map(|sleeper| {
                let awaited = sleeper.awaited()?;
                (sleeper.awaits_thread() == tid && awaited.word.is_here()).then_some(awaited.word)
            });
            // One that cannot be handed over, because its memory is gone, stays.
            if !owned.is_some_and(|word| owner_died(word, tid) == Ok(true)) {
                break;
            }
        }
    }
}

/// Sleeps while the word is `value`, until [`requeue`] moves the sleeper to the futex `target` and that is handed over.
pub fn wait_requeue(
    word: Word,
    value: u32,
    deadline: Option<Instant>,
    target: Word,
) -> Result<(), Errno> {
    if word.key == target.key {
        return Err(Errno::EINVAL);
    }
    let sleeper = Sleeper::new(Waiter::new(), word.key, u32::MAX, Some(awaited(target)));
    sleeper.enter(word, value)?;
    sleep(&sleeper, deadline).map_err(|error| match error {
        WaitError::TimedOut => Errno::ETIMEDOUT,
        // Done again from the beginning it would miss the wake-up that has moved it.
        WaitError::Interrupted if sleeper.key() == target.key => Errno::EAGAIN,
        WaitError::Interrupted => Errno::ERESTARTNOINTR,
    })
}

/// If the word `from` is `expected` (`EAGAIN` otherwise), lets one thread out of [`wait_requeue`] have the futex `to`
/// and up to `move_count` more wait for it; how many. The one waits, too, if somebody has the futex.
pub fn requeue(from: Word, to: Word, move_count: usize, expected: u32) -> Result<usize, Errno> {
    if from.key == to.key {
        return Err(Errno::EINVAL);
    }
    let (source, target) = (bucket_index(from.key), bucket_index(to.key));
    loop {
        user::load_u32(from.addr)?;
        bring_in(to.addr)?;
        let mut low = TABLE[source.min(target)].lock();
        let mut high = (source != target).then(|| TABLE[source.max(target)].lock());
        let words = [from.addr, to.addr].map(user::load_u32_nofault);
        let [Some(now), Some(word)] = words else {
            continue;
        };
        if now != expected {
            return Err(Errno::EAGAIN);
        }
        let bucket = match &mut high {
            Some(high) if source > target => high,
            _ => &mut low,
        };
        let on_source = || bucket.iter().filter(|sleeper| sleeper.key() == from.key);
        let goes = |sleeper: &Arc<Sleeper>| {
            let pi = sleeper.pi.as_ref();
            pi.is_some_and(|awaited| awaited.word.key == to.key)
        };
        if !on_source().all(goes) {
            return Err(Errno::EINVAL);
        }
        let count = on_source().count().min(move_count.saturating_add(1));
        let Some(head) = on_source().next() else {
            return Ok(0);
        };
        let owner = word & FUTEX_TID_MASK;
        let next = if owner != 0 { owner as Tid } else { head.tid() };
        let new = if owner != 0 {
            word | FUTEX_WAITERS
        } else if count > 1 {
            head.tid() as u32 | (word & FUTEX_OWNER_DIED) | FUTEX_WAITERS
        } else {
            head.tid() as u32 | (word & FUTEX_OWNER_DIED)
        };
        if owner != 0 && !table::contains(owner as Tid) {
            return Err(Errno::ESRCH);
        }
        if exchange(to.addr, word, new).is_none() {
            continue;
        }
        mark_used();
        let mut moved: Vec<_> = Vec::with_capacity(count);
        bucket.retain(|sleeper| {
            let goes = sleeper.key() == from.key && moved.len() < count;
            if goes {
                moved.push(Arc::clone(sleeper));
            }
            !goes
        });
        let mut woken = Taken::new();
        if owner == 0 {
            woken.push(moved.remove(0));
            woken[0].woken.store(true, Ordering::Release);
        }
        let level = moved.iter().map(|sleeper| sleeper.waiter.level()).max();
        for sleeper in &moved {
            sleeper.key.set(to.key);
        }
        let bucket = match &mut high {
            Some(high) if target > source => high,
            _ => &mut low,
        };
        for sleeper in moved {
            insert(bucket, sleeper);
        }
        own(bucket, to, next);
        drop((high, low));
        settle_owner(next, level.unwrap_or(0));
        release(woken);
        return Ok(count);
    }
}
