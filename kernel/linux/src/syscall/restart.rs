//! restart_syscall(2): going on with a call that has a deadline, after a signal that no handler was called for.
//!
//! Such a call cannot just be made again, its time would begin anew. It leaves what is to be done with its thread, and
//! fails with `ERESTART_RESTARTBLOCK`, which delivery turns into this call.

use super::{fs, time};
use crate::process::LinuxThread;
use crate::process::restart::Restart;
use abi::{Errno, SysResult};
use machine::sched;

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
            shared,
            value,
            bitset,
            deadline,
        } => super::process::futex_wait(addr, shared, value, bitset, Some(deadline)),
        Restart::Poll {
            fds,
            count,
            deadline,
        } => fs::poll_until(fds, count, deadline),
    }
}
