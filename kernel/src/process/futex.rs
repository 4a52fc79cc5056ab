//! Futexes: threads that sleep on the value of a word.
//!
//! A word's key is its address: there is one address space, so private and shared futexes are the same. The value is compared
//! and the sleeper entered under the lock of the word's bucket, and who changes the word takes that lock to wake, so no wake-up
//! falls in between. Left out: priority inheritance and `futex_waitv`; an absolute real-time timeout does not follow later
//! changes of the clock.
use crate::{
    mm::user,
    sync::{Signals, SpinLock, WaitError, Waiter},
    syscall::Errno,
    time::Instant,
};
use alloc::{collections::VecDeque, sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

/// A thread in a bucket.
struct Sleeper {
    waiter: Arc<Waiter>,
    /// The word slept on. Written only by requeueing, under the locks of the old and the new bucket.
    key: AtomicUsize,
    bitset: u32,
    /// Set when a waker has taken it out of its bucket.
    woken: AtomicBool,
}

type Bucket = SpinLock<VecDeque<Arc<Sleeper>>>;

/// Number of buckets, a power of two.
const BUCKETS: usize = 256;

static TABLE: [Bucket; BUCKETS] = [const { SpinLock::new(VecDeque::new()) }; BUCKETS];

/// Index of the bucket for `key`.
fn bucket_index(key: usize) -> usize {
    // Fibonacci hashing: the multiplication spreads neighbouring words over the top bits.
    (key >> 2).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (usize::BITS - BUCKETS.trailing_zeros())
}

/// Whether `addr` can be a futex: `EINVAL` unless it is aligned.
pub fn check(addr: usize) -> Result<(), Errno> {
    if addr.is_multiple_of(4) {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

/// Sleeps while the program's word at `addr` is `value`, until a wake-up whose set meets `bitset`. `EAGAIN` when it is not.
pub fn wait(addr: usize, value: u32, bitset: u32, deadline: Option<Instant>) -> Result<(), Errno> {
    check(addr)?;
    if bitset == 0 {
        return Err(Errno::EINVAL);
    }
    let sleeper = Sleeper::new(addr, bitset);
    loop {
        let mut bucket = TABLE[bucket_index(addr)].lock();
        match user::load_u32_nofault(addr) {
            Some(now) if now == value => {
                bucket.push_back(Arc::clone(&sleeper));
                break;
            }
            Some(_) => return Err(Errno::EAGAIN),
            None => {
                drop(bucket);
                user::load_u32(addr)?;
            }
        }
    }
    sleeper
        .sleep(deadline, Signals::Interrupt)
        .map_err(|error| match error {
            WaitError::TimedOut => Errno::ETIMEDOUT,
            WaitError::Interrupted if deadline.is_some() => Errno::ERESTART_RESTARTBLOCK,
            WaitError::Interrupted => Errno::ERESTARTSYS,
        })
}

impl Sleeper {
    fn new(key: usize, bitset: u32) -> Arc<Self> {
        Arc::new(Self {
            waiter: Waiter::new(),
            key: AtomicUsize::new(key),
            bitset,
            woken: AtomicBool::new(false),
        })
    }

    /// Sleeps until woken; the sleeper is in a bucket before and in none afterwards.
    fn sleep(
        self: &Arc<Self>,
        deadline: Option<Instant>,
        signals: Signals,
    ) -> Result<(), WaitError> {
        loop {
            let result = self.waiter.wait(deadline, signals);
            if self.woken.load(Ordering::Acquire) {
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
            let key = self.key.load(Ordering::Relaxed);
            let mut bucket = TABLE[bucket_index(key)].lock();
            if let Some(place) = bucket.iter().position(|other| Arc::ptr_eq(self, other)) {
                let _me = bucket.remove(place);
                return true;
            }
            if self.woken.load(Ordering::Acquire) {
                return false;
            }
            // Requeued meanwhile: look in the other bucket.
        }
    }
}

/// Takes up to `count` sleepers on `key` that `bitset` meets out of the bucket.
fn take(
    bucket: &mut VecDeque<Arc<Sleeper>>,
    key: usize,
    count: usize,
    bitset: u32,
) -> Vec<Arc<Sleeper>> {
    let mut taken = Vec::new();
    let mut place = 0;
    while taken.len() < count && place < bucket.len() {
        let sleeper = &bucket[place];
        if sleeper.key.load(Ordering::Relaxed) == key && sleeper.bitset & bitset != 0 {
            taken.extend(bucket.remove(place));
        } else {
            place += 1;
        }
    }
    taken
}

/// As [`take`], for sleepers that are to be woken.
fn take_woken(
    bucket: &mut VecDeque<Arc<Sleeper>>,
    key: usize,
    count: usize,
    bitset: u32,
) -> Vec<Arc<Sleeper>> {
    let taken = take(bucket, key, count, bitset);
    for sleeper in &taken {
        sleeper.woken.store(true, Ordering::Release);
    }
    taken
}

/// Wakes sleepers that have left their bucket; how many. Called without locks: this may drop the last reference to a thread that has
/// ended already.
fn release(sleepers: Vec<Arc<Sleeper>>) -> usize {
    for sleeper in &sleepers {
        sleeper.waiter.wake();
    }
    sleepers.len()
}

/// Wakes up to `count` sleepers on `addr` that `bitset` meets; how many.
pub fn wake(addr: usize, count: usize, bitset: u32) -> usize {
    let sleepers = take_woken(&mut TABLE[bucket_index(addr)].lock(), addr, count, bitset);
    release(sleepers)
}

/// Wakes up to `wake_count` sleepers on `from` and moves up to `move_count` others to `to`; how many both. With `expected`,
/// `EAGAIN` unless the word at `from` has that value.
pub fn requeue(
    from: usize,
    to: usize,
    wake_count: usize,
    move_count: usize,
    expected: Option<u32>,
) -> Result<usize, Errno> {
    check(from)?;
    check(to)?;
    let (source, target) = (bucket_index(from), bucket_index(to));
    loop {
        let mut low = TABLE[source.min(target)].lock();
        let mut high = (source != target).then(|| TABLE[source.max(target)].lock());
        if let Some(expected) = expected {
            match user::load_u32_nofault(from) {
                Some(now) if now == expected => {}
                Some(_) => return Err(Errno::EAGAIN),
                None => {
                    drop((high, low));
                    user::load_u32(from)?;
                    continue;
                }
            }
        }
        let bucket = match &mut high {
            Some(high) if source > target => high,
            _ => &mut low,
        };
        let woken = take_woken(bucket, from, wake_count, u32::MAX);
        let moved = take(bucket, from, move_count, u32::MAX);
        let count = moved.len();
        for sleeper in &moved {
            sleeper.key.store(to, Ordering::Relaxed);
        }
        let bucket = match &mut high {
            Some(high) if target > source => high,
            _ => &mut low,
        };
        bucket.extend(moved);
        drop((high, low));
        return Ok(release(woken) + count);
    }
}

/// `FUTEX_WAKE_OP`: changes the word at `second` as `operation` says, wakes `count` sleepers on `first` and, if the old value
/// compares as `operation` says, `second_count` on `second`; how many.
pub fn wake_op(
    first: usize,
    second: usize,
    count: usize,
    second_count: usize,
    operation: u32,
) -> Result<usize, Errno> {
    check(first)?;
    check(second)?;
    let operation = WakeOp::decode(operation)?;
    // The bucket locks need not be held: a sleeper that saw the old value is in its bucket before the wake-ups below.
    let old = loop {
        let old = user::load_u32(second)?;
        if user::cmpxchg_u32(second, old, operation.apply(old))? == old {
            break old;
        }
    };
    let mut woken = wake(first, count, u32::MAX);
    if operation.compares(old) {
        woken += wake(second, second_count, u32::MAX);
    }
    Ok(woken)
}

/// The operation of `FUTEX_WAKE_OP`, decoded from its word: 4 bits operation, 4 bits comparison, two signed 12-bit arguments.
struct WakeOp {
    operation: u32,
    argument: u32,
    comparison: u32,
    compared: i32,
}

impl WakeOp {
    fn decode(word: u32) -> Result<Self, Errno> {
        let operation = word >> 28;
        // Shifting up and down again extends the sign.
        let argument = (((word << 8) as i32) >> 20) as u32;
        let decoded = Self {
            operation: operation & 7,
            // Bit 3 (FUTEX_OP_ARG_SHIFT): the argument is a bit number.
            argument: if operation & 8 != 0 {
                1 << (argument & 31)
            } else {
                argument
            },
            comparison: (word >> 24) & 15,
            compared: ((word << 20) as i32) >> 20,
        };
        if decoded.operation > 4 || decoded.comparison > 5 {
            return Err(Errno::ENOSYS);
        }
        Ok(decoded)
    }

    fn apply(&self, old: u32) -> u32 {
        match self.operation {
            0 => self.argument,
            1 => old.wrapping_add(self.argument),
            2 => old | self.argument,
            3 => old & !self.argument,
            _ => old ^ self.argument,
        }
    }

    fn compares(&self, old: u32) -> bool {
        let old = old as i32;
        match self.comparison {
            0 => old == self.compared,
            1 => old != self.compared,
            2 => old < self.compared,
            3 => old <= self.compared,
            4 => old > self.compared,
            _ => old >= self.compared,
        }
    }
}

/// Sleeps while a word of the kernel's is `value`, whatever signals come. May return early.
pub fn wait_kernel(word: &AtomicU32, value: u32) {
    let key = word.as_ptr() as usize;
    let sleeper = {
        let sleeper = Sleeper::new(key, u32::MAX);
        let mut bucket = TABLE[bucket_index(key)].lock();
        if word.load(Ordering::Acquire) != value {
            return;
        }
        bucket.push_back(Arc::clone(&sleeper));
        sleeper
    };
    // Without deadline and signals only a wake-up ends it.
    let _ = sleeper.sleep(None, Signals::Ignore);
}

/// Wakes all who sleep on a word of the kernel's.
pub fn wake_kernel(word: &AtomicU32) {
    wake(word.as_ptr() as usize, usize::MAX, u32::MAX);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wake_op_is_decoded_with_signs() {
        // FUTEX_OP(FUTEX_OP_ADD, -1, FUTEX_OP_CMP_GT, -2)
        let op = WakeOp::decode((1 << 28) | (4 << 24) | (0xfff << 12) | 0xffe).unwrap();
        assert_eq!(op.apply(5), 4);
        assert!(op.compares(u32::MAX));
        assert!(!op.compares(-2i32 as u32));
    }

    #[test]
    fn wake_op_shifts_its_argument() {
        // FUTEX_OP(FUTEX_OP_OR | FUTEX_OP_OPARG_SHIFT, 4, FUTEX_OP_CMP_EQ, 0)
        let op = WakeOp::decode((10 << 28) | (4 << 12)).unwrap();
        assert_eq!(op.apply(1), 0x11);
    }

    #[test]
    fn buckets_are_within_the_table() {
        assert!(
            [0, 4, usize::MAX, 0x7fff_ffff_f000]
                .into_iter()
                .all(|key| bucket_index(key) < BUCKETS)
        );
    }
}
