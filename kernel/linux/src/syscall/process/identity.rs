//! Which process this is. Whose it is, `credentials` has.
use crate::process;
use abi::{Errno, SysResult};
use machine::{
    mm::{USER_END, user},
    sched,
};

/// getpid(2)
pub fn getpid() -> SysResult {
    Ok(process::with_current(|process| process.pid as usize))
}

/// getppid(2)
pub fn getppid() -> SysResult {
    Ok(process::with_current(|process| process.ppid() as usize))
}

/// gettid(2)
pub fn gettid() -> SysResult {
    Ok(sched::current_tid() as usize)
}

/// getpgid(2)
pub fn getpgid(pid: usize) -> SysResult {
    process::with_process(pid as i32, |process| process.pgid() as usize)
}

/// getpgrp(2)
pub fn getpgrp() -> SysResult {
    getpgid(0)
}

/// setpgid(2)
pub fn setpgid(pid: usize, group: usize) -> SysResult {
    process::with_current(|process| process.set_group(pid as i32, group as i32))?;
    Ok(0)
}

/// getsid(2)
pub fn getsid(pid: usize) -> SysResult {
    process::with_process(pid as i32, |process| process.sid() as usize)
}

/// setsid(2)
pub fn setsid() -> SysResult {
    Ok(process::with_current(|process| process.set_session())? as usize)
}

/// arch_prctl(2): the FS and GS bases.
pub fn arch_prctl(code: usize, addr: usize) -> SysResult {
    /// From Linux' asm/prctl.h.
    const ARCH_SET_GS: usize = 0x1001;
    const ARCH_SET_FS: usize = 0x1002;
    const ARCH_GET_FS: usize = 0x1003;
    const ARCH_GET_GS: usize = 0x1004;
    match code {
        ARCH_SET_FS | ARCH_SET_GS if addr >= USER_END => Err(Errno::EPERM),
        ARCH_SET_GS => {
            sched::set_gs(addr as u64);
            Ok(0)
        }
        ARCH_GET_GS => {
            user::write(addr, &sched::gs())?;
            Ok(0)
        }
        ARCH_SET_FS => {
            sched::set_thread_pointer(addr as u64);
            Ok(0)
        }
        ARCH_GET_FS => {
            user::write(addr, &sched::with_current(|thread| thread.thread_pointer()))?;
            Ok(0)
        }
        _ => Err(Errno::EINVAL),
    }
}
