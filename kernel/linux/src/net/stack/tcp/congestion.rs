//! How much may be under way: CUBIC (RFC 9438), with slow start (RFC 5681).

/// Segments of the first window (RFC 6928).
const INITIAL: u32 = 10;
const MILLISECOND: u64 = 1_000_000;

/// See the module. Windows are in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Congestion {
    /// What may be under way.
    pub(super) window: u32,
    /// Where slow start ends.
    pub(super) threshold: u32,
    mss: u32,
    /// The window at the last reduction.
    most: u32,
    /// Since when it grows as CUBIC says, and from where.
    epoch: Option<Epoch>,
    /// What is left of parts of bytes that it should have grown.
    rest: u64,
}

#[derive(Clone, Copy, Debug)]
struct Epoch {
    since: u64,
    /// Milliseconds until it reaches `origin`.
    k: u64,
    origin: u32,
    /// What Reno would have, times 1,000.
    reno: u64,
}

impl Congestion {
    pub(super) fn new(mss: u32) -> Self {
        Self {
            window: INITIAL * mss,
            threshold: u32::MAX,
            mss,
            most: 0,
            epoch: None,
            rest: 0,
        }
    }

    /// Bytes have been acknowledged; the window was in the way of more.
    pub(super) fn acknowledged(&mut self, bytes: u32, now: u64, rtt: u64) {
        if self.window < self.threshold {
            self.window = self.window.saturating_add(bytes).min(self.threshold);
            return;
        }
        let (window, mss) = (u64::from(self.window), u64::from(self.mss));
        let epoch = self.epoch.get_or_insert_with(|| {
            let below = u64::from(self.most.saturating_sub(self.window));
            Epoch {
                since: now,
                // C is 0.4 segments per second cubed.
                k: cube_root(below * 2_500_000_000 / mss),
                origin: self.most.max(self.window),
                reno: window * 1000,
            }
        });
        let time = (now.saturating_sub(epoch.since) + rtt) / MILLISECOND;
        let distance = time.abs_diff(epoch.k).min(1_000_000);
        let change = distance.pow(3) / 2_500_000_000 * mss
            + distance.pow(3) % 2_500_000_000 * mss / 2_500_000_000;
        let origin = u64::from(epoch.origin);
        let target = if time < epoch.k {
            origin.saturating_sub(change)
        } else {
            origin + change
        };
        // 3 (1 - 0.7) / (1 + 0.7)
        epoch.reno += 529 * mss * u64::from(bytes) / window;
        let target = target.max(epoch.reno / 1000).min(window * 3 / 2);
        self.rest += target.saturating_sub(window) * u64::from(bytes);
        let more = self.rest / window;
        self.rest %= window;
        self.window = u32::try_from(window + more).unwrap_or(u32::MAX >> 1);
    }

    /// Something was lost.
    pub(super) fn reduce(&mut self) {
        // Others may want more when it was reduced before it had what it had.
        self.most = if self.window < self.most {
            part(self.window, 85)
        } else {
            self.window
        };
        self.window = part(self.window, 70).max(2 * self.mss);
        self.threshold = self.window;
        self.epoch = None;
    }

    /// Nothing has come back in time.
    pub(super) fn collapse(&mut self) {
        self.reduce();
        self.window = self.mss;
    }

    /// Nothing was sent for a while: what was known is old.
    pub(super) fn idle(&mut self) {
        self.window = self.window.min(INITIAL * self.mss);
        self.epoch = None;
    }
}

fn part(number: u32, percent: u32) -> u32 {
    u32::try_from(u64::from(number) * u64::from(percent) / 100).unwrap_or(number)
}

/// The largest number whose cube is not larger.
fn cube_root(cube: u64) -> u64 {
    let (mut low, mut high) = (0, 1 << 21);
    while low + 1 < high {
        let middle = u64::midpoint(low, high);
        if middle.pow(3) <= cube {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cube_roots() {
        for root in [0, 1, 2, 9, 1000, 65_535, 2_000_000_u64] {
            let cube = root.pow(3);
            assert_eq!(cube_root(cube), root);
            assert_eq!(cube_root(cube + 1), if root == 0 { 1 } else { root });
        }
    }

    #[test]
    fn it_grows_back_to_where_it_was() {
        let mut congestion = Congestion::new(1000);
        congestion.acknowledged(90_000, 0, MILLISECOND);
        assert_eq!(congestion.window, 100_000, "slow start");
        congestion.reduce();
        assert_eq!((congestion.window, congestion.threshold), (70_000, 70_000));
        // K is the cube root of 30 / 0.4: 4.2 seconds.
        let mut now = 0;
        let mut back = None;
        while now < 10_000 * MILLISECOND {
            congestion.acknowledged(congestion.window, now, 100 * MILLISECOND);
            now += 100 * MILLISECOND;
            if congestion.window >= 99_500 && back.is_none() {
                back = Some(now / MILLISECOND);
            }
        }
        assert!(
            back.is_some_and(|ms| (1500..4500).contains(&ms)),
            "{back:?}"
        );
        assert!(congestion.window > 150_000, "and beyond");
        congestion.collapse();
        assert_eq!(congestion.window, 1000);
    }
}
