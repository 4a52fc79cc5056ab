//! System calls about users, groups and capabilities; the rules are `credentials.rs`'.
use crate::{
    credentials::{self, Capabilities, Credentials, Ids},
    process::{self, LinuxThread},
};
use abi::{Errno, SysResult};
use alloc::{sync::Arc, vec::Vec};
use core::sync::atomic::Ordering;
use linux_raw_sys::general as linux;
use machine::{
    mm::user,
    sched::{self, Thread},
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// An id to set; -1 stands for none.
pub(in crate::syscall) fn id(argument: usize) -> Option<u32> {
    let id = argument as u32;
    (id != u32::MAX).then_some(id)
}

/// Changes the calling thread's credentials, unless there is an error.
pub(super) fn change(f: impl FnOnce(&mut Credentials) -> Result<(), Errno>) -> Result<(), Errno> {
    // Only the thread itself changes them.
    let mut new = credentials::current();
    f(&mut new)?;
    let old = credentials::current();
    if new.exceeds(&old) {
        process::with_current(|process| process.settings.dumpable.store(0, Ordering::Relaxed));
        let of_thread = |thread: &Thread| {
            let settings = &thread.linux().settings;
            settings.death_signal.store(0, Ordering::Relaxed);
        };
        sched::with_current(of_thread);
    }
    credentials::set(new);
    Ok(())
}

fn user_ids() -> Ids {
    credentials::current().user
}

fn group_ids() -> Ids {
    credentials::current().group
}

/// getuid(2)
pub fn getuid() -> SysResult {
    Ok(user_ids().real as usize)
}

/// geteuid(2)
pub fn geteuid() -> SysResult {
    Ok(user_ids().effective as usize)
}

/// getgid(2)
pub fn getgid() -> SysResult {
    Ok(group_ids().real as usize)
}

/// getegid(2)
pub fn getegid() -> SysResult {
    Ok(group_ids().effective as usize)
}

fn write_ids(ids: Ids, to: [usize; 3]) -> SysResult {
    for (addr, id) in to.into_iter().zip([ids.real, ids.effective, ids.saved]) {
        user::write(addr, &id)?;
    }
    Ok(0)
}

/// getresuid(2)
pub fn getresuid(real: usize, effective: usize, saved: usize) -> SysResult {
    write_ids(user_ids(), [real, effective, saved])
}

/// getresgid(2)
pub fn getresgid(real: usize, effective: usize, saved: usize) -> SysResult {
    write_ids(group_ids(), [real, effective, saved])
}

type Change = Result<(), Errno>;

fn change_user(f: impl FnOnce(&mut Ids, bool) -> Change) -> SysResult {
    change(|one| one.change_user(f)).map(|()| 0)
}

fn change_group(f: impl FnOnce(&mut Ids, bool) -> Change) -> SysResult {
    change(|one| one.change_group(f)).map(|()| 0)
}

/// setuid(2)
pub fn setuid(to: usize) -> SysResult {
    let to = id(to).ok_or(Errno::EINVAL)?;
    change_user(|ids, privileged| ids.set(to, privileged))
}

/// setgid(2)
pub fn setgid(to: usize) -> SysResult {
    let to = id(to).ok_or(Errno::EINVAL)?;
    change_group(|ids, privileged| ids.set(to, privileged))
}

/// setreuid(2)
pub fn setreuid(real: usize, effective: usize) -> SysResult {
    change_user(|ids, privileged| ids.set_real_and_effective(id(real), id(effective), privileged))
}

/// setregid(2)
pub fn setregid(real: usize, effective: usize) -> SysResult {
    change_group(|ids, privileged| ids.set_real_and_effective(id(real), id(effective), privileged))
}

/// setresuid(2)
pub fn setresuid(real: usize, effective: usize, saved: usize) -> SysResult {
    change_user(|ids, privileged| ids.set_each([real, effective, saved].map(id), privileged))
}

/// setresgid(2)
pub fn setresgid(real: usize, effective: usize, saved: usize) -> SysResult {
    change_group(|ids, privileged| ids.set_each([real, effective, saved].map(id), privileged))
}

/// setfsuid(2): the id before, whether it is changed or not.
pub fn setfsuid(to: usize) -> SysResult {
    let before = user_ids().filesystem;
    if let Some(to) = id(to) {
        change(|one| {
            one.change_filesystem_user(to);
            Ok(())
        })?;
    }
    Ok(before as usize)
}

/// setfsgid(2): as [`setfsuid`].
pub fn setfsgid(to: usize) -> SysResult {
    let before = group_ids().filesystem;
    if let Some(to) = id(to) {
        change_group(|ids, privileged| {
            ids.set_filesystem(to, privileged);
            Ok(())
        })?;
    }
    Ok(before as usize)
}

/// getgroups(2); a count of 0 asks for their number.
pub fn getgroups(count: usize, list: usize) -> SysResult {
    let groups = credentials::current().groups;
    let count = usize::try_from(count as i32).map_err(|_| Errno::EINVAL)?;
    if count != 0 {
        if groups.len() > count {
            return Err(Errno::EINVAL);
        }
        for (i, group) in groups.iter().enumerate() {
            user::write(list.wrapping_add(i * size_of::<u32>()), group)?;
        }
    }
    Ok(groups.len())
}

/// setgroups(2)
pub fn setgroups(count: usize, list: usize) -> SysResult {
    credentials::require(linux::CAP_SETGID)?;
    let count = count as u32;
    if count > linux::NGROUPS_MAX {
        return Err(Errno::EINVAL);
    }
    let mut groups = Vec::new();
    groups
        .try_reserve_exact(count as usize)
        .map_err(|_| Errno::ENOMEM)?;
    for i in 0..count as usize {
        let group: u32 = user::read(list.wrapping_add(i * size_of::<u32>()))?;
        groups.push(id(group as usize).ok_or(Errno::EINVAL)?);
    }
    groups.sort_unstable();
    let groups = Arc::new(groups);
    change(|one| {
        one.groups = groups;
        Ok(())
    })?;
    Ok(0)
}

/// `_LINUX_CAPABILITY_VERSION_3`
const CAPABILITY_VERSION: u32 = 0x2008_0522;

/// `struct __user_cap_header_struct`: version, pid.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

/// Two `struct __user_cap_data_struct`, the lower halves first: effective, permitted, inheritable each.
type CapabilityData = [u32; 6];

/// The thread that a header of the version known here names; if it is of another, writes that version.
fn capability_thread(addr: usize) -> Result<i32, Errno> {
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
    Ok(header.pid)
}

/// capget(2)
pub fn capget(header: usize, data: usize) -> SysResult {
    let tid = match (capability_thread(header), data) {
        // To ask for the version.
        (Err(Errno::EINVAL), 0) => return Ok(0),
        (result, _) => result?,
    };
    if tid < 0 {
        return Err(Errno::EINVAL);
    }
    let has = process::with_thread(tid, credentials::of)
        .ok_or(Errno::ESRCH)?
        .capabilities;
    let sets = [has.effective, has.permitted, has.inheritable];
    let words: CapabilityData =
        core::array::from_fn(|i| (sets[i % sets.len()] >> (32 * (i / sets.len()))) as u32);
    for (i, word) in words.iter().enumerate() {
        user::write(data.wrapping_add(i * size_of::<u32>()), word)?;
    }
    Ok(0)
}

/// capset(2), for the calling thread.
pub fn capset(header: usize, data: usize) -> SysResult {
    let tid = capability_thread(header)?;
    if tid != 0 && tid != sched::current_tid() {
        return Err(Errno::EPERM);
    }
    let mut words = CapabilityData::default();
    for (i, word) in words.iter_mut().enumerate() {
        *word = user::read(data.wrapping_add(i * size_of::<u32>()))?;
    }
    // What Linux does not know it ignores.
    let set = |i: usize| (u64::from(words[i]) | u64::from(words[i + 3]) << 32) & Capabilities::ALL;
    change(|one| one.set_capabilities([set(0), set(1), set(2)])).map(|()| 0)
}
