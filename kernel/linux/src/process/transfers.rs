//! How much has been read and written by system calls, as /proc/PID/io shows it. A thread counts for itself; who reads
//! adds up.
use alloc::{format, string::String};
use core::sync::atomic::{AtomicUsize, Ordering};
use machine::sched::Used;

/// A thread's calls and their bytes, both ways. Only the thread itself counts, which so takes no locked instruction.
#[doc(alias = "task_io_accounting")]
#[derive(Default)]
pub(crate) struct Counters {
    read: Direction,
    written: Direction,
}

#[derive(Default)]
struct Direction {
    calls: AtomicUsize,
    bytes: AtomicUsize,
}

impl Direction {
    fn count(&self, bytes: usize) {
        let add = |to: &AtomicUsize, more| {
            to.store(
                to.load(Ordering::Relaxed).wrapping_add(more),
                Ordering::Relaxed,
            );
        };
        add(&self.calls, 1);
        add(&self.bytes, bytes);
    }
}

impl Counters {
    /// A call has read so much.
    pub(crate) fn read(&self, bytes: usize) {
        self.read.count(bytes);
    }

    /// A call has written so much.
    pub(crate) fn written(&self, bytes: usize) {
        self.written.count(bytes);
    }
}

/// Sums of such counts.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Transfers {
    rchar: usize,
    wchar: usize,
    syscr: usize,
    syscw: usize,
}

impl Transfers {
    /// Adds a thread's.
    pub(super) fn add_thread(&mut self, counters: &Counters) {
        let get = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        self.add(Self {
            rchar: get(&counters.read.bytes),
            wchar: get(&counters.written.bytes),
            syscr: get(&counters.read.calls),
            syscw: get(&counters.written.calls),
        });
    }

    /// Adds another sum.
    pub(super) fn add(&mut self, other: Self) {
        self.rchar = self.rchar.wrapping_add(other.rchar);
        self.wchar = self.wchar.wrapping_add(other.wchar);
        self.syscr = self.syscr.wrapping_add(other.syscr);
        self.syscw = self.syscw.wrapping_add(other.syscw);
    }

    /// The lines of /proc/PID/io, with what was asked of devices meanwhile.
    pub fn text(&self, used: &Used) -> String {
        let calls = format!(
            "rchar: {}\nwchar: {}\nsyscr: {}\nsyscw: {}\n",
            self.rchar, self.wchar, self.syscr, self.syscw,
        );
        let devices = format!(
            "read_bytes: {}\nwrite_bytes: {}\ncancelled_write_bytes: {}\n",
            used.read, used.written, used.cancelled,
        );
        calls + &devices
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_added_up() {
        let (one, other) = (Counters::default(), Counters::default());
        one.read.count(10);
        other.read.count(5);
        other.written.count(0);
        let mut sum = Transfers::default();
        sum.add_thread(&one);
        sum.add_thread(&other);
        let expected = Transfers {
            rchar: 15,
            wchar: 0,
            syscr: 2,
            syscw: 1,
        };
        assert_eq!(sum, expected);
    }
}
