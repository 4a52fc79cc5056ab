//! Load averages: how many threads run or wait for a CPU, smoothed over 1, 5 and 15 minutes as Linux does it
//! (`kernel/sched/loadavg.c`). Threads that wait for a device do not count here.

use super::queue::counts;
use crate::sync::SpinLock;
use crate::time::Instant;
use core::sync::atomic::{AtomicU64, Ordering};

/// Bits behind the point of an average.
pub const SHIFT: u32 = 11;
/// 1, as an average is written.
const ONE: u64 = 1 << SHIFT;
/// Nanoseconds between two looks.
const PERIOD: u64 = 5_000_000_000;
/// What is left of an average after a period: `exp(-5 / 60)`, and so on, by minutes.
const KEPT: [u64; 3] = [1884, 2014, 2037];

#[derive(Debug, Default)]
struct Load {
    averages: [u64; 3],
    /// When they were brought up to date.
    at: u64,
}

struct Machine {
    load: SpinLock<Load>,
    /// When the next look is due, for those who do not take the lock.
    next: AtomicU64,
}

static MACHINE: Machine = Machine {
    load: SpinLock::new(Load {
        averages: [0; 3],
        at: 0,
    }),
    next: AtomicU64::new(PERIOD),
};

/// The average a period later.
fn next(average: u64, kept: u64, active: u64) -> u64 {
    let active = active * ONE;
    let sum = average * kept + active * (ONE - kept);
    // Rounded towards the load.
    let rounded = if active >= average {
        sum + ONE - 1
    } else {
        sum
    };
    rounded / ONE
}

impl Load {
    /// Brings the averages up to date. A period in which nobody looked was one in which all CPUs were idle.
    fn update(&mut self, now: u64, active: u64) {
        let periods = now.saturating_sub(self.at) / PERIOD;
        self.at += periods * PERIOD;
        for left in (0..periods).rev() {
            if left > 0 && self.averages == [0; 3] {
                continue;
            }
            let active = if left == 0 { active } else { 0 };
            for (average, kept) in self.averages.iter_mut().zip(KEPT) {
                *average = next(*average, kept, active);
            }
        }
    }
}

/// The load averages, in units of 1 / 2^[`SHIFT`].
pub fn load_averages() -> [u64; 3] {
    look(Instant::now().0)
}

/// The timer has interrupted a busy CPU.
pub(super) fn tick() {
    let now = Instant::now().0;
    if now >= MACHINE.next.load(Ordering::Relaxed) {
        look(now);
    }
}

fn look(now: u64) -> [u64; 3] {
    let active = counts::active_count() as u64;
    let mut load = MACHINE.load.lock();
    load.update(now, active);
    MACHINE.next.store(load.at + PERIOD, Ordering::Relaxed);
    load.averages
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seconds: u64, active: u64) -> [u64; 3] {
        let mut load = Load::default();
        for second in 1..=seconds {
            load.update(second * 1_000_000_000, active);
        }
        load.averages
    }

    #[test]
    fn a_minute_of_two_threads_brings_the_first_average_to_two_thirds_of_it() {
        let [one, five, fifteen] = after(60, 2).map(|average| average * 100 / ONE);
        assert!((125..=130).contains(&one), "{one}");
        assert!((35..=40).contains(&five), "{five}");
        assert!((12..=16).contains(&fifteen), "{fifteen}");
        assert_eq!(after(3600, 2), [2 * ONE; 3]);
    }

    #[test]
    fn what_nobody_looked_at_was_idle() {
        let mut load = Load {
            averages: [ONE; 3],
            at: 0,
        };
        load.update(60_000_000_000, 1);
        let [one, ..] = load.averages.map(|average| average * 100 / ONE);
        assert!((40..=50).contains(&one), "{one}");
        load.update(u64::MAX / 2, 0);
        assert_eq!(load.averages, [0; 3]);
    }
}
