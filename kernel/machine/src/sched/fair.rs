//! Fair shares of a CPU, for threads of level 0: arithmetic on virtual time, and nothing else.
//!
//! While a thread runs its virtual time passes, the slower the heavier the thread is; the thread that has had least
//! comes first. Each CPU has a virtual time of its own, that of the threads that wait there or run. A thread that has
//! slept does not make up for all of it: it comes back a little ahead of the others, so that it runs soon when it is
//! woken. (The scheduler of Linux before 6.6, CFS, goes by the same rules:
//! Documentation/scheduler/sched-design-CFS.rst.)

/// How far ahead of the others a thread may be that has slept, in nanoseconds.
const CREDIT: u64 = 3_000_000;
/// How far behind a thread may be that comes from another CPU, or has yielded.
const DEBT: u64 = 20_000_000;
/// How much less than the running thread a woken one must have had to take its CPU.
const GRANULARITY: u64 = 1_000_000;

/// What a nice value of 0 weighs.
pub(super) const NORMAL: u32 = 1024;
/// What SCHED_IDLE weighs.
pub(super) const IDLE: u32 = 3;

/// What a thread weighs by its nice value, -20 to 19: each step is a fifth less.
pub(super) fn weight(nice: i32) -> u32 {
    let steps = nice.clamp(-20, 19);
    let (times, over) = if steps < 0 { (5, 4) } else { (4, 5) };
    let fine =
        (0..steps.unsigned_abs()).fold(u64::from(NORMAL) << 16, |weight, _| weight * times / over);
    u32::try_from(fine >> 16).unwrap_or(NORMAL)
}

/// The virtual time that passes for a thread of some weight in so many nanoseconds.
pub(super) fn passed(ns: u64, weight: u32) -> u64 {
    if weight == NORMAL {
        return ns;
    }
    let time = u128::from(ns) * u128::from(NORMAL) / u128::from(weight.max(1));
    u64::try_from(time).unwrap_or(u64::MAX)
}

/// The virtual time of a thread that comes to a CPU where it is `now`. On the CPU it was at last it is `least` now, and
/// the thread's `own` is of that CPU's time.
pub(super) fn arrival(own: u64, least: u64, now: u64) -> u64 {
    let ahead = own.wrapping_sub(least).cast_signed();
    let there = now.saturating_add_signed(ahead);
    there.clamp(now.saturating_sub(CREDIT), now.saturating_add(DEBT))
}

/// Whether a thread that is woken takes the CPU from one that runs.
pub(super) fn preempts(woken: u64, running: u64) -> bool {
    running.saturating_sub(woken) > GRANULARITY
}

/// The virtual time of a CPU. It never goes back.
#[derive(Debug, Default)]
pub(super) struct Clock {
    least: u64,
    running: Option<Running>,
}

/// A thread that runs: the virtual time it began with, and when that was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Running {
    pub(super) start: u64,
    pub(super) since: u64,
    pub(super) weight: u32,
}

impl Running {
    fn time(self, ns: u64) -> u64 {
        self.start + passed(ns.saturating_sub(self.since), self.weight)
    }
}

impl Clock {
    pub(super) const fn new() -> Self {
        Self {
            least: 0,
            running: None,
        }
    }

    /// Another thread runs from now on, or none of those that share the CPU.
    pub(super) fn run(&mut self, running: Option<Running>) {
        self.running = running;
    }

    /// Brings the time up to date: `first` is that of the first thread that waits.
    pub(super) fn update(&mut self, ns: u64, first: Option<u64>) -> u64 {
        let running = self.running.map(|running| running.time(ns));
        if let Some(time) = running.into_iter().chain(first).min() {
            self.least = self.least.max(time);
        }
        self.least
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn weights_are_those_of_linux_nearly() {
        for (nice, linux) in [
            (-20, 88761),
            (-10, 9548),
            (-1, 1277),
            (0, 1024),
            (1, 820),
            (10, 110),
            (19, 15),
        ] {
            let weight = weight(nice);
            assert!(
                weight.abs_diff(linux) <= linux / 50 + 1,
                "{nice}: {weight}, not {linux}"
            );
        }
    }

    #[test]
    fn who_sleeps_is_ahead_but_not_by_all_it_has_missed() {
        assert_eq!(arrival(10 * MS, 100 * MS, 100 * MS), 97 * MS);
        assert_eq!(arrival(99 * MS, 100 * MS, 100 * MS), 99 * MS);
        // What somebody owes is not forgotten, nor all of what comes from elsewhere.
        assert_eq!(arrival(104 * MS, 100 * MS, 100 * MS), 104 * MS);
        assert_eq!(arrival(104 * MS, 100 * MS, 7 * MS), 11 * MS);
        assert_eq!(arrival(900 * MS, 100 * MS, 7 * MS), 27 * MS);
        assert_eq!(arrival(0, 100 * MS, MS), 0);
    }

    #[test]
    fn a_sleeper_takes_the_cpu_and_an_equal_does_not() {
        let mut clock = Clock::new();
        clock.run(Some(Running {
            start: 50 * MS,
            since: 1000 * MS,
            weight: NORMAL,
        }));
        let now = clock.update(1007 * MS, None);
        assert_eq!(now, 57 * MS);
        assert!(preempts(arrival(20 * MS, now, now), now));
        assert!(!preempts(arrival(57 * MS, now, now), now));
        assert!(!preempts(56 * MS + MS / 2, now));
    }

    #[test]
    fn time_of_a_cpu_is_that_of_who_has_had_least_and_never_goes_back() {
        let mut clock = Clock::new();
        clock.run(Some(Running {
            start: 10 * MS,
            since: 0,
            weight: NORMAL,
        }));
        assert_eq!(clock.update(8 * MS, Some(12 * MS)), 12 * MS);
        assert_eq!(clock.update(8 * MS, Some(9 * MS)), 12 * MS);
        clock.run(None);
        assert_eq!(clock.update(90 * MS, None), 12 * MS);
    }

    /// Runs threads of these weights for a while, always the one that has had least for 4 ms; how long each has run.
    fn shares(weights: &[u32], rounds: u64) -> Vec<u64> {
        let mut times = vec![0; weights.len()];
        let mut ran = vec![0; weights.len()];
        for _ in 0..rounds {
            let next = (0..times.len()).min_by_key(|&index| times[index]).unwrap();
            times[next] += passed(4 * MS, weights[next]);
            ran[next] += 4;
        }
        ran
    }

    #[test]
    fn shares_are_as_the_weights() {
        assert_eq!(shares(&[NORMAL; 3], 300), [400; 3]);
        let ran = shares(&[weight(0), weight(5)], 1000);
        let ratio = ran[0] as f64 / ran[1] as f64;
        assert!((2.9..3.2).contains(&ratio), "{ran:?}");
        let ran = shares(&[NORMAL, IDLE], 1000);
        assert!(ran[1] > 0 && ran[1] < 30, "{ran:?}");
    }
}
