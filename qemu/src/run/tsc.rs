//! How fast this machine's time-stamp counter runs. Under TCG it is the guest's, too, which then need not measure it:
//! that would take time, and on a busy host go wrong.

use std::time::Instant;

/// The counter at a time.
pub(super) struct Reading {
    ticks: u64,
    time: Instant,
}

/// How much time must pass between two readings: by then what they are wrong by is less than one part in 10,000.
const LEAST_NS: u128 = 1_000_000;

impl Reading {
    /// Reads it; `None` on machines that have none.
    pub(super) fn take() -> Option<Self> {
        // Whoever is kept from running between two instructions sees it in how long that took.
        let attempts = (0..5).filter_map(|_| {
            let before = ticks()?;
            let time = Instant::now();
            let took = ticks()?.wrapping_sub(before);
            let ticks = before.wrapping_add(took / 2);
            Some((took, Self { ticks, time }))
        });
        let best = attempts.min_by_key(|&(took, _)| took);
        best.map(|(_, reading)| reading)
    }

    /// The ticks in a second, if enough time has passed since this reading to say so.
    pub(super) fn rate(&self) -> Option<u64> {
        let now = Self::take()?;
        let ns = now.time.duration_since(self.time).as_nanos();
        let ticks = now.ticks.wrapping_sub(self.ticks);
        let rate = u128::from(ticks) * 1_000_000_000 / ns.max(1);
        (ns >= LEAST_NS).then(|| u64::try_from(rate).ok()).flatten()
    }
}

#[cfg(target_arch = "x86_64")]
fn ticks() -> Option<u64> {
    // SAFETY: every 64-bit CPU has the instruction, and Linux lets programs use it.
    Some(unsafe { core::arch::x86_64::_rdtsc() })
}

#[cfg(not(target_arch = "x86_64"))]
fn ticks() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_some_processor() {
        let Some(start) = Reading::take() else { return };
        assert!(start.rate().is_none_or(|rate| rate > 0));
        while start.time.elapsed().as_millis() < 5 {}
        let rate = start.rate().expect("5 ms are enough");
        assert!((500_000_000..10_000_000_000).contains(&rate), "{rate}");
    }
}
