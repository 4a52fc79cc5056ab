//! Reader of EROFS images as `mkfs.erofs` writes them without compression.
//!
//! Superblock, compact and extended inodes, flat, inline (tail-packed) and chunk-based data, directories, symbolic
//! links. Everything an image says is checked against the device: a corrupt one gives `EUCLEAN`, never a panic.
//! Nothing is cached here (see `block_cache.rs`) and nothing is written. Left out: compression, extra devices, extended
//! attributes. Field layout: Linux, fs/erofs/erofs_fs.h.
mod frames;

use abi::Errno;
use alloc::{vec, vec::Vec};
use machine::drivers::RootDevice;

const MAGIC: u32 = 0xe0f5_e1e2;
const SUPERBLOCK: u64 = 1024;
/// Incompatible features that need nothing from us: zero padding, chunk-based files, long attribute prefixes.
const KNOWN_FEATURES: u32 = 0x1 | 0x4 | 0x40;
const HOLE: u32 = u32::MAX;
const PAGE: u64 = machine::mm::PAGE as u64;

static MOUNTED: spin::Once<Erofs<'static>> = spin::Once::new();

/// The image that is mounted as the root.
pub fn mounted() -> Option<&'static Erofs<'static>> {
    MOUNTED.get()
}

/// Makes `image` that, once.
pub(super) fn set_mounted(image: Erofs<'static>) -> &'static Erofs<'static> {
    MOUNTED.call_once(|| image)
}

/// A mounted image.
pub struct Erofs<'a> {
    device: &'a dyn RootDevice,
    size: u64,
    block_bits: u32,
    meta: u64,
    root: u64,
    build_time_ns: u64,
    /// Blocks and inodes, for statfs(2).
    pub totals: (u64, u64),
}

/// What an inode says.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are stat(2)'s")]
pub struct Inode {
    pub nid: u64,
    pub mode: u32,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    pub mtime_ns: u64,
    pub rdev: u32,
    layout: Layout,
}

/// Where the data is; addresses are byte offsets on the device.
#[derive(Clone, Copy, Debug)]
enum Layout {
    Flat {
        start: u64,
    },
    /// All blocks but the last from `start`, the last one's bytes at `tail`.
    Inline {
        start: u64,
        tail: u64,
    },
    Chunks {
        table: u64,
        bits: u32,
        indexed: bool,
    },
}

/// Bytes at one place on the device.
struct Extent {
    /// `None`: a hole.
    address: Option<u64>,
    len: u64,
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

impl<'a> Erofs<'a> {
    /// Reads the superblock. `EINVAL`: not EROFS; `EOPNOTSUPP`: uses features that are left out.
    pub fn mount(device: &'a dyn RootDevice) -> Result<Self, Errno> {
        let mut sb = [0; 128];
        device
            .read(SUPERBLOCK, &mut sb)
            .map_err(|_| Errno::EINVAL)?;
        if u32_at(&sb, 0) != MAGIC {
            return Err(Errno::EINVAL);
        }
        let block_bits = u32::from(sb[12]);
        if u32_at(&sb, 80) & !KNOWN_FEATURES != 0
            || u16_at(&sb, 86) != 0
            || !(9..=12).contains(&block_bits)
            || sb[90] != 0
        {
            return Err(Errno::EOPNOTSUPP);
        }
        Ok(Self {
            device,
            size: device.size(),
            block_bits,
            meta: u64::from(u32_at(&sb, 40)) << block_bits,
            root: u64::from(u16_at(&sb, 14)),
            build_time_ns: nanoseconds(u64_at(&sb, 24), u32_at(&sb, 32)),
            totals: (u64::from(u32_at(&sb, 36)), u64_at(&sb, 16)),
        })
    }

    /// Inode number of the root directory.
    pub fn root(&self) -> u64 {
        self.root
    }

    /// Whether the device is memory.
    pub fn is_direct(&self) -> bool {
        self.device.direct(0).is_some()
    }

    fn fetch(&self, address: u64, buf: &mut [u8]) -> Result<(), Errno> {
        let end = address
            .checked_add(buf.len() as u64)
            .ok_or(Errno::EUCLEAN)?;
        if end > self.size {
            return Err(Errno::EUCLEAN);
        }
        self.device.read(address, buf)
    }

    /// Reads an inode.
    pub fn inode(&self, nid: u64) -> Result<Inode, Errno> {
        let address = nid
            .checked_mul(32)
            .and_then(|at| at.checked_add(self.meta))
            .ok_or(Errno::EUCLEAN)?;
        let mut raw = [0; 64];
        self.fetch(address, &mut raw[..32])?;
        let format = u16_at(&raw, 0);
        let extended = format & 1 != 0;
        if extended {
            self.fetch(address, &mut raw)?;
        }
        let attributes = match u64::from(u16_at(&raw, 2)) {
            0 => 0,
            count => 12 + 4 * (count - 1),
        };
        let after = address + if extended { 64 } else { 32 } + attributes;
        let union = u32_at(&raw, 16);
        let layout = match format >> 1 & 7 {
            0 => Layout::Flat {
                start: u64::from(union) << self.block_bits,
            },
            2 => Layout::Inline {
                start: u64::from(union) << self.block_bits,
                tail: after,
            },
            4 => {
                let indexed = union & 0x20 != 0;
                let align = if indexed { 8 } else { 4 };
                Layout::Chunks {
                    table: after.next_multiple_of(align),
                    bits: self.block_bits + (union & 0x1f),
                    indexed,
                }
            }
            1 | 3 => return Err(Errno::EOPNOTSUPP),
            _ => return Err(Errno::EUCLEAN),
        };
        let mode = u32::from(u16_at(&raw, 4));
        Ok(if extended {
            Inode {
                nid,
                mode,
                nlink: u32_at(&raw, 44),
                uid: u32_at(&raw, 24),
                gid: u32_at(&raw, 28),
                size: u64_at(&raw, 8),
                mtime_ns: nanoseconds(u64_at(&raw, 32), u32_at(&raw, 40)),
                rdev: union,
                layout,
            }
        } else {
            Inode {
                nid,
                mode,
                nlink: u32::from(u16_at(&raw, 6)),
                uid: u32::from(u16_at(&raw, 24)),
                gid: u32::from(u16_at(&raw, 26)),
                size: u64::from(u32_at(&raw, 8)),
                mtime_ns: self.build_time_ns,
                rdev: union,
                layout,
            }
        })
    }

    /// The contiguous bytes from `offset`, which lies within the file.
    fn extent(&self, inode: &Inode, offset: u64) -> Result<Extent, Errno> {
        let at = |start: u64, offset: u64, len: u64| {
            let address = start.checked_add(offset).ok_or(Errno::EUCLEAN)?;
            Ok(Extent {
                address: Some(address),
                len,
            })
        };
        match inode.layout {
            Layout::Flat { start } => at(start, offset, inode.size - offset),
            Layout::Inline { start, tail } => {
                let last = (inode.size - 1) >> self.block_bits << self.block_bits;
                if offset < last {
                    at(start, offset, last - offset)
                } else {
                    at(tail, offset - last, inode.size - offset)
                }
            }
            Layout::Chunks {
                table,
                bits,
                indexed,
            } => {
                let index = offset >> bits;
                let within = offset & ((1 << bits) - 1);
                let len = ((1 << bits) - within).min(inode.size - offset);
                let (width, field) = if indexed { (8, 4) } else { (4, 0) };
                let entry = index
                    .checked_mul(width)
                    .and_then(|at| at.checked_add(table + field))
                    .ok_or(Errno::EUCLEAN)?;
                let mut raw = [0; 4];
                self.fetch(entry, &mut raw)?;
                match u32_at(&raw, 0) {
                    HOLE => Ok(Extent { address: None, len }),
                    block => at(u64::from(block) << self.block_bits, within, len),
                }
            }
        }
    }

    /// Reads file data; fewer bytes than asked for only at the end.
    pub fn read(&self, inode: &Inode, offset: u64, buf: &mut [u8]) -> Result<usize, Errno> {
        let mut done = 0;
        while done < buf.len() {
            let at = offset.saturating_add(done as u64);
            if at >= inode.size {
                break;
            }
            let extent = self.extent(inode, at)?;
            let len = usize::try_from(extent.len)
                .unwrap_or(usize::MAX)
                .min(buf.len() - done);
            let part = &mut buf[done..done + len];
            match extent.address {
                Some(address) => self.fetch(address, part)?,
                None => part.fill(0),
            }
            done += len;
        }
        Ok(done)
    }

    /// Physical address of a page of the file, when it can be mapped as it lies there: on memory, aligned, and with
    /// zeros after the end of the file. And in how many pages from there on the file goes on, of which so much holds,
    /// too.
    pub fn direct_pages(&self, inode: &Inode, index: u64) -> Result<Option<(u64, u64)>, Errno> {
        let offset = index.checked_mul(PAGE).ok_or(Errno::EFAULT)?;
        if offset >= inode.size {
            return Err(Errno::EFAULT);
        }
        let extent = self.extent(inode, offset)?;
        let Some(address) = extent.address else {
            return Ok(None);
        };
        if address.checked_add(PAGE).is_none_or(|end| end > self.size) {
            return Ok(None);
        }
        let Some(phys) = self.device.direct(address) else {
            return Ok(None);
        };
        if phys % PAGE != 0 || extent.len < PAGE.min(inode.size - offset) {
            return Ok(None);
        }
        if extent.len < PAGE {
            let mut tail = [0; PAGE as usize];
            let tail = &mut tail[extent.len as usize..];
            self.fetch(address + extent.len, tail)?;
            if tail.iter().fold(0, |bits, byte| bits | byte) != 0 {
                return Ok(None);
            }
        }
        let whole = extent.len.min(self.size - address) / PAGE;
        Ok(Some((phys, whole.max(1))))
    }

    /// Calls `f` with name, inode number and type (`DT_*`) of each entry but `.` and `..`.
    pub fn entries(&self, inode: &Inode, mut f: impl FnMut(&[u8], u64, u8)) -> Result<(), Errno> {
        if inode.size > self.size {
            return Err(Errno::EUCLEAN);
        }
        let mut block = vec![0; 1 << self.block_bits];
        let mut offset = 0;
        while offset < inode.size {
            let len = self.read(inode, offset, &mut block)?;
            parse_block(&block[..len], &mut f)?;
            offset += len as u64;
        }
        Ok(())
    }

    /// The target of a symbolic link.
    pub fn link(&self, inode: &Inode) -> Result<Vec<u8>, Errno> {
        if inode.size == 0 || inode.size >= PAGE {
            return Err(Errno::EUCLEAN);
        }
        let mut target = vec![0; inode.size as usize];
        self.read(inode, 0, &mut target)?;
        if target.contains(&0) {
            return Err(Errno::EUCLEAN);
        }
        Ok(target)
    }
}

fn nanoseconds(seconds: u64, nanos: u32) -> u64 {
    seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(u64::from(nanos))
}

/// One block of a directory: an array of 12-byte entries, then the names.
fn parse_block(block: &[u8], f: &mut impl FnMut(&[u8], u64, u8)) -> Result<(), Errno> {
    if block.len() < 12 {
        return Err(Errno::EUCLEAN);
    }
    let names = usize::from(u16_at(block, 8));
    if names == 0 || names % 12 != 0 || names > block.len() {
        return Err(Errno::EUCLEAN);
    }
    for entry in (0..names).step_by(12) {
        let start = usize::from(u16_at(block, entry + 8));
        let end = if entry + 12 < names {
            usize::from(u16_at(block, entry + 20))
        } else {
            block.len()
        };
        let name = block.get(start..end).ok_or(Errno::EUCLEAN)?;
        let name = name.split(|&byte| byte == 0).next().unwrap_or(name);
        if start < names || name.is_empty() || name.len() > 255 || name.contains(&b'/') {
            return Err(Errno::EUCLEAN);
        }
        if name != b"." && name != b".." {
            let kind = match block[entry + 10] {
                1 => 8,
                2 => 4,
                3 => 2,
                4 => 6,
                5 => 1,
                6 => 12,
                7 => 10,
                _ => 0,
            };
            f(name, u64_at(block, entry), kind);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
