//! Extended attributes.
use super::{Subject, opened, stat::AT_FDCWD};
use abi::{Errno, SysResult};
use alloc::{vec, vec::Vec};
use linux_raw_sys::general as linux;
use machine::mm::user;

const NOFOLLOW: u32 = linux::AT_SYMLINK_NOFOLLOW;
/// `XATTR_NAME_MAX`
const NAME_MAX: usize = 255;
/// `XATTR_SIZE_MAX`
const SIZE_MAX: usize = 65536;
/// `XATTR_LIST_MAX`
const LIST_MAX: usize = 65536;

/// An attribute's name; `ERANGE` for one that is empty or too long.
fn name_at(addr: usize) -> Result<Vec<u8>, Errno> {
    let name = user::read_cstr(addr, NAME_MAX + 1).map_err(|error| match error {
        Errno::ENAMETOOLONG => Errno::ERANGE,
        other => other,
    })?;
    if name.is_empty() || name.len() > NAME_MAX {
        return Err(Errno::ERANGE);
    }
    Ok(name)
}

fn on(path: usize, flags: u32) -> Result<Subject, Errno> {
    Subject::at(AT_FDCWD, path, flags)
}

/// What is told, into a buffer that may be too small (`ERANGE`); without one, how long it is.
fn tell(bytes: &[u8], buf: usize, size: usize) -> SysResult {
    if size != 0 {
        if bytes.len() > size {
            return Err(Errno::ERANGE);
        }
        user::copy_out(buf, bytes)?;
    }
    Ok(bytes.len())
}

/// What is without a node has no attributes.
fn get(
    subject: impl FnOnce() -> Result<Subject, Errno>,
    name: usize,
    buf: usize,
    size: usize,
) -> SysResult {
    let name = name_at(name)?;
    let subject = subject()?;
    let node = subject.node().map_err(|_| Errno::ENODATA)?;
    tell(&node.xattr(&name)?, buf, size)
}

fn list(subject: &Subject, buf: usize, size: usize) -> SysResult {
    let mut bytes = Vec::new();
    if let Ok(node) = subject.node() {
        for name in node.xattr_names()? {
            bytes.extend_from_slice(&name);
            bytes.push(0);
        }
    }
    if bytes.len() > LIST_MAX {
        return Err(Errno::E2BIG);
    }
    tell(&bytes, buf, size)
}

fn set(
    subject: impl FnOnce() -> Result<Subject, Errno>,
    [name, value, size, flags]: [usize; 4],
) -> SysResult {
    let flags = u32::try_from(flags & 0xffff_ffff).map_err(|_| Errno::EINVAL)?;
    if flags & !(linux::XATTR_CREATE | linux::XATTR_REPLACE) != 0 {
        return Err(Errno::EINVAL);
    }
    let name = name_at(name)?;
    if size > SIZE_MAX {
        return Err(Errno::E2BIG);
    }
    let mut bytes = vec![0; size];
    user::copy_in(value, &mut bytes)?;
    let subject = subject()?;
    subject.changed()?.set_xattr(&name, &bytes, flags)?;
    Ok(0)
}

fn remove(subject: impl FnOnce() -> Result<Subject, Errno>, name: usize) -> SysResult {
    let name = name_at(name)?;
    let subject = subject()?;
    subject.changed()?.remove_xattr(&name)?;
    Ok(0)
}

/// getxattr(2)
pub fn getxattr(path: usize, name: usize, value: usize, size: usize) -> SysResult {
    get(|| on(path, 0), name, value, size)
}
/// lgetxattr(2)
pub fn lgetxattr(path: usize, name: usize, value: usize, size: usize) -> SysResult {
    get(|| on(path, NOFOLLOW), name, value, size)
}
/// fgetxattr(2)
pub fn fgetxattr(fd: usize, name: usize, value: usize, size: usize) -> SysResult {
    let open = opened(fd)?;
    get(|| Ok(Subject::Open(open)), name, value, size)
}
/// listxattr(2)
pub fn listxattr(path: usize, buf: usize, size: usize) -> SysResult {
    list(&on(path, 0)?, buf, size)
}
/// llistxattr(2)
pub fn llistxattr(path: usize, buf: usize, size: usize) -> SysResult {
    list(&on(path, NOFOLLOW)?, buf, size)
}
/// flistxattr(2)
pub fn flistxattr(fd: usize, buf: usize, size: usize) -> SysResult {
    list(&Subject::Open(opened(fd)?), buf, size)
}
/// setxattr(2)
pub fn setxattr(path: usize, name: usize, value: usize, size: usize, flags: usize) -> SysResult {
    set(|| on(path, 0), [name, value, size, flags])
}
/// lsetxattr(2)
pub fn lsetxattr(path: usize, name: usize, value: usize, size: usize, flags: usize) -> SysResult {
    set(|| on(path, NOFOLLOW), [name, value, size, flags])
}
/// fsetxattr(2)
pub fn fsetxattr(fd: usize, name: usize, value: usize, size: usize, flags: usize) -> SysResult {
    let open = opened(fd)?;
    set(|| Ok(Subject::Open(open)), [name, value, size, flags])
}
/// removexattr(2)
pub fn removexattr(path: usize, name: usize) -> SysResult {
    remove(|| on(path, 0), name)
}
/// lremovexattr(2)
pub fn lremovexattr(path: usize, name: usize) -> SysResult {
    remove(|| on(path, NOFOLLOW), name)
}
/// fremovexattr(2)
pub fn fremovexattr(fd: usize, name: usize) -> SysResult {
    let open = opened(fd)?;
    remove(|| Ok(Subject::Open(open)), name)
}
