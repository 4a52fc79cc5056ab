//! What a thread leaves behind of an interrupted system call with a deadline, for restart_syscall(2) to go on with.

use super::LinuxThread;
use super::clock::Clock;
use abi::Errno;
use machine::{sched, time::Instant};

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Restart {
    /// Sleep until a time; the address for what is left when a handler ends it, or 0.
    Sleep { deadline: Instant, remaining: usize },
    /// As `Sleep`, on a process' clock of CPU time.
    CpuSleep {
        clock: Clock,
        until: u64,
        remaining: usize,
    },
    /// Sleep while a word has a value.
    Futex {
        addr: usize,
        shared: bool,
        value: u32,
        bitset: u32,
        deadline: Instant,
    },
    /// Wait for events on descriptors.
    Poll {
        fds: usize,
        count: usize,
        deadline: Option<Instant>,
    },
}

impl Restart {
    /// Leaves it with the calling thread: the error to fail with.
    pub(crate) fn arrange(self) -> Errno {
        sched::with_current(|thread| *thread.linux().restart.lock() = Some(self));
        Errno::ERESTART_RESTARTBLOCK
    }
}

/// A handler returns: what it has made and left unfinished is not what was interrupted before.
pub(crate) fn forget() {
    sched::with_current(|thread| *thread.linux().restart.lock() = None);
}
