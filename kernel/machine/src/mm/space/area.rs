//! Areas: ranges of addresses with one protection and one backing.

use super::PAGE;
use crate::mm::frame::Frame;
use abi::Errno;
use alloc::string::String;
use alloc::sync::Arc;
use core::ops::Range;

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

bitflags::bitflags! {
    /// What a program has said of an area beside its protection.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Marks: u32 {
        /// MAP_NORESERVE: it is not counted as memory that will be needed.
        const NO_RESERVE = 1;
        /// MADV_DONTFORK: a child does not get it.
        const DONT_FORK = 2;
        /// MADV_WIPEONFORK: a child gets zeros.
        const WIPE_ON_FORK = 4;
        /// mlock(2): what is there is not to be given up (`VM_LOCKED`).
        const LOCKED = 8;
    }
}

/// A page of a mapped file.
pub enum Page {
    /// Memory that is always there (virtio-pmem): its physical address. Never written through a private mapping.
    Static(u64),
    /// A page-cache frame shared with the file.
    Cached(Frame),
}

impl Page {
    /// Its physical address.
    pub(super) fn phys(&self) -> u64 {
        match self {
            Self::Static(phys) => *phys,
            Self::Cached(frame) => frame.phys(),
        }
    }
}

/// What a file gives to be mapped: pages by index (file offset / 4096). The rest of the last page reads as zeros.
pub trait PageSource: Send + Sync {
    /// The page with this index; `write` when a shared mapping is about to write to it. `EFAULT` past the end of the
    /// file (SIGBUS), `ENOMEM` without a frame.
    fn page(&self, index: u64, write: bool) -> Result<Page, Errno>;
    /// Gives pages from `index` on to be read, as long as they are in memory and `f` says to go on.
    #[doc(alias = "map_pages")]
    fn around(&self, index: u64, f: &mut dyn FnMut(Page) -> bool) {
        let _ = (index, f);
    }
    /// A space has been given the frame `frame` to write to in a shared mapping: other mappings, in other spaces too,
    /// may have what the page was before, and are to forget it ([`super::Space::forget_file`]). No space is locked.
    fn written(&self, index: u64, frame: u64) {
        let _ = (index, frame);
    }
    /// A number that tells the file from all others that are mapped, for [`super::forget_file`]; `None` when its pages
    /// are this source's alone.
    fn key(&self) -> Option<usize> {
        None
    }
    /// Name for /proc/self/maps, device and inode numbers.
    fn identity(&self) -> (String, u64, u64);
    /// Whether a shared mapping may write.
    fn writable(&self) -> bool {
        true
    }
    /// Whether mincore(2) shows a page that is not mapped yet.
    fn is_cached(&self, index: u64) -> bool {
        let _ = index;
        true
    }
    /// MS_SYNC: has what was written where it is to stay. No space is locked.
    fn sync(&self) -> Result<(), Errno> {
        Ok(())
    }
    /// MADV_REMOVE: makes a range of the file zeros.
    fn punch(&self, offset: u64, len: u64) -> Result<(), Errno> {
        let _ = (offset, len);
        Err(Errno::EOPNOTSUPP)
    }
    /// Whether it may be mapped to be executed.
    fn executable(&self) -> bool {
        true
    }
}

pub(super) fn is_same_file(one: &dyn PageSource, other: &dyn PageSource) -> bool {
    one.key().is_some() && one.key() == other.key() && one.writable() == other.writable()
}

/// Index of the page that is `within` bytes from `offset` on in a file.
pub(super) fn page_index(offset: u64, within: usize) -> u64 {
    (offset + within as u64) / PAGE as u64
}

/// What lies behind an area.
#[derive(Clone)]
pub enum Backing {
    /// Zeros, private.
    Anonymous,
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
    /// MAP_32BIT: at the hint if free, else anywhere, where 31 bits are enough for addresses.
    Low {
        /// 0 for none.
        hint: usize,
    },
}

/// Options of a mapping.
#[derive(Clone, Copy, Default, Debug)]
pub struct Options {
    /// MAP_POPULATE.
    pub populate: bool,
    /// What else is asked for.
    pub marks: Marks,
    /// Name shown in maps, as `[stack]`.
    pub name: Option<&'static str>,
}

/// Bytes that may be mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// In all (`RLIMIT_AS`).
    pub all: usize,
    /// To be written, and seen by nobody else (`RLIMIT_DATA`).
    pub data: usize,
}

impl Limits {
    /// As much as there are addresses.
    pub(super) const NONE: Self = Self {
        all: usize::MAX,
        data: usize::MAX,
    };
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

impl MapsLine {
    /// Private memory of no file, which may be read and written.
    pub(super) fn anonymous(range: Range<usize>, name: &str, rss: usize) -> Self {
        Self {
            start: range.start,
            end: range.end,
            prot: Prot::READ | Prot::WRITE,
            shared: false,
            offset: 0,
            dev: 0,
            ino: 0,
            name: name.into(),
            rss,
        }
    }
}

/// An area; its start is its key.
#[derive(Clone)]
pub(super) struct Area {
    pub(super) end: usize,
    pub(super) prot: Prot,
    pub(super) backing: Backing,
    pub(super) marks: Marks,
    pub(super) name: Option<&'static str>,
}

impl Area {
    /// Keeps `at` bytes, which end at the address `addr`, and returns the rest.
    pub(super) fn split_off(&mut self, at: usize, addr: usize) -> Self {
        let mut rest = self.clone();
        if let Backing::File { offset, .. } = &mut rest.backing {
            *offset += at as u64;
        }
        self.end = addr;
        rest
    }

    /// Whether `next`, which begins where this ends, can be one area with it; this starts at `start`.
    pub(super) fn joins(&self, start: usize, next: &Self) -> bool {
        let backing = match (&self.backing, &next.backing) {
            (Backing::Anonymous, Backing::Anonymous) => true,
            (
                Backing::File {
                    source,
                    offset,
                    shared,
                },
                Backing::File {
                    source: other,
                    offset: next,
                    shared: is_shared,
                },
            ) => {
                is_same_file(&**source, &**other)
                    && shared == is_shared
                    && *offset + (self.end - start) as u64 == *next
            }
            _ => false,
        };
        backing && self.marks == next.marks && self.prot == next.prot && self.name == next.name
    }

    /// Whether others may see what is written to it.
    pub(super) fn is_shared(&self) -> bool {
        match &self.backing {
            Backing::Anonymous => false,
            Backing::File { shared, .. } => *shared,
        }
    }

    /// Whether `RLIMIT_DATA` is about it, if it has this protection.
    pub(super) fn is_data(&self, prot: Prot) -> bool {
        prot.contains(Prot::WRITE) && !self.is_shared() && self.name != Some(super::STACK)
    }

    /// Whether memory may be needed for all of it, if it has this protection.
    pub(super) fn is_counted(&self, prot: Prot) -> bool {
        prot.contains(Prot::WRITE) && !self.is_shared() && !self.marks.contains(Marks::NO_RESERVE)
    }

    /// Whether mprotect(2) may give this protection.
    pub(super) fn allows(&self, prot: Prot) -> bool {
        match &self.backing {
            Backing::File { source, shared, .. } => {
                (!shared || !prot.contains(Prot::WRITE) || source.writable())
                    && (!prot.contains(Prot::EXEC) || source.executable())
            }
            _ => true,
        }
    }

    /// The key of the file, if it has one ([`PageSource::key`]).
    pub(super) fn file_key(&self) -> Option<usize> {
        match &self.backing {
            Backing::File { source, .. } => source.key(),
            _ => None,
        }
    }

    /// Whether the page `within` bytes from the start is in memory for being a file's.
    pub(super) fn is_cached(&self, within: usize) -> bool {
        match &self.backing {
            Backing::File { source, offset, .. } => source.is_cached(page_index(*offset, within)),
            _ => false,
        }
    }

    /// What is shared at `within` bytes from the start, and the place in it.
    pub(super) fn shared_object(&self, within: usize) -> Option<(usize, usize)> {
        match &self.backing {
            Backing::File {
                source,
                offset,
                shared: true,
            } => Some((source.key()?, *offset as usize + within)),
            _ => None,
        }
    }

    /// Where pages `from..to` of its file are in this area, which starts at `start`.
    pub(super) fn addresses(&self, start: usize, from: u64, to: u64) -> Option<(usize, usize)> {
        let Backing::File { offset, .. } = &self.backing else {
            return None;
        };
        let first = page_index(*offset, 0);
        let last = page_index(*offset, self.end - start);
        let (from, to) = (from.max(first), to.min(last));
        let at = |index: u64| start + (index - first) as usize * PAGE;
        (from < to).then(|| (at(from), at(to)))
    }

    /// The line of /proc/self/maps.
    pub(super) fn describe(&self, start: usize, pages: usize) -> MapsLine {
        let mut line = MapsLine {
            start,
            end: self.end,
            prot: self.prot,
            shared: false,
            offset: 0,
            dev: 0,
            ino: 0,
            name: self.name.unwrap_or("").into(),
            rss: pages * PAGE,
        };
        if let Backing::File {
            source,
            offset,
            shared,
        } = &self.backing
        {
            (line.name, line.dev, line.ino) = source.identity();
            (line.offset, line.shared) = (*offset, *shared);
        }
        line
    }
}
