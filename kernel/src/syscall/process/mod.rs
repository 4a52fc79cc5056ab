//! System calls about the process and its threads. [`identity`] has who it is, [`limits`] what it may use and has used,
//! [`scheduling`] where and when it runs, [`system`] what it asks about the machine.
mod identity;
mod limits;
mod scheduling;
mod system;

pub use identity::*;
pub use limits::*;
pub use scheduling::*;
pub use system::*;

use super::{
    Errno, SysResult,
    time::{Timespec, deadline_after, deadline_at_realtime},
};
use crate::{
    arch::TrapFrame,
    mm::user,
    process::{self, clone::Request, futex as futexes},
    sched,
    time::Instant,
};
use core::sync::atomic::Ordering;
use linux_raw_sys::general as linux;

/// clone(2), for threads only.
pub fn clone(
    frame: &mut TrapFrame,
    flags: usize,
    stack: usize,
    parent_tid: usize,
    child_tid: usize,
    tls: usize,
) -> SysResult {
    // The lowest byte is the signal for the parent at the end, which threads do not have.
    let flags = flags as u64 & !u64::from(linux::CSIGNAL);
    process::clone::thread(
        frame,
        Request {
            flags,
            stack,
            parent_tid,
            child_tid,
            tls,
        },
    )
}

/// clone3(2), for threads only.
pub fn clone3(frame: &mut TrapFrame, args: usize, size: usize) -> SysResult {
    /// Size of the first version of `struct clone_args`: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls.
    const FIRST: usize = 64;
    if size < FIRST {
        return Err(Errno::EINVAL);
    }
    let mut bytes = [0; FIRST];
    user::copy_in(args, &mut bytes)?;
    let field = |index: usize| u64::from_ne_bytes(core::array::from_fn(|i| bytes[index * 8 + i]));
    let (stack, stack_size) = (field(5) as usize, field(6) as usize);
    if field(4) != 0 {
        // A signal at the end makes it a child, not a thread.
        return Err(Errno::ENOSYS);
    }
    if (stack == 0) != (stack_size == 0) {
        return Err(Errno::EINVAL);
    }
    let request = Request {
        flags: field(0),
        stack: stack.checked_add(stack_size).ok_or(Errno::EINVAL)?,
        parent_tid: field(3) as usize,
        child_tid: field(2) as usize,
        tls: field(7) as usize,
    };
    process::clone::thread(frame, request)
}

/// fork(2): there is one process.
pub fn fork() -> SysResult {
    Err(Errno::ENOSYS)
}

/// vfork(2): there is one process.
pub fn vfork() -> SysResult {
    Err(Errno::ENOSYS)
}

/// execve(2): the program is the only one of this machine.
pub fn execve(_path: usize, _args: usize, _env: usize) -> SysResult {
    Err(Errno::ENOSYS)
}

/// execveat(2): as [`execve`].
pub fn execveat(_dir: usize, _path: usize, _args: usize, _env: usize, _flags: usize) -> SysResult {
    Err(Errno::ENOSYS)
}

/// wait4(2): there are no children.
pub fn wait4(_pid: usize, _status: usize, _options: usize, _usage: usize) -> SysResult {
    Err(Errno::ECHILD)
}

/// waitid(2): there are no children.
pub fn waitid(_kind: usize, _id: usize, _info: usize, _options: usize, _usage: usize) -> SysResult {
    Err(Errno::ECHILD)
}

/// exit(2): ends the thread.
pub fn exit(status: usize) -> SysResult {
    process::exit_thread(status as i32)
}

/// exit_group(2): ends the program.
pub fn exit_group(status: usize) -> SysResult {
    process::exit_group(status as i32)
}

/// set_tid_address(2)
pub fn set_tid_address(addr: usize) -> SysResult {
    Ok(sched::with_current(|thread| {
        thread.state.clear_child_tid.store(addr, Ordering::Relaxed);
        thread.tid as usize
    }))
}

/// Size of `struct robust_list_head`.
const ROBUST_HEAD: usize = 24;

/// set_robust_list(2)
pub fn set_robust_list(head: usize, len: usize) -> SysResult {
    if len != ROBUST_HEAD {
        return Err(Errno::EINVAL);
    }
    sched::with_current(|thread| thread.state.robust_list.store(head, Ordering::Relaxed));
    Ok(0)
}

/// get_robust_list(2)
pub fn get_robust_list(tid: usize, head: usize, len: usize) -> SysResult {
    let list = process::with_thread(tid as i32, |thread| {
        thread.state.robust_list.load(Ordering::Relaxed)
    });
    user::write(head, &(list.ok_or(Errno::ESRCH)? as u64))?;
    user::write(len, &(ROBUST_HEAD as u64))?;
    Ok(0)
}

/// futex(2)
pub fn futex(
    addr: usize,
    op: usize,
    value: usize,
    timeout: usize,
    second: usize,
    value3: usize,
) -> SysResult {
    let op = op as u32;
    let (value, value3) = (value as u32, value3 as u32);
    let command = op & !(linux::FUTEX_PRIVATE_FLAG | linux::FUTEX_CLOCK_REALTIME);
    let realtime = op & linux::FUTEX_CLOCK_REALTIME != 0;
    if realtime && !matches!(command, linux::FUTEX_WAIT | linux::FUTEX_WAIT_BITSET) {
        return Err(Errno::ENOSYS);
    }
    // Linux wakes one even when asked for none.
    let count = (value as i32).max(1) as usize;
    match command {
        linux::FUTEX_WAIT => {
            let deadline = read_timeout(timeout)?.map(deadline_after);
            futexes::wait(addr, value, u32::MAX, deadline).map(|()| 0)
        }
        linux::FUTEX_WAIT_BITSET => {
            let at = if realtime {
                deadline_at_realtime
            } else {
                Instant
            };
            futexes::wait(addr, value, value3, read_timeout(timeout)?.map(at)).map(|()| 0)
        }
        linux::FUTEX_WAKE => futexes::check(addr).map(|()| futexes::wake(addr, count, u32::MAX)),
        linux::FUTEX_WAKE_BITSET if value3 == 0 => Err(Errno::EINVAL),
        linux::FUTEX_WAKE_BITSET => {
            futexes::check(addr).map(|()| futexes::wake(addr, count, value3))
        }
        linux::FUTEX_REQUEUE | linux::FUTEX_CMP_REQUEUE => {
            let expected = (command == linux::FUTEX_CMP_REQUEUE).then_some(value3);
            // The timeout's place has the number to move. Negative numbers are errors here, 0 is 0.
            let wake_count = usize::try_from(value as i32).map_err(|_| Errno::EINVAL)?;
            let move_count = usize::try_from(timeout as i32).map_err(|_| Errno::EINVAL)?;
            futexes::requeue(addr, second, wake_count, move_count, expected)
        }
        linux::FUTEX_WAKE_OP => {
            let second_count = (timeout as i32).max(1) as usize;
            futexes::wake_op(addr, second, count, second_count, value3)
        }
        _ => Err(Errno::ENOSYS),
    }
}

/// A timeout in nanoseconds; `None` without one.
fn read_timeout(addr: usize) -> Result<Option<u64>, Errno> {
    match addr {
        0 => Ok(None),
        addr => user::read::<Timespec>(addr)?.to_ns().map(Some),
    }
}
