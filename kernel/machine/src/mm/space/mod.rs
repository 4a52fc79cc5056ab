//! The program's address space: areas, demand paging, mmap(2) and its family.
//!
//! One lock covers areas and page tables. Kernel memory is not described here.

mod area;
mod areas;
mod holes;
#[expect(
    unsafe_code,
    reason = "frames go into page tables and come out of them"
)]
mod pages;

pub use area::{Backing, MapsLine, Options, Page, PageSource, Place, Prot};
pub use areas::MAX as MAX_AREAS;

use super::fault::{Fault, Wanted};
use super::{PAGE, USER_END, USER_START};
use crate::sync::Mutex;
use abi::Errno;
use alloc::vec::Vec;
use area::Area;
use areas::Areas;

/// The name of the main thread's stack.
pub const STACK: &str = "[stack]";

/// The areas, and what the page tables refer to.
struct Space {
    areas: Areas,
    pages: pages::Pages,
    /// Mappings are put below this address, from the top down.
    top: usize,
    break_start: usize,
    break_end: usize,
    /// Bytes that may be mapped (`RLIMIT_AS`).
    limit: usize,
}

static SPACE: Mutex<Space> = Mutex::new(Space {
    areas: Areas::new(),
    pages: pages::Pages::new(),
    top: 0,
    break_start: 0,
    break_end: 0,
    limit: usize::MAX,
});

fn page_up(len: usize) -> Option<usize> {
    len.checked_next_multiple_of(PAGE)
}

/// Checks a page-aligned range that has to lie in the program's half; its end.
fn range(addr: usize, len: usize) -> Result<usize, Errno> {
    let end = page_up(len).and_then(|len| addr.checked_add(len));
    match end {
        Some(end) if addr.is_multiple_of(PAGE) && end <= USER_END => Ok(end),
        _ => Err(Errno::EINVAL),
    }
}

impl Space {
    fn place(&mut self, place: Place, len: usize) -> Result<usize, Errno> {
        match place {
            Place::Fixed(at) => {
                let end = range(at, len)?;
                if at < USER_START {
                    return Err(Errno::EPERM);
                }
                self.clear(at, end)?;
                Ok(at)
            }
            Place::FixedNoReplace(at) => {
                let end = range(at, len)?;
                if at < USER_START {
                    return Err(Errno::EPERM);
                }
                if self.areas.is_free(at, end) {
                    Ok(at)
                } else {
                    Err(Errno::EEXIST)
                }
            }
            Place::Anywhere { hint } => {
                let hint = hint & !(PAGE - 1);
                match hint.checked_add(len) {
                    Some(end) if hint != 0 && self.areas.is_free(hint, end) => Ok(hint),
                    _ => self.areas.find(len, PAGE, self.top),
                }
            }
            Place::Aligned(align) => self.areas.find(len, align.max(PAGE), self.top),
        }
    }

    /// Takes everything out of `start..end`; `ENOMEM` as [`Areas::clear`].
    fn clear(&mut self, start: usize, end: usize) -> Result<(), Errno> {
        self.areas.clear(start, end)?;
        self.pages.zap(start, end);
        Ok(())
    }

    /// `ENOMEM` when `more` bytes are beyond the limit.
    fn check_limit(&self, more: usize) -> Result<(), Errno> {
        if self.areas.bytes().saturating_add(more) <= self.limit {
            Ok(())
        } else {
            Err(Errno::ENOMEM)
        }
    }
}

/// Makes the address space, before the program starts. Mappings go from `offset` pages below the top of the program's half.
pub fn init(offset: usize) {
    let mut space = SPACE.lock();
    space.areas.open();
    space.top = USER_END - offset * PAGE;
}

/// Sets the number of bytes that may be mapped (`RLIMIT_AS`); what is mapped stays.
pub fn set_limit(bytes: usize) {
    SPACE.lock().limit = bytes;
}

/// Maps `len` bytes (rounded up to pages); the address. `ENOMEM`, `EEXIST`, `EINVAL` as mmap(2).
pub fn map(
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
    let mut space = SPACE.lock();
    // One more than there may be, as on Linux.
    if space.areas.are_too_many(0) {
        return Err(Errno::ENOMEM);
    }
    let replaced = match place {
        Place::Fixed(at) => space.areas.mapped(at, range(at, len)?),
        _ => 0,
    };
    space.check_limit(len - replaced)?;
    let at = space.place(place, len)?;
    let area = Area {
        end: at + len,
        prot,
        backing,
        name: options.name,
    };
    space.areas.insert(at, area);
    if options.populate {
        // Failing to populate is not an error (mmap(2)).
        let wanted = if prot.contains(Prot::WRITE) {
            Wanted::Write
        } else {
            Wanted::Read
        };
        for page in (at..at + len).step_by(PAGE) {
            if space.fault(page, wanted).is_err() {
                break;
            }
        }
    }
    Ok(at)
}

/// munmap(2).
pub fn unmap(addr: usize, len: usize) -> Result<(), Errno> {
    let end = range(addr, len)?;
    if len == 0 {
        return Err(Errno::EINVAL);
    }
    SPACE.lock().clear(addr, end)
}

/// mprotect(2).
pub fn protect(addr: usize, len: usize, prot: Prot) -> Result<(), Errno> {
    SPACE.lock().protect(addr, len, prot)
}

/// mprotect(2) with `PROT_GROWSDOWN`: from the start of the stack that `addr` lies in. `EINVAL` if it lies elsewhere.
pub fn protect_down(addr: usize, len: usize, prot: Prot) -> Result<(), Errno> {
    let mut space = SPACE.lock();
    let (start, area) = space.areas.at(addr).ok_or(Errno::ENOMEM)?;
    if area.name != Some(STACK) {
        return Err(Errno::EINVAL);
    }
    space.protect(start, len.saturating_add(addr - start), prot)
}

/// madvise(2) with `MADV_DONTNEED` and its like: contents are forgotten.
pub fn forget(addr: usize, len: usize) -> Result<(), Errno> {
    let end = range(addr, len)?;
    let mut space = SPACE.lock();
    let Space { areas, pages, .. } = &mut *space;
    for (at, area) in areas.overlapping(addr, end) {
        // Shared memory of ours has no other home than its pages.
        if !matches!(area.backing, Backing::SharedAnonymous) {
            pages.zap(at.max(addr), area.end.min(end));
        }
    }
    let covered = areas.is_covered(addr, end);
    if covered { Ok(()) } else { Err(Errno::ENOMEM) }
}

/// Forgets where pages `from..to` of a file are mapped: the file has other ones now, or none. What a program has written to
/// private mappings stays, unless `even_private`. `key` is [`PageSource::key`].
pub fn forget_file(key: usize, from: u64, to: u64, even_private: bool) {
    SPACE.lock().forget_file(key, from, to, even_private, None);
}

/// Whether every page of the range is mapped (`madvise`, `msync`, `mlock`, …: `ENOMEM` if not, beyond the program's
/// addresses, too).
pub fn check_mapped(addr: usize, len: usize) -> Result<(), Errno> {
    let end = page_up(len)
        .and_then(|len| addr.checked_add(len))
        .filter(|_| addr.is_multiple_of(PAGE))
        .ok_or(Errno::EINVAL)?;
    if SPACE.lock().areas.is_covered(addr, end) {
        Ok(())
    } else {
        Err(Errno::ENOMEM)
    }
}

/// mincore(2): one byte a page, 1 when it is there.
pub fn resident(addr: usize, len: usize) -> Result<Vec<u8>, Errno> {
    let end = range(addr, len)?;
    let space = SPACE.lock();
    if !space.areas.is_covered(addr, end) {
        return Err(Errno::ENOMEM);
    }
    Ok((addr..end)
        .step_by(PAGE)
        .map(|page| u8::from(pages::Pages::is_present(page)))
        .collect())
}

/// mremap(2). `to` is the new address of `MREMAP_FIXED`.
pub fn remap(
    old: usize,
    old_len: usize,
    new_len: usize,
    may_move: bool,
    to: Option<usize>,
) -> Result<usize, Errno> {
    let old_end = range(old, old_len)?;
    let new_len = page_up(new_len).ok_or(Errno::EINVAL)?;
    if new_len == 0 || old_end == old {
        return Err(Errno::EINVAL);
    }
    let old_len = old_end - old;
    let mut space = SPACE.lock();
    let (start, area) = space.areas.at(old).ok_or(Errno::EFAULT)?;
    let area = area.clone();
    if area.end < old_end {
        return Err(Errno::EFAULT);
    }
    if to.is_none() {
        if new_len <= old_len {
            space.clear(old + new_len, old_end)?;
            return Ok(old);
        }
        space.check_limit(new_len - old_len)?;
        let new_end = old.checked_add(new_len).ok_or(Errno::ENOMEM)?;
        if area.end == old_end && space.areas.is_free(old_end, new_end) {
            space.areas.grow(start, new_end);
            return Ok(old);
        }
        if !may_move {
            return Err(Errno::ENOMEM);
        }
    }
    // As on Linux: what is done below may make as many.
    if space.areas.are_too_many(4) {
        return Err(Errno::ENOMEM);
    }
    let at = match to {
        Some(to) => {
            let end = range(to, new_len)?;
            if to < old_end && old < end {
                return Err(Errno::EINVAL);
            }
            space.check_limit(new_len.saturating_sub(old_len))?;
            space.place(Place::Fixed(to), new_len)?
        }
        None => space.areas.find(new_len, PAGE, space.top)?,
    };
    let kept = old_len.min(new_len);
    pages::Pages::prepare(old, at, kept).ok_or(Errno::ENOMEM)?;
    let mut moved = area.clone().split_off(old - start, old);
    moved.end = at + new_len;
    space.areas.insert(at, moved);
    space.pages.relocate(old, at, kept);
    space.clear(old, old_end)?;
    Ok(at)
}

/// Sets where the heap of brk(2) begins.
pub fn set_break(addr: usize) {
    let mut space = SPACE.lock();
    let addr = addr.next_multiple_of(PAGE);
    (space.break_start, space.break_end) = (addr, addr);
}

/// brk(2): the break after the attempt.
pub fn set_break_end(addr: usize) -> usize {
    let mut space = SPACE.lock();
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
        if space.areas.are_too_many(0)
            || !space.areas.is_free(old_page, new_page)
            || space.check_limit(new_page - old_page).is_err()
        {
            return old;
        }
        let area = Area {
            end: new_page,
            prot: Prot::READ | Prot::WRITE,
            backing: Backing::Anonymous,
            name: Some("[heap]"),
        };
        space.areas.insert(old_page, area);
    }
    space.break_end = addr;
    addr
}

impl Space {
    /// As [`protect`].
    fn protect(&mut self, addr: usize, len: usize, prot: Prot) -> Result<(), Errno> {
        let end = range(addr, len).map_err(|error| {
            if addr.is_multiple_of(PAGE) {
                Errno::ENOMEM
            } else {
                error
            }
        })?;
        if !self.areas.is_covered(addr, end) {
            return Err(Errno::ENOMEM);
        }
        let allows = |(_, area): (usize, &Area)| area.allows(prot);
        if !self.areas.overlapping(addr, end).all(allows) {
            return Err(Errno::EACCES);
        }
        self.areas.change(addr, end, |area| area.prot = prot)?;
        self.pages.protect(addr, end, prot);
        Ok(())
    }

    /// As [`forget_file`]; entries that refer to the frame `keep` stay.
    fn forget_file(
        &mut self,
        key: usize,
        from: u64,
        to: u64,
        even_private: bool,
        keep: Option<u64>,
    ) {
        let ranges = self.areas.of_file(key, from, to);
        for (start, end) in ranges {
            self.pages.forget(start, end, even_private, keep);
        }
    }

    fn fault(&mut self, addr: usize, wanted: Wanted) -> Result<(), Fault> {
        let page = addr & !(PAGE - 1);
        let (start, area) = self.areas.at(page).ok_or(Fault::NotMapped)?;
        let needed = match wanted {
            Wanted::Read => Prot::READ,
            Wanted::Write => Prot::WRITE,
            Wanted::Execute => Prot::EXEC,
        };
        // On x86-64 what may be written or executed may be read.
        let allowed = match wanted {
            Wanted::Read => !area.prot.is_empty(),
            _ => area.prot.contains(needed),
        };
        if !allowed {
            return Err(Fault::Protection);
        }
        let write = wanted == Wanted::Write;
        self.pages.bring_in(area, start, page, write)?;
        if let Backing::File {
            source,
            offset,
            shared: true,
        } = &area.backing
            && write
            && let Some(key) = source.key()
        {
            // The file may have a page of its own now, which other mappings have not heard of.
            let index = (*offset + (page - start) as u64) / PAGE as u64;
            self.forget_file(key, index, index + 1, false, pages::Pages::address(page));
        }
        Ok(())
    }
}

/// Brings a page in, or says why not.
pub(crate) fn fault(addr: usize, wanted: Wanted) -> Result<(), Fault> {
    SPACE.lock().fault(addr, wanted)
}

/// All areas in address order.
pub fn maps() -> Vec<MapsLine> {
    let space = SPACE.lock();
    space
        .areas
        .iter()
        .map(|(start, area)| area.describe(start, pages::Pages::count(start, area.end)))
        .collect()
}

/// Mapped and resident bytes of the program.
pub fn usage() -> (usize, usize) {
    let space = SPACE.lock();
    (space.areas.bytes(), space.pages.resident() * PAGE)
}
