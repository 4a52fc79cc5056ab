//! The clock that runs while a program is started.

use crate::arch;

/// The time the start of a program takes, in cycles of the time-stamp counter.
pub(crate) struct Times {
    start: u64,
    pub(super) load: u64,
    pub(super) relocation: u64,
}

impl Times {
    /// Begins.
    pub(crate) fn start() -> Self {
        Self {
            start: arch::cycles(),
            load: 0,
            relocation: 0,
        }
    }

    /// Everything is mapped.
    pub(crate) fn loaded(&mut self) {
        self.load = arch::cycles().wrapping_sub(self.start);
    }

    /// Relocates, and takes the time.
    pub(crate) fn relocation<R>(&mut self, relocate: impl FnOnce() -> R) -> R {
        let start = arch::cycles();
        let result = relocate();
        self.relocation = arch::cycles().wrapping_sub(start);
        result
    }

    /// Returns what it took until now.
    pub(super) fn total(&self) -> u64 {
        arch::cycles().wrapping_sub(self.start)
    }
}
