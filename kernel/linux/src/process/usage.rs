//! What processes have used: getrusage(2), wait4(2), /proc/PID/stat, /proc/PID/io. What the host
//! serves of its directories counts as a device; of what is changed only the content of files is counted.
use super::Process;
use crate::process::LinuxThread;
use machine::sched::{self, Thread, Used};

/// What is counted of a thread, of a process, or of processes together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// CPU time in nanoseconds.
    pub cpu_ns: u64,
    /// What of it was system time.
    pub system_ns: u64,
    /// Faults, switches, what was read and written.
    pub used: Used,
    /// The most bytes that one of them has had in memory at once.
    #[doc(alias = "maxrss")]
    pub most_resident: usize,
}

impl Usage {
    /// A thread's, without its memory, which is the process'.
    pub fn of_thread(thread: &Thread) -> Self {
        let (system_ns, cpu_ns) = thread.system_and_cpu_time_ns();
        Self {
            cpu_ns,
            system_ns,
            used: thread.used(),
            most_resident: 0,
        }
    }

    /// The calling thread's.
    pub fn of_caller() -> Self {
        sched::with_current(|thread| Self {
            most_resident: thread.linux().process.most_resident(),
            ..Self::of_thread(thread)
        })
    }

    /// What of the CPU time was the program's.
    pub fn user_ns(&self) -> u64 {
        self.cpu_ns - self.system_ns
    }

    /// Adds another one.
    pub(super) fn add(&mut self, other: Self) {
        self.cpu_ns += other.cpu_ns;
        self.system_ns += other.system_ns;
        self.used.add(other.used);
        self.most_resident = self.most_resident.max(other.most_resident);
    }
}

impl Process {
    /// What it has used itself.
    pub fn usage(&self) -> Usage {
        let mut all = self.usage_of_threads();
        all.most_resident = self.most_resident();
        all
    }

    /// The most bytes that it has had in memory at once, whatever it has run.
    pub fn most_resident(&self) -> usize {
        let now = self.space().map_or(0, |space| space.most_resident());
        now.max(self.usage_of_ended().most_resident)
    }

    /// What its children that it has waited for have used, and theirs.
    pub fn usage_of_children(&self) -> Usage {
        *self.children_usage.lock()
    }

    /// What it and the children that it has waited for have used: of memory what it does not use any more, as a zombie
    /// has none, and where somebody is told of one no lock that sleeps may be taken.
    pub fn usage_with_children(&self) -> Usage {
        let mut all = self.usage_of_threads();
        all.add(self.usage_of_children());
        all
    }

    /// A child that it has waited for is gone.
    pub(super) fn add_child(&self, child: Usage) {
        self.children_usage.lock().add(child);
    }
}
