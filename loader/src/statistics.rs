//! LD_DEBUG=statistics: how much there was to do before the program, and how long it took.
//!
//! Counted only if it is asked for.

use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::arch;
use crate::host::Host;
use crate::ld_debug::{Category::Statistics, is_on, say};

/// Something that is counted.
pub(crate) struct Count(AtomicUsize);

/// Look-ups of symbols, for relocations and otherwise.
pub(crate) static LOOKUPS: Count = Count::new();
/// Relocations that need the same symbol as the one before.
pub(crate) static CACHED: Count = Count::new();
/// Relocations without a symbol.
pub(crate) static RELATIVE: Count = Count::new();

impl Count {
    const fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// Counts one more.
    pub(crate) fn bump(&self) {
        if is_on(Statistics) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// The time the start of a program takes, in cycles of the time-stamp counter.
pub(crate) struct Times {
    start: u64,
    load: u64,
    relocation: u64,
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

    /// Shows what it took until now.
    pub(crate) fn show(&self, host: &dyn Host) {
        let total = arch::cycles().wrapping_sub(self.start);
        let share = |of| Share { of, total };
        let title = format_args!("\nruntime linker statistics:");
        say(host, Statistics, title);
        let lines = format_args!("  total startup time in dynamic loader: {total} cycles");
        say(host, Statistics, lines);
        let line = format_args!(
            "            time needed for relocation: {}",
            share(self.relocation)
        );
        say(host, Statistics, line);
        let line = format_args!("                 number of relocations: {}", LOOKUPS.get());
        say(host, Statistics, line);
        let line = format_args!("      number of relocations from cache: {}", CACHED.get());
        say(host, Statistics, line);
        let line = format_args!("        number of relative relocations: {}", RELATIVE.get());
        say(host, Statistics, line);
        let line = format_args!(
            "           time needed to load objects: {}",
            share(self.load)
        );
        say(host, Statistics, line);
    }
}

/// Shows what the program has needed until its end.
pub(crate) fn show_final(host: &dyn Host) {
    let (lookups, cached) = (LOOKUPS.get(), CACHED.get());
    let title = "\nruntime linker statistics:";
    let lines = format_args!(
        "{title}\n           final number of relocations: {lookups}\n\
         final number of relocations from cache: {cached}"
    );
    say(host, Statistics, lines);
}

/// Displays a time with what part of the whole it is: `26228 cycles (6.5%)`; glibc leaves out a zero before the point.
struct Share {
    of: u64,
    total: u64,
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let permille = self.of.saturating_mul(1000) / self.total.max(1);
        write!(f, "{} cycles (", self.of)?;
        if permille >= 10 {
            write!(f, "{}", permille / 10)?;
        }
        write!(f, ".{}%)", permille % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn shares_are_as_glibc_writes_them() {
        let share = |of, total| Share { of, total }.to_string();
        assert_eq!(share(26228, 399_219), "26228 cycles (6.5%)");
        assert_eq!(share(26933, 4_413_341), "26933 cycles (.6%)");
        assert_eq!(share(4_246_174, 4_413_341), "4246174 cycles (96.2%)");
        assert_eq!(share(0, 0), "0 cycles (.0%)");
    }
}
