//! Changing modes, owners and times.
use super::{SECOND, Subject, opened, words};
use crate::{
    credentials,
    fs::{
        inode::Changes,
        notify,
        page_cache::Seals,
        permission::{self, Access},
        tree::{Kind, Node},
    },
    syscall::process::id,
};
use abi::{Errno, SysResult};
use linux_raw_sys::general as linux;
use machine::time;

const AT_FDCWD: usize = linux::AT_FDCWD as usize;

fn node_flags(flags: usize) -> Result<u32, Errno> {
    let flags = flags as u32;
    if flags & !(linux::AT_SYMLINK_NOFOLLOW | linux::AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    Ok(flags)
}

/// Changes attributes, and tells who watches the node.
fn change(node: &Node, changes: &Changes) -> Result<(), Errno> {
    node.change(changes)?;
    notify::notify(node, changes.event());
    Ok(())
}

fn set_mode(node: &Node, mode: usize) -> Result<(), Errno> {
    permission::check_owner(node)?;
    let caller = credentials::current();
    let attributes = *node.attributes.lock();
    let mut mode = mode as u32 & 0o7777;
    if (attributes.mode ^ mode) & 0o111 != 0
        && let Kind::Regular(content) = &node.kind
        && content
            .seals()
            .is_some_and(|seals| seals.contains(Seals::EXEC))
    {
        return Err(Errno::EPERM);
    }
    if !caller.is_in_group(attributes.gid) && !caller.capable(linux::CAP_FSETID) {
        mode &= !linux::S_ISGID;
    }
    change(
        node,
        &Changes {
            mode: Some(mode),
            ..Changes::default()
        },
    )
}

/// chmod(2)
pub fn chmod(path: usize, mode: usize) -> SysResult {
    fchmodat(AT_FDCWD, path, mode)
}
/// fchmod(2)
pub fn fchmod(fd: usize, mode: usize) -> SysResult {
    let open = opened(fd)?;
    if open.file.node().is_some() {
        set_mode(Subject::Open(open).changed()?, mode)?;
    }
    Ok(0)
}
/// fchmodat(2)
pub fn fchmodat(dirfd: usize, path: usize, mode: usize) -> SysResult {
    set_mode(Subject::at(dirfd, path, 0)?.changed()?, mode)?;
    Ok(0)
}

fn set_owner(node: &Node, uid: usize, gid: usize) -> Result<(), Errno> {
    let (uid, gid) = (id(uid), id(gid));
    let caller = credentials::current();
    let attributes = *node.attributes.lock();
    // An owner can give a file to groups it is in.
    let owns = caller.user.filesystem == attributes.uid;
    let keeps = uid.is_none_or(|uid| owns && uid == attributes.uid)
        && gid.is_none_or(|gid| owns && (gid == attributes.gid || caller.is_in_group(gid)));
    if !keeps && !caller.capable(linux::CAP_CHOWN) {
        return Err(Errno::EPERM);
    }
    // A program that ran as its owner does not run as another one unasked.
    let mut mode = attributes.mode;
    if !node.is_directory() {
        let group = gid.unwrap_or(attributes.gid);
        let in_group = caller.is_in_group(group) || caller.capable(linux::CAP_FSETID);
        mode &= !linux::S_ISUID;
        if mode & linux::S_IXGRP != 0 || !in_group {
            mode &= !linux::S_ISGID;
        }
    }
    change(
        node,
        &Changes {
            mode: (mode != attributes.mode).then_some(mode & 0o7777),
            uid,
            gid,
            ..Changes::default()
        },
    )
}

/// chown(2)
pub fn chown(path: usize, uid: usize, gid: usize) -> SysResult {
    fchownat(AT_FDCWD, path, uid, gid, 0)
}
/// lchown(2)
pub fn lchown(path: usize, uid: usize, gid: usize) -> SysResult {
    fchownat(
        AT_FDCWD,
        path,
        uid,
        gid,
        linux::AT_SYMLINK_NOFOLLOW as usize,
    )
}
/// fchown(2)
pub fn fchown(fd: usize, uid: usize, gid: usize) -> SysResult {
    let open = opened(fd)?;
    if open.file.node().is_some() {
        set_owner(Subject::Open(open).changed()?, uid, gid)?;
    }
    Ok(0)
}
/// fchownat(2)
pub fn fchownat(dirfd: usize, path: usize, uid: usize, gid: usize, flags: usize) -> SysResult {
    let subject = Subject::at(dirfd, path, node_flags(flags)?)?;
    set_owner(subject.changed()?, uid, gid)?;
    Ok(0)
}

/// What to set times of access and change to.
enum Times {
    /// Both to the present, which who can write may do, too.
    Now,
    /// Each to what it is; `None` leaves one.
    Each([Option<u64>; 2]),
}

fn set_times(node: &Node, times: Times) -> Result<(), Errno> {
    let [atime_ns, mtime_ns] = match times {
        Times::Each(times) => {
            permission::check_owner(node)?;
            times
        }
        Times::Now => {
            permission::check_owner(node).or_else(|_| permission::check(node, Access::WRITE))?;
            [Some(time::realtime_ns()); 2]
        }
    };
    change(
        node,
        &Changes {
            atime_ns,
            mtime_ns,
            ..Changes::default()
        },
    )
}

/// Seconds since 1970, those before cut off, with a fraction.
fn instant(seconds: u64, nanos: u64) -> u64 {
    u64::try_from(seconds as i64)
        .unwrap_or(0)
        .saturating_mul(SECOND)
        .saturating_add(nanos)
}

/// utimensat(2)
pub fn utimensat(dirfd: usize, path: usize, times: usize, flags: usize) -> SysResult {
    let flags = node_flags(flags)?;
    let times = if times == 0 {
        Times::Now
    } else {
        let now = time::realtime_ns();
        let [a, a_nanos, m, m_nanos] = words(times)?;
        let time = |seconds, nanos| match nanos {
            _ if nanos == u64::from(linux::UTIME_NOW) => Ok(Some(now)),
            _ if nanos == u64::from(linux::UTIME_OMIT) => Ok(None),
            0..SECOND => Ok(Some(instant(seconds, nanos))),
            _ => Err(Errno::EINVAL),
        };
        let each = [time(a, a_nanos)?, time(m, m_nanos)?];
        if [a_nanos, m_nanos] == [u64::from(linux::UTIME_NOW); 2] {
            Times::Now
        } else {
            Times::Each(each)
        }
    };
    // Linux does not even look at the path.
    if matches!(times, Times::Each([None, None])) {
        return Ok(0);
    }
    if path == 0 && dirfd as i32 != linux::AT_FDCWD {
        if flags != 0 {
            return Err(Errno::EINVAL);
        }
        let open = opened(dirfd)?;
        if open.file.node().is_some() {
            set_times(Subject::Open(open).changed()?, times)?;
        }
        return Ok(0);
    }
    set_times(Subject::at(dirfd, path, flags)?.changed()?, times)?;
    Ok(0)
}

/// futimesat(2)
pub fn futimesat(dirfd: usize, path: usize, times: usize) -> SysResult {
    let subject = if path == 0 && dirfd as i32 != linux::AT_FDCWD {
        Subject::Open(opened(dirfd)?)
    } else {
        Subject::at(dirfd, path, 0)?
    };
    let times = if times == 0 {
        Times::Now
    } else {
        let [a, a_micros, m, m_micros] = words(times)?;
        if a_micros >= 1_000_000 || m_micros >= 1_000_000 {
            return Err(Errno::EINVAL);
        }
        Times::Each([
            Some(instant(a, a_micros * 1000)),
            Some(instant(m, m_micros * 1000)),
        ])
    };
    set_times(subject.changed()?, times)?;
    Ok(0)
}

/// utimes(2)
pub fn utimes(path: usize, times: usize) -> SysResult {
    futimesat(AT_FDCWD, path, times)
}

/// utime(2)
pub fn utime(path: usize, times: usize) -> SysResult {
    let subject = Subject::at(AT_FDCWD, path, 0)?;
    let times = if times == 0 {
        Times::Now
    } else {
        Times::Each(words(times)?.map(|seconds| Some(instant(seconds, 0))))
    };
    set_times(subject.changed()?, times)?;
    Ok(0)
}
