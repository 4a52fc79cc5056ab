//! Delivery: exceptions become signals, pending signals become calls of handlers or the end of the program, and
//! interrupted system calls are restarted.
use super::{
    Action, Locked, NO_RESTART, SigInfo, Trap, action, attention, bit, fpstate, frame, pending_set,
    stop, with_state,
};
use crate::{
    linker,
    process::{
        self, LinuxThread, Process, ThreadState, claim_exit, exit_by_signal, family::Status,
        out_of_memory, ptrace, stop_if_killed, stop_if_over,
    },
    tty,
};
use abi::Errno;
use alloc::{borrow::Cow, format, string::String};
use core::sync::atomic::Ordering;
use linux_raw_sys::general as linux;
use machine::{
    arch::TrapFrame,
    mm::{self, USER_END, fault::Fault, space::Space},
    sched,
    upcall::Exception,
};

/// Signals that an instruction causes: delivered before others, so that the frame shows that instruction.
const SYNCHRONOUS: u64 = bit(linux::SIGSEGV as i32)
    | bit(linux::SIGBUS as i32)
    | bit(linux::SIGILL as i32)
    | bit(linux::SIGTRAP as i32)
    | bit(linux::SIGFPE as i32)
    | bit(linux::SIGSYS as i32);

/// Signals whose default action is a core dump; here a report with a backtrace. Not SIGQUIT: that is asked for, and
/// nothing is wrong with the program.
const REPORTED: u64 = SYNCHRONOUS
    | bit(linux::SIGABRT as i32)
    | bit(linux::SIGXCPU as i32)
    | bit(linux::SIGXFSZ as i32);

/// Called by the trap entry for an exception in the program: forces the signal; without a handler, prints the crash
/// report and ends the program.
pub fn exception(frame: &mut TrapFrame, exception: Exception) {
    if let Exception::Page {
        fault: Fault::OutOfMemory,
        ..
    } = exception
    {
        out_of_memory();
        stop_if_killed();
        return;
    }
    /// Bits of a page fault's error code: the page is there; the program did it.
    const PRESENT: u64 = 1;
    const BY_PROGRAM: u64 = 4;
    if steps_in_kernel(frame, exception) {
        return;
    }
    let info = describe(frame, exception);
    with_state(|Locked { state, .. }| {
        state.trap = match exception {
            Exception::Page { addr, error, .. } => Trap {
                vector: frame.vector,
                // As on a machine whose programs run in ring 3, and cannot tell whether something is in the upper half.
                error: error | BY_PROGRAM | if addr < USER_END { 0 } else { PRESENT },
                addr: addr as u64,
            },
            Exception::Other { vector, error } => Trap {
                vector: u64::from(vector),
                error,
                ..state.trap
            },
        };
    });
    force(frame, info);
}

/// Whether an exception is the end of a step that is nobody's business: of code that the program has called in the
/// kernel's half, of which its tracer knows nothing, or for a tracer that is gone.
fn steps_in_kernel(frame: &mut TrapFrame, exception: Exception) -> bool {
    let is_step = matches!(exception, Exception::Other { vector: 1, .. });
    if !is_step || !ptrace::is_stepping() {
        return false;
    }
    if !ptrace::is_traced() {
        ptrace::forget_step(frame);
        return true;
    }
    frame.instruction_pointer() >= USER_END
}

/// The signal for an exception.
fn describe(frame: &TrapFrame, exception: Exception) -> SigInfo {
    let rip = frame.instruction_pointer();
    let (signal, code, addr) = match exception {
        Exception::Page { addr, fault, .. } => {
            let (signal, code) = match fault {
                Fault::NotMapped => (linux::SIGSEGV, linux::SEGV_MAPERR),
                Fault::Protection => (linux::SIGSEGV, linux::SEGV_ACCERR),
                Fault::Bus | Fault::OutOfMemory => (linux::SIGBUS, linux::BUS_ADRERR),
            };
            (signal, code, addr)
        }
        Exception::Other { vector, .. } => match vector {
            0 => (linux::SIGFPE, linux::FPE_INTDIV, rip),
            1 => (linux::SIGTRAP, linux::TRAP_TRACE, rip),
            3 => (linux::SIGTRAP, linux::SI_KERNEL, 0),
            6 => (linux::SIGILL, linux::ILL_ILLOPN, rip),
            16 | 19 => (
                linux::SIGFPE,
                fpstate::exception_code(frame, vector == 19),
                rip,
            ),
            17 => (linux::SIGBUS, linux::BUS_ADRALN, 0),
            11 | 12 => (linux::SIGBUS, linux::SI_KERNEL, 0),
            _ => (linux::SIGSEGV, linux::SI_KERNEL, 0),
        },
    };
    SigInfo::from_kernel(signal as i32, code as i32, addr)
}

/// Makes a signal pending that the thread cannot go on without. Blocked, ignored or without a handler it ends the
/// program.
pub(super) fn force(frame: &TrapFrame, info: SigInfo) {
    let is_traced = ptrace::is_traced();
    let caught = process::with_current(|process| {
        let sighand = process.sighand();
        let mut actions = sighand.0.lock();
        with_state(|Locked { state, .. }| {
            let action = actions.of(info.signal);
            let mut caught = action.is_handler() && state.mask & bit(info.signal) == 0;
            if is_traced && !caught {
                // The tracer is told first. What comes of it is the end.
                action.handler = 0;
                state.mask &= !bit(info.signal);
                caught = true;
            }
            if caught {
                state.queue.force(info);
            }
            caught
        })
    });
    if !caught {
        crash(frame, &info);
    }
}

/// Delivers pending signals by changing `frame`; also restarts interrupted system calls. Called on the kernel stack
/// with interrupts on, before each return to the program when [`super::pending`], and after a system call that failed
/// with one of the `ERESTART`s.
pub fn deliver(frame: &mut TrapFrame) {
    stop_if_over();
    ptrace::remember(frame);
    if sched::with_current(|thread| {
        let seen = &thread.linux().signals.attention;
        let bit = attention::LACKS_MEMORY;
        seen.load(Ordering::Relaxed) & bit != 0 && seen.fetch_and(!bit, Ordering::Relaxed) != 0
    }) {
        out_of_memory();
        stop_if_killed();
        // Another process has ended for it.
        let code = i32::try_from(frame.result().wrapping_neg());
        if frame.vector == TrapFrame::SYSCALL && code == Ok(Errno::EFAULT.0) {
            frame.set_result(i64::from(-Errno::ERESTARTNOINTR.0));
        }
    }
    stop::hold(frame);
    while let Some((info, action)) = next(frame) {
        if action.is_handler() {
            restart(frame, Some(&action));
            let steps = ptrace::is_stepping();
            // It is the tracer's, and not for the handler to come back to.
            ptrace::forget_step(frame);
            if action.handler >= USER_END as u64 || frame::push(frame, &info, &action).is_err() {
                let fault = SigInfo::from_kernel(linux::SIGSEGV as i32, linux::SI_KERNEL as i32, 0);
                // The handler of this one may have a better stack.
                if info.signal == fault.signal {
                    crash(frame, &fault);
                }
                force(frame, fault);
            }
            ptrace::entered_handler(frame, steps);
        } else if action.stops(info.signal) {
            stop::stop(frame);
        } else if !action.ignores(info.signal) {
            crash(frame, &info);
        }
    }
    restart(frame, None);
    with_state(|Locked { state, .. }| {
        if let Some(mask) = state.saved_mask.take() {
            state.mask = mask;
        }
    });
}

/// A program is about to run as the calling thread, in the registers `frame`, and is there to be seen: its tracer, if
/// it has one, is told of that, and what is pending is delivered.
pub fn begin_program(frame: &mut TrapFrame) {
    if ptrace::is_traced() {
        ptrace::begin_program(frame);
        deliver(frame);
    }
}

/// Takes the signal to deliver next, with its action. What the tracer, if there is one, makes of a signal comes first.
fn next(frame: &mut TrapFrame) -> Option<(SigInfo, Action)> {
    loop {
        let (mut info, action) = take()?;
        super::taken(&mut info);
        if let Some(action) = action {
            return Some((info, action));
        }
        let decided = ptrace::signal(frame, info);
        if let Some(info) = decided {
            let action = process::with_current(|process| {
                let spares = bit(info.signal) & action::JOB_CONTROL != 0 && process.is_orphaned();
                let sighand = process.sighand();
                let mut actions = sighand.0.lock();
                decide(process, actions.of(info.signal), info.signal, spares)
            });
            return Some((info, action));
        }
        stop::hold(frame);
    }
}

/// Takes a signal, and says what is to be done about it, if that is not for a tracer to say first.
fn take() -> Option<(SigInfo, Option<Action>)> {
    process::with_current(|process| {
        // That takes a lock which comes before that of dispositions.
        let asked = pending_set() & action::JOB_CONTROL;
        let spares = asked != 0 && process.is_orphaned();
        let sighand = process.sighand();
        let mut actions = sighand.0.lock();
        let info = with_state(|locked| {
            // Those that have come meanwhile have their turn on the next look.
            let wanted = !locked.state.mask & !(action::JOB_CONTROL & !asked);
            let synchronous = locked.state.queue.pop(wanted & SYNCHRONOUS, locked.account);
            synchronous.or_else(|| locked.pop(wanted))
        })?;
        if info.signal != linux::SIGKILL.cast_signed() && ptrace::is_traced() {
            return Some((info, None));
        }
        let action = decide(process, actions.of(info.signal), info.signal, spares);
        Some((info, Some(action)))
    })
}

/// What is to be done about a signal, under the lock of dispositions. A one-shot handler is reset. `spares`: the
/// process is not to be stopped by terminals' signals.
fn decide(process: &Process, action: &mut Action, signal: i32, spares: bool) -> Action {
    let mut taken = *action;
    if taken.stops(signal) {
        if spares && action::JOB_CONTROL & bit(signal) != 0 {
            taken.handler = Action::IGNORE;
        } else {
            // At once: SIGCONT, when it is sent, finds the signal pending or the process stopped.
            process.stop.begin(signal);
        }
    }
    if taken.is_handler() && taken.has(linux::SA_RESETHAND) {
        action.handler = 0;
    }
    taken
}

/// Decides once what becomes of an interrupted system call: done again, or `EINTR`.
fn restart(frame: &mut TrapFrame, action: Option<&Action>) {
    if frame.vector != TrapFrame::SYSCALL || frame.error == NO_RESTART {
        return;
    }
    let Ok(code) = i32::try_from(frame.result().wrapping_neg()) else {
        return;
    };
    let again = match Errno(code) {
        Errno::ERESTART_RESTARTBLOCK if action.is_none() => {
            frame.error = linux::__NR_restart_syscall.into();
            true
        }
        Errno::ERESTARTNOINTR => true,
        Errno::ERESTARTSYS => action.is_none_or(|action| action.has(linux::SA_RESTART)),
        Errno::ERESTARTNOHAND | Errno::ERESTART_RESTARTBLOCK => action.is_none(),
        _ => return,
    };
    if again {
        frame.restart_system_call(frame.error);
    } else {
        frame.set_result(i64::from(-Errno::EINTR.0));
    }
    frame.error = NO_RESTART;
}

/// Ends the program by a signal, with a report if it is one that dumps core elsewhere.
pub(super) fn crash(frame: &TrapFrame, info: &SigInfo) -> ! {
    claim_exit(Status::Killed(info.signal));
    if bit(info.signal) & REPORTED != 0 {
        let report = report(info);
        tty::stream::write_stderr(report.as_bytes());
        let backtrace = linker::get().backtrace(frame);
        tty::stream::write_stderr(backtrace.as_bytes());
    }
    exit_by_signal(info.signal)
}

/// The first line of the crash report.
fn report(info: &SigInfo) -> String {
    let program = process::with_current(|process| process.program());
    let program = String::from_utf8_lossy(program.name());
    let thread_pointer = sched::with_current(sched::Thread::thread_pointer);
    let lineage = linker::get().lineage(thread_pointer);
    let thread = format!("thread {}{lineage}", sched::current_tid());
    let name = signal_name(info.signal);
    let addr = info.fields[0];
    match reason(info) {
        Some(reason) => {
            format!("elfin: {program} killed by {name} ({reason}) at {addr:#x}, {thread}\n")
        }
        None => format!("elfin: {program} killed by {name}, {thread}\n"),
    }
}

/// What `si_code` means, for signals with an address.
fn reason(info: &SigInfo) -> Option<&'static str> {
    let code = u32::try_from(info.code).ok()?;
    Some(match (info.signal as u32, code) {
        (linux::SIGSEGV, linux::SEGV_MAPERR) => "address not mapped",
        (linux::SIGSEGV, linux::SEGV_ACCERR) => "access not permitted",
        (linux::SIGBUS, linux::BUS_ADRERR) => "past the end of a mapped file",
        (linux::SIGFPE, linux::FPE_INTDIV) => "integer division by zero",
        (linux::SIGFPE, _) if code != linux::SI_KERNEL => "floating-point exception",
        (linux::SIGILL, linux::ILL_ILLOPN) => "illegal instruction",
        (linux::SIGTRAP, linux::TRAP_TRACE) => "trace trap",
        _ => return None,
    })
}

fn signal_name(signal: i32) -> Cow<'static, str> {
    Cow::Borrowed(match signal as u32 {
        linux::SIGQUIT => "SIGQUIT",
        linux::SIGILL => "SIGILL",
        linux::SIGTRAP => "SIGTRAP",
        linux::SIGABRT => "SIGABRT",
        linux::SIGBUS => "SIGBUS",
        linux::SIGFPE => "SIGFPE",
        linux::SIGSEGV => "SIGSEGV",
        linux::SIGXCPU => "SIGXCPU",
        linux::SIGXFSZ => "SIGXFSZ",
        linux::SIGSYS => "SIGSYS",
        _ => return Cow::Owned(format!("signal {signal}")),
    })
}

/// A system call of the calling thread's has met memory that cannot be had: the process is killed on the way back, as
/// if it had touched it itself, or the call is made again.
pub fn copy_lacks_memory() {
    sched::try_with_current(|thread| {
        if let Some(state) = thread.state_as::<ThreadState>() {
            let seen = &state.signals.attention;
            seen.fetch_or(attention::LACKS_MEMORY, Ordering::Relaxed);
        }
    });
}

/// Ends the program when a page it touched cannot be had, unless another one ends already for that.
fn out_of_memory() {
    let (name, pid) = process::with_current(|process| (process.program(), process.pid));
    if !out_of_memory::is_victim(pid) {
        return;
    }
    claim_exit(Status::Killed(linux::SIGKILL as i32));
    let (frames, _) = mm::frame::counts();
    let mib = (frames * mm::PAGE) >> 20;
    let (_, resident) = process::with_space(Space::usage);
    let name = String::from_utf8_lossy(name.name());
    let line = format!(
        "elfin: out of memory: {name} ({pid}) is killed, which has {} MiB; \
         all {mib} MiB are in use, give more with --memory\n",
        resident >> 20
    );
    tty::stream::write_stderr(line.as_bytes());
    exit_by_signal(linux::SIGKILL as i32)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A frame in a system call that returns `rax`, with number 35.
    pub(in crate::process::signal) fn frame(rax: u64) -> TrapFrame {
        TrapFrame {
            vector: TrapFrame::SYSCALL,
            error: 35,
            rip: 0x1002,
            rax,
            ..TrapFrame::default()
        }
    }

    fn outcome(errno: Errno, flags: Option<u32>) -> (u64, u64) {
        let mut frame = frame(i64::from(-errno.0) as u64);
        let action = flags.map(|flags| Action {
            flags: u64::from(flags),
            ..Action::default()
        });
        restart(&mut frame, action.as_ref());
        restart(&mut frame, None);
        (frame.rax, frame.rip)
    }

    #[test]
    fn interrupted_calls_restart_as_linux_has_it() {
        const AGAIN: (u64, u64) = (35, 0x1000);
        const INTERRUPTED: (u64, u64) = (-4i64 as u64, 0x1002);
        assert_eq!(outcome(Errno::ERESTARTSYS, None), AGAIN);
        assert_eq!(outcome(Errno::ERESTARTSYS, Some(linux::SA_RESTART)), AGAIN);
        assert_eq!(outcome(Errno::ERESTARTSYS, Some(0)), INTERRUPTED);
        assert_eq!(
            outcome(Errno::ERESTARTNOHAND, Some(linux::SA_RESTART)),
            INTERRUPTED
        );
        assert_eq!(outcome(Errno::ERESTARTNOINTR, Some(0)), AGAIN);
        assert_eq!(outcome(Errno::ERESTART_RESTARTBLOCK, None), (219, 0x1000));
        assert_eq!(
            outcome(Errno::ERESTART_RESTARTBLOCK, Some(linux::SA_RESTART)),
            INTERRUPTED
        );
        assert_eq!(outcome(Errno::EAGAIN, None), (-11i64 as u64, 0x1002));
    }
}
