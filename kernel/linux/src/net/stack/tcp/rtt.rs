//! How long a segment and its acknowledgement take (RFC 6298), and when one is late. In nanoseconds.

/// The least time-out, as Linux has it (`TCP_RTO_MIN`).
const LEAST: u64 = 200_000_000;
/// The most (`TCP_RTO_MAX`).
pub(super) const MOST: u64 = 120_000_000_000;
/// Before anything is known.
const FIRST: u64 = 1_000_000_000;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rtt {
    /// The smoothed time; 0 if nothing is known.
    pub(super) smoothed: u64,
    /// How much it varies.
    pub(super) variation: u64,
    /// The least that was seen.
    pub(super) least: u64,
}

impl Rtt {
    /// One was measured.
    pub(super) fn sample(&mut self, rtt: u64) {
        let rtt = rtt.max(1);
        if self.smoothed == 0 {
            *self = Self {
                smoothed: rtt,
                variation: rtt / 2,
                least: rtt,
            };
            return;
        }
        self.variation = (3 * self.variation + self.smoothed.abs_diff(rtt)) / 4;
        self.smoothed = (7 * self.smoothed + rtt) / 8;
        self.least = self.least.min(rtt);
    }

    /// When what is not acknowledged is taken for lost, after so many time-outs in a row.
    pub(super) fn timeout(&self, timeouts: u32) -> u64 {
        let first = match self.smoothed {
            0 => FIRST,
            smoothed => smoothed + (4 * self.variation).max(LEAST),
        };
        first
            .checked_shl(timeouts.min(20))
            .map_or(MOST, |late| late.min(MOST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates() {
        let mut rtt = Rtt::default();
        assert_eq!(rtt.timeout(0), FIRST);
        rtt.sample(20_000_000);
        assert_eq!(rtt.timeout(0), 20_000_000 + LEAST);
        rtt.sample(10_000_000);
        assert_eq!((rtt.least, rtt.smoothed), (10_000_000, 18_750_000));
        assert_eq!(rtt.timeout(1), 2 * rtt.timeout(0));
        assert_eq!(rtt.timeout(60), MOST);
    }
}
