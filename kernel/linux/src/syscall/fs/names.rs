//! Making, removing and moving names.
use super::{Subject, path_from, target, with_context};
use crate::credentials;
use crate::fs::{
    Content,
    context::FsContext,
    directory,
    path::{Last, MAX_PATH},
    pipe,
    tree::Kind,
};
use abi::{Errno, SysResult};
use linux_raw_sys::general as linux;

const AT_FDCWD: usize = linux::AT_FDCWD as usize;

/// mkdir(2)
pub fn mkdir(path: usize, mode: usize) -> SysResult {
    mkdirat(AT_FDCWD, path, mode)
}
/// mkdirat(2)
pub fn mkdirat(dirfd: usize, path: usize, mode: usize) -> SysResult {
    let target = target(dirfd, path, Last::Keep)?;
    let mode = mode as u32 & 0o1777 & !with_context(FsContext::umask);
    directory::create(&target, linux::S_IFDIR | mode, Kind::directory())?;
    Ok(0)
}

/// mknod(2)
pub fn mknod(path: usize, mode: usize, dev: usize) -> SysResult {
    mknodat(AT_FDCWD, path, mode, dev)
}
/// mknodat(2)
pub fn mknodat(dirfd: usize, path: usize, mode: usize, dev: usize) -> SysResult {
    let target = target(dirfd, path, Last::Keep)?;
    let mode = mode as u32;
    let number = u64::try_from(dev).map_or(0, |dev| dev & 0xffff_ffff);
    let may_make = || credentials::caller_is(|caller| caller.capable(linux::CAP_MKNOD));
    let permissions = mode & 0o7777 & !with_context(FsContext::umask);
    let (kind, node) = match mode & linux::S_IFMT {
        0 | linux::S_IFREG => (linux::S_IFREG, Kind::Regular(Content::empty())),
        linux::S_IFIFO => (linux::S_IFIFO, pipe::fifo()),
        linux::S_IFSOCK => (linux::S_IFSOCK, Kind::Special(0)),
        // Nobody can do anything with a whiteout.
        device @ (linux::S_IFCHR | linux::S_IFBLK)
            if device == linux::S_IFCHR && number == 0 || target.node.is_some() || may_make() =>
        {
            (device, Kind::Special(number))
        }
        linux::S_IFCHR | linux::S_IFBLK => return Err(Errno::EPERM),
        _ => return Err(Errno::EINVAL),
    };
    directory::create(&target, kind | permissions, node)?;
    Ok(0)
}

/// rmdir(2)
pub fn rmdir(path: usize) -> SysResult {
    directory::rmdir(&target(AT_FDCWD, path, Last::Keep)?)?;
    Ok(0)
}
/// unlink(2)
pub fn unlink(path: usize) -> SysResult {
    unlinkat(AT_FDCWD, path, 0)
}
/// unlinkat(2)
pub fn unlinkat(dirfd: usize, path: usize, flags: usize) -> SysResult {
    let remove = match flags as u32 {
        0 => directory::unlink,
        linux::AT_REMOVEDIR => directory::rmdir,
        _ => return Err(Errno::EINVAL),
    };
    remove(&target(dirfd, path, Last::Keep)?)?;
    Ok(0)
}

/// rename(2)
pub fn rename(from: usize, to: usize) -> SysResult {
    renameat2(AT_FDCWD, from, AT_FDCWD, to, 0)
}
/// renameat(2)
pub fn renameat(from_dir: usize, from: usize, to_dir: usize, to: usize) -> SysResult {
    renameat2(from_dir, from, to_dir, to, 0)
}
/// renameat2(2)
pub fn renameat2(
    from_dir: usize,
    from: usize,
    to_dir: usize,
    to: usize,
    flags: usize,
) -> SysResult {
    let from = target(from_dir, from, Last::Keep)?;
    let to = target(to_dir, to, Last::Keep)?;
    directory::rename(&from, &to, flags as u32)?;
    Ok(0)
}

/// link(2)
pub fn link(from: usize, to: usize) -> SysResult {
    linkat(AT_FDCWD, from, AT_FDCWD, to, 0)
}
/// linkat(2)
pub fn linkat(from_dir: usize, from: usize, to_dir: usize, to: usize, flags: usize) -> SysResult {
    let flags = flags as u32;
    if flags & !(linux::AT_SYMLINK_FOLLOW | linux::AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let follow = if flags & linux::AT_SYMLINK_FOLLOW != 0 {
        0
    } else {
        linux::AT_SYMLINK_NOFOLLOW
    };
    let subject = Subject::at(from_dir, from, follow | flags & linux::AT_EMPTY_PATH)?;
    let to = target(to_dir, to, Last::Keep)?;
    directory::link(subject.path().ok_or(Errno::EXDEV)?, &to)?;
    Ok(0)
}

/// symlink(2)
pub fn symlink(text: usize, path: usize) -> SysResult {
    symlinkat(text, AT_FDCWD, path)
}
/// symlinkat(2)
pub fn symlinkat(text: usize, dirfd: usize, path: usize) -> SysResult {
    let text = path_from(text)?;
    if text.is_empty() {
        return Err(Errno::ENOENT);
    }
    if text.len() >= MAX_PATH {
        return Err(Errno::ENAMETOOLONG);
    }
    let target = target(dirfd, path, Last::Keep)?;
    let kind = Kind::Symlink(text.into_boxed_slice());
    directory::create(&target, linux::S_IFLNK | 0o777, kind)?;
    Ok(0)
}
