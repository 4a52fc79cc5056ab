//! Beginning to trace and ceasing to: PTRACE_TRACEME, PTRACE_ATTACH, PTRACE_SEIZE, what a tracee starts, the end of the
//! tracer.
use super::{Resume, Role, State, Tracee, Tracer, permission::check_access};
use crate::config;
use crate::process::{
    self, LinuxThread, Pid, Process,
    signal::{self, Recipient, SigInfo},
    table,
};
use abi::Errno;
use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicI32, Ordering};
use linux_raw_sys::{general as linux, ptrace};
use machine::{
    sched::{self, Thread, Tid},
    sync::{SpinLock, WaitQueue},
};

type Processes = BTreeMap<Pid, Arc<Process>>;

/// Has a thread be traced, under the lock of the table of processes. `EPERM` if it is, `ESRCH` if it has ended.
fn link(
    thread: &Thread,
    tracer: Tracer,
    (options, is_seized): (u32, bool),
    trap: bool,
    all: &Processes,
) -> Result<(), Errno> {
    let by = all.get(&tracer.pid).ok_or(Errno::EPERM)?;
    let process = &thread.linux().process;
    let tracing = &thread.linux().tracing;
    let tracee = Arc::new(Tracee {
        tid: AtomicI32::new(thread.tid),
        process: Arc::downgrade(process),
        tracer,
        state: SpinLock::new(State {
            options,
            is_seized,
            trap,
            resume: Resume::Continue,
            stop: None,
            go: None,
            is_detached: false,
            former: None,
            last: None,
            end: None,
        }),
        resumed: WaitQueue::new(),
    });
    match &*tracing.role.lock() {
        Role::Free => {}
        Role::Traced(_) => return Err(Errno::EPERM),
        Role::Over => return Err(Errno::ESRCH),
    }
    // Only the thread's end could have come in between, and does so under the table's lock.
    tracing.become_role(Role::Traced(tracee.clone()));
    if thread.tid == process.pid {
        *process.main_tracee.lock() = Some(tracee.clone());
    }
    by.tracees.lock().insert(thread.tid, tracee);
    config::watch_calls();
    Ok(())
}

impl Tracee {
    /// Nobody traces it any more, and it goes on with `signal`. Under the lock of the table of processes.
    pub(super) fn unlink(self: &Arc<Self>, signal: Option<i32>, all: &Processes) {
        if core::mem::replace(&mut self.state.lock().is_detached, true) {
            return;
        }
        if let Some(by) = all.get(&self.tracer.pid) {
            let mut tracees = by.tracees.lock();
            tracees.retain(|_, one| !Arc::ptr_eq(one, self));
        }
        let process = self.process.upgrade();
        if let Some(process) = &process {
            let main = &mut *process.main_tracee.lock();
            if main.as_ref().is_some_and(|one| Arc::ptr_eq(one, self)) {
                *main = None;
            }
        }
        config::unwatch_calls();
        let tid = self.tid();
        table::with_thread(tid, |thread| {
            let tracing = &thread.linux().tracing;
            let is_this = tracing.tracee().is_some_and(|one| Arc::ptr_eq(&one, self));
            if is_this {
                tracing.become_role(Role::Free);
                // It may have to be stopped with its process now.
                thread.linux().signals.forget_stop();
                signal::attend(thread);
            }
        });
        let mut state = self.state.lock();
        let own = state.stop.as_ref().map_or(0, |stop| {
            // As on Linux: a signal that the tracer has not heard of is not lost with it.
            let is_signal = stop.info.is_some() && stop.code <= signal::LAST.cast_unsigned();
            let untold = is_signal && !stop.is_told;
            if untold { stop.code.cast_signed() } else { 0 }
        });
        let signal = signal.unwrap_or(own);
        self.wake(&mut state, signal);
    }

    /// The thread, which is `tid`, goes on as `main`, the main thread of its process. Under the lock of the table of
    /// processes.
    pub(super) fn become_main(
        self: &Arc<Self>,
        tid: Tid,
        process: &Process,
        main: &Thread,
        all: &Processes,
    ) {
        sched::with_current(|thread| thread.linux().tracing.become_role(Role::Over));
        main.linux().tracing.become_role(Role::Traced(self.clone()));
        if let Some(by) = all.get(&self.tracer.pid) {
            let mut tracees = by.tracees.lock();
            tracees.remove(&tid);
            tracees.insert(main.tid, self.clone());
        }
        *process.main_tracee.lock() = Some(self.clone());
        self.tid.store(main.tid, Ordering::Relaxed);
        self.state.lock().former = Some(tid);
    }

    /// The thread's id.
    pub(super) fn tid(&self) -> Tid {
        self.tid.load(Ordering::Relaxed)
    }
}

/// PTRACE_TRACEME: the parent is to trace the calling thread.
pub(crate) fn trace_me() -> Result<(), Errno> {
    let (parent, maker) = process::with_current(|process| process.parent_and_maker());
    let maker = if table::contains(maker) {
        maker
    } else {
        parent
    };
    let tracer = Tracer {
        tid: maker,
        pid: parent,
    };
    let me = sched::current();
    table::with_processes(|all| link(&me, tracer, (0, false), false, all))
}

/// PTRACE_ATTACH, or PTRACE_SEIZE with options: the calling thread traces the thread `tid`.
pub(crate) fn attach(tid: Tid, seize: Option<u32>) -> Result<(), Errno> {
    if tid == 0 {
        return Err(Errno::ESRCH);
    }
    let attached = table::with_thread(tid, |thread| {
        let process = &thread.linux().process;
        let pid = process::with_current(|own| own.pid);
        if process.pid == pid {
            return Err(Errno::EPERM);
        }
        check_access(thread)?;
        let tracer = Tracer {
            tid: sched::current_tid(),
            pid,
        };
        let how = (seize.unwrap_or(0), seize.is_some());
        table::with_processes(|all| link(thread, tracer, how, false, all))?;
        if seize.is_none() {
            let stop = linux::SIGSTOP.cast_signed();
            let info = SigInfo::from_kernel(stop, linux::SI_KERNEL.cast_signed(), 0);
            // Only that it has ended meanwhile is an error, of which the tracer is told by wait(2).
            let _ = process.send(Recipient::Thread(tid), info);
        }
        // If it is stopped already, that is a tracee's stop from now on.
        signal::attend(thread);
        process.wake_held();
        Ok(())
    });
    attached.unwrap_or(Err(Errno::ESRCH))
}

/// A thread that the calling one, a tracee, is about to start is traced, too: with the same options, and it stops first
/// of all.
pub(crate) fn follow(child: &Thread) {
    let Some(own) = sched::with_current(|thread| thread.linux().tracing.tracee()) else {
        return;
    };
    let (options, is_seized) = {
        let state = own.state.lock();
        (state.options, state.is_seized)
    };
    let tracer = own.tracer;
    let linked =
        table::with_processes(|all| link(child, tracer, (options, is_seized), is_seized, all));
    if linked.is_err() {
        // The tracer has just ended.
        return;
    }
    if is_seized {
        signal::attend(child);
    } else {
        let stop = linux::SIGSTOP.cast_signed();
        let info = SigInfo::from_program(stop, linux::SI_USER.cast_signed(), 0, 0);
        let _ = child
            .linux()
            .process
            .send(Recipient::Thread(child.tid), info);
    }
}

/// The calling thread of `process` ends, and traces nobody any more.
pub(crate) fn end_of_tracer(process: &Process) {
    let tid = sched::current_tid();
    let own: Vec<_> = {
        let tracees = process.tracees.lock();
        let own = tracees.values().filter(|one| one.tracer.tid == tid);
        own.cloned().collect()
    };
    for tracee in own {
        let dies = tracee.has(ptrace::PTRACE_O_EXITKILL);
        let gone = table::with_processes(|all| {
            tracee.unlink(None, all);
            tracee.hand_over(all)
        });
        // Not under the lock: it may be the last reference.
        drop(gone);
        if dies && let Some(process) = tracee.process.upgrade() {
            process.send_signal(linux::SIGKILL.cast_signed());
        }
    }
}
