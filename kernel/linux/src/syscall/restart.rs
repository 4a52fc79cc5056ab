//! restart_syscall(2): going on with a call that has a deadline, after a signal that no handler was called for.
//!
//! Such a call cannot just be made again, its time would begin anew. It leaves what is to be done with its thread, and fails
//! with `ERESTART_RESTARTBLOCK`, which delivery turns into this call.

use super::{Errno, SysResult, fs, time};
use crate::process::LinuxThread;
use crate::process::clock::Clock;
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
    pub(super) fn arrange(self) -> Errno {
        sched::with_current(|thread| *thread.linux().restart.lock() = Some(self));
        Errno::ERESTART_RESTARTBLOCK
    }
}

/// A handler returns: what it has made and left unfinished is not what was interrupted before.
pub(crate) fn forget() {
    sched::with_current(|thread| *thread.linux().restart.lock() = None);
}

/// restart_syscall(2)
pub(crate) fn restart_syscall() -> SysResult {
    let restart = sched::with_current(|thread| thread.linux().restart.lock().take());
    match restart.ok_or(Errno::EINTR)? {
        Restart::Sleep {
            deadline,
            remaining,
        } => time::sleep(deadline, remaining),
        Restart::CpuSleep {
            clock,
            until,
            remaining,
        } => time::sleep_cpu(clock, until, remaining),
        Restart::Futex {
            addr,
            value,
            bitset,
            deadline,
        } => super::process::futex_wait(addr, value, bitset, Some(deadline)),
        Restart::Poll {
            fds,
            count,
            deadline,
        } => fs::poll_until(fds, count, deadline),
    }
}
