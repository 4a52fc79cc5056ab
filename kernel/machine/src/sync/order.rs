//! The order of spin locks, and a check of it: whoever holds one may take only what comes later.
//!
//! The check is there in builds with debug assertions and in unit tests; elsewhere nothing is left of it.

/// Where a spin lock stands among those that are taken one within the other, outermost first. Two of one rank are never
/// held at once, but for those that have none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Rank {
    /// Comes before all that have one. Whether such are taken within each other is not checked.
    #[default]
    None,
    /// A wait queue's list.
    WaitQueue,
    /// Whether a thread is parked.
    Parking,
    /// A run queue.
    RunQueue,
    /// The timer queue.
    TimerQueue,
    /// The arena of an address space.
    Arena,
    /// The kernel heap.
    Heap,
    /// The frame allocator.
    Frames,
    /// The serial port that the log goes to.
    Log,
}

pub(super) use check::{Held, Ranked};

/// Whoever calls this may go to sleep, or bring in a page of the program: it holds no spin lock.
#[inline]
pub(crate) fn may_sleep() {
    check::may_sleep();
}

#[cfg(any(debug_assertions, hosted))]
mod check {
    use super::Rank;
    use crate::arch::{interrupt_flag, percpu};
    use core::sync::atomic::{AtomicU8, Ordering};

    const RANKS: [Rank; percpu::RANKS] = [
        Rank::None,
        Rank::WaitQueue,
        Rank::Parking,
        Rank::RunQueue,
        Rank::TimerQueue,
        Rank::Arena,
        Rank::Heap,
        Rank::Frames,
        Rank::Log,
    ];

    /// The last that is held of those from `from` on.
    fn held_from(from: Rank) -> Option<Rank> {
        let is_held = |&rank: &Rank| count(rank).load(Ordering::Relaxed) != 0;
        RANKS
            .into_iter()
            .rev()
            .take_while(|&rank| rank >= from)
            .find(is_held)
    }

    /// How many locks of a rank this CPU holds. Nobody else changes it, as spin locks are held with interrupts off.
    fn count(rank: Rank) -> &'static AtomicU8 {
        let at = RANKS.iter().position(|&other| other == rank);
        &percpu::this().held[at.expect("every rank is listed")]
    }

    /// The rank that a lock has been given.
    #[derive(Debug, Default)]
    pub(in crate::sync) struct Ranked(Rank);

    /// Stands for a lock that this CPU holds.
    #[derive(Debug)]
    pub(in crate::sync) struct Held(Rank);

    impl Ranked {
        pub(in crate::sync) const fn new(rank: Rank) -> Self {
            Self(rank)
        }

        /// The lock is about to be waited for. Interrupts are off.
        #[track_caller]
        pub(in crate::sync) fn check(&self) {
            // Those without a rank may be taken within each other.
            let from = self.0.max(Rank::WaitQueue);
            if let Some(held) = held_from(from) {
                panic!("lock order: {:?} is taken under {held:?}", self.0);
            }
        }

        /// The lock has been taken. Interrupts are off.
        pub(in crate::sync) fn held(&self) -> Held {
            count(self.0).fetch_add(1, Ordering::Relaxed);
            Held(self.0)
        }
    }

    impl Drop for Held {
        fn drop(&mut self) {
            count(self.0).fetch_sub(1, Ordering::Relaxed);
        }
    }

    #[track_caller]
    pub(super) fn may_sleep() {
        if let Some(held) = interrupt_flag::without(|| held_from(Rank::None)) {
            panic!("lock order: a thread may sleep under {held:?}");
        }
    }
}

#[cfg(not(any(debug_assertions, hosted)))]
mod check {
    use super::Rank;

    #[derive(Debug, Default)]
    pub(in crate::sync) struct Ranked;

    #[derive(Debug)]
    pub(in crate::sync) struct Held;

    impl Ranked {
        pub(in crate::sync) const fn new(_rank: Rank) -> Self {
            Self
        }

        #[inline]
        pub(in crate::sync) fn check(&self) {}

        #[inline]
        pub(in crate::sync) fn held(&self) -> Held {
            Held
        }
    }

    #[inline]
    pub(super) fn may_sleep() {}
}

#[cfg(test)]
mod tests {
    use super::Rank;
    use crate::sync::{Mutex, SpinLock};
    use std::panic::catch_unwind;
    use std::string::String;

    fn refusal(f: fn()) -> String {
        let refused = catch_unwind(f).expect_err("must be refused");
        refused
            .downcast_ref::<String>()
            .cloned()
            .unwrap_or_default()
    }

    #[test]
    fn locks_nest_in_order() {
        let (queue, heap) = (
            SpinLock::ranked(Rank::WaitQueue, ()),
            SpinLock::ranked(Rank::Heap, ()),
        );
        let (a, b) = (SpinLock::new(()), SpinLock::new(()));
        let guards = (a.lock(), b.lock(), queue.lock(), heap.lock());
        drop(guards);
        // In whatever order they are given back.
        let (first, second) = (queue.lock(), heap.lock());
        drop(first);
        drop(second);
        let _heap = heap.lock();
    }

    #[test]
    fn an_outer_lock_is_not_taken_within_an_inner_one() {
        let text = refusal(|| {
            let (queue, heap) = (
                SpinLock::ranked(Rank::WaitQueue, ()),
                SpinLock::ranked(Rank::Heap, ()),
            );
            let _heap = heap.lock();
            let _queue = queue.lock();
        });
        assert!(text.starts_with("lock order: WaitQueue"), "{text}");
    }

    #[test]
    fn two_of_one_rank_are_not_held_at_once() {
        let text = refusal(|| {
            let (one, other) = (
                SpinLock::ranked(Rank::RunQueue, ()),
                SpinLock::ranked(Rank::RunQueue, ()),
            );
            let _one = one.lock();
            let _other = other.lock();
        });
        assert!(text.starts_with("lock order: RunQueue"), "{text}");
    }

    #[test]
    fn one_without_a_rank_comes_before_those_that_have_one() {
        refusal(|| {
            let (heap, other) = (SpinLock::ranked(Rank::Heap, ()), SpinLock::new(()));
            let _heap = heap.lock();
            let _other = other.lock();
        });
    }

    #[test]
    fn what_does_not_wait_may_try() {
        let (queue, heap) = (
            SpinLock::ranked(Rank::WaitQueue, ()),
            SpinLock::ranked(Rank::Heap, ()),
        );
        let _heap = heap.lock();
        assert!(queue.try_lock().is_some());
    }

    #[test]
    fn nobody_sleeps_under_a_spin_lock() {
        let text = refusal(|| {
            let (spin, sleeping) = (SpinLock::new(()), Mutex::new(()));
            let _spin = spin.lock();
            let _sleeping = sleeping.lock();
        });
        assert!(text.starts_with("lock order: a thread may sleep"), "{text}");
        // What was refused has left nothing held.
        drop(Mutex::new(()).lock());
    }
}
