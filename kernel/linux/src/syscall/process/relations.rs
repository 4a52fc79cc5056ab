//! What processes share, and what they see of each other: kcmp(2), unshare(2), process_vm_readv(2).
use crate::process::LinuxThread;
use crate::{
    fs::descriptor::Files,
    process::{self, Process, ptrace},
    syscall::fs::vectors::{Memory, Vectors, buffer},
};
use abi::{Errno, SysResult};
use alloc::sync::Arc;
use core::ops::Range;
use linux_raw_sys::general as linux;
use machine::mm::space::Access;

/// `KCMP_*`
mod kind {
    pub(super) const FILE: usize = 0;
    pub(super) const VM: usize = 1;
    pub(super) const FILES: usize = 2;
    pub(super) const FS: usize = 3;
    pub(super) const SIGHAND: usize = 4;
    pub(super) const IO: usize = 5;
    pub(super) const SYSVSEM: usize = 6;
}

fn process(pid: usize) -> Result<Arc<Process>, Errno> {
    let pid = i32::try_from(pid & 0xffff_ffff).map_err(|_| Errno::ESRCH)?;
    let found = process::find(pid)
        .or_else(|| process::with_thread(pid, |thread| thread.linux().process.clone()));
    found.filter(|_| pid != 0).ok_or(Errno::ESRCH)
}

/// What tells a process' address space from others; 0 if it has ended.
fn space(process: &Process) -> usize {
    process
        .space()
        .map_or(0, |space| Arc::as_ptr(&space).addr())
}

/// unshare(2): a process takes descriptors and a working directory of its own; threads share everything. There are no
/// namespaces.
pub fn unshare(flags: usize) -> SysResult {
    const SHARED_BY_THREADS: u32 = linux::CLONE_THREAD
        | linux::CLONE_SIGHAND
        | linux::CLONE_VM
        | linux::CLONE_FILES
        | linux::CLONE_FS;
    const NAMESPACES: u32 = linux::CLONE_NEWNS
        | linux::CLONE_NEWUTS
        | linux::CLONE_NEWIPC
        | linux::CLONE_NEWNET
        | linux::CLONE_NEWPID
        | linux::CLONE_NEWUSER
        | linux::CLONE_NEWCGROUP
        | linux::CLONE_NEWTIME;
    const KNOWN: u32 = SHARED_BY_THREADS | NAMESPACES | linux::CLONE_SYSVSEM;
    let flags = u32::try_from(flags).map_err(|_| Errno::EINVAL)?;
    let is_alone = process::with_current(|process| {
        process.thread_ids().len() == 1
            && (flags & (linux::CLONE_SIGHAND | linux::CLONE_VM) == 0
                || !process.parts.sighand.is_shared())
    });
    if flags & !KNOWN != 0 || flags & SHARED_BY_THREADS != 0 && !is_alone {
        return Err(Errno::EINVAL);
    }
    if flags & NAMESPACES != 0 {
        return Err(Errno::EPERM);
    }
    process::with_current(|process| {
        if flags & linux::CLONE_FILES != 0 {
            process.take_files();
        }
        if flags & linux::CLONE_FS != 0 {
            process.take_directory();
        }
    });
    Ok(0)
}

/// kcmp(2): 0 if two processes have the same, else 1 or 2 for an order.
pub fn kcmp(pid: usize, other: usize, kind: usize, fd: usize, other_fd: usize) -> SysResult {
    let (one, other) = (process(pid)?, process(other)?);
    let open =
        |files: &Files, fd: usize| files.get(fd as i32).map(|open| Arc::as_ptr(&open).addr());
    let (one, other) = match kind {
        kind::FILE => (open(&one.files(), fd)?, open(&other.files(), other_fd)?),
        kind::VM => (space(&one), space(&other)),
        kind::FILES => (one.parts.files.address(), other.parts.files.address()),
        kind::FS => (one.parts.fs.address(), other.parts.fs.address()),
        kind::SIGHAND => (one.parts.sighand.address(), other.parts.sighand.address()),
        // Both are a process' own.
        kind::IO | kind::SYSVSEM => (Arc::as_ptr(&one).addr(), Arc::as_ptr(&other).addr()),
        _ => return Err(Errno::EINVAL),
    };
    Ok(match one.cmp(&other) {
        core::cmp::Ordering::Equal => 0,
        core::cmp::Ordering::Less => 1,
        core::cmp::Ordering::Greater => 2,
    })
}

/// Copies from memory of the process `pid` to the caller's, or the other way.
fn copy(
    pid: usize,
    local: (usize, usize),
    remote: (usize, usize),
    flags: usize,
    writes: bool,
) -> SysResult {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let (mut local, mut remote) = (
        Vectors::read(local.0, local.1)?,
        Vectors::read(remote.0, remote.1)?,
    );
    if local.left() == 0 || remote.left() == 0 {
        return Ok(0);
    }
    let whose = process(pid)?;
    let thread = whose.main_thread().ok_or(Errno::ESRCH)?;
    ptrace::check_access(&thread)?;
    let space = whose.space().ok_or(Errno::ESRCH)?;
    let whole =
        |done: usize, range: Range<usize>| (done == range.len()).then_some(()).ok_or(Errno::EFAULT);
    let mut buf = buffer(local.left().min(remote.left()))?;
    let mut done = 0;
    loop {
        let want = local.left().min(remote.left()).min(buf.len());
        let put = if writes {
            let got = local.get(&mut buf[..want]);
            remote.each(got, |addr, range| {
                whole(
                    space.write(addr, &buf[range.clone()], Access::Checked),
                    range,
                )
            })
        } else {
            let got = remote.each(want, |addr, range| {
                let to = &mut buf[range.clone()];
                whole(space.read(addr, to, Access::Checked), range)
            });
            local.put(&buf[..got])
        };
        done += put;
        if put < want || want == 0 {
            break;
        }
    }
    if done == 0 {
        return Err(Errno::EFAULT);
    }
    Ok(done)
}

/// process_vm_readv(2)
pub fn process_vm_readv(
    pid: usize,
    local: usize,
    local_count: usize,
    remote: usize,
    remote_count: usize,
    flags: usize,
) -> SysResult {
    copy(
        pid,
        (local, local_count),
        (remote, remote_count),
        flags,
        false,
    )
}

/// process_vm_writev(2)
pub fn process_vm_writev(
    pid: usize,
    local: usize,
    local_count: usize,
    remote: usize,
    remote_count: usize,
    flags: usize,
) -> SysResult {
    copy(
        pid,
        (local, local_count),
        (remote, remote_count),
        flags,
        true,
    )
}
