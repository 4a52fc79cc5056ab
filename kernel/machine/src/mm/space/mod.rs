//! Address spaces: areas, demand paging, mmap(2) and its family.
//!
//! One lock covers the areas of a space and its page tables. Kernel memory is not described here.

mod advice;
mod area;
mod areas;
#[expect(unsafe_code, reason = "memory that is reached by address")]
pub(crate) mod arena;
#[cfg(test)]
mod copies;
mod current;
mod holes;
mod limits;
mod mappings;
#[expect(
    unsafe_code,
    reason = "frames go into page tables and come out of them"
)]
mod pages;
mod remote;
#[cfg(test)]
mod tests;

pub use advice::Advice;
pub use area::{Backing, Limits, MapsLine, Marks, Options, Page, PageSource, Place, Prot};
pub use areas::MAX as MAX_AREAS;
pub use current::with_current;
pub use remote::Access;

use self::arena::Arena;
use super::fault::{Fault, Wanted};
use super::{PAGE, USER_END, frame};
use crate::arch::paging::Tables;
use crate::sync::Mutex;
use abi::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use area::Area;
use mappings::{Mappings, page_up, range};

/// The name of the main thread's stack.
pub const STACK: &str = "[stack]";
/// The name of what lies below that. It keeps mappings away; a fault there is one where nothing is mapped.
pub const STACK_GUARD: &str = "";

/// What mremap(2) may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Remap {
    /// Nothing but make it longer or shorter.
    InPlace,
    /// `MREMAP_MAYMOVE`
    Move,
    /// `MREMAP_DONTUNMAP`: what was there stays mapped, without its pages.
    Keep,
}

/// The program's half of the address space.
#[doc(alias = "mm_struct")]
pub struct Space {
    // In this order: what is mapped goes before the tables do.
    mappings: Mutex<Mappings>,
    arena: Arena,
    tables: Arc<Tables>,
}

impl Space {
    /// One in which nothing can be mapped yet. `None` without memory.
    pub fn new() -> Option<Self> {
        let tables = Arc::new(Tables::new()?);
        Some(Self {
            mappings: Mutex::new(Mappings::new(tables.clone())),
            arena: Arena::new(tables.clone())?,
            tables,
        })
    }

    /// The same for another process, as fork(2) gives it: what is private diverges from now on, what is shared stays
    /// so, and the dynamic linker has its own in the same place. `None` without memory, or if what is left is not
    /// enough for both to go on.
    pub fn copy(&self) -> Option<Self> {
        /// Frames that are left for what either writes to next.
        const LEFT: usize = 256;
        let tables = Arc::new(Tables::new()?);
        let mappings = self.mappings.lock();
        // Tables of which all is present, and one for each area of which hardly anything is.
        let in_tables = mappings.pages.resident() / 512 + mappings.areas.iter().count();
        let needed = self.arena.used().len() / PAGE + in_tables + LEFT;
        if frame::available() < needed {
            return None;
        }
        let mut copies = mappings.copy_areas(tables.clone());
        let (arena, shared) = self.arena.copy(tables.clone(), || {
            // At the same moment: what the dynamic linker knows is what is mapped.
            mappings.share_pages(&mut copies)
        });
        // Before anybody can write who has seen the old entries: the lock is held.
        mappings.pages.flush();
        let copy = Self {
            mappings: Mutex::new(copies),
            arena: arena?,
            tables,
        };
        shared.map(|()| copy)
    }

    /// Where the dynamic linker keeps what it has.
    pub fn arena(&self) -> &Arena {
        &self.arena
    }

    /// Opens it for mappings, which go from `offset` pages below the top of the program's half.
    pub fn open(&self, offset: usize) {
        let mut space = self.mappings.lock();
        space.areas.open();
        space.top = USER_END - offset * PAGE;
    }

    /// Maps `len` bytes (rounded up to pages); the address. `ENOMEM`, `EEXIST`, `EINVAL` as mmap(2).
    pub fn map(
        &self,
        place: Place,
        len: usize,
        prot: Prot,
        backing: Backing,
        options: Options,
    ) -> Result<usize, Errno> {
        let len = page_up(len)
            .filter(|&len| len <= USER_END)
            .ok_or(Errno::ENOMEM)?;
        if len == 0 {
            return Err(Errno::EINVAL);
        }
        if let Backing::File { source, .. } = &backing
            && prot.contains(Prot::EXEC)
            && !source.executable()
        {
            return Err(Errno::EPERM);
        }
        let mut area = Area {
            end: 0,
            prot,
            backing,
            marks: options.marks,
            name: options.name,
        };
        let mut space = self.mappings.lock();
        // One more than there may be, as on Linux.
        if space.areas.are_too_many(0) {
            return Err(Errno::ENOMEM);
        }
        let replaced = match place {
            Place::Fixed(at) => at..range(at, len)?,
            _ => 0..0,
        };
        space.check_more(&area, len, replaced)?;
        let at = space.place(place, len)?;
        area.end = at + len;
        space.areas.insert(at, area);
        drop(space);
        if options.populate {
            // Failing to populate is not an error (mmap(2)).
            let wanted = if prot.contains(Prot::WRITE) {
                Wanted::Write
            } else {
                Wanted::Read
            };
            for page in (at..at + len).step_by(PAGE) {
                if self.fault(page, wanted).is_err() {
                    break;
                }
            }
        }
        Ok(at)
    }

    /// munmap(2).
    pub fn unmap(&self, addr: usize, len: usize) -> Result<(), Errno> {
        let end = range(addr, len)?;
        if len == 0 {
            return Err(Errno::EINVAL);
        }
        self.mappings.lock().clear(addr, end)
    }

    /// mprotect(2).
    pub fn protect(&self, addr: usize, len: usize, prot: Prot) -> Result<(), Errno> {
        self.mappings.lock().protect(addr, len, prot)
    }

    /// mprotect(2) with `PROT_GROWSDOWN`: from the start of the stack that `addr` lies in. `EINVAL` if it lies
    /// elsewhere.
    pub fn protect_down(&self, addr: usize, len: usize, prot: Prot) -> Result<(), Errno> {
        let mut space = self.mappings.lock();
        let (start, area) = space.areas.at(addr).ok_or(Errno::ENOMEM)?;
        if area.name != Some(STACK) {
            return Err(Errno::EINVAL);
        }
        space.protect(start, len.saturating_add(addr - start), prot)
    }

    /// Forgets where pages `from..to` of a file are mapped: the file has other ones now, or none. What a program has
    /// written to private mappings stays, unless `even_private`, and so does what refers to the frame `keep`. `key` is
    /// [`PageSource::key`].
    pub fn forget_file(
        &self,
        key: usize,
        from: u64,
        to: u64,
        even_private: bool,
        keep: Option<u64>,
    ) {
        self.mappings
            .lock()
            .forget_file(key, from, to, even_private, keep);
    }

    /// How often what has this key is mapped.
    pub fn mappings_of(&self, key: usize) -> usize {
        let space = self.mappings.lock();
        space.areas.of_file(key, 0, u64::MAX).len()
    }

    /// Whether a file is mapped so that others see what is written to it, now or once mprotect(2) allows it.
    pub fn maps_to_write(&self, key: usize) -> bool {
        let space = self.mappings.lock();
        let ranges = space.areas.of_file(key, 0, u64::MAX);
        ranges.iter().any(|&(start, _)| {
            let area = space.areas.at(start);
            area.is_some_and(|(_, area)| area.is_shared() && area.allows(Prot::WRITE))
        })
    }

    /// What others can map, too, at `addr`: a number that tells it from all else that is mapped, and the place in it.
    /// `None` for what is this space's alone.
    pub fn shared_object(&self, addr: usize) -> Option<(usize, usize)> {
        let space = self.mappings.lock();
        let (start, area) = space.areas.at(addr)?;
        area.shared_object(addr - start)
    }

    /// mremap(2). `to` is the new address of `MREMAP_FIXED`. With an old length of 0 what is shared is mapped once
    /// more.
    pub fn remap(
        &self,
        old: usize,
        old_len: usize,
        new_len: usize,
        mode: Remap,
        to: Option<usize>,
    ) -> Result<usize, Errno> {
        let old_end = range(old, old_len)?;
        let new_len = page_up(new_len).ok_or(Errno::EINVAL)?;
        if new_len == 0 {
            return Err(Errno::EINVAL);
        }
        let old_len = old_end - old;
        let mut space = self.mappings.lock();
        let (start, area) = space.areas.at(old).ok_or(Errno::EFAULT)?;
        let area = area.clone();
        if old_len == 0 && area.shared_object(0).is_none() {
            return Err(Errno::EINVAL);
        }
        if area.end < old_end {
            return Err(Errno::EFAULT);
        }
        if to.is_none() && mode != Remap::Keep {
            if new_len <= old_len {
                space.clear(old + new_len, old_end)?;
                return Ok(old);
            }
            space.check_more(&area, new_len - old_len, 0..0)?;
            let new_end = old.checked_add(new_len).ok_or(Errno::ENOMEM)?;
            if area.end == old_end && old_len != 0 && space.areas.is_free(old_end, new_end) {
                space.areas.grow(start, new_end);
                return Ok(old);
            }
            if mode == Remap::InPlace {
                return Err(Errno::ENOMEM);
            }
        }
        // As on Linux: what is done below may make as many.
        if space.areas.are_too_many(4) {
            return Err(Errno::ENOMEM);
        }
        let more = match mode {
            Remap::Keep => new_len,
            _ => new_len.saturating_sub(old_len),
        };
        let at = match to {
            Some(to) => {
                let end = range(to, new_len)?;
                if to < old_end && old < end {
                    return Err(Errno::EINVAL);
                }
                space.check_more(&area, more, 0..0)?;
                space.place(Place::Fixed(to), new_len)?
            }
            None => {
                space.check_more(&area, more, 0..0)?;
                space.areas.find(new_len, PAGE, space.top)?
            }
        };
        let kept = old_len.min(new_len);
        space.pages.prepare(old, at, kept).ok_or(Errno::ENOMEM)?;
        let mut moved = area.clone().split_off(old - start, old);
        moved.end = at + new_len;
        space.areas.insert(at, moved);
        space.pages.relocate(old, at, kept);
        if mode != Remap::Keep {
            space.clear(old, old_end)?;
        }
        Ok(at)
    }

    /// Sets where the heap of brk(2) begins.
    pub fn set_break(&self, addr: usize) {
        let mut space = self.mappings.lock();
        let addr = addr.next_multiple_of(PAGE);
        (space.break_start, space.break_end) = (addr, addr);
    }

    /// brk(2): the break after the attempt.
    pub fn set_break_end(&self, addr: usize) -> usize {
        let mut space = self.mappings.lock();
        let (start, old) = (space.break_start, space.break_end);
        if addr < start || addr > USER_END || start == 0 {
            return old;
        }
        let (old_page, new_page) = (old.next_multiple_of(PAGE), addr.next_multiple_of(PAGE));
        if new_page < old_page {
            if space.clear(new_page, old_page).is_err() {
                return old;
            }
        } else if new_page > old_page {
            if space.areas.are_too_many(0) || !space.areas.is_free(old_page, new_page) {
                return old;
            }
            let area = Area {
                end: new_page,
                prot: Prot::READ | Prot::WRITE,
                backing: Backing::Anonymous,
                marks: Marks::empty(),
                name: Some("[heap]"),
            };
            if space.check_more(&area, new_page - old_page, 0..0).is_err() {
                return old;
            }
            space.areas.insert(old_page, area);
        }
        space.break_end = addr;
        addr
    }

    /// Brings a page in, or says why not.
    pub(crate) fn fault(&self, addr: usize, wanted: Wanted) -> Result<(), Fault> {
        let written = self.mappings.lock().fault(addr, wanted)?;
        if let Some(written) = written {
            written.tell();
        }
        Ok(())
    }

    /// All areas in address order.
    pub fn maps(&self) -> Vec<MapsLine> {
        let space = self.mappings.lock();
        let mut lines: Vec<_> = space
            .areas
            .iter()
            .map(|(start, area)| area.describe(start, space.pages.count(start, area.end)))
            .collect();
        let used = self.arena.used();
        let at = lines.partition_point(|line| line.start < used.start);
        let rss = space.pages.count(used.start, used.end) * PAGE;
        lines.insert(at, MapsLine::anonymous(used, "[loader]", rss));
        lines
    }

    /// The most bytes that were resident at once.
    pub fn most_resident(&self) -> usize {
        self.mappings.lock().pages.most_resident() * PAGE
    }

    /// Mapped and resident bytes.
    pub fn usage(&self) -> (usize, usize) {
        let space = self.mappings.lock();
        (space.areas.bytes(), space.pages.resident() * PAGE)
    }
}
