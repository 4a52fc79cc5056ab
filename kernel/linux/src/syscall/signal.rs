//! Signal system calls: arguments in, [`crate::process::signal`] does the work.
mod timer;

pub use timer::*;

use super::process::to_be_signalled;
use super::time::{Timespec, deadline_after};
use crate::process::LinuxThread;
use crate::process::signal::frame::Stack;
use crate::{
    credentials,
    process::{
        self, FIRST, Pid, Process,
        signal::{self, Action, AltStack, LAST, Recipient, SigInfo},
    },
};
use abi::{Errno, SysResult};
use alloc::sync::Arc;
use linux_raw_sys::general as linux;
use machine::{
    arch::TrapFrame,
    mm::user,
    sched::{self, Thread, Tid},
};

/// `si_code` of kill(2).
const SI_USER: i32 = linux::SI_USER as i32;

/// Smallest alternate stack.
const MIN_STACK: u64 = 2048;

/// Masks have 64 bits.
fn check_size(size: usize) -> Result<(), Errno> {
    if size == size_of::<u64>() {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

/// A signal's number; `None` for 0, which only asks whether the target is there.
fn number(signal: usize) -> Result<Option<i32>, Errno> {
    match signal as i32 {
        0 => Ok(None),
        signal if (1..=LAST).contains(&signal) => Ok(Some(signal)),
        _ => Err(Errno::EINVAL),
    }
}

/// rt_sigaction(2)
pub fn rt_sigaction(signal: usize, new: usize, old: usize, size: usize) -> SysResult {
    check_size(size)?;
    let action = if new == 0 {
        None
    } else {
        Some(user::read::<Action>(new)?)
    };
    let previous = process::with_current(|process| process.set_action(signal as i32, action))?;
    if old != 0 {
        user::write(old, &previous)?;
    }
    Ok(0)
}

/// rt_sigprocmask(2)
pub fn rt_sigprocmask(how: usize, set: usize, old: usize, size: usize) -> SysResult {
    check_size(size)?;
    let previous = if set == 0 {
        signal::change_mask(|mask| mask)
    } else {
        let set: u64 = user::read(set)?;
        match how as u32 {
            linux::SIG_BLOCK => signal::change_mask(|mask| mask | set),
            linux::SIG_UNBLOCK => signal::change_mask(|mask| mask & !set),
            linux::SIG_SETMASK => signal::change_mask(|_| set),
            _ => return Err(Errno::EINVAL),
        }
    };
    if old != 0 {
        user::write(old, &previous)?;
    }
    Ok(0)
}

/// rt_sigpending(2)
pub fn rt_sigpending(to: usize, size: usize) -> SysResult {
    if size > size_of::<u64>() {
        return Err(Errno::EINVAL);
    }
    user::copy_out(to, &signal::blocked_pending().to_ne_bytes()[..size])?;
    Ok(0)
}

/// rt_sigsuspend(2)
pub fn rt_sigsuspend(mask: usize, size: usize) -> SysResult {
    check_size(size)?;
    let mask = user::read(mask)?;
    signal::with_mask(Some(mask), signal::pause)
}

/// pause(2)
pub fn pause() -> SysResult {
    signal::pause()
}

/// rt_sigtimedwait(2)
pub fn rt_sigtimedwait(set: usize, info: usize, timeout: usize, size: usize) -> SysResult {
    check_size(size)?;
    let set = user::read(set)?;
    let deadline = match timeout {
        0 => None,
        addr => Some(deadline_after(user::read::<Timespec>(addr)?.to_ns()?)),
    };
    let taken = signal::wait_for(set, deadline)?;
    if info != 0 {
        user::copy_out(info, &taken.to_bytes())?;
    }
    Ok(taken.signal as usize)
}

/// Reads what a program says about a signal that it queues.
fn read_info(signal: i32, from: usize) -> Result<SigInfo, Errno> {
    let mut bytes = [0; SigInfo::SIZE];
    user::copy_in(from, &mut bytes)?;
    Ok(SigInfo::from_bytes(signal, &bytes))
}

/// Only to the calling thread can a program send what looks like a signal of the kernel's, or of `kill` or `tkill`:
/// `EPERM` else.
fn check_code(info: &SigInfo, to: Tid) -> Result<(), Errno> {
    let forged = info.code >= 0 || info.code == linux::SI_TKILL;
    if forged && to != sched::current_tid() {
        return Err(Errno::EPERM);
    }
    Ok(())
}

/// `EPERM` unless the calling thread may send a signal, or look whether it could, to a thread of `to`; without one it
/// is a zombie. SIGCONT goes to all of the session.
#[doc(alias = "check_kill_permission")]
fn check_permission(to: &Process, thread: Option<&Thread>, info: Option<&SigInfo>) -> SysResult {
    let (is_own, session) =
        process::with_current(|own| (core::ptr::eq(&raw const **own, to), own.sid()));
    let continues = info.is_some_and(|info| info.signal.cast_unsigned() == linux::SIGCONT);
    if is_own || continues && session == to.sid() {
        return Ok(0);
    }
    let caller = credentials::current().user;
    let [real, saved] = match thread.map(|thread| credentials::of(thread).user) {
        Some(user) => [user.real, user.saved],
        None => [to.zombie_user(); 2],
    };
    let is_same = |id| [real, saved].contains(&id);
    if !is_same(caller.effective) && !is_same(caller.real) {
        credentials::require(linux::CAP_KILL)?;
    }
    Ok(0)
}

/// Sends to a process, which any of its threads' ids names, or looks whether it is there.
fn send_process(pid: Pid, info: Option<SigInfo>) -> SysResult {
    if pid <= 0 {
        return Err(Errno::ESRCH);
    }
    process::with_process(pid, |process| {
        check_permission(process, process.main_thread().as_deref(), info.as_ref())?;
        match info {
            Some(info) => process.send(Recipient::Process, info).map(|_| 0),
            None => Ok(0),
        }
    })?
}

/// `ESRCH` unless the thread `tid` is one of the process `pid`.
fn check_thread(pid: usize, tid: usize) -> Result<(), Errno> {
    let owner = process::with_thread(tid as i32, |thread| thread.linux().process.pid);
    (owner == Some(pid as i32))
        .then_some(())
        .ok_or(Errno::ESRCH)
}

/// rt_sigqueueinfo(2)
pub fn rt_sigqueueinfo(pid: usize, signal: usize, info: usize) -> SysResult {
    let signal = number(signal)?;
    let info = read_info(signal.unwrap_or(0), info)?;
    let pid = pid as Pid;
    check_code(&info, pid)?;
    send_process(pid, signal.map(|_| info))
}

/// rt_tgsigqueueinfo(2)
pub fn rt_tgsigqueueinfo(pid: usize, tid: usize, signal: usize, info: usize) -> SysResult {
    let signal = number(signal)?;
    let info = read_info(signal.unwrap_or(0), info)?;
    if pid as i32 <= 0 || tid as i32 <= 0 {
        return Err(Errno::EINVAL);
    }
    check_code(&info, tid as Tid)?;
    check_thread(pid, tid)?;
    send_thread(tid, signal.map(|_| info))
}

/// Sends to a thread, or looks whether it is there.
fn send_thread(tid: usize, info: Option<SigInfo>) -> SysResult {
    let tid = tid as i32;
    if tid <= 0 {
        return Err(Errno::EINVAL);
    }
    let sent = process::with_thread(tid, |thread| {
        let process = &thread.linux().process;
        check_permission(process, Some(thread), info.as_ref())?;
        match info {
            Some(info) => process.send(Recipient::Thread(tid), info).map(|_| 0),
            None => Ok(0),
        }
    });
    sent.ok_or(Errno::ESRCH)?
}

/// What a signal that the calling thread sends says.
fn from_caller(signal: i32, code: i32) -> SigInfo {
    let pid = process::with_current(|process| process.pid);
    SigInfo::from_program(signal, code, pid, credentials::current().user.real)
}

/// pidfd_send_signal(2)
pub fn pidfd_send_signal(fd: usize, signal: usize, info: usize, flags: usize) -> SysResult {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let process = to_be_signalled(fd)?;
    let signal = number(signal)?;
    let info = match info {
        0 => signal.map(|signal| from_caller(signal, SI_USER)),
        info => {
            let given = read_info(signal.unwrap_or(0), info)?;
            if user::read::<i32>(info)? != given.signal {
                return Err(Errno::EINVAL);
            }
            check_code(&given, process.pid)?;
            signal.map(|_| given)
        }
    };
    if process::find(process.pid).is_none_or(|found| !Arc::ptr_eq(&found, &process)) {
        return Err(Errno::ESRCH);
    }
    send_process(process.pid, info)
}

/// kill(2). -1 means all processes but the caller's and the first.
pub fn kill(pid: usize, signal: usize) -> SysResult {
    let info = number(signal)?.map(|signal| from_caller(signal, SI_USER));
    let own = process::with_current(|process| (process.pid, process.pgid()));
    let is_meant = |process: &Process| match pid as i32 {
        -1 => ![FIRST, own.0].contains(&process.pid),
        0 => process.pgid() == own.1,
        group => process.pgid() == group.wrapping_neg(),
    };
    let to_meant = || {
        process::processes()
            .filter(|process| is_meant(process))
            .map(|process| send_process(process.pid, info))
    };
    let none = Err(Errno::ESRCH);
    match pid as i32 {
        pid @ 1.. => send_process(pid, info),
        // Those that it may not be sent to are passed over.
        -1 => to_meant()
            .map(|sent| {
                sent.or_else(|error| {
                    if error == Errno::EPERM {
                        Ok(0)
                    } else {
                        Err(error)
                    }
                })
            })
            .reduce(Result::or)
            .unwrap_or(none),
        _ => to_meant().reduce(Result::or).unwrap_or(none),
    }
}

/// tkill(2)
pub fn tkill(tid: usize, signal: usize) -> SysResult {
    let info = number(signal)?.map(|signal| from_caller(signal, linux::SI_TKILL));
    send_thread(tid, info)
}

/// tgkill(2)
pub fn tgkill(pid: usize, tid: usize, signal: usize) -> SysResult {
    if pid as i32 <= 0 || tid as i32 <= 0 {
        return Err(Errno::EINVAL);
    }
    check_thread(pid, tid)?;
    tkill(tid, signal)
}

/// sigaltstack(2)
pub fn sigaltstack(frame: &mut TrapFrame, new: usize, old: usize) -> SysResult {
    let current = signal::altstack();
    let requested = if new == 0 {
        None
    } else {
        Some(user::read::<Stack>(new)?)
    };
    if let Some(stack) = requested {
        if current.contains(frame.stack_pointer() as u64) {
            return Err(Errno::EPERM);
        }
        signal::set_altstack(checked_stack(stack)?);
    }
    if old != 0 {
        let stack = Stack {
            start: current.start,
            flags: signal::stack_flags(&current, frame.stack_pointer() as u64),
            padding: 0,
            size: current.size,
        };
        user::write(old, &stack)?;
    }
    Ok(0)
}

fn checked_stack(stack: Stack) -> Result<AltStack, Errno> {
    let flags = stack.flags & linux::SS_AUTODISARM;
    match stack.flags & !linux::SS_AUTODISARM {
        linux::SS_DISABLE => Ok(AltStack {
            flags,
            ..AltStack::default()
        }),
        // SS_ONSTACK is accepted and means nothing.
        0 | linux::SS_ONSTACK if stack.size < MIN_STACK => Err(Errno::ENOMEM),
        0 | linux::SS_ONSTACK => Ok(AltStack {
            start: stack.start,
            flags,
            size: stack.size,
        }),
        _ => Err(Errno::EINVAL),
    }
}

/// rt_sigreturn(2)
pub fn rt_sigreturn(frame: &mut TrapFrame) -> SysResult {
    signal::sigreturn(frame)
}
