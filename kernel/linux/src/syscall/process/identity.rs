//! Which process this is, and `prctl`. Whose it is, `credentials` has.
use crate::process::LinuxThread;
use crate::process::{self, NAME_LEN, credentials};
use abi::{Errno, SysResult};
use linux_raw_sys::general::CAP_LAST_CAP;
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
    Ok(process::with_current(|process| process.ppid as usize))
}

/// gettid(2)
pub fn gettid() -> SysResult {
    Ok(sched::current_tid() as usize)
}

/// getpgid(2)
pub fn getpgid(pid: usize) -> SysResult {
    process::with_process(pid as i32, |process| process.pgid as usize)
}

/// getpgrp(2)
pub fn getpgrp() -> SysResult {
    getpgid(0)
}

/// setpgid(2): every process leads its session, and may not change its group.
pub fn setpgid(pid: usize, _group: usize) -> SysResult {
    process::with_process(pid as i32, |_| Err(Errno::EPERM))?
}

/// getsid(2)
pub fn getsid(pid: usize) -> SysResult {
    process::with_process(pid as i32, |process| process.sid as usize)
}

/// setsid(2): every process leads a group already.
pub fn setsid() -> SysResult {
    Err(Errno::EPERM)
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

/// prctl(2): names, and what needs no state.
pub fn prctl(option: usize, arg: usize, arg3: usize, arg4: usize, arg5: usize) -> SysResult {
    /// From Linux' prctl.h.
    const PR_SET_PDEATHSIG: u32 = 1;
    const PR_GET_DUMPABLE: u32 = 3;
    const PR_SET_DUMPABLE: u32 = 4;
    const PR_GET_KEEPCAPS: u32 = 7;
    const PR_SET_KEEPCAPS: u32 = 8;
    const PR_SET_NAME: u32 = 15;
    const PR_GET_NAME: u32 = 16;
    const PR_CAPBSET_READ: u32 = 23;
    const PR_SET_NO_NEW_PRIVS: u32 = 38;
    match option as u32 {
        PR_SET_NAME => {
            // A name may end with its memory: byte by byte up to the NUL.
            let mut name = [0u8; NAME_LEN];
            for (i, byte) in name[..NAME_LEN - 1].iter_mut().enumerate() {
                user::copy_in(arg.wrapping_add(i), core::slice::from_mut(byte))?;
                if *byte == 0 {
                    break;
                }
            }
            let len = name
                .iter()
                .position(|&byte| byte == 0)
                .unwrap_or(NAME_LEN - 1);
            sched::with_current(|thread| thread.linux().set_name(&name[..len]));
            Ok(0)
        }
        PR_GET_NAME => {
            let name = sched::with_current(|thread| *thread.linux().name.lock());
            user::copy_out(arg, &name)?;
            Ok(0)
        }
        PR_SET_PDEATHSIG if arg <= process::signal::LAST as usize => Ok(0),
        PR_GET_DUMPABLE => Ok(1),
        PR_SET_DUMPABLE if arg <= 1 => Ok(0),
        PR_GET_KEEPCAPS => Ok(credentials::current().keep_capabilities.into()),
        PR_SET_KEEPCAPS if arg <= 1 => credentials::change(|one| {
            one.keep_capabilities = arg == 1;
            Ok(())
        })
        .map(|()| 0),
        PR_SET_NO_NEW_PRIVS if arg == 1 && arg3 | arg4 | arg5 == 0 => Ok(0),
        PR_CAPBSET_READ if arg <= CAP_LAST_CAP as usize => Ok(1),
        _ => Err(Errno::EINVAL),
    }
}
