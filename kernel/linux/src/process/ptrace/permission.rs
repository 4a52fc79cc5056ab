//! Who may look into whom (ptrace(2), "Ptrace access mode checking"): the same user and groups, and a program that its
//! user may look into, or `CAP_SYS_PTRACE`.
use crate::{
    credentials::{self, Credentials},
    process::{LinuxThread, Process},
};
use abi::Errno;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use linux_raw_sys::general::CAP_SYS_PTRACE;
use machine::sched::Thread;

/// Whether `caller` may look into what runs as `other`, of whom all ids count.
fn is_same(caller: &Credentials, other: &Credentials) -> bool {
    let ids = [
        (caller.user.real, other.user),
        (caller.group.real, other.group),
    ];
    ids.iter()
        .all(|&(real, ids)| [ids.real, ids.effective, ids.saved] == [real; 3])
}

/// `EPERM` unless the calling thread may look into another one, and change it (`PTRACE_MODE_ATTACH_REALCREDS`).
pub(crate) fn check_access(thread: &Thread) -> Result<(), Errno> {
    let process: &Arc<Process> = &thread.linux().process;
    if super::super::with_current(|own| Arc::ptr_eq(own, process)) {
        return Ok(());
    }
    let (caller, other) = (credentials::current(), credentials::of(thread));
    let gains = other.capabilities.permitted & !caller.capabilities.permitted != 0;
    let is_dumpable = process.settings.dumpable.load(Ordering::Relaxed) == 1;
    let may = is_same(&caller, &other) && is_dumpable && !gains;
    if may || caller.capable(CAP_SYS_PTRACE) {
        Ok(())
    } else {
        Err(Errno::EPERM)
    }
}
