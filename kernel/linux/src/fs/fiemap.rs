//! What file systems on disks tell of their files by ioctl(2): where they are (`FS_IOC_FIEMAP`, which filefrag(8)
//! asks), and chattr(1)'s flags (`FS_IOC_GETFLAGS`), which cannot be set.
use super::tree::{Kind, Node};
use abi::Errno;
use alloc::vec::Vec;
use linux_raw_sys::ioctl::{FS_IOC_FIEMAP, FS_IOC_GETFLAGS};
use machine::mm::user;

/// Lengths of `struct fiemap` and `struct fiemap_extent`.
const HEAD: usize = 32;
const EXTENT: usize = 56;
const FLAG_SYNC: u32 = 1;
const EXTENT_LAST: u32 = 1;
const EXTENT_UNWRITTEN: u32 = 0x800;
/// Extents told in one go.
const MOST: usize = 1 << 16;

/// ioctl(2) of a file, a directory or a link.
pub(super) fn ioctl(node: &Node, request: u32, arg: usize) -> Result<usize, Errno> {
    match request {
        FS_IOC_GETFLAGS => {
            let flags = node.metadata()?.flags.ok_or(Errno::ENOTTY)?;
            user::copy_out(arg, &flags.to_le_bytes())?;
            Ok(0)
        }
        FS_IOC_FIEMAP => extents(node, arg),
        _ => Err(Errno::ENOTTY),
    }
}

fn extents(node: &Node, arg: usize) -> Result<usize, Errno> {
    let Kind::Regular(content) = &node.kind else {
        return Err(Errno::EOPNOTSUPP);
    };
    let mut head = [0; HEAD];
    user::copy_in(arg, &mut head)?;
    let long = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&head[at..at + 8]);
        u64::from_le_bytes(bytes)
    };
    let word = |at: usize| {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&head[at..at + 4]);
        u32::from_le_bytes(bytes)
    };
    let (start, len, flags) = (long(0), long(8), word(16));
    let room = usize::try_from(word(24)).map_err(|_| Errno::EINVAL)?;
    if len == 0 || room > MOST {
        return Err(Errno::EINVAL);
    }
    let unknown = flags & !FLAG_SYNC;
    if unknown != 0 {
        user::copy_out(arg + 16, &unknown.to_le_bytes())?;
        return Err(Errno::EBADR);
    }
    let found = content.extents(start, len)?;
    let ends = start.saturating_add(len) >= content.size();
    let count = match room {
        0 => found.len(),
        room => found.len().min(room),
    };
    let mut out = Vec::new();
    for (number, extent) in found.iter().take(room).enumerate() {
        for part in [extent.logical, extent.physical, extent.len, 0, 0] {
            out.extend_from_slice(&part.to_le_bytes());
        }
        let last = ends && number + 1 == found.len();
        let unwritten = if extent.unwritten {
            EXTENT_UNWRITTEN
        } else {
            0
        };
        let flags = unwritten | if last { EXTENT_LAST } else { 0 };
        out.extend_from_slice(&flags.to_le_bytes());
        out.resize((number + 1) * EXTENT, 0);
    }
    user::copy_out(arg + HEAD, &out)?;
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    user::copy_out(arg + 20, &count.to_le_bytes())?;
    Ok(0)
}
