//! Futexes: threads that sleep on the value of a word.
//!
//! [`key`] tells words apart, in one process and between several. The value is compared and the sleeper entered
//! under the lock of the word's bucket, and who changes the word takes that lock to wake, so no wake-up falls in
//! between. Left out: an absolute real-time timeout does not follow later changes of the clock. [`pi`]
//! has the futexes that the kernel hands over.
mod key;
mod op;
pub mod pi;
mod vector;

pub use key::Word;
pub use op::wake_op;
pub use vector::{Watched, wait_any};

use abi::Errno;
use alloc::{collections::VecDeque, sync::Arc};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use key::{Key, KeyCell};
use machine::{
    mm::user,
    sync::{Signals, SpinLock, WaitError, Waiter},
    time::Instant,
};
use smallvec::SmallVec;

/// A thread in a bucket.
struct Sleeper {
    waiter: Arc<Waiter>,
    /// The word slept on. Written only by requeueing, under the locks of the old and the new bucket.
    key: KeyCell,
    bitset: u32,
    /// The priority-inheritance futex that is to be handed over to it, if it waits for one. It is asleep on that futex,
    /// or on another word until it is requeued.
    pi: Option<pi::Awaited>,
    /// Set when a waker has taken it out of its bucket.
    woken: AtomicBool,
}

type Bucket = SpinLock<VecDeque<Arc<Sleeper>>>;

/// Sleepers taken out of their bucket, mostly one.
type Taken = SmallVec<[Arc<Sleeper>; 4]>;

/// Number of buckets, a power of two.
const BUCKETS: usize = 256;

static TABLE: [Bucket; BUCKETS] = [const { SpinLock::new(VecDeque::new()) }; BUCKETS];

/// Index of the bucket for `key`.
fn bucket_index(key: Key) -> usize {
    key.hash() >> (usize::BITS - BUCKETS.trailing_zeros())
}

/// Sleeps while the word is `value`, until a wake-up whose set meets `bitset`. `EAGAIN` when it is not.
pub fn wait(word: Word, value: u32, bitset: u32, deadline: Option<Instant>) -> Result<(), Errno> {
    if bitset == 0 {
        return Err(Errno::EINVAL);
    }
    let sleeper = Sleeper::new(Waiter::new(), word.key, bitset, None);
    sleeper.enter(word, value)?;
    sleeper
        .sleep(deadline, Signals::Interrupt)
        .map_err(|error| match error {
            WaitError::TimedOut => Errno::ETIMEDOUT,
            WaitError::Interrupted => Errno::ERESTARTSYS,
        })
}

impl Sleeper {
    fn new(waiter: Arc<Waiter>, key: Key, bitset: u32, pi: Option<pi::Awaited>) -> Arc<Self> {
        Arc::new(Self {
            waiter,
            key: KeyCell::new(key),
            bitset,
            pi,
            woken: AtomicBool::new(false),
        })
    }

    fn key(&self) -> Key {
        self.key.get()
    }

    fn is_woken(&self) -> bool {
        self.woken.load(Ordering::Acquire)
    }

    /// Enters the bucket of its word if that has `value`; `EAGAIN` if not.
    fn enter(self: &Arc<Self>, word: Word, value: u32) -> Result<(), Errno> {
        loop {
            let mut bucket = TABLE[bucket_index(word.key)].lock();
            match user::load_u32_nofault(word.addr) {
                Some(now) if now == value => {
                    insert(&mut bucket, Arc::clone(self));
                    return Ok(());
                }
                Some(_) => return Err(Errno::EAGAIN),
                None => {
                    drop(bucket);
                    user::load_u32(word.addr)?;
                }
            }
        }
    }

    /// Sleeps until woken; the sleeper is in a bucket before and in none afterwards.
    fn sleep(
        self: &Arc<Self>,
        deadline: Option<Instant>,
        signals: Signals,
    ) -> Result<(), WaitError> {
        loop {
            let result = self.waiter.wait(deadline, signals);
            if self.is_woken() {
                return Ok(());
            }
            if let Err(error) = result {
                // A waker that came first has the last word.
                return if self.leave() { Err(error) } else { Ok(()) };
            }
        }
    }

    /// Takes itself out of its bucket; false when a waker already did.
    fn leave(self: &Arc<Self>) -> bool {
        loop {
            let key = self.key();
            let mut bucket = TABLE[bucket_index(key)].lock();
            if let Some(place) = bucket.iter().position(|other| Arc::ptr_eq(self, other)) {
                let _me = bucket.remove(place);
                return true;
            }
            if self.is_woken() {
                return false;
            }
            // Requeued meanwhile: look in the other bucket.
        }
    }
}

/// Puts a sleeper into its bucket: who comes first in scheduling is woken first.
fn insert(bucket: &mut VecDeque<Arc<Sleeper>>, sleeper: Arc<Sleeper>) {
    let level = sleeper.waiter.level();
    let place = (level != 0)
        .then(|| bucket.iter().position(|other| other.waiter.level() < level))
        .flatten();
    bucket.insert(place.unwrap_or(bucket.len()), sleeper);
}

/// Takes up to `count` sleepers on `key` that `bitset` meets out of the bucket; not those that wait for a futex to be
/// handed over.
fn take(bucket: &mut VecDeque<Arc<Sleeper>>, key: Key, count: usize, bitset: u32) -> Taken {
    let mut taken = Taken::new();
    let mut place = 0;
    while taken.len() < count && place < bucket.len() {
        let sleeper = &bucket[place];
        if sleeper.key() == key && sleeper.bitset & bitset != 0 && sleeper.pi.is_none() {
            taken.extend(bucket.remove(place));
        } else {
            place += 1;
        }
    }
    taken
}

/// As [`take`], for sleepers that are to be woken.
fn take_woken(bucket: &mut VecDeque<Arc<Sleeper>>, key: Key, count: usize, bitset: u32) -> Taken {
    let taken = take(bucket, key, count, bitset);
    for sleeper in &taken {
        sleeper.woken.store(true, Ordering::Release);
    }
    taken
}

/// Wakes sleepers that have left their bucket; how many. Called without locks: this may drop the last reference to a
/// thread that has ended already.
fn release(sleepers: Taken) -> usize {
    for sleeper in &sleepers {
        sleeper.waiter.wake();
    }
    sleepers.len()
}

/// Wakes up to `count` sleepers on a word that `bitset` meets; how many.
pub fn wake(word: Word, count: usize, bitset: u32) -> usize {
    wake_key(word.key, count, bitset)
}

fn wake_key(key: Key, count: usize, bitset: u32) -> usize {
    let sleepers = take_woken(&mut TABLE[bucket_index(key)].lock(), key, count, bitset);
    release(sleepers)
}

/// Wakes up to `wake_count` sleepers on `from` and moves up to `move_count` others to `to`; how many both. With
/// `expected`, `EAGAIN` unless the word `from` has that value.
pub fn requeue(
    from: Word,
    to: Word,
    wake_count: usize,
    move_count: usize,
    expected: Option<u32>,
) -> Result<usize, Errno> {
    let (source, target) = (bucket_index(from.key), bucket_index(to.key));
    loop {
        let mut low = TABLE[source.min(target)].lock();
        let mut high = (source != target).then(|| TABLE[source.max(target)].lock());
        if let Some(expected) = expected {
            match user::load_u32_nofault(from.addr) {
                Some(now) if now == expected => {}
                Some(_) => return Err(Errno::EAGAIN),
                None => {
                    drop((high, low));
                    user::load_u32(from.addr)?;
                    continue;
                }
            }
        }
        let bucket = match &mut high {
            Some(high) if source > target => high,
            _ => &mut low,
        };
        let woken = take_woken(bucket, from.key, wake_count, u32::MAX);
        let moved = take(bucket, from.key, move_count, u32::MAX);
        let count = moved.len();
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
        drop((high, low));
        return Ok(release(woken) + count);
    }
}

/// Sleeps while a word of the kernel's is `value`. May return early.
pub fn wait_kernel(word: &AtomicU32, value: u32, signals: Signals) -> Result<(), WaitError> {
    let key = Key::kernel(word.as_ptr() as usize);
    let sleeper = {
        let sleeper = Sleeper::new(Waiter::new(), key, u32::MAX, None);
        let mut bucket = TABLE[bucket_index(key)].lock();
        if word.load(Ordering::Acquire) != value {
            return Ok(());
        }
        bucket.push_back(Arc::clone(&sleeper));
        sleeper
    };
    sleeper.sleep(None, signals)
}

/// Wakes all who sleep on a word of the kernel's.
pub fn wake_kernel(word: &AtomicU32) {
    wake_key(Key::kernel(word.as_ptr() as usize), usize::MAX, u32::MAX);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_within_the_table() {
        assert!(
            [0, 4, usize::MAX, 0x7fff_ffff_f000]
                .into_iter()
                .all(|addr| bucket_index(Key::private(0, addr)) < BUCKETS)
        );
    }
}
