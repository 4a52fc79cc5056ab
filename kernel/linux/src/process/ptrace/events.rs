//! Stops of a tracee that its tracer has asked for: at the beginning and the end of system calls, and when it starts
//! others, runs another program, or ends.
use super::{Point, Resume, stop, stop::Reason};
use crate::process::{
    self, LinuxThread, Process,
    signal::{self, Recipient, SigInfo},
    table,
};
use alloc::{boxed::Box, sync::Arc};
use linux_raw_sys::{general as linux, ptrace};
use machine::{
    arch::TrapFrame,
    mm::USER_END,
    sched::{self, Thread, Tid},
};

/// Whether the kernel has made the call on the program's stack, to deliver signals.
fn is_own(frame: &TrapFrame) -> bool {
    frame.instruction_pointer() >= USER_END
}

/// Stops at a system call if the calling thread's tracer wants to know of those; whether it has.
fn at_call(frame: &mut TrapFrame, point: Point, message: u32) -> bool {
    let Some(tracee) = stop::current().filter(|_| !is_own(frame)) else {
        return false;
    };
    let (wants, options) = {
        let state = tracee.state.lock();
        (state.resume == Resume::Syscall, state.options)
    };
    if !wants {
        return false;
    }
    let marked = options & ptrace::PTRACE_O_TRACESYSGOOD != 0;
    let code = stop::SIGTRAP.cast_unsigned() | if marked { 0x80 } else { 0 };
    let reason = Reason {
        info: Some(SigInfo::from_kernel(
            stop::SIGTRAP,
            code.cast_signed(),
            frame.instruction_pointer(),
        )),
        ..Reason::event(code, message.into(), point)
    };
    if let Some((signal @ 1.., _)) = stop::stop(&tracee, frame, reason) {
        send_self(SigInfo::from_program(
            signal,
            linux::SI_USER.cast_signed(),
            tracee.tracer.pid,
            0,
        ));
    }
    true
}

fn send_self(info: SigInfo) {
    let to = Recipient::Thread(sched::current_tid());
    // Only a full queue of real-time signals is an error.
    let _ = process::with_current(|process| process.send(to, info));
}

/// A system call begins; whether it is to be made.
pub(crate) fn begin_call(frame: &mut TrapFrame) -> bool {
    remember(frame);
    let stopped = at_call(frame, Point::Entry, ptrace::PTRACE_EVENTMSG_SYSCALL_ENTRY);
    !(stopped && (frame.error == signal::NO_RESTART || sched::kill_pending()))
}

/// A system call ends, whose result is in the frame.
pub(crate) fn end_call(frame: &mut TrapFrame) {
    if stop::is_stepping() && !is_own(frame) {
        // The instruction is one step.
        let at = frame.instruction_pointer();
        send_self(SigInfo::from_kernel(
            stop::SIGTRAP,
            linux::TRAP_BRKPT.cast_signed(),
            at,
        ));
        return;
    }
    at_call(frame, Point::Exit, ptrace::PTRACE_EVENTMSG_SYSCALL_EXIT);
}

/// Which event, if any, the calling thread's tracer is to be told when it has made a thread or process.
pub(crate) fn of_clone(flags: u64, exit_signal: i32) -> Option<u32> {
    let has = |flag: u32| flags & u64::from(flag) != 0;
    let tracee = stop::current()?;
    if has(linux::CLONE_UNTRACED) {
        return None;
    }
    let event = if has(linux::CLONE_VFORK) {
        ptrace::PTRACE_EVENT_VFORK
    } else if has(linux::CLONE_THREAD) || exit_signal != linux::SIGCHLD.cast_signed() {
        ptrace::PTRACE_EVENT_CLONE
    } else {
        ptrace::PTRACE_EVENT_FORK
    };
    tracee.has(1 << event).then_some(event)
}

/// Stops the calling thread for an event within a system call, if its tracer wants to know of it.
pub(crate) fn event(frame: &mut TrapFrame, event: u32, message: u64) {
    if let Some(tracee) = stop::current().filter(|tracee| tracee.has(1 << event)) {
        let code = stop::SIGTRAP.cast_unsigned() | event << 8;
        let reason = Reason::event(code, message, Point::Call);
        stop::stop(&tracee, frame, reason);
    }
}

/// Keeps the calling thread's registers if its tracer wants to see them when it ends, wherever in the kernel.
pub(crate) fn remember(frame: &TrapFrame) {
    if let Some(tracee) = stop::current().filter(|tracee| tracee.has(ptrace::PTRACE_O_TRACEEXIT)) {
        let frame = Some(Box::new(frame.clone()));
        let before = core::mem::replace(&mut tracee.state.lock().last, frame);
        drop(before);
    }
}

/// The calling thread is about to end, with `status` as wait(2) has it: stops if its tracer wants to know.
pub(crate) fn exits(status: i32) {
    let Some(tracee) = stop::current() else {
        return;
    };
    let last = tracee.state.lock().last.take();
    if let Some(mut last) = last {
        let status = u64::from(status.cast_unsigned());
        event(&mut last, ptrace::PTRACE_EVENT_EXIT, status);
    }
}

/// The calling thread, which is to run another program, hands over to `main`: that is the tracee from now on.
pub(crate) fn execute(process: &Process, main: &Thread) {
    let tid: Tid = sched::current_tid();
    let Some(tracee) = stop::current() else {
        return;
    };
    table::with_processes(|all| {
        let before = process.main_tracee.lock().clone();
        if let Some(before) = before.filter(|one| !Arc::ptr_eq(one, &tracee)) {
            // The main thread has ended, and its tracer does not hear of that.
            before.unlink(None, all);
        }
        tracee.become_main(tid, process, main, all);
    });
}

/// The calling thread begins to run a program as far as its tracer is concerned, in the registers `frame`.
pub(crate) fn begin_program(frame: &mut TrapFrame) {
    let Some((tracee, former)) =
        stop::current().and_then(|tracee| tracee.take_former().map(|former| (tracee, former)))
    else {
        return;
    };
    if tracee.has(ptrace::PTRACE_O_TRACEEXEC) {
        event(
            frame,
            ptrace::PTRACE_EVENT_EXEC,
            u64::from(former.cast_unsigned()),
        );
    } else if !tracee.is_seized() {
        let pid = process::with_current(|process| process.pid);
        let user = linux::SI_USER.cast_signed();
        send_self(SigInfo::from_program(stop::SIGTRAP, user, pid, 0));
    }
    at_call(frame, Point::Exit, ptrace::PTRACE_EVENTMSG_SYSCALL_EXIT);
}

/// Whether the calling thread is traced.
pub(crate) fn is_traced() -> bool {
    sched::with_current(|thread| thread.linux().tracing.is_traced())
}
