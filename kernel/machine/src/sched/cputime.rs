//! User and system time, and how busy CPUs are, for getrusage(2) and /proc/stat.
//!
//! As on Linux a sample decides: a CPU that runs something is interrupted each [`timer::TICK`]. What a thread uses from
//! one tick to the next counts as what it was doing at the former, so the kinds add up to the time that it has used,
//! which is exact, and none of them ever becomes less. A thread that has not met a tick has been in the program.

use crate::sync::SpinLock;
#[cfg(doc)]
use crate::time::timer;

/// What of a thread's CPU time was system time.
#[derive(Default)]
pub(super) struct SystemTime(SpinLock<Spells>);

#[derive(Default)]
struct Spells {
    /// Nanoseconds until the last tick.
    past: u64,
    /// The CPU time that it had used at the last tick, if it was in the kernel then.
    since: Option<u64>,
}

impl Spells {
    fn at(&self, used: u64) -> u64 {
        self.past + self.since.map_or(0, |since| used.saturating_sub(since))
    }

    fn tick(&mut self, used: u64, in_kernel: bool) {
        self.past = self.at(used);
        self.since = in_kernel.then_some(used);
    }
}

impl SystemTime {
    /// So much CPU time has been used at a tick.
    pub(super) fn tick(&self, used: u64, in_kernel: bool) {
        self.0.lock().tick(used, in_kernel);
    }

    /// Nanoseconds when so much CPU time has been used.
    pub(super) fn at(&self, used: u64) -> u64 {
        self.0.lock().at(used)
    }
}

/// What a CPU has done so far, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTimes {
    /// Programs' threads with the usual nice value, or a higher priority.
    pub user: u64,
    /// Programs' threads with a positive nice value.
    pub nice: u64,
    /// The kernel.
    pub system: u64,
    /// Nothing.
    pub idle: u64,
}

impl CpuTimes {
    /// Adds another CPU's.
    pub fn add(&mut self, other: Self) {
        self.user += other.user;
        self.nice += other.nice;
        self.system += other.system;
        self.idle += other.idle;
    }
}

/// What a CPU does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    User,
    Nice,
    System,
}

/// What is kept for a CPU.
#[derive(Debug)]
pub(super) struct Local {
    /// But for `idle`, until the last tick.
    times: CpuTimes,
    /// What it did at the last tick.
    last: Kind,
}

impl Local {
    /// That of a CPU that comes up.
    pub(super) const fn new() -> Self {
        Self {
            times: CpuTimes {
                user: 0,
                nice: 0,
                system: 0,
                idle: 0,
            },
            last: Kind::System,
        }
    }

    /// The times when the CPU has been idle for `idle` of `now`.
    pub(super) fn at(&self, now: u64, idle: u64) -> CpuTimes {
        let mut times = self.times;
        let since = now.saturating_sub(idle + times.user + times.nice + times.system);
        match self.last {
            Kind::User => times.user += since,
            Kind::Nice => times.nice += since,
            Kind::System => times.system += since,
        }
        CpuTimes { idle, ..times }
    }

    /// What it does at a tick.
    pub(super) fn tick(&mut self, now: u64, idle: u64, kind: Kind) {
        self.times = self.at(now, idle);
        self.last = kind;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_the_systems_from_a_tick_in_the_kernel_to_the_next_one_in_the_program() {
        let mut spells = Spells::default();
        assert_eq!(spells.at(5), 0);
        spells.tick(10, true);
        assert_eq!(spells.at(10), 0);
        assert_eq!(spells.at(13), 3);
        spells.tick(20, true);
        assert_eq!(spells.at(22), 12);
        spells.tick(30, false);
        assert_eq!(spells.at(99), 20);
    }

    #[test]
    fn what_a_cpu_has_done_adds_up_to_the_time() {
        let mut local = Local::new();
        local.tick(100, 40, Kind::User);
        local.tick(200, 50, Kind::Nice);
        let times = CpuTimes {
            user: 90,
            nice: 90,
            system: 60,
            idle: 60,
        };
        assert_eq!(local.at(300, 60), times);
    }
}
