//! Wait queues and the sleeping lock.

#[path = "../../src/sync/mutex.rs"]
mod mutex;
#[path = "../../src/sync/wait.rs"]
mod wait;

use super::{Shared, explore, sched};
use crate::primitive::{AtomicUsize, Ordering};
use mutex::Mutex;
use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, OnceLock};
use wait::{Signals, WaitQueue, Waiter};

/// Which lock comes before which is no matter of these models.
pub(crate) enum Rank {
    WaitQueue,
    Parking,
    RunQueue,
}

mod order {
    pub(super) fn may_sleep() {}
}

/// A lock, whose inside is no matter of these models. Made when it is first used.
#[derive(Debug, Default)]
pub(crate) struct SpinLock<T> {
    lock: OnceLock<loom::sync::Mutex<()>>,
    value: UnsafeCell<T>,
}

// SAFETY: the lock admits one thread at a time to the value.
unsafe impl<T: Send> Sync for SpinLock<T> {}

pub(crate) struct SpinLockGuard<'a, T> {
    _lock: loom::sync::MutexGuard<'a, ()>,
    value: &'a UnsafeCell<T>,
}

impl<T> SpinLock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self {
            lock: OnceLock::new(),
            value: UnsafeCell::new(value),
        }
    }

    pub(crate) const fn ranked(_rank: Rank, value: T) -> Self {
        Self::new(value)
    }

    pub(crate) fn lock(&self) -> SpinLockGuard<'_, T> {
        let lock = self.lock.get_or_init(|| loom::sync::Mutex::new(()));
        SpinLockGuard {
            _lock: lock.lock().unwrap(),
            value: &self.value,
        }
    }
}

impl<T> Deref for SpinLockGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the guard stands for the lock.
        unsafe { &*self.value.get() }
    }
}

impl<T> DerefMut for SpinLockGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard stands for the lock, and is borrowed mutably.
        unsafe { &mut *self.value.get() }
    }
}

/// Things that are put and taken, and who waits for them.
struct Things {
    count: AtomicUsize,
    queue: WaitQueue,
}

impl Things {
    fn new() -> Arc<Self> {
        let things = Self {
            count: AtomicUsize::new(0),
            queue: WaitQueue::new(),
        };
        things.count.load(Ordering::Relaxed);
        drop(things.queue.register(&Waiter::new()));
        Arc::new(things)
    }

    /// Puts something there, as weakly ordered as may be.
    fn put(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    fn take(&self) -> Option<()> {
        let count = self.count.load(Ordering::Relaxed);
        (count != 0)
            .then(|| self.count.fetch_sub(1, Ordering::Relaxed))
            .map(drop)
    }

    fn wait(&self) {
        let taken = self.queue.wait_until(None, Signals::Ignore, || self.take());
        assert_eq!(taken, Ok(()));
    }
}

fn start(things: &Arc<Things>, f: fn(&Things)) -> loom::thread::JoinHandle<()> {
    let things = things.clone();
    loom::thread::spawn(move || f(&things))
}

#[test]
fn who_waits_is_woken() {
    explore(None, || {
        let things = Things::new();
        let other = start(&things, |things| {
            things.put();
            things.queue.wake_one();
        });
        things.wait();
        other.join().unwrap();
    });
}

#[test]
fn all_who_wait_are_woken() {
    explore(3, || {
        let things = Things::new();
        let others = [0; 2].map(|_| start(&things, Things::wait));
        things.put();
        things.put();
        things.queue.wake_all();
        for other in others {
            other.join().unwrap();
        }
    });
}

#[test]
fn two_wake_ups_wake_two() {
    explore(3, || {
        let things = Things::new();
        let others = [0; 2].map(|_| start(&things, Things::wait));
        for _ in 0..2 {
            things.put();
            things.queue.wake_one();
        }
        for other in others {
            other.join().unwrap();
        }
    });
}

/// Of two who wait one gives up, because of a signal, and may have been woken for the thing that the other waits for.
/// If it gets it nevertheless it puts it back.
#[test]
fn a_wake_up_that_comes_too_late_is_passed_on() {
    explore(3, || {
        let things = Things::new();
        let patient = start(&things, Things::wait);
        let impatient = start(&things, |things| {
            sched::current().kick();
            let taken = things
                .queue
                .wait_until(None, Signals::Interrupt, || things.take());
            if taken.is_ok() {
                things.put();
                things.queue.wake_one();
            }
        });
        things.put();
        things.queue.wake_one();
        patient.join().unwrap();
        impatient.join().unwrap();
    });
}

/// One thread waits in two queues at once, and is woken directly, too.
#[test]
fn a_waiter_is_woken_by_any_of_its_queues() {
    explore(3, || {
        let (one, two) = (Things::new(), Things::new());
        let others = [&one, &two].map(|things| {
            start(things, |things| {
                things.put();
                things.queue.wake_all();
            })
        });
        let waiter = Waiter::new();
        let _places = [&one, &two].map(|things| {
            let things: &Things = things;
            things.queue.register(&waiter)
        });
        let mut taken = 0;
        while taken != 2 {
            taken += [&one, &two]
                .iter()
                .filter_map(|things| things.take())
                .count();
            if taken != 2 {
                waiter.wait(None, Signals::Ignore).unwrap();
            }
        }
        for other in others {
            other.join().unwrap();
        }
    });
}

fn count_up(mutex: &Mutex<Shared<u32>>) {
    let value = mutex.lock();
    value.set(value.get() + 1);
}

fn race(preemptions: impl Into<Option<usize>>, others: usize, rounds: usize) {
    explore(preemptions, move || {
        let mutex = Arc::new(Mutex::new(Shared::new(0)));
        drop(mutex.lock());
        let others: Vec<_> = (0..others)
            .map(|_| {
                let mutex = mutex.clone();
                loom::thread::spawn(move || (0..rounds).for_each(|_| count_up(&mutex)))
            })
            .collect();
        (0..rounds).for_each(|_| count_up(&mutex));
        let threads = others.len() + 1;
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(mutex.lock().get(), u32::try_from(threads * rounds).unwrap());
    });
}

#[test]
fn failing_to_take_a_held_mutex_leaves_it_held() {
    explore(None, || {
        let mutex = Mutex::new(1);
        let guard = mutex.try_lock().unwrap();
        assert!(mutex.try_lock().is_none());
        assert!(mutex.try_lock().is_none());
        drop(guard);
        assert!(mutex.try_lock().is_some());
    });
}

#[test]
fn a_mutex_admits_one_and_wakes_who_waits() {
    race(4, 1, 2);
}

#[test]
fn a_mutex_wakes_each_of_two_who_wait() {
    race(3, 2, 1);
}
