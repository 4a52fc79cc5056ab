//! The program's address space: areas, demand paging, mmap(2) and its family.
//!
//! One lock covers areas and page tables. Kernel memory is not described here.

mod area;
mod pages;

pub use area::{Backing, MapsLine, Options, Page, PageSource, Place, Prot};

use super::fault::{Fault, Wanted};
use super::{PAGE, USER_END, USER_START};
use crate::sync::Mutex;
use crate::syscall::Errno;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use area::Area;

/// The areas by their first address, and what the page tables refer to.
struct Space {
    areas: BTreeMap<usize, Area>,
    pages: pages::Pages,
    /// Mappings are put below this address, from the top down.
    top: usize,
    break_start: usize,
    break_end: usize,
    /// Bytes that may be mapped (`RLIMIT_AS`).
    limit: usize,
}

static SPACE: Mutex<Space> = Mutex::new(Space {
    areas: BTreeMap::new(),
    pages: pages::Pages::new(),
    top: 0x7fff_f000_0000,
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
    /// The areas that overlap `start..end`, by their starts.
    fn overlapping(&self, start: usize, end: usize) -> Vec<usize> {
        let first = self.areas.range(..=start).next_back();
        let first = first
            .filter(|(_, area)| area.end > start)
            .map_or(start, |(&at, _)| at);
        self.areas.range(first..end).map(|(&at, _)| at).collect()
    }

    fn is_free(&self, start: usize, end: usize) -> bool {
        start >= USER_START
            && end <= USER_END
            && self
                .areas
                .range(..end)
                .next_back()
                .is_none_or(|(_, area)| area.end <= start)
    }

    /// The highest free place for `len` bytes.
    fn find(&self, len: usize, align: usize) -> Result<usize, Errno> {
        let mut end = self.top;
        for (&start, area) in self.areas.range(..self.top).rev() {
            if let Some(at) = fit(area.end, end, len, align) {
                return Ok(at);
            }
            end = end.min(start);
        }
        fit(USER_START, end, len, align).ok_or(Errno::ENOMEM)
    }

    fn place(&mut self, place: Place, len: usize) -> Result<usize, Errno> {
        match place {
            Place::Fixed(at) => {
                let end = range(at, len)?;
                if at < USER_START {
                    return Err(Errno::EPERM);
                }
                self.clear(at, end);
                Ok(at)
            }
            Place::FixedNoReplace(at) => {
                let end = range(at, len)?;
                if at < USER_START {
                    return Err(Errno::EPERM);
                }
                if self.is_free(at, end) {
                    Ok(at)
                } else {
                    Err(Errno::EEXIST)
                }
            }
            Place::Anywhere { hint } => {
                let hint = hint & !(PAGE - 1);
                match hint.checked_add(len) {
                    Some(end) if hint != 0 && self.is_free(hint, end) => Ok(hint),
                    _ => self.find(len, PAGE),
                }
            }
            Place::Aligned(align) => self.find(len, align.max(PAGE)),
        }
    }

    /// Splits the area that `addr` lies in the middle of, if any.
    fn split(&mut self, addr: usize) {
        let Some((&start, area)) = self.areas.range_mut(..addr).next_back() else {
            return;
        };
        if area.end > addr {
            let rest = area.split_off(addr - start, addr);
            self.areas.insert(addr, rest);
        }
    }

    fn insert(&mut self, start: usize, area: Area) {
        let (mut start, mut area) = (start, area);
        if let Some((&before, other)) = self.areas.range(..start).next_back()
            && other.end == start
            && other.joins(&area)
        {
            self.areas.remove(&before);
            start = before;
        }
        if let Some(next) = self.areas.get(&area.end)
            && area.joins(next)
        {
            let end = next.end;
            self.areas.remove(&area.end);
            area.end = end;
        }
        self.areas.insert(start, area);
    }

    /// Takes everything out of `start..end`.
    fn clear(&mut self, start: usize, end: usize) {
        self.split(start);
        self.split(end);
        for at in self.overlapping(start, end) {
            self.areas.remove(&at);
        }
        self.pages.zap(start, end);
    }

    /// Number of bytes of `start..end` that are mapped.
    fn mapped(&self, start: usize, end: usize) -> usize {
        self.overlapping(start, end)
            .into_iter()
            .map(|at| self.areas[&at].end.min(end) - at.max(start))
            .sum()
    }

    /// `ENOMEM` when `more` bytes are beyond the limit.
    fn check_limit(&self, more: usize) -> Result<(), Errno> {
        // Without a limit, as most programs are, nothing has to be added up.
        if self.limit == usize::MAX || self.mapped(0, USER_END).saturating_add(more) <= self.limit {
            Ok(())
        } else {
            Err(Errno::ENOMEM)
        }
    }

    /// Whether every page of `start..end` is mapped.
    fn is_covered(&self, start: usize, end: usize) -> bool {
        let mut at = start;
        for area in self.overlapping(start, end) {
            if area > at {
                return false;
            }
            at = self.areas[&area].end;
        }
        at >= end
    }
}

fn fit(start: usize, end: usize, len: usize, align: usize) -> Option<usize> {
    let at = end.checked_sub(len)? / align * align;
    (at >= start.max(USER_START)).then_some(at)
}

/// Sets where mappings go from, before the program starts: `offset` pages below the top of the program's half.
pub fn randomise(offset: usize) {
    SPACE.lock().top = USER_END - offset * PAGE;
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
    let replaced = match place {
        Place::Fixed(at) => space.mapped(at, range(at, len)?),
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
    space.insert(at, area);
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
    SPACE.lock().clear(addr, end);
    Ok(())
}

/// mprotect(2).
pub fn protect(addr: usize, len: usize, prot: Prot) -> Result<(), Errno> {
    let end = range(addr, len).map_err(|error| {
        if addr.is_multiple_of(PAGE) {
            Errno::ENOMEM
        } else {
            error
        }
    })?;
    let mut space = SPACE.lock();
    if !space.is_covered(addr, end) {
        return Err(Errno::ENOMEM);
    }
    for at in space.overlapping(addr, end) {
        if !space.areas[&at].allows(prot) {
            return Err(Errno::EACCES);
        }
    }
    space.split(addr);
    space.split(end);
    for at in space.overlapping(addr, end) {
        if let Some(mut area) = space.areas.remove(&at) {
            area.prot = prot;
            space.insert(at, area);
        }
    }
    space.pages.protect(addr, end, prot);
    Ok(())
}

/// madvise(2) with `MADV_DONTNEED` and its like: contents are forgotten.
pub fn forget(addr: usize, len: usize) -> Result<(), Errno> {
    let end = range(addr, len)?;
    let mut space = SPACE.lock();
    let covered = space.is_covered(addr, end);
    for at in space.overlapping(addr, end) {
        let area = &space.areas[&at];
        let (start, end) = (at.max(addr), area.end.min(end));
        // Shared memory of ours has no other home than its pages.
        if !matches!(area.backing, Backing::SharedAnonymous) {
            space.pages.zap(start, end);
        }
    }
    if covered { Ok(()) } else { Err(Errno::ENOMEM) }
}

/// Forgets where pages `from..to` of a file are mapped: the file has other ones now, or none. What a program has written to
/// private mappings stays, unless `even_private`. `key` is [`PageSource::key`].
pub fn forget_file(key: usize, from: u64, to: u64, even_private: bool) {
    SPACE.lock().forget_file(key, from, to, even_private, None);
}

/// Whether every page of the range is mapped (`madvise`, `msync`, `mlock`, …: `ENOMEM` if not).
pub fn check_mapped(addr: usize, len: usize) -> Result<(), Errno> {
    let end = range(addr, len)?;
    if SPACE.lock().is_covered(addr, end) {
        Ok(())
    } else {
        Err(Errno::ENOMEM)
    }
}

/// mincore(2): one byte a page, 1 when it is there.
pub fn resident(addr: usize, len: usize) -> Result<Vec<u8>, Errno> {
    let end = range(addr, len)?;
    let space = SPACE.lock();
    if !space.is_covered(addr, end) {
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
    let (start, area) = match space.areas.range(..=old).next_back() {
        Some((&start, area)) if area.end > old => (start, area.clone()),
        _ => return Err(Errno::EFAULT),
    };
    if area.end < old_end {
        return Err(Errno::EFAULT);
    }
    if to.is_none() {
        if new_len <= old_len {
            space.clear(old + new_len, old_end);
            return Ok(old);
        }
        space.check_limit(new_len - old_len)?;
        let new_end = old.checked_add(new_len).ok_or(Errno::ENOMEM)?;
        if area.end == old_end && space.is_free(old_end, new_end) {
            space.areas.remove(&start);
            space.insert(
                start,
                Area {
                    end: new_end,
                    ..area
                },
            );
            return Ok(old);
        }
        if !may_move {
            return Err(Errno::ENOMEM);
        }
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
        None => space.find(new_len, PAGE)?,
    };
    let kept = old_len.min(new_len);
    pages::Pages::prepare(old, at, kept).ok_or(Errno::ENOMEM)?;
    let mut moved = area.clone().split_off(old - start, old);
    moved.end = at + new_len;
    space.insert(at, moved);
    space.pages.relocate(old, at, kept);
    space.clear(old, old_end);
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
        space.clear(new_page, old_page);
    } else if new_page > old_page {
        if !space.is_free(old_page, new_page) || space.check_limit(new_page - old_page).is_err() {
            return old;
        }
        let area = Area {
            end: new_page,
            prot: Prot::READ | Prot::WRITE,
            backing: Backing::Anonymous,
            name: Some("[heap]"),
        };
        space.insert(old_page, area);
    }
    space.break_end = addr;
    addr
}

impl Space {
    /// As [`forget_file`]; entries that refer to the frame `keep` stay.
    fn forget_file(
        &mut self,
        key: usize,
        from: u64,
        to: u64,
        even_private: bool,
        keep: Option<u64>,
    ) {
        let ranges: Vec<_> = self
            .areas
            .iter()
            .filter_map(|(&start, area)| area.addresses(start, key, from, to))
            .collect();
        for (start, end) in ranges {
            self.pages.forget(start, end, even_private, keep);
        }
    }

    fn fault(&mut self, addr: usize, wanted: Wanted) -> Result<(), Fault> {
        let page = addr & !(PAGE - 1);
        let (&start, area) = self
            .areas
            .range(..=page)
            .next_back()
            .filter(|(_, area)| area.end > page)
            .ok_or(Fault::NotMapped)?;
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
pub(super) fn fault(addr: usize, wanted: Wanted) -> Result<(), Fault> {
    SPACE.lock().fault(addr, wanted)
}

/// All areas in address order.
pub fn maps() -> Vec<MapsLine> {
    let space = SPACE.lock();
    space
        .areas
        .iter()
        .map(|(&start, area)| area.describe(start, pages::Pages::count(start, area.end)))
        .collect()
}

/// Mapped and resident bytes of the program.
pub fn usage() -> (usize, usize) {
    let space = SPACE.lock();
    (space.mapped(0, USER_END), space.pages.resident() * PAGE)
}
