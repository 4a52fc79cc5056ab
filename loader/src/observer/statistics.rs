//! LD_DEBUG=statistics: how much there was to do before the program, and how long it took.
//!
//! Counted only if it is asked for.

use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering};

use super::step::Step;
use super::times::Times;
use crate::host::{Event, Host};

/// Look-ups of symbols, for relocations and otherwise.
static LOOKUPS: AtomicUsize = AtomicUsize::new(0);
/// Relocations that need the same symbol as the one before.
static CACHED: AtomicUsize = AtomicUsize::new(0);
/// Relocations without a symbol.
static RELATIVE: AtomicUsize = AtomicUsize::new(0);

/// Counts a step, and shows what has been counted when it is time.
pub(super) fn count(host: &dyn Host, step: &Step<'_>) {
    let counter = match step {
        Step::LookingUp => &LOOKUPS,
        Step::FoundAgain => &CACHED,
        Step::Relative => &RELATIVE,
        Step::Ready(times) => return show_times(host, times),
        Step::End => return show_final(host),
        _ => return,
    };
    counter.fetch_add(1, Ordering::Relaxed);
}

fn get(counter: &AtomicUsize) -> usize {
    counter.load(Ordering::Relaxed)
}

fn say(host: &dyn Host, lines: fmt::Arguments<'_>) {
    host.trace(&Event::Debug(lines));
}

/// Shows what the start of the program took.
fn show_times(host: &dyn Host, times: &Times) {
    let total = times.total();
    let share = |of| Share { of, total };
    let title = format_args!("\nruntime linker statistics:");
    say(host, title);
    let lines = format_args!("  total startup time in dynamic loader: {total} cycles");
    say(host, lines);
    let line = format_args!(
        "            time needed for relocation: {}",
        share(times.relocation)
    );
    say(host, line);
    let line = format_args!("                 number of relocations: {}", get(&LOOKUPS));
    say(host, line);
    let line = format_args!("      number of relocations from cache: {}", get(&CACHED));
    say(host, line);
    let line = format_args!("        number of relative relocations: {}", get(&RELATIVE));
    say(host, line);
    let line = format_args!(
        "           time needed to load objects: {}",
        share(times.load)
    );
    say(host, line);
}

/// Shows what the program has needed until its end.
fn show_final(host: &dyn Host) {
    let (lookups, cached) = (get(&LOOKUPS), get(&CACHED));
    let title = "\nruntime linker statistics:";
    let lines = format_args!(
        "{title}\n           final number of relocations: {lookups}\n\
         final number of relocations from cache: {cached}"
    );
    say(host, lines);
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
