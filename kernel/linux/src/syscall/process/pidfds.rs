//! System calls on descriptors of processes ([`crate::fs::pidfd`]).
use crate::{
    fs::{OpenFile, downcast, pidfd::PidFd, tree::Kind},
    process::{self, Pid, Process},
    syscall::fs::{descriptor, install, opened},
};
use abi::{Errno, SysResult};
use alloc::sync::Arc;
use linux_raw_sys::general as linux;

/// pidfd_open(2)
pub fn pidfd_open(pid: usize, flags: usize) -> SysResult {
    let (pid, flags) = (pid as Pid, flags as u32);
    if flags & !linux::O_NONBLOCK != 0 || pid <= 0 {
        return Err(Errno::EINVAL);
    }
    let Some(process) = process::find(pid) else {
        // A thread that is not the main one has no descriptor of this kind.
        let is_thread = process::with_thread(pid, |_| ()).is_some();
        return Err(if is_thread {
            Errno::ENOENT
        } else {
            Errno::ESRCH
        });
    };
    let open = OpenFile::new(PidFd::new(process), linux::O_RDWR | flags);
    install(open, true)
}

/// The process of a descriptor, and whether that does not wait; `EBADF`.
pub(crate) fn of_descriptor(fd: usize) -> Result<(Arc<Process>, bool), Errno> {
    let open = descriptor(fd)?;
    let file = downcast::<PidFd>(&*open.file).ok_or(Errno::EBADF)?;
    Ok((file.process.clone(), open.nonblocking()))
}

/// The same of a descriptor that signals are sent to: it may also be one of the process' directory in /proc. `ESRCH` if
/// that has ended.
pub(crate) fn to_be_signalled(fd: usize) -> Result<Arc<Process>, Errno> {
    let open = opened(fd)?;
    match open.file.node().map(|node| &node.kind) {
        Some(Kind::Listing(listing, _)) => {
            let process = listing.process().ok_or(Errno::EBADF)?;
            let process = process.upgrade().ok_or(Errno::ESRCH)?;
            process.downcast().map_err(|_| Errno::EBADF)
        }
        _ => of_descriptor(fd).map(|(process, _)| process),
    }
}

/// pidfd_getfd(2)
pub fn pidfd_getfd(pidfd: usize, fd: usize, flags: usize) -> SysResult {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let (process, _) = of_descriptor(pidfd)?;
    if process.is_zombie() {
        return Err(Errno::ESRCH);
    }
    install(process.files().get(fd as i32)?, true)
}
