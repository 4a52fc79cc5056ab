//! `clone` and `clone3`: new threads. Anything that would be a new process is refused with `ENOSYS`.
use super::table;
use crate::process::LinuxThread;
use crate::{config, fs};
use abi::{Errno, SysResult};
use alloc::boxed::Box;
use alloc::format;
use core::{ops::Range, sync::atomic::Ordering};
use linux_raw_sys::general::{
    CLONE_CHILD_CLEARTID, CLONE_CHILD_SETTID, CLONE_DETACHED, CLONE_FILES, CLONE_FS, CLONE_IO,
    CLONE_PARENT_SETTID, CLONE_SETTLS, CLONE_SIGHAND, CLONE_SYSVSEM, CLONE_THREAD, CLONE_VM,
};
use machine::{
    arch::TrapFrame,
    mm::{USER_END, user},
    sched,
};

/// Flags that make it a thread: everything a process has is shared.
const THREAD: u64 = (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD) as u64;

/// Flags that a thread may have beside [`THREAD`].
const OPTIONAL: u64 = (CLONE_SYSVSEM
    | CLONE_SETTLS
    | CLONE_PARENT_SETTID
    | CLONE_CHILD_SETTID
    | CLONE_CHILD_CLEARTID
    | CLONE_DETACHED
    | CLONE_IO) as u64;

/// What both system calls ask for.
#[derive(Clone, Debug)]
pub struct Request {
    /// `CLONE_*` without the exit signal.
    pub flags: u64,
    /// The new stack, or only its end, which is the new stack pointer; 0 keeps the caller's.
    pub stack: Range<usize>,
    /// Where the caller wants the id.
    pub parent_tid: usize,
    /// Where the new thread wants it, and where it is cleared at the end.
    pub child_tid: usize,
    /// Thread pointer.
    pub tls: usize,
}

/// Starts a thread that returns 0 from the system call `frame` is in; its id.
pub fn thread(frame: &TrapFrame, request: Request) -> SysResult {
    if request.flags & THREAD != THREAD || request.flags & !(THREAD | OPTIONAL) != 0 {
        return Err(Errno::ENOSYS);
    }
    let has = |flag: u32| request.flags & u64::from(flag) != 0;
    if request.stack.end >= USER_END || (has(CLONE_SETTLS) && request.tls >= USER_END) {
        return Err(Errno::EPERM);
    }
    let mut child = frame.clone();
    child.rax = 0;
    child.error = super::signal::NO_RESTART;
    if request.stack.end != 0 {
        child.rsp = request.stack.end as u64;
    }
    let thread_pointer = if has(CLONE_SETTLS) {
        request.tls as u64
    } else {
        sched::with_current(|parent| parent.thread_pointer())
    };
    let state = Box::new(table::inherited_state());
    let thread =
        sched::new_user(child, request.stack, thread_pointer, state).ok_or(Errno::EAGAIN)?;
    let tid = thread.tid;
    if has(CLONE_CHILD_CLEARTID) {
        thread
            .linux()
            .clear_child_tid
            .store(request.child_tid, Ordering::Relaxed);
    }
    // Linux ignores faults of both writes, too.
    if has(CLONE_PARENT_SETTID) {
        let _ = user::write(request.parent_tid, &(tid as u32));
    }
    if has(CLONE_CHILD_SETTID) {
        let _ = user::write(request.child_tid, &(tid as u32));
    }
    table::insert(&thread);
    if config::get().trace {
        let lineage = super::with_current(|process| process.linker.lineage(thread_pointer));
        fs::write_stderr(format!("[{tid}] +++ thread {tid}{lineage} +++\n").as_bytes());
    }
    sched::start(thread);
    Ok(tid as usize)
}
