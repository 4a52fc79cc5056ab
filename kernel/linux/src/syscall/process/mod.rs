//! System calls about the process and its threads. [`identity`] has which it is, [`credentials`] whose, [`futexes`]
//! what its threads sleep on, [`limits`] what it may use and has used, [`prctl`] what it says of itself, [`relations`]
//! what it shares with others and may see of them, [`scheduling`] where and when it runs,
//! [`system`] what it asks about the machine.
mod credentials;
mod futexes;
mod identity;
mod limits;
mod prctl;
mod relations;
mod scheduling;
mod system;

pub use credentials::*;
pub use futexes::*;
pub use identity::*;
pub use limits::*;
pub use prctl::*;
pub use relations::*;
pub use scheduling::*;
pub use system::*;

use crate::process::LinuxThread;
use crate::process::{self, clone::Request};
use abi::{Errno, SysResult};
use core::sync::atomic::Ordering;
use linux_raw_sys::general as linux;
use machine::{arch::TrapFrame, mm::user, sched};

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
            stack: stack..stack,
            parent_tid,
            child_tid,
            tls,
        },
    )
}

/// clone3(2), for threads only.
pub fn clone3(frame: &mut TrapFrame, args: usize, size: usize) -> SysResult {
    /// Size of the first version of `struct clone_args`: flags, pidfd, child_tid, parent_tid, exit_signal, stack,
    /// stack_size, tls.
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
        stack: stack..stack.checked_add(stack_size).ok_or(Errno::EINVAL)?,
        parent_tid: field(3) as usize,
        child_tid: field(2) as usize,
        tls: field(7) as usize,
    };
    process::clone::thread(frame, request)
}

/// fork(2): no process makes another.
pub fn fork() -> SysResult {
    Err(Errno::ENOSYS)
}

/// vfork(2): as [`fork`].
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
        thread
            .linux()
            .clear_child_tid
            .store(addr, Ordering::Relaxed);
        thread.tid as usize
    }))
}
