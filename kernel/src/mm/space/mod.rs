//! The program's address space: areas, demand paging, mmap(2) and its family.
use super::frame::Frame;
use crate::syscall::Errno;
use alloc::{string::String, sync::Arc, vec::Vec};

bitflags::bitflags! {
    /// Page protection as in mmap(2).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Prot: u32 {
        /// PROT_READ
        const READ = 1;
        /// PROT_WRITE
        const WRITE = 2;
        /// PROT_EXEC
        const EXEC = 4;
    }
}

/// A page of a mapped file.
pub enum Page {
    /// Memory that is always there (virtio-pmem): its physical address. Never written through a private mapping.
    Static(u64),
    /// A page-cache frame shared with the file.
    Cached(Arc<Frame>),
}

/// What a file gives to be mapped: pages by index (file offset / 4096). The rest of the last page reads as zeros.
pub trait PageSource: Send + Sync {
    /// The page with this index; `write` when a shared mapping is about to write to it. `EFAULT` past the end of the file
    /// (SIGBUS), `ENOMEM` without a frame.
    fn page(&self, index: u64, write: bool) -> Result<Page, Errno>;
    /// Name for /proc/self/maps, device and inode numbers.
    fn identity(&self) -> (String, u64, u64);
}

/// What lies behind an area.
#[derive(Clone)]
pub enum Backing {
    /// Zeros, private.
    Anonymous,
    /// Zeros, shared (one process: like private, but kept over a later fork-free life).
    SharedAnonymous,
    /// A file from `offset` (page aligned) on.
    File {
        /// The file's pages.
        source: Arc<dyn PageSource>,
        /// Offset of the first byte.
        offset: u64,
        /// MAP_SHARED
        shared: bool,
    },
}

/// Where a mapping goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Near the hint if free, else anywhere (top down, randomised base).
    Anywhere {
        /// 0 for none.
        hint: usize,
    },
    /// MAP_FIXED: replaces what is there.
    Fixed(usize),
    /// MAP_FIXED_NOREPLACE: `EEXIST` if something is there.
    FixedNoReplace(usize),
    /// Anywhere, at a multiple of this alignment.
    Aligned(usize),
}

/// Options of a mapping.
#[derive(Clone, Copy, Default, Debug)]
pub struct Options {
    /// MAP_GROWSDOWN.
    pub grows_down: bool,
    /// MAP_POPULATE.
    pub populate: bool,
    /// Name shown in maps, as `[stack]`.
    pub name: Option<&'static str>,
}

/// Maps `len` bytes (rounded up to pages); the address. `ENOMEM`, `EEXIST`, `EINVAL` as mmap(2).
pub fn map(
    place: Place,
    len: usize,
    prot: Prot,
    backing: Backing,
    options: Options,
) -> Result<usize, Errno> {
    let _ = (place, len, prot, backing, options);
    unimplemented!()
}
/// munmap(2).
pub fn unmap(addr: usize, len: usize) -> Result<(), Errno> {
    unimplemented!("{addr} {len}")
}
/// mprotect(2).
pub fn protect(addr: usize, len: usize, prot: Prot) -> Result<(), Errno> {
    unimplemented!("{addr} {len} {prot:?}")
}
/// One line of /proc/self/maps.
#[derive(Debug)]
pub struct MapsLine {
    /// First byte.
    pub start: usize,
    /// Past the last byte.
    pub end: usize,
    /// Protection.
    pub prot: Prot,
    /// MAP_SHARED.
    pub shared: bool,
    /// File offset.
    pub offset: u64,
    /// Device.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
    /// Path or `[name]`.
    pub name: String,
    /// Resident bytes.
    pub rss: usize,
}
/// All areas in address order.
pub fn maps() -> Vec<MapsLine> {
    unimplemented!()
}
/// Mapped and resident bytes of the program.
pub fn usage() -> (usize, usize) {
    unimplemented!()
}
