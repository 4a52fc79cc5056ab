//! The tracee's side of its stops: it publishes what can be seen of it, has its tracer told, and sleeps until that has
//! it go on, or it is killed.
use super::{Context, Go, Point, Resume, Stop, Tracee, x86_64};
use crate::credentials;
use crate::process::{
    self, LinuxThread,
    signal::{Recipient, SigInfo},
    table,
};
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use linux_raw_sys::{general as linux, ptrace};
use machine::{arch::TrapFrame, sched, sync::Signals};

/// What stops that are no signal's have for one.
pub(crate) const SIGTRAP: i32 = linux::SIGTRAP.cast_signed();

/// What a stop is about.
pub(super) struct Reason {
    pub(super) code: u32,
    /// `si_code` of SIGCHLD: it is trapped, or stopped with its process.
    pub(super) why: u32,
    pub(super) message: u64,
    pub(super) info: Option<SigInfo>,
    pub(super) point: Point,
}

impl Reason {
    /// A stop that is no signal's, `code` as wait(2) has it.
    pub(super) fn event(code: u32, message: u64, point: Point) -> Self {
        let pid = process::with_current(|process| process.pid);
        let uid = credentials::current().user.real;
        Self {
            code,
            why: linux::CLD_TRAPPED,
            message,
            info: Some(SigInfo::from_program(
                (code & 0x7f).cast_signed(),
                code.cast_signed(),
                pid,
                uid,
            )),
            point,
        }
    }
}

/// What the calling thread's tracer and it share, if it is traced.
pub(super) fn current() -> Option<Arc<Tracee>> {
    sched::with_current(|thread| thread.linux().tracing.tracee())
}

fn set_steps(steps: bool) -> bool {
    sched::with_current(|thread| thread.linux().tracing.steps.swap(steps, Ordering::Relaxed))
}

/// Whether the calling thread goes by single steps because its tracer wants that.
pub(crate) fn is_stepping() -> bool {
    sched::with_current(|thread| thread.linux().tracing.steps.load(Ordering::Relaxed))
}

/// The trap flag is the program's own again.
pub(crate) fn forget_step(frame: &mut TrapFrame) {
    if set_steps(false) {
        x86_64::set_trap_flag(frame, false);
    }
}

/// Stops the calling thread, a tracee, until it is to go on; with which signal, and what that says. `None` if it is not
/// traced any more. One that is killed does not stop.
pub(super) fn stop(
    tracee: &Tracee,
    frame: &mut TrapFrame,
    reason: Reason,
) -> Option<(i32, Option<SigInfo>)> {
    forget_step(frame);
    if sched::kill_pending() {
        return Some((0, None));
    }
    let Reason {
        code,
        why,
        message,
        info,
        point,
    } = reason;
    let context = Context::save(frame, point)?;
    let shown = *context.registers();
    let is_stopped = table::with_processes(|all| {
        {
            let mut state = tracee.state.lock();
            if state.is_detached {
                return false;
            }
            state.stop = Some(Stop {
                code,
                is_told: false,
                is_listening: false,
                message,
                info,
                point,
                context,
            });
        }
        tracee.tell_stop(all, code, why);
        true
    });
    if !is_stopped {
        return None;
    }
    let go = || tracee.state.lock().go.take();
    let Ok(go) = tracee.resumed.wait_until(None, Signals::Kill, go) else {
        // What it has published is nobody's any more.
        let left = {
            let mut state = tracee.state.lock();
            (state.stop.take(), state.go.take())
        };
        drop(left);
        return Some((0, None));
    };
    let Go {
        signal,
        info,
        context,
    } = go;
    context.restore(&shown, frame, point);
    let (resume, is_detached) = {
        let state = tracee.state.lock();
        (state.resume, state.is_detached)
    };
    if resume == Resume::Step && !is_detached && x86_64::set_trap_flag(frame, true) {
        set_steps(true);
    }
    Some((signal, info))
}

/// The calling thread is about to take a signal: what becomes of it, if anything, which its tracer decides.
#[doc(alias = "signal-delivery-stop")]
#[doc(alias = "ptrace_signal")]
pub(crate) fn signal(frame: &mut TrapFrame, info: SigInfo) -> Option<SigInfo> {
    let Some(tracee) = current() else {
        return Some(info);
    };
    let reason = Reason {
        code: info.signal.cast_unsigned(),
        why: linux::CLD_TRAPPED,
        message: 0,
        info: Some(info),
        point: Point::Program,
    };
    let Some((signal, changed)) = stop(&tracee, frame, reason) else {
        return Some(info);
    };
    let info = match changed {
        _ if signal == 0 => return None,
        Some(info) if info.signal == signal => info,
        _ => SigInfo::from_program(signal, linux::SI_USER.cast_signed(), tracee.tracer.pid, 0),
    };
    if process::signal::is_blocked(signal) {
        let to = Recipient::Thread(sched::current_tid());
        // Only a full queue of real-time signals is an error.
        let _ = process::with_current(|process| process.send(to, info));
        return None;
    }
    Some(info)
}

/// The calling thread, a tracee, is stopped with its process by `signal`, or for its tracer to know (SIGTRAP).
#[doc(alias = "group-stop")]
pub(crate) fn group_stop(tracee: &Tracee, frame: &mut TrapFrame, signal: i32) {
    let is_seized = tracee.state.lock().is_seized;
    let signal = signal.cast_unsigned();
    let mut reason = Reason::event(
        if is_seized {
            signal | ptrace::PTRACE_EVENT_STOP << 8
        } else {
            signal
        },
        0,
        Point::Program,
    );
    reason.why = linux::CLD_STOPPED;
    if !is_seized {
        reason.info = None;
    }
    stop(tracee, frame, reason);
}

/// A handler is about to start: who goes by single steps stops there. `stepped`: whether the calling thread did.
pub(crate) fn entered_handler(frame: &mut TrapFrame, stepped: bool) {
    if stepped && let Some(tracee) = current() {
        let reason = Reason::event(SIGTRAP.cast_unsigned(), 0, Point::Program);
        stop(&tracee, frame, reason);
    }
}
