//! lseek, truncate, directory reading.
use super::{limit, opened, path_at};
use crate::fs::{
    Seek, notify,
    permission::{self, Access},
    tree::{Kind, Node},
    write_access::Share,
};
use abi::{Errno, SysResult};
use alloc::{sync::Arc, vec::Vec};
use linux_raw_sys::general as linux;
use machine::mm::user;

/// lseek(2)
pub fn lseek(fd: usize, offset: usize, whence: usize) -> SysResult {
    let open = opened(fd)?;
    let whence = whence as u32;
    if whence > linux::SEEK_HOLE {
        return Err(Errno::EINVAL);
    }
    match open.file.seek() {
        Seek::Never => return Err(Errno::ESPIPE),
        Seek::Nowhere => return Ok(0),
        Seek::NotFromEnd if whence == linux::SEEK_END => return Err(Errno::EINVAL),
        Seek::NotFromEnd | Seek::Anywhere => (),
    }
    let offset = offset as i64;
    let mut position = open.offset.lock();
    let base = match whence {
        linux::SEEK_SET => 0,
        linux::SEEK_CUR => *position,
        linux::SEEK_END => open.file.metadata()?.size,
        data @ (linux::SEEK_DATA | linux::SEEK_HOLE) => {
            let node = open.file.node().ok_or(Errno::EINVAL)?;
            let Kind::Regular(content) = &node.kind else {
                return Err(Errno::EINVAL);
            };
            let from = u64::try_from(offset).map_err(|_| Errno::ENXIO)?;
            *position = content.seek(from, data == linux::SEEK_DATA)?;
            return Ok(*position as usize);
        }
        _ => return Err(Errno::EINVAL),
    };
    let new = (base as i64).checked_add(offset).ok_or(Errno::EOVERFLOW)?;
    *position = u64::try_from(new).map_err(|_| Errno::EINVAL)?;
    Ok(*position as usize)
}

fn resize(node: &Arc<Node>, len: usize) -> SysResult {
    if (len as i64) < 0 {
        return Err(Errno::EINVAL);
    }
    match &node.kind {
        Kind::Regular(content) => {
            let len = len as u64;
            limit::may_grow(content.size(), len)?;
            content.resize(len)?;
        }
        Kind::Directory(_) | Kind::Listing(..) => return Err(Errno::EISDIR),
        Kind::Generated(_) => (),
        _ => return Err(Errno::EINVAL),
    }
    node.written();
    notify::notify(node, linux::IN_MODIFY);
    Ok(0)
}

/// truncate(2)
pub fn truncate(path: usize, len: usize) -> SysResult {
    let path = path_at(path)?;
    path.mount.check_writable()?;
    if matches!(path.node.kind, Kind::Regular(_)) {
        permission::check(&path.node, Access::WRITE)?;
    }
    let _share = Share::to_write(&path.node)?;
    resize(&path.node, len)
}

/// ftruncate(2)
pub fn ftruncate(fd: usize, len: usize) -> SysResult {
    let open = opened(fd)?;
    if !open.writable() {
        return Err(Errno::EINVAL);
    }
    let node = open.file.node().ok_or(Errno::EINVAL)?;
    match node.kind {
        Kind::Regular(_) | Kind::Generated(_) => resize(node, len),
        _ => Err(Errno::EINVAL),
    }
}

/// One `struct linux_dirent64`, or the older `linux_dirent` with the type in its last byte.
fn entries(fd: usize, buf: usize, count: usize, old: bool) -> SysResult {
    let open = opened(fd)?;
    let mut position = open.offset.lock();
    let list = open.file.listing(*position == 0)?;
    if let Some(Kind::Directory(directory)) = open.file.node().map(|node| &node.kind)
        && directory.is_removed()
    {
        return Err(Errno::ENOENT);
    }
    let count = count.min(65536);
    let mut out = Vec::new();
    let mut index = usize::try_from(*position).unwrap_or(usize::MAX);
    while let Some(entry) = list.get(index) {
        let head = if old { 18 } else { 19 };
        let size = (head + entry.name.len() + 1 + usize::from(old)).next_multiple_of(8);
        if out.len() + size > count {
            if out.is_empty() {
                return Err(Errno::EINVAL);
            }
            break;
        }
        let start = out.len();
        out.extend_from_slice(&entry.ino.to_le_bytes());
        out.extend_from_slice(&(index as u64 + 1).to_le_bytes());
        out.extend_from_slice(&(size as u16).to_le_bytes());
        if !old {
            out.push(entry.kind);
        }
        out.extend_from_slice(&entry.name);
        out.resize(start + size, 0);
        if old {
            out[start + size - 1] = entry.kind;
        }
        index += 1;
    }
    user::copy_out(buf, &out)?;
    *position = index as u64;
    drop(position);
    open.notify(linux::IN_ACCESS);
    Ok(out.len())
}

/// getdents64(2)
pub fn getdents64(fd: usize, buf: usize, count: usize) -> SysResult {
    entries(fd, buf, count, false)
}

/// getdents(2)
pub fn getdents(fd: usize, buf: usize, count: usize) -> SysResult {
    entries(fd, buf, count, true)
}
