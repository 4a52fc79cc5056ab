//! `clone`, `clone3`, `fork` and `vfork`: new threads, and new processes.
//!
//! A process is made of parts ([`super::Process`]); each is shared or copied, as flags say.
use super::{Process, ThreadState, ptrace, table, vfork::Vfork};
use crate::fs::{OpenFile, pidfd::PidFd};
use crate::process::LinuxThread;
use crate::{config, linker, tty};
use abi::{Errno, SysResult};
use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use core::{ops::Range, sync::atomic::Ordering};
use linux_raw_sys::general::{
    CLONE_CHILD_CLEARTID, CLONE_CHILD_SETTID, CLONE_CLEAR_SIGHAND, CLONE_DETACHED, CLONE_FILES,
    CLONE_FS, CLONE_IO, CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID,
    CLONE_NEWUSER, CLONE_NEWUTS, CLONE_PARENT, CLONE_PARENT_SETTID, CLONE_PIDFD, CLONE_PTRACE,
    CLONE_SETTLS, CLONE_SIGHAND, CLONE_SYSVSEM, CLONE_THREAD, CLONE_UNTRACED, CLONE_VFORK,
    CLONE_VM, O_RDWR, RLIMIT_CPU,
};
use linux_raw_sys::ptrace::PTRACE_EVENT_VFORK_DONE;
use machine::{
    arch::{TrapFrame, gate},
    mm::{USER_END, space::Space, user},
    sched::{self, Body, Start, Thread, Tid},
};

/// Flags that make it a thread: everything a process has is shared.
const THREAD: u64 = (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD) as u64;

/// Flags that threads and processes may have.
const OPTIONAL: u64 = (CLONE_SYSVSEM
    | CLONE_SETTLS
    | CLONE_PARENT_SETTID
    | CLONE_CHILD_SETTID
    | CLONE_CHILD_CLEARTID
    | CLONE_DETACHED
    | CLONE_PTRACE
    | CLONE_UNTRACED
    | CLONE_IO) as u64;

/// Flags that a process may have beside those.
const PROCESS: u64 =
    (CLONE_VM | CLONE_VFORK | CLONE_PARENT | CLONE_PIDFD | CLONE_FILES | CLONE_FS | CLONE_SIGHAND)
        as u64
        | CLONE_CLEAR_SIGHAND;

/// Flags that make namespaces.
const NAMESPACES: u64 = (CLONE_NEWCGROUP
    | CLONE_NEWIPC
    | CLONE_NEWNET
    | CLONE_NEWNS
    | CLONE_NEWPID
    | CLONE_NEWUSER
    | CLONE_NEWUTS) as u64;

/// What the system calls ask for.
#[derive(Clone, Debug)]
pub struct Request {
    /// `CLONE_*` without the exit signal.
    pub flags: u64,
    /// What the parent is sent at the end; 0 for nothing.
    pub exit_signal: i32,
    /// The new stack, or only its end, which is the new stack pointer; 0 keeps the caller's.
    pub stack: Range<usize>,
    /// Where the caller wants the id.
    pub parent_tid: usize,
    /// Where the new thread wants it, and where it is cleared at the end.
    pub child_tid: usize,
    /// Where the caller wants a descriptor of the process, with `CLONE_PIDFD`.
    pub pidfd: usize,
    /// Thread pointer.
    pub tls: usize,
}

impl Request {
    /// A process with flags and nothing else.
    pub fn process(flags: u32) -> Self {
        Self {
            flags: flags.into(),
            exit_signal: linux_raw_sys::general::SIGCHLD as i32,
            stack: 0..0,
            parent_tid: 0,
            child_tid: 0,
            pidfd: 0,
            tls: 0,
        }
    }

    pub(super) fn has(&self, flag: u32) -> bool {
        self.flags & u64::from(flag) != 0
    }
}

/// Starts a thread or a process that returns 0 from the system call `frame` is in; its id.
pub fn clone(frame: &mut TrapFrame, request: &Request) -> SysResult {
    if request.stack.end >= USER_END || (request.has(CLONE_SETTLS) && request.tls >= USER_END) {
        return Err(Errno::EPERM);
    }
    if request.flags & NAMESPACES != 0 {
        return Err(Errno::EPERM);
    }
    table::check_count(!request.has(CLONE_THREAD))?;
    if request.has(CLONE_THREAD) {
        return thread(frame, request);
    }
    if request.flags & !(OPTIONAL | PROCESS) != 0 {
        log::warn!("clone with flags {:#x} is not there", request.flags);
        return Err(Errno::EINVAL);
    }
    let is_clear = request.flags & CLONE_CLEAR_SIGHAND != 0;
    if request.has(CLONE_SIGHAND) && (is_clear || !request.has(CLONE_VM)) {
        return Err(Errno::EINVAL);
    }
    process(frame, request)
}

fn thread(frame: &mut TrapFrame, request: &Request) -> SysResult {
    if request.flags & THREAD != THREAD || request.flags & !(THREAD | OPTIONAL) != 0 {
        return Err(Errno::EINVAL);
    }
    let process = super::with_current(Arc::clone);
    let tid = table::new_id();
    let state = table::inherited_state(process);
    let thread = make(tid, frame, request, state)?;
    table::insert(&thread);
    let event = begin(thread, request);
    if let Some(event) = event {
        ptrace::event(frame, event, u64::from(tid.cast_unsigned()));
    }
    Ok(tid as usize)
}

fn process(frame: &mut TrapFrame, request: &Request) -> SysResult {
    let space = if request.has(CLONE_VM) {
        super::with_current(|parent| parent.space())
    } else {
        Some(copy_space(frame)?)
    };
    let pid = table::new_id();
    let vfork = request.has(CLONE_VFORK).then(Arc::<Vfork>::default);
    let child = super::with_current(|parent| {
        let kin = parent.kin();
        let of = if request.has(CLONE_PARENT) {
            parent.ppid()
        } else {
            parent.pid
        };
        let child = parent.copy(pid, kin.child(of, request.exit_signal), request);
        if request.flags & CLONE_CLEAR_SIGHAND != 0 {
            child.sighand().reset();
        }
        child.set_space(space);
        (*child.vfork.lock()).clone_from(&vfork);
        Arc::new(child)
    });
    let mut state = table::inherited_state(child.clone());
    state.borrows_thread_pointer = request.has(CLONE_VM) && !request.has(CLONE_SETTLS);
    if request.has(CLONE_VFORK) || !request.has(CLONE_VM) {
        state.signals.set_altstack(super::signal::altstack());
    }
    let thread = make(pid, frame, request, state)?;
    if request.has(CLONE_PIDFD) {
        give_descriptor(&child, request.pidfd)?;
    }
    table::insert_process(&child);
    table::insert(&thread);
    if child.limits.soft(RLIMIT_CPU) != u64::MAX {
        child.watch_cpu_limit();
    }
    // References that a child which ends soon would wait for.
    drop(child);
    let event = begin(thread, request);
    let told = u64::from(pid.cast_unsigned());
    if let Some(event) = event {
        ptrace::event(frame, event, told);
    }
    if let Some(vfork) = vfork {
        vfork.wait();
        ptrace::event(frame, PTRACE_EVENT_VFORK_DONE, told);
    }
    Ok(pid as usize)
}

/// Starts a thread, which is traced, too, if that is wanted; the event that the caller's tracer is to be told of.
fn begin(thread: Arc<Thread>, request: &Request) -> Option<u32> {
    let event = ptrace::of_clone(request.flags, request.exit_signal);
    if event.is_some() || request.has(CLONE_PTRACE) {
        ptrace::follow(&thread);
    }
    sched::start(thread);
    event
}

/// Gives the caller a descriptor of a process that it is about to have as a child, whose number goes to `at`.
fn give_descriptor(child: &Arc<Process>, at: usize) -> Result<(), Errno> {
    let open = OpenFile::new(PidFd::new(child.clone()), O_RDWR);
    super::with_current(|parent| {
        let fds = 0..parent.limits.descriptors();
        let fd = parent.files().install(open, true, fds)?;
        let fd = i32::try_from(fd).map_err(|_| Errno::EMFILE)?;
        let written = user::write(at, &fd);
        if written.is_err() {
            parent.files().close(fd)?;
        }
        written
    })
}

/// Copies the caller's address space.
fn copy_space(frame: &TrapFrame) -> Result<Arc<Space>, Errno> {
    if gate::is_called(frame.stack_pointer()) {
        // The child would have to go on on the kernel's stack, too.
        log::warn!("fork within a function that the dynamic linker has called is not there");
        return Err(Errno::EAGAIN);
    }
    let space = linker::get().copy_space().ok_or(Errno::ENOMEM)?;
    Ok(Arc::new(space))
}

/// Makes the thread, which does not run yet.
fn make(
    tid: Tid,
    frame: &TrapFrame,
    request: &Request,
    state: ThreadState,
) -> Result<Arc<Thread>, Errno> {
    let mut frame = frame.clone();
    frame.rax = 0;
    frame.error = super::signal::NO_RESTART;
    if ptrace::is_stepping() {
        // That is the caller's.
        ptrace::set_trap_flag(&mut frame, false);
    }
    if request.stack.end != 0 {
        frame.rsp = request.stack.end as u64;
    }
    let thread_pointer = if request.has(CLONE_SETTLS) {
        request.tls as u64
    } else {
        sched::with_current(|parent| parent.thread_pointer())
    };
    let space = state.process.space().ok_or(Errno::ESRCH)?;
    // Linux ignores faults, too.
    let write_id = move |at| {
        let _ = user::write(at, &(tid as u32));
    };
    let child_tid = request.has(CLONE_CHILD_SETTID).then_some(request.child_tid);
    let is_copy = !request.has(CLONE_VM);
    let first: Body = Box::new(move || {
        linker::get().begin_in_copy();
        child_tid.into_iter().for_each(write_id);
    });
    let start = Start {
        frame,
        stack: request.stack.clone(),
        thread_pointer,
        space,
        first: is_copy.then_some(first),
    };
    let thread = sched::new_user(tid, start, Box::new(state)).ok_or(Errno::EAGAIN)?;
    if request.has(CLONE_CHILD_CLEARTID) {
        thread
            .linux()
            .clear_child_tid
            .store(request.child_tid, Ordering::Relaxed);
    }
    if request.has(CLONE_PARENT_SETTID) {
        write_id(request.parent_tid);
    }
    if !is_copy {
        child_tid.into_iter().for_each(write_id);
    }
    if config::get().trace {
        let lineage = linker::get().lineage(thread_pointer);
        tty::stream::write_stderr(format!("[{tid}] +++ thread {tid}{lineage} +++\n").as_bytes());
    }
    Ok(thread)
}
