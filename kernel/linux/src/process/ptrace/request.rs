//! What a tracer asks of a tracee that is stopped: to go on, and everything that is about its state.
use super::{Resume, State, Stop, Tracee};
use crate::process::{
    self, Process,
    signal::{self, SigInfo},
    table,
};
use abi::Errno;
use alloc::sync::Arc;
use linux_raw_sys::ptrace;
use machine::sched::{self, Tid};

/// What the calling thread and its tracee `tid` share; `ESRCH`.
fn find(tid: Tid) -> Result<Arc<Tracee>, Errno> {
    let found = process::with_current(|process| process.tracees.lock().get(&tid).cloned());
    found
        .filter(|one| one.tracer.tid == sched::current_tid())
        .ok_or(Errno::ESRCH)
}

/// Calls `f` with a tracee of the calling thread's that is stopped, and its process; `ESRCH`. Under its lock.
pub(crate) fn with_stopped<R>(
    tid: Tid,
    f: impl FnOnce(&mut State, &mut Stop, &Arc<Process>) -> Result<R, Errno>,
) -> Result<R, Errno> {
    let tracee = find(tid)?;
    let process = tracee.process.upgrade().ok_or(Errno::ESRCH)?;
    let mut state = tracee.state.lock();
    let mut stop = state.stop.take().ok_or(Errno::ESRCH)?;
    let result = if stop.is_listening {
        Err(Errno::ESRCH)
    } else {
        f(&mut state, &mut stop, &process)
    };
    state.stop = Some(stop);
    result
}

/// A signal that a tracee is to get; `EIO`.
fn check_signal(signal: usize) -> Result<i32, Errno> {
    i32::try_from(signal)
        .ok()
        .filter(|signal| (0..=signal::LAST).contains(signal))
        .ok_or(Errno::EIO)
}

/// PTRACE_CONT and its like: has a tracee go on, as far as `resume` says, with a signal.
pub(crate) fn resume(tid: Tid, resume: Resume, signal: usize) -> Result<(), Errno> {
    let signal = check_signal(signal);
    let tracee = find(tid)?;
    let mut state = tracee.state.lock();
    if state.stop.as_ref().is_none_or(|stop| stop.is_listening) {
        return Err(Errno::ESRCH);
    }
    let signal = signal?;
    state.resume = resume;
    tracee.wake(&mut state, signal);
    Ok(())
}

/// PTRACE_DETACH
pub(crate) fn detach(tid: Tid, signal: usize) -> Result<(), Errno> {
    let signal = check_signal(signal);
    let tracee = find(tid)?;
    let is_stopped = {
        let state = tracee.state.lock();
        state.stop.as_ref().is_some_and(|stop| !stop.is_listening)
    };
    if !is_stopped {
        return Err(Errno::ESRCH);
    }
    let signal = signal?;
    let gone = table::with_processes(|all| {
        tracee.unlink(Some(signal), all);
        tracee.hand_over(all)
    });
    // Not under the lock: it may be the last reference.
    drop(gone);
    Ok(())
}

/// PTRACE_LISTEN: a tracee that is stopped with its process stays so, and its tracer hears when that changes.
pub(crate) fn listen(tid: Tid) -> Result<(), Errno> {
    let tracee = find(tid)?;
    let mut state = tracee.state.lock();
    let (is_seized, trap) = (state.is_seized, state.trap);
    let stop = state.stop.as_mut().ok_or(Errno::ESRCH)?;
    if !is_seized || stop.code >> 8 != ptrace::PTRACE_EVENT_STOP {
        return Err(Errno::EIO);
    }
    stop.is_listening = true;
    if trap {
        tracee.wake(&mut state, 0);
    }
    Ok(())
}

/// PTRACE_INTERRUPT; `EIO` if it has not been seized.
pub(crate) fn interrupt(tid: Tid) -> Result<(), Errno> {
    let tracee = find(tid)?;
    if !tracee.trap() {
        return Err(Errno::EIO);
    }
    table::with_thread(tid, signal::attend).ok_or(Errno::ESRCH)
}

/// PTRACE_KILL: sends it SIGKILL, stopped or not.
pub(crate) fn kill(tid: Tid) -> Result<(), Errno> {
    let process = find(tid)?.process.upgrade().ok_or(Errno::ESRCH)?;
    process.send_signal(linux_raw_sys::general::SIGKILL.cast_signed());
    Ok(())
}

impl Stop {
    /// What PTRACE_SETSIGINFO changes; `EINVAL` for a stop that is no signal's.
    pub(crate) fn set_info(&mut self, info: SigInfo) -> Result<(), Errno> {
        *self.info.as_mut().ok_or(Errno::EINVAL)? = info;
        Ok(())
    }

    /// Whether it is a stop at a system call that is marked as one.
    pub(crate) fn is_call(&self) -> bool {
        self.code & 0x80 != 0 && self.code >> 8 == 0
    }
}
