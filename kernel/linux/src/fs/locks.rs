//! Advisory locks: flock(2)'s, and the record locks of fcntl(2), of processes and of open file descriptions.
//!
//! They are kept by inode in one table under one lock, so that who waits for whom is seen at a glance: a record lock
//! that would close a circle of waiting processes is `EDEADLK`. As in Linux, what owns a process' record locks is its
//! descriptor table, which ends them with any close of the file; flock's and `F_OFD_SETLK`'s are the open file
//! description's and end with it. flock's locks and record locks do not see each other. Left out: leases.
mod listed;

pub use listed::{listed, of_owners};

use super::File;
use abi::Errno;
use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};
use machine::sync::{Signals, SpinLock, WaitQueue};

/// Who has a lock or wants one: told by the address, which is its own as long as it can have locks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// All that use a descriptor table.
    Files(usize),
    /// All that use an open file description.
    Open(usize),
}

/// Which locks see each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// flock(2).
    Flock,
    /// fcntl(2).
    Record,
}

/// Whether others may have the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// `F_RDLCK`, `LOCK_SH`.
    Shared,
    /// `F_WRLCK`, `LOCK_EX`.
    Exclusive,
}

/// A lock that is held or wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lock {
    /// Whose it is.
    pub owner: Owner,
    /// Shared or not.
    pub mode: Mode,
    /// First byte.
    pub first: i64,
    /// Last byte; [`END`] if there is none.
    pub last: i64,
    /// The process that took it, for show.
    pub pid: i32,
}

/// The last byte of what goes on to the end of the file, wherever that is.
pub const END: i64 = i64::MAX;

/// Device and inode number.
type Inode = (u64, u64);

/// The locks of an inode.
#[derive(Default)]
struct Locks {
    flocks: Vec<Lock>,
    /// Those of an owner stand together, in the order of bytes, and do not overlap.
    records: Vec<Lock>,
    /// Who sleeps in `queue`.
    waiting: Vec<(Class, Lock)>,
    queue: Arc<WaitQueue>,
    /// They may go on: they are woken when the table is unlocked.
    freed: bool,
}

static TABLE: SpinLock<BTreeMap<Inode, Locks>> = SpinLock::new(BTreeMap::new());

fn inode(file: &dyn File) -> Result<Inode, Errno> {
    match file.node() {
        Some(node) => Ok((node.dev, node.ino)),
        None => file.metadata().map(|metadata| (metadata.dev, metadata.ino)),
    }
}

impl Lock {
    fn overlaps(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    fn conflicts(&self, other: &Self) -> bool {
        let exclusive = self.mode == Mode::Exclusive || other.mode == Mode::Exclusive;
        exclusive && self.owner != other.owner && self.overlaps(other)
    }
}

impl Locks {
    fn of(&mut self, class: Class) -> &mut Vec<Lock> {
        match class {
            Class::Flock => &mut self.flocks,
            Class::Record => &mut self.records,
        }
    }

    fn conflicting(&self, class: Class, wanted: &Lock) -> impl Iterator<Item = &Lock> {
        let held = match class {
            Class::Flock => &self.flocks,
            Class::Record => &self.records,
        };
        let wanted = *wanted;
        held.iter().filter(move |lock| lock.conflicts(&wanted))
    }

    fn is_unused(&self) -> bool {
        self.flocks.is_empty() && self.records.is_empty() && self.waiting.is_empty()
    }

    /// The bytes of `range` become `mode`, or unlocked, for its owner.
    fn set(&mut self, class: Class, range: &Lock, mode: Option<Mode>) {
        let locks = self.of(class);
        let own = |lock: &Lock| lock.owner == range.owner;
        let place = locks.iter().position(own).unwrap_or(locks.len());
        let before: Vec<Lock> = locks.extract_if(.., |lock| own(lock)).collect();
        let mut after = Vec::with_capacity(before.len() + 2);
        for lock in &before {
            if !lock.overlaps(range) {
                after.push(*lock);
                continue;
            }
            if lock.first < range.first {
                let last = range.first - 1;
                after.push(Lock { last, ..*lock });
            }
            if lock.last > range.last {
                let first = range.last + 1;
                after.push(Lock { first, ..*lock });
            }
        }
        if let Some(mode) = mode {
            after.push(Lock { mode, ..*range });
            after.sort_by_key(|lock| lock.first);
            after.dedup_by(|next, lock| {
                let joined = lock.mode == next.mode && lock.last.checked_add(1) == Some(next.first);
                if joined {
                    lock.last = next.last;
                }
                joined
            });
        }
        let freed = !before.is_empty() && before != after;
        locks.splice(place..place, after);
        self.freed |= freed;
    }

    /// Whether an open file has what it wants of flock's already. What else it has is given up before anything is
    /// waited for.
    fn convert(&mut self, wanted: &Lock) -> bool {
        let own = self.flocks.iter().find(|lock| lock.owner == wanted.owner);
        let held = own.map(|lock| lock.mode);
        if held.is_some_and(|held| held != wanted.mode) {
            self.set(Class::Flock, wanted, None);
        }
        held == Some(wanted.mode)
    }

    fn forget_wait(&mut self, entry: &(Class, Lock)) {
        if let Some(place) = self.waiting.iter().position(|other| other == entry) {
            self.waiting.swap_remove(place);
        }
    }
}

/// Whether somebody that `wanted` has to wait for waits for its owner, by others or not.
fn is_deadlock(others: &BTreeMap<Inode, Locks>, locks: &Locks, wanted: &Lock) -> bool {
    let owners = |locks: &Locks, wanted: &Lock| -> Vec<Owner> {
        let conflicting = locks.conflicting(Class::Record, wanted);
        conflicting.map(|lock| lock.owner).collect()
    };
    let mut seen = owners(locks, wanted);
    let mut next = 0;
    while let Some(&owner) = seen.get(next) {
        next += 1;
        if owner == wanted.owner {
            return true;
        }
        // Open files are nobody in particular: nobody can say what they wait for.
        if matches!(owner, Owner::Open(_)) {
            continue;
        }
        for locks in others.values().chain([locks]) {
            let waits = |entry: &&(Class, Lock)| entry.0 == Class::Record && entry.1.owner == owner;
            for (_, lock) in locks.waiting.iter().filter(waits) {
                for owner in owners(locks, lock) {
                    if !seen.contains(&owner) {
                        seen.push(owner);
                    }
                }
            }
        }
    }
    false
}

/// Calls `f` with the locks of `inode` and those of all others. An inode is forgotten when nothing is left of its.
fn with_locks<R>(inode: Inode, f: impl FnOnce(&mut Locks, &BTreeMap<Inode, Locks>) -> R) -> R {
    let mut table = TABLE.lock();
    let mut locks = table.remove(&inode).unwrap_or_default();
    let result = f(&mut locks, &table);
    let woken = core::mem::take(&mut locks.freed).then(|| locks.queue.clone());
    if !locks.is_unused() {
        table.insert(inode, locks);
    }
    drop(table);
    if let Some(queue) = woken {
        queue.wake_all();
    }
    result
}

/// Takes `lock`; if others have it, waits for them if `wait`, and else fails with `EAGAIN`. A signal that ends the
/// waiting is `ERESTARTSYS`.
pub fn lock(file: &dyn File, class: Class, lock: Lock, wait: bool) -> Result<(), Errno> {
    let inode = inode(file)?;
    if class == Class::Flock && with_locks(inode, |locks, _| locks.convert(&lock)) {
        return Ok(());
    }
    let entry = (class, lock);
    let attempt = |first: bool| {
        with_locks(inode, |locks, others| {
            if locks.conflicting(class, &lock).next().is_none() {
                if !first {
                    locks.forget_wait(&entry);
                }
                locks.set(class, &lock, Some(lock.mode));
                return Ok(None);
            }
            if !wait {
                return Err(Errno::EAGAIN);
            }
            let detects = class == Class::Record && matches!(lock.owner, Owner::Files(_));
            if detects && is_deadlock(others, locks, &lock) {
                if !first {
                    locks.forget_wait(&entry);
                }
                return Err(Errno::EDEADLK);
            }
            if first {
                locks.waiting.push(entry);
            }
            Ok(Some(locks.queue.clone()))
        })
    };
    let Some(queue) = attempt(true)? else {
        return Ok(());
    };
    let waited = queue.wait_until(None, Signals::Interrupt, || match attempt(false) {
        Ok(None) => Some(Ok(())),
        Ok(Some(_)) => None,
        Err(error) => Some(Err(error)),
    });
    waited.unwrap_or_else(|_| {
        with_locks(inode, |locks, _| locks.forget_wait(&entry));
        Err(Errno::ERESTARTSYS)
    })
}

/// Unlocks what `range` says; its mode means nothing.
pub fn unlock(file: &dyn File, class: Class, range: &Lock) -> Result<(), Errno> {
    release(inode(file)?, class, range);
    Ok(())
}

fn release(inode: Inode, class: Class, range: &Lock) {
    with_locks(inode, |locks, _| locks.set(class, range, None));
}

/// A lock that `wanted` would have to wait for.
pub fn conflicting(file: &dyn File, wanted: &Lock) -> Result<Option<Lock>, Errno> {
    let inode = inode(file)?;
    Ok(with_locks(inode, |locks, _| {
        locks.conflicting(Class::Record, wanted).next().copied()
    }))
}

fn all_of(owner: Owner) -> Lock {
    Lock {
        owner,
        mode: Mode::Shared,
        first: 0,
        last: END,
        pid: 0,
    }
}

/// The owner has no locks of these classes on the file any more.
pub fn end(owner: Owner, file: &dyn File, classes: &[Class]) {
    // Most closes end here.
    if TABLE.lock().is_empty() {
        return;
    }
    if let Ok(inode) = inode(file) {
        for class in classes {
            release(inode, *class, &all_of(owner));
        }
    }
}

#[cfg(test)]
mod tests;
