//! What a thread has used beside CPU time, as getrusage(2) tells it.

use core::sync::atomic::{AtomicU64, Ordering};

/// Counts of one thread. Only the CPU that runs it counts, which so takes no locked instruction.
#[derive(Default)]
pub(crate) struct Usage {
    faults: AtomicU64,
    waits: AtomicU64,
    preemptions: AtomicU64,
}

/// What the counts were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Page faults that no device was asked for.
    #[doc(alias = "min_flt")]
    pub faults: u64,
    /// How often it has waited for something.
    #[doc(alias = "nvcsw")]
    pub waits: u64,
    /// How often another thread was put in its place.
    #[doc(alias = "nivcsw")]
    pub preemptions: u64,
}

/// Counts one more, where nobody else does meanwhile.
pub(super) fn count(counter: &AtomicU64) {
    counter.store(
        counter.load(Ordering::Relaxed).wrapping_add(1),
        Ordering::Relaxed,
    );
}

impl Usage {
    /// A page fault has been satisfied.
    pub(crate) fn count_fault(&self) {
        count(&self.faults);
    }

    /// It leaves the CPU.
    pub(super) fn count_switch(&self, waits: bool) {
        count(if waits {
            &self.waits
        } else {
            &self.preemptions
        });
    }

    /// What it is by now.
    pub(super) fn get(&self) -> Used {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Used {
            faults: get(&self.faults),
            waits: get(&self.waits),
            preemptions: get(&self.preemptions),
        }
    }
}

impl Used {
    /// Adds another thread's.
    pub fn add(&mut self, other: Self) {
        self.faults += other.faults;
        self.waits += other.waits;
        self.preemptions += other.preemptions;
    }
}
