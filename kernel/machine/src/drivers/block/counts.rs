//! What a disk has done, as /proc/diskstats has it (the kernel's Documentation/admin-guide/iostats.rst).
use crate::time::Instant;

/// What a disk has done.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiskCounts {
    /// Requests to read.
    pub reads: Operations,
    /// To write.
    pub writes: Operations,
    /// To forget what sectors say.
    pub discards: Operations,
    /// To have everything on stable storage.
    pub flushes: Operations,
    /// Requests under way.
    pub in_flight: u64,
    /// Nanoseconds with one or more under way.
    #[doc(alias = "io_ticks")]
    pub busy_ns: u64,
    /// Nanoseconds of each, added up.
    #[doc(alias = "time_in_queue")]
    pub weighted_ns: u64,
    /// When the last one was begun or done.
    changed: u64,
}

/// Requests of a kind that are done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Operations {
    /// How many.
    pub done: u64,
    /// Sectors of 512 bytes.
    pub sectors: u64,
    /// How long they took altogether.
    pub ns: u64,
}

impl DiskCounts {
    /// Counts what has passed since the last change.
    fn pass(&mut self, now: Instant) {
        let passed = now.0.saturating_sub(self.changed);
        self.changed = now.0;
        self.weighted_ns += passed * self.in_flight;
        if self.in_flight > 0 {
            self.busy_ns += passed;
        }
    }

    /// A request is under way.
    pub(super) fn begin(&mut self, now: Instant) {
        self.pass(now);
        self.in_flight += 1;
    }

    /// One is done.
    pub(super) fn end(&mut self, now: Instant) {
        self.pass(now);
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// The same until now.
    pub(super) fn until(mut self, now: Instant) -> Self {
        self.pass(now);
        self
    }
}

impl Operations {
    /// One has succeeded.
    pub(super) fn add(&mut self, sectors: u64, ns: u64) {
        self.done += 1;
        self.sectors += sectors;
        self.ns += ns;
    }
}
