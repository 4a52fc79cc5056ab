//! Mounting, and what file systems say of themselves: mount, umount2, statfs.
use super::{descriptor, path_from, stat::Fields, target};
use crate::{
    credentials,
    fs::{
        file_system::{FileSystem, Statistics},
        mount::{self, Mount, namespace},
        path::Last,
        tmpfs::{self, Tmpfs},
        tree::dev,
    },
};
use abi::{Errno, SysResult};
use alloc::{string::String, sync::Arc};
use linux_raw_sys::general as linux;
use machine::mm::{PAGE, user};

const AT_FDCWD: usize = linux::AT_FDCWD as usize;
/// What old programs put into the upper half of the flags.
const MAGIC: u32 = 0xc0ed_0000;
const PROPAGATION: u32 =
    linux::MS_SHARED | linux::MS_PRIVATE | linux::MS_SLAVE | linux::MS_UNBINDABLE;

/// What is said of access times; without a word it is `MS_RELATIME`.
const TIMES: u32 = linux::MS_NOATIME | linux::MS_RELATIME | linux::MS_STRICTATIME;

fn check_capable() -> Result<(), Errno> {
    if credentials::current().capable(linux::CAP_SYS_ADMIN) {
        Ok(())
    } else {
        Err(Errno::EPERM)
    }
}

fn text_at(addr: usize) -> Result<String, Errno> {
    if addr == 0 {
        return Ok(String::new());
    }
    let bytes = user::read_cstr(addr, PAGE - 1)?;
    String::from_utf8(bytes).map_err(|_| Errno::EINVAL)
}

/// A file system to mount: a new tmpfs, or one that is there.
fn file_system(kind: &str, options: &str) -> Result<Arc<dyn FileSystem>, Errno> {
    let existing = |dev| mount::file_system(dev).ok_or(Errno::ENODEV);
    match kind {
        "tmpfs" | "ramfs" => {
            let options = tmpfs::Options::parse(options)?;
            Ok(Arc::new(Tmpfs::with_options(&options)))
        }
        "proc" => existing(dev::PROC),
        "sysfs" => existing(dev::SYS),
        "devtmpfs" => existing(dev::DEV),
        _ => Err(Errno::ENODEV),
    }
}

/// mount(2): tmpfs, the kernel's own file systems, bind mounts, other flags for what is mounted.
pub fn mount(source: usize, path: usize, kind: usize, flags: usize, data: usize) -> SysResult {
    let mut flags = flags as u32;
    if flags & 0xffff_0000 == MAGIC {
        flags &= 0xffff;
    }
    check_capable()?;
    let at = target(AT_FDCWD, path, Last::Follow)?;
    let on = at.found()?;
    if flags & linux::MS_REMOUNT != 0 {
        if !on.is_mount_root() {
            return Err(Errno::EINVAL);
        }
        if flags & linux::MS_BIND == 0 {
            on.mount.fs.remount(&text_at(data)?)?;
        }
        if flags & linux::MS_RDONLY != 0 {
            on.mount.fs.sync()?;
        }
        let kept = if flags & TIMES == 0 {
            on.mount.flags() & TIMES
        } else {
            0
        };
        on.mount.set_flags(flags | kept);
        return Ok(0);
    }
    if flags & linux::MS_BIND != 0 {
        let from = target(AT_FDCWD, source, Last::Follow)?;
        namespace::bind(&from, &at, flags & linux::MS_REC != 0)?;
        return Ok(0);
    }
    if flags & PROPAGATION != 0 {
        return if on.is_mount_root() {
            Ok(0)
        } else {
            Err(Errno::EINVAL)
        };
    }
    if flags & linux::MS_MOVE != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    if flags & TIMES == 0 {
        flags |= linux::MS_RELATIME;
    }
    let kind = text_at(kind)?;
    let source = if source == 0 {
        b"none".to_vec()
    } else {
        path_from(source)?
    };
    namespace::mount(file_system(&kind, &text_at(data)?)?, &source, flags, &at)?;
    Ok(0)
}

/// umount2(2)
pub fn umount2(path: usize, flags: usize) -> SysResult {
    let flags = flags as u32;
    let known = linux::MNT_FORCE | linux::MNT_DETACH | linux::MNT_EXPIRE | linux::UMOUNT_NOFOLLOW;
    if flags & !known != 0 {
        return Err(Errno::EINVAL);
    }
    check_capable()?;
    let last = if flags & linux::UMOUNT_NOFOLLOW != 0 {
        Last::Keep
    } else {
        Last::Follow
    };
    let at = target(AT_FDCWD, path, last)?;
    let on = at.found()?.clone();
    drop(at);
    namespace::unmount(on, flags & linux::MNT_DETACH != 0)?;
    Ok(0)
}

/// `f_flags`: those of the mount, as `ST_*` has them.
fn statfs_flags(mount: &Mount) -> u64 {
    const ST_VALID: u64 = 0x20;
    const ST_RELATIME: u64 = 0x1000;
    let flags = mount.flags();
    let same = linux::MS_RDONLY | linux::MS_NOSUID | linux::MS_NODEV | linux::MS_NOEXEC;
    let relatime = if flags & linux::MS_RELATIME != 0 {
        ST_RELATIME
    } else {
        0
    };
    let read_only = u64::from(mount.check_writable().is_err());
    u64::from(flags & same) | read_only | relatime | ST_VALID
}

fn write_statfs(addr: usize, dev: u64, of: &Statistics, flags: u64) -> SysResult {
    Fields::new(120)
        .u64(u64::from(of.magic))
        .u64(of.block_size)
        .u64(of.blocks)
        .u64(of.blocks_free)
        .u64(of.blocks_available)
        .u64(of.files)
        .u64(of.files_free)
        .u64(dev)
        .u64(255)
        .u64(of.block_size)
        .u64(flags)
        .write(addr, 120)
}

/// statfs(2)
pub fn statfs(path: usize, buf: usize) -> SysResult {
    let at = target(AT_FDCWD, path, Last::Follow)?;
    let mount = &at.found()?.mount;
    let flags = statfs_flags(mount);
    write_statfs(buf, mount.fs.dev(), &mount.fs.statistics()?, flags)
}

/// fstatfs(2)
pub fn fstatfs(fd: usize, buf: usize) -> SysResult {
    let open = descriptor(fd)?;
    if let Some(path) = open.file.path() {
        let flags = statfs_flags(&path.mount);
        let fs = &path.mount.fs;
        return write_statfs(buf, fs.dev(), &fs.statistics()?, flags);
    }
    let dev = open.file.metadata()?.dev;
    let statistics = match mount::file_system(dev) {
        Some(fs) => fs.statistics()?,
        None => Statistics::none(linux::TMPFS_MAGIC),
    };
    write_statfs(buf, dev, &statistics, 0x20)
}
