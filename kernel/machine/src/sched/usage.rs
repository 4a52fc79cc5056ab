//! What a thread has used beside CPU time, as getrusage(2) tells it.

use core::sync::atomic::{AtomicU64, Ordering};

/// Counts of one thread. Only the CPU that runs it counts, which so takes no locked instruction.
#[derive(Default)]
pub(crate) struct Usage {
    minor_faults: AtomicU64,
    major_faults: AtomicU64,
    waits: AtomicU64,
    preemptions: AtomicU64,
    read: AtomicU64,
    written: AtomicU64,
    cancelled: AtomicU64,
}

/// What the counts were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Page faults that no device was asked for.
    #[doc(alias = "min_flt")]
    pub minor_faults: u64,
    /// Those that one was.
    #[doc(alias = "maj_flt")]
    pub major_faults: u64,
    /// How often it has waited for something.
    #[doc(alias = "nvcsw")]
    pub waits: u64,
    /// How often another thread was put in its place.
    #[doc(alias = "nivcsw")]
    pub preemptions: u64,
    /// Bytes that it has had devices read.
    #[doc(alias = "ru_inblock")]
    pub read: u64,
    /// Bytes that it has changed and devices are to write, at once or later.
    #[doc(alias = "ru_oublock")]
    pub written: u64,
    /// Bytes among those that are not to be written any more, whoever has changed them.
    #[doc(alias = "cancelled_write_bytes")]
    pub cancelled: u64,
}

/// Counts more, where nobody else does meanwhile.
fn add(counter: &AtomicU64, more: u64) {
    counter.store(
        counter.load(Ordering::Relaxed).wrapping_add(more),
        Ordering::Relaxed,
    );
}

/// Counts one more, where nobody else does meanwhile.
pub(super) fn count(counter: &AtomicU64) {
    add(counter, 1);
}

/// What passes between files and what they are stored on. Whoever runs has it done, if anybody does.
#[derive(Clone, Copy, Debug)]
pub enum Storage {
    /// A device is asked for what is there.
    Read,
    /// Something is changed that is to be there.
    Written,
    /// It is not to be there any more.
    Cancelled,
}

impl Usage {
    /// Bytes have passed.
    pub(super) fn count_storage(&self, what: Storage, bytes: u64) {
        let counter = match what {
            Storage::Read => &self.read,
            Storage::Written => &self.written,
            Storage::Cancelled => &self.cancelled,
        };
        add(counter, bytes);
    }

    /// How much has been read: who knows it from before sees whether a device was asked.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// A page fault has been satisfied, since when so much had been read.
    pub(crate) fn count_fault(&self, read_before: u64) {
        count(if self.bytes_read() == read_before {
            &self.minor_faults
        } else {
            &self.major_faults
        });
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
            minor_faults: get(&self.minor_faults),
            major_faults: get(&self.major_faults),
            waits: get(&self.waits),
            preemptions: get(&self.preemptions),
            read: get(&self.read),
            written: get(&self.written),
            cancelled: get(&self.cancelled),
        }
    }
}

impl Used {
    /// Adds another thread's.
    pub fn add(&mut self, other: Self) {
        self.minor_faults += other.minor_faults;
        self.major_faults += other.major_faults;
        self.waits += other.waits;
        self.preemptions += other.preemptions;
        self.read += other.read;
        self.written += other.written;
        self.cancelled += other.cancelled;
    }
}
