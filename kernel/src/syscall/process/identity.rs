//! Who the program is: ids, capabilities, names, `prctl`. It is root in a machine of its own.
use crate::{
    mm::{
        USER_END,
        user::{self, Plain},
    },
    process::{NAME_LEN, PID},
    sched,
    syscall::{Errno, SysResult},
};

/// getpid(2)
pub fn getpid() -> SysResult {
    Ok(PID as usize)
}

/// getppid(2): there is no parent.
pub fn getppid() -> SysResult {
    Ok(0)
}

/// gettid(2)
pub fn gettid() -> SysResult {
    Ok(sched::current_tid() as usize)
}

/// getuid(2)
pub fn getuid() -> SysResult {
    Ok(0)
}

/// geteuid(2)
pub fn geteuid() -> SysResult {
    Ok(0)
}

/// getgid(2)
pub fn getgid() -> SysResult {
    Ok(0)
}

/// getegid(2)
pub fn getegid() -> SysResult {
    Ok(0)
}

/// getresuid(2)
pub fn getresuid(real: usize, effective: usize, saved: usize) -> SysResult {
    for addr in [real, effective, saved] {
        user::write(addr, &0u32)?;
    }
    Ok(0)
}

/// getresgid(2)
pub fn getresgid(real: usize, effective: usize, saved: usize) -> SysResult {
    getresuid(real, effective, saved)
}

/// Whether each id is root's or the "unchanged" of -1; there are no others to become.
fn become_only_root(ids: &[usize]) -> SysResult {
    if ids.iter().all(|&id| matches!(id as u32, 0 | u32::MAX)) {
        Ok(0)
    } else {
        Err(Errno::EPERM)
    }
}

/// setuid(2)
pub fn setuid(id: usize) -> SysResult {
    become_only_root(&[id])
}

/// setgid(2)
pub fn setgid(id: usize) -> SysResult {
    become_only_root(&[id])
}

/// setreuid(2)
pub fn setreuid(real: usize, effective: usize) -> SysResult {
    become_only_root(&[real, effective])
}

/// setregid(2)
pub fn setregid(real: usize, effective: usize) -> SysResult {
    become_only_root(&[real, effective])
}

/// setresuid(2)
pub fn setresuid(real: usize, effective: usize, saved: usize) -> SysResult {
    become_only_root(&[real, effective, saved])
}

/// setresgid(2)
pub fn setresgid(real: usize, effective: usize, saved: usize) -> SysResult {
    become_only_root(&[real, effective, saved])
}

/// setfsuid(2): the id before.
pub fn setfsuid(_id: usize) -> SysResult {
    Ok(0)
}

/// setfsgid(2): the id before.
pub fn setfsgid(_id: usize) -> SysResult {
    Ok(0)
}

/// getgroups(2): none beside root's.
pub fn getgroups(_count: usize, _list: usize) -> SysResult {
    Ok(0)
}

/// setgroups(2): accepted, as by root; nothing asks for groups.
pub fn setgroups(count: usize, _list: usize) -> SysResult {
    /// `NGROUPS_MAX`.
    const MOST: usize = 65536;
    if count > MOST {
        return Err(Errno::EINVAL);
    }
    Ok(0)
}

/// Whether `pid` is this process, named by its id or by 0.
fn check_pid(pid: usize) -> Result<(), Errno> {
    if matches!(pid as i32, 0 | PID) {
        Ok(())
    } else {
        Err(Errno::ESRCH)
    }
}

/// getpgid(2)
pub fn getpgid(pid: usize) -> SysResult {
    check_pid(pid).map(|()| PID as usize)
}

/// getpgrp(2)
pub fn getpgrp() -> SysResult {
    Ok(PID as usize)
}

/// setpgid(2): the process leads its session, which may not change its group.
pub fn setpgid(pid: usize, _group: usize) -> SysResult {
    check_pid(pid).and(Err(Errno::EPERM))
}

/// getsid(2)
pub fn getsid(pid: usize) -> SysResult {
    check_pid(pid).map(|()| PID as usize)
}

/// setsid(2): the process leads a group already.
pub fn setsid() -> SysResult {
    Err(Errno::EPERM)
}

/// arch_prctl(2): the FS base. GS is the kernel's.
pub fn arch_prctl(code: usize, addr: usize) -> SysResult {
    /// From Linux' asm/prctl.h.
    const ARCH_SET_FS: usize = 0x1002;
    const ARCH_GET_FS: usize = 0x1003;
    match code {
        ARCH_SET_FS if addr >= USER_END => Err(Errno::EPERM),
        ARCH_SET_FS => {
            sched::set_fs_base(addr as u64);
            Ok(0)
        }
        ARCH_GET_FS => {
            user::write(addr, &sched::with_current(|thread| thread.fs_base()))?;
            Ok(0)
        }
        _ => Err(Errno::EINVAL),
    }
}

/// Highest capability of Linux 6.1.
const LAST_CAPABILITY: usize = 40;

/// prctl(2): names, and what needs no state.
pub fn prctl(option: usize, arg: usize, arg3: usize, arg4: usize, arg5: usize) -> SysResult {
    /// From Linux' prctl.h.
    const PR_SET_PDEATHSIG: u32 = 1;
    const PR_GET_DUMPABLE: u32 = 3;
    const PR_SET_DUMPABLE: u32 = 4;
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
            sched::with_current(|thread| thread.state.set_name(&name[..len]));
            Ok(0)
        }
        PR_GET_NAME => {
            let name = sched::with_current(|thread| *thread.state.name.lock());
            user::copy_out(arg, &name)?;
            Ok(0)
        }
        PR_SET_PDEATHSIG if arg <= crate::process::signal::LAST as usize => Ok(0),
        PR_GET_DUMPABLE => Ok(1),
        PR_SET_DUMPABLE if arg <= 1 => Ok(0),
        PR_SET_NO_NEW_PRIVS if arg == 1 && arg3 | arg4 | arg5 == 0 => Ok(0),
        PR_CAPBSET_READ if arg <= LAST_CAPABILITY => Ok(1),
        _ => Err(Errno::EINVAL),
    }
}

/// `_LINUX_CAPABILITY_VERSION_3`
const CAPABILITY_VERSION: u32 = 0x2008_0522;

/// `struct __user_cap_header_struct`: version, pid.
#[repr(C)]
#[derive(Clone, Copy)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

// SAFETY: two integers of 4 bytes.
unsafe impl Plain for CapabilityHeader {}

/// Whether the header is of the version known here; if not, writes that version.
fn check_capability_header(addr: usize) -> Result<(), Errno> {
    let header: CapabilityHeader = user::read(addr)?;
    if header.version != CAPABILITY_VERSION {
        user::write(
            addr,
            &CapabilityHeader {
                version: CAPABILITY_VERSION,
                ..header
            },
        )?;
        return Err(Errno::EINVAL);
    }
    Ok(())
}

/// capget(2): all of them.
pub fn capget(header: usize, data: usize) -> SysResult {
    match (check_capability_header(header), data) {
        // To ask for the version.
        (Err(Errno::EINVAL), 0) => return Ok(0),
        (result, _) => result?,
    }
    let all = (1u64 << (LAST_CAPABILITY + 1)) - 1;
    let mut bytes = [0; 24];
    for (half, bytes) in bytes.chunks_exact_mut(12).enumerate() {
        let mask = (all >> (32 * half)) as u32;
        // Effective and permitted; inheritable stays empty.
        bytes[..4].copy_from_slice(&mask.to_ne_bytes());
        bytes[4..8].copy_from_slice(&mask.to_ne_bytes());
    }
    user::copy_out(data, &bytes)?;
    Ok(0)
}

/// capset(2): accepted; there is nobody to be protected from.
pub fn capset(header: usize, _data: usize) -> SysResult {
    check_capability_header(header).map(|()| 0)
}
