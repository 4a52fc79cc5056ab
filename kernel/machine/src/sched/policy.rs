//! Scheduling policies and priorities (sched(7)).
//!
//! Threads of SCHED_OTHER, SCHED_BATCH and SCHED_IDLE share the CPU ([`fair`]): by their nice values, SCHED_IDLE with
//! next to nothing. Real-time threads come before them and are never slowed down for their sake.

use super::ranked::Level;
use super::run_queue::End;
use super::thread::Thread;
use super::{fair, queue};
use core::cmp::Ordering;
use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicI32, AtomicU32};
use linux_raw_sys::general as linux;

/// How long a thread runs while others wait, in nanoseconds.
const SLICE: u64 = 4_000_000;
/// The same for SCHED_RR, as in Linux.
const ROUND_ROBIN_SLICE: u64 = 100_000_000;

/// What sched_setscheduler(2) sets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// `SCHED_*`.
    pub policy: u32,
    /// 1 to 99 for SCHED_FIFO and SCHED_RR, else 0.
    pub priority: Level,
    /// SCHED_RESET_ON_FORK: threads that it starts are ordinary ones.
    pub reset_on_fork: bool,
}

impl Policy {
    /// What a program starts with.
    pub const OTHER: Self = Self {
        policy: linux::SCHED_NORMAL,
        priority: 0,
        reset_on_fork: false,
    };

    /// How long a thread runs while others of its level wait; `None`: until it waits itself.
    pub fn slice(self) -> Option<u64> {
        match self.policy {
            linux::SCHED_FIFO => None,
            linux::SCHED_RR => Some(ROUND_ROBIN_SLICE),
            _ => Some(SLICE),
        }
    }

    fn inherited(self) -> Self {
        if self.reset_on_fork {
            Self::OTHER
        } else {
            self
        }
    }
}

/// A thread's policy, in one word so that it is read as a whole, and the level it has inherited.
#[derive(Debug, Default)]
pub(super) struct Scheduling {
    policy: AtomicU32,
    inherited: AtomicU32,
    nice: AtomicI32,
}

const RESET: u32 = 1 << 31;

impl Scheduling {
    /// That of a thread which one with this policy and nice value starts.
    pub(super) fn of_child(parent: Policy, nice: i32) -> Self {
        let child = Self::default();
        child.set(parent.inherited());
        let nice = if parent.reset_on_fork {
            nice.max(0)
        } else {
            nice
        };
        child.nice.store(nice, Relaxed);
        child
    }

    fn set(&self, new: Policy) {
        let reset = if new.reset_on_fork { RESET } else { 0 };
        let word = new.policy | new.priority << 8 | reset;
        self.policy.store(word, Relaxed);
    }

    fn get(&self) -> Policy {
        let word = self.policy.load(Relaxed);
        Policy {
            policy: word & 0xff,
            priority: word >> 8 & 0xff,
            reset_on_fork: word & RESET != 0,
        }
    }
}

impl Thread {
    /// Its policy.
    pub fn policy(&self) -> Policy {
        self.scheduling.get()
    }

    /// Gives it a policy. It is queued accordingly; one that runs makes room if it is no longer the first.
    pub fn set_policy(&self, policy: Policy) {
        self.change_level(|scheduling| scheduling.set(policy));
    }

    fn change_level(&self, change: impl FnOnce(&Scheduling)) {
        let before = self.level();
        change(&self.scheduling);
        queue::settle(self);
        // Whose level sinks comes before the others of the new one, as POSIX has it for SCHED_FIFO.
        match self.level().cmp(&before) {
            Ordering::Less => queue::requeue(self, End::Front),
            Ordering::Equal => queue::look_again(self),
            Ordering::Greater => queue::requeue(self, End::Back),
        }
    }

    /// What it is queued by.
    pub fn level(&self) -> Level {
        let inherited = self.scheduling.inherited.load(Relaxed);
        self.policy().priority.max(inherited)
    }

    /// Lends it a level (0: none): it has something that a thread of that level waits for.
    pub fn inherit(&self, level: Level) {
        self.change_level(|scheduling| scheduling.inherited.store(level, Relaxed));
    }

    /// Whether it has a level that is not its own.
    pub fn has_inherited(&self) -> bool {
        self.scheduling.inherited.load(Relaxed) != 0
    }

    /// Its nice value.
    pub fn nice(&self) -> i32 {
        self.scheduling.nice.load(Relaxed)
    }

    /// Gives it a nice value, -20 to 19.
    pub fn set_nice(&self, nice: i32) {
        self.scheduling.nice.store(nice, Relaxed);
        queue::settle(self);
    }

    /// What its share of the CPU is measured by.
    pub(super) fn weight(&self) -> u32 {
        match self.policy().policy {
            linux::SCHED_IDLE => fair::IDLE,
            _ => fair::weight(self.nice()),
        }
    }

    /// Whether it takes the CPU from one that runs, both sharing it, when it is woken: `own` and `running` are what
    /// they have had.
    pub(super) fn preempts(&self, own: u64, other: &Self, running: u64) -> bool {
        match (self.policy().policy, other.policy().policy) {
            (linux::SCHED_IDLE, _) => false,
            (_, linux::SCHED_IDLE) => true,
            // Who computes for long does not mind waiting.
            (linux::SCHED_BATCH, _) => false,
            _ => fair::preempts(own, running),
        }
    }

    /// How long it runs while others of its level wait. Who has inherited a level keeps the CPU.
    pub(super) fn slice(&self) -> Option<u64> {
        let policy = self.policy();
        let is_own = self.level() == policy.priority;
        is_own.then(|| policy.slice()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_have_the_policy_unless_it_is_to_be_reset() {
        let policy = Policy {
            policy: linux::SCHED_RR,
            priority: 99,
            reset_on_fork: false,
        };
        assert_eq!(Scheduling::of_child(policy, 0).get(), policy);
        let reset = Policy {
            reset_on_fork: true,
            ..policy
        };
        assert_eq!(Scheduling::of_child(reset, 0).get(), Policy::OTHER);
        let kept = Scheduling::default();
        kept.set(reset);
        assert_eq!(kept.get(), reset);
    }
}
