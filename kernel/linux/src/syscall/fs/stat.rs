//! stat and its family, access.
use super::{Subject, descriptor, path_at, with_context};
use crate::{
    credentials,
    fs::{
        Metadata,
        context::FsContext,
        mount::Path,
        numbers,
        permission::{self, Access},
    },
};
use abi::{Errno, SysResult};
use alloc::vec::Vec;
use linux_raw_sys::general as linux;
use machine::mm::{PAGE, user};

pub(super) const AT_FDCWD: usize = linux::AT_FDCWD as usize;
const SECOND: u64 = super::SECOND;

/// Little-endian fields one after the other.
pub(super) struct Fields(Vec<u8>);

impl Fields {
    /// None yet, with room for `size` bytes.
    pub(super) fn new(size: usize) -> Self {
        Self(Vec::with_capacity(size))
    }
    fn u16(&mut self, value: u32) -> &mut Self {
        self.0.extend_from_slice(&(value as u16).to_le_bytes());
        self
    }
    fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }
    pub(super) fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }
    fn time(&mut self, ns: u64) -> &mut Self {
        self.u64(ns / SECOND).u64(ns % SECOND)
    }
    pub(super) fn write(&mut self, addr: usize, size: usize) -> SysResult {
        self.0.resize(size, 0);
        user::copy_out(addr, &self.0)?;
        Ok(0)
    }
}

fn write_stat(addr: usize, of: &Metadata) -> SysResult {
    Fields::new(144)
        .u64(of.dev)
        .u64(of.ino)
        .u64(u64::from(of.nlink))
        .u32(of.mode)
        .u32(of.uid)
        .u32(of.gid)
        .u32(0)
        .u64(of.rdev)
        .u64(of.size)
        .u64(PAGE as u64)
        .u64(of.blocks)
        .time(of.atime_ns)
        .time(of.mtime_ns)
        .time(of.ctime_ns)
        .write(addr, 144)
}

fn metadata_of(subject: &Subject) -> Result<Metadata, Errno> {
    match subject {
        Subject::Path(path) => path.node.metadata(),
        Subject::Open(open) => open.file.metadata(),
    }
}

fn metadata(dirfd: usize, path: usize, flags: u32) -> Result<Metadata, Errno> {
    metadata_of(&Subject::at(dirfd, path, flags)?)
}

/// stat(2)
pub fn stat(path: usize, buf: usize) -> SysResult {
    write_stat(buf, &metadata(AT_FDCWD, path, 0)?)
}
/// lstat(2)
pub fn lstat(path: usize, buf: usize) -> SysResult {
    write_stat(buf, &metadata(AT_FDCWD, path, linux::AT_SYMLINK_NOFOLLOW)?)
}
/// fstat(2)
pub fn fstat(fd: usize, buf: usize) -> SysResult {
    write_stat(buf, &descriptor(fd)?.file.metadata()?)
}
/// fstatat(2)
pub fn newfstatat(dirfd: usize, path: usize, buf: usize, flags: usize) -> SysResult {
    let flags = flags as u32;
    let known = linux::AT_SYMLINK_NOFOLLOW
        | linux::AT_NO_AUTOMOUNT
        | linux::AT_EMPTY_PATH
        | linux::AT_STATX_SYNC_TYPE;
    if flags & !known != 0 {
        return Err(Errno::EINVAL);
    }
    write_stat(buf, &metadata(dirfd, path, flags)?)
}

/// What `O_DIRECT` would want of addresses and offsets.
const SECTOR: u32 = 512;

/// `STATX_ATTR_*` of a file with `flags` of chattr(1), and those that are known.
fn file_attributes(subject: &Subject, flags: Option<u32>) -> (u64, u64) {
    // They are the flags.
    const OF_FLAGS: u32 = linux::STATX_ATTR_COMPRESSED
        | linux::STATX_ATTR_IMMUTABLE
        | linux::STATX_ATTR_APPEND
        | linux::STATX_ATTR_NODUMP
        | linux::STATX_ATTR_ENCRYPTED;
    let root = linux::STATX_ATTR_MOUNT_ROOT;
    let (mut attributes, mut known) = (flags.unwrap_or(0) & OF_FLAGS, root);
    if flags.is_some() {
        known |= OF_FLAGS;
    }
    if subject.path().is_some_and(Path::is_mount_root) {
        attributes |= root;
    }
    (attributes.into(), known.into())
}

/// statx(2)
pub fn statx(dirfd: usize, path: usize, flags: usize, mask: usize, buf: usize) -> SysResult {
    let (flags, mask) = (flags as u32, mask as u32);
    let known = linux::AT_SYMLINK_NOFOLLOW
        | linux::AT_NO_AUTOMOUNT
        | linux::AT_EMPTY_PATH
        | linux::AT_STATX_SYNC_TYPE;
    if flags & !known != 0
        || flags & linux::AT_STATX_SYNC_TYPE == linux::AT_STATX_SYNC_TYPE
        || mask & linux::STATX__RESERVED != 0
    {
        return Err(Errno::EINVAL);
    }
    let subject = Subject::at(dirfd, path, flags)?;
    let of = metadata_of(&subject)?;
    let mount = subject.path().map_or(0, |path| u64::from(path.mount.id));
    let mut told = linux::STATX_BASIC_STATS | linux::STATX_MNT_ID;
    let btime_ns = of.btime_ns.filter(|_| mask & linux::STATX_BTIME != 0);
    told |= btime_ns.map_or(0, |_| linux::STATX_BTIME);
    let on_disk = of.flags.is_some() && of.mode & linux::S_IFMT == linux::S_IFREG;
    let direct = on_disk && mask & linux::STATX_DIOALIGN != 0;
    told |= if direct { linux::STATX_DIOALIGN } else { 0 };
    let alignment = if direct { SECTOR } else { 0 };
    let (attributes, known) = file_attributes(&subject, of.flags);
    // struct statx_timestamp: seconds, nanoseconds, padding.
    Fields::new(256)
        .u32(told)
        .u32(PAGE as u32)
        .u64(attributes)
        .u32(of.nlink)
        .u32(of.uid)
        .u32(of.gid)
        .u16(of.mode)
        .u16(0)
        .u64(of.ino)
        .u64(of.size)
        .u64(of.blocks)
        .u64(known)
        .time(of.atime_ns)
        .time(btime_ns.unwrap_or(0))
        .time(of.ctime_ns)
        .time(of.mtime_ns)
        .u32(numbers::major(of.rdev))
        .u32(numbers::minor(of.rdev))
        .u32(numbers::major(of.dev))
        .u32(numbers::minor(of.dev))
        .u64(mount)
        .u32(alignment)
        .u32(alignment)
        .write(buf, 256)
}

/// access(2)
pub fn access(path: usize, mode: usize) -> SysResult {
    faccessat2(AT_FDCWD, path, mode, 0)
}
/// faccessat(2)
pub fn faccessat(dirfd: usize, path: usize, mode: usize) -> SysResult {
    faccessat2(dirfd, path, mode, 0)
}
/// faccessat2(2)
pub fn faccessat2(dirfd: usize, path: usize, mode: usize, flags: usize) -> SysResult {
    let flags = flags as u32;
    let known = linux::AT_EACCESS | linux::AT_SYMLINK_NOFOLLOW | linux::AT_EMPTY_PATH;
    if mode & !7 != 0 || flags & !known != 0 {
        return Err(Errno::EINVAL);
    }
    let wanted = Access::from_bits_truncate(mode as u32);
    let check = || check_access(&Subject::at(dirfd, path, flags)?, wanted);
    if flags & linux::AT_EACCESS != 0 {
        check()?;
    } else {
        credentials::with_real_ids(check)?;
    }
    Ok(0)
}

fn check_access(subject: &Subject, wanted: Access) -> Result<(), Errno> {
    let mode = metadata_of(subject)?.mode;
    let is = |kind| mode & linux::S_IFMT == kind;
    let stored = is(linux::S_IFREG) || is(linux::S_IFDIR) || is(linux::S_IFLNK);
    if wanted.contains(Access::WRITE) && stored {
        subject.changed()?;
    }
    let executable = |path: &Path| path.mount.executable();
    if wanted.contains(Access::EXECUTE)
        && is(linux::S_IFREG)
        && !subject.path().is_none_or(executable)
    {
        return Err(Errno::EACCES);
    }
    match subject.node() {
        Ok(node) => permission::check(node, wanted),
        Err(_) => Ok(()),
    }
}

/// readlink(2)
pub fn readlink(path: usize, buf: usize, size: usize) -> SysResult {
    readlinkat(AT_FDCWD, path, buf, size)
}
/// readlinkat(2)
pub fn readlinkat(dirfd: usize, path: usize, buf: usize, size: usize) -> SysResult {
    use crate::fs::tree::Kind;
    if size as i32 <= 0 {
        return Err(Errno::EINVAL);
    }
    let flags = linux::AT_SYMLINK_NOFOLLOW | linux::AT_EMPTY_PATH;
    let subject = Subject::at(dirfd, path, flags)?;
    let node = subject.node().map_err(|_| Errno::EINVAL)?;
    let text = match &node.kind {
        Kind::Symlink(target) => target.to_vec(),
        Kind::Magic(jump) => jump()?.text,
        _ if user::read::<u8>(path)? == 0 => return Err(Errno::ENOENT),
        _ => return Err(Errno::EINVAL),
    };
    let len = text.len().min(size);
    user::copy_out(buf, &text[..len])?;
    Ok(len)
}

/// getcwd(2)
pub fn getcwd(buf: usize, size: usize) -> SysResult {
    let mut path = with_context(FsContext::cwd_text);
    if path.ends_with(b" (deleted)") {
        return Err(Errno::ENOENT);
    }
    path.push(0);
    if path.len() > size {
        return Err(Errno::ERANGE);
    }
    user::copy_out(buf, &path)?;
    Ok(path.len())
}
/// chdir(2)
pub fn chdir(path: usize) -> SysResult {
    let path = path_at(path)?;
    change_directory(path)
}
/// fchdir(2)
pub fn fchdir(fd: usize) -> SysResult {
    let open = descriptor(fd)?;
    let path = open.file.path().ok_or(Errno::ENOTDIR)?;
    change_directory(path.clone())
}

fn change_directory(to: Path) -> SysResult {
    if to.node.is_directory() {
        permission::check(&to.node, Access::EXECUTE)?;
    }
    with_context(|context| context.set_cwd(to))?;
    Ok(0)
}

/// chroot(2)
pub fn chroot(path: usize) -> SysResult {
    let path = path_at(path)?;
    if !path.node.is_directory() {
        return Err(Errno::ENOTDIR);
    }
    permission::check(&path.node, Access::EXECUTE)?;
    credentials::require(linux::CAP_SYS_CHROOT)?;
    with_context(|context| context.set_root(path))?;
    Ok(0)
}
