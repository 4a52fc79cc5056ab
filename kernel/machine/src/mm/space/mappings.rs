//! What is mapped in a [`Space`](super::Space), under its lock: where mappings go, and how a fault is satisfied.

use super::area::{Area, Backing, Limits, Marks, PageSource, Place, Prot, page_index};
use super::areas::Areas;
use super::arena;
use super::pages::Pages;
use crate::arch::paging::Tables;
use crate::mm::fault::{Fault, Wanted};
use crate::mm::{PAGE, USER_END, USER_START};
use abi::Errno;
use alloc::sync::Arc;
use core::ops::Range;

/// Where `MAP_32BIT` maps.
const LOW: Range<usize> = 0x4000_0000..0x8000_0000;

/// The areas, and what the page tables refer to.
pub(super) struct Mappings {
    pub(super) areas: Areas,
    pub(super) pages: Pages,
    /// Mappings are put below this address, from the top down.
    pub(super) top: usize,
    pub(super) break_start: usize,
    pub(super) break_end: usize,
    pub(super) limits: Limits,
}

/// A page of a file that a shared mapping may write to from now on.
pub(super) struct Written {
    source: Arc<dyn PageSource>,
    index: u64,
    frame: u64,
}

impl Written {
    /// Has other spaces hear of it. None is locked.
    pub(super) fn tell(&self) {
        self.source.written(self.index, self.frame);
    }
}

pub(super) fn page_up(len: usize) -> Option<usize> {
    len.checked_next_multiple_of(PAGE)
}

/// Checks a page-aligned range that has to lie in the program's half, outside of the arena; its end.
pub(super) fn range(addr: usize, len: usize) -> Result<usize, Errno> {
    let end = page_up(len).and_then(|len| addr.checked_add(len));
    match end {
        Some(end)
            if addr.is_multiple_of(PAGE)
                && end <= USER_END
                && (end <= arena::START || addr >= arena::END) =>
        {
            Ok(end)
        }
        _ => Err(Errno::EINVAL),
    }
}

impl Mappings {
    pub(super) const fn new(tables: Arc<Tables>) -> Self {
        Self {
            areas: Areas::new(),
            pages: Pages::new(tables),
            top: 0,
            break_start: 0,
            break_end: 0,
            limits: Limits::NONE,
        }
    }

    /// The same areas on other tables, and no pages; without what a child is not to have.
    pub(super) fn copy_areas(&self, tables: Arc<Tables>) -> Self {
        let mut copy = Self {
            areas: self.areas.clone(),
            pages: Pages::new(tables),
            ..*self
        };
        for (start, area) in self.areas.iter() {
            if area.marks.contains(Marks::DONT_FORK) {
                copy.areas.remove(start);
            } else if area.marks.contains(Marks::LOCKED) {
                // A whole area: there are no more of them afterwards.
                let unlock = |area: &mut Area| area.marks.remove(Marks::LOCKED);
                let _ = copy.areas.change(start, area.end, unlock);
            }
        }
        copy
    }

    /// Gives `to`, a copy of these mappings, the pages that a child is to have; see [`Pages::share`].
    pub(super) fn share_pages(&self, to: &mut Self) -> Option<()> {
        let wiped = Marks::DONT_FORK | Marks::WIPE_ON_FORK;
        for (start, area) in self.areas.iter() {
            if !area.marks.intersects(wiped) {
                self.pages.share(&mut to.pages, start, area.end)?;
            }
        }
        Some(())
    }

    pub(super) fn place(&mut self, place: Place, len: usize) -> Result<usize, Errno> {
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
            Place::Low { hint } => {
                let hint = hint.next_multiple_of(PAGE);
                match hint.checked_add(len) {
                    Some(end) if hint != 0 && end <= LOW.end && self.areas.is_free(hint, end) => {
                        Ok(hint)
                    }
                    _ => match self.areas.find(len, PAGE, LOW.end)? {
                        at if at >= LOW.start => Ok(at),
                        _ => Err(Errno::ENOMEM),
                    },
                }
            }
            Place::Aligned(align) => self.areas.find(len, align.max(PAGE), self.top),
        }
    }

    /// Takes everything out of `start..end`; `ENOMEM` as [`Areas::clear`].
    pub(super) fn clear(&mut self, start: usize, end: usize) -> Result<(), Errno> {
        self.areas.clear(start, end)?;
        self.pages.zap(start, end);
        Ok(())
    }

    /// `ENOMEM` unless all of a range is mapped.
    pub(super) fn check_covered(&self, start: usize, end: usize) -> Result<(), Errno> {
        if self.areas.is_covered(start, end) {
            Ok(())
        } else {
            Err(Errno::ENOMEM)
        }
    }

    /// As [`Space::protect`].
    pub(super) fn protect(&mut self, addr: usize, len: usize, prot: Prot) -> Result<(), Errno> {
        let end = range(addr, len).map_err(|error| {
            if addr.is_multiple_of(PAGE) {
                Errno::ENOMEM
            } else {
                error
            }
        })?;
        self.check_covered(addr, end)?;
        let allows = |(_, area): (usize, &Area)| area.allows(prot);
        if !self.areas.overlapping(addr, end).all(allows) {
            return Err(Errno::EACCES);
        }
        self.check_protection(addr, end, prot)?;
        self.areas.change(addr, end, |area| area.prot = prot)?;
        self.pages.protect(addr, end, prot);
        Ok(())
    }

    /// As [`Space::forget_file`]; entries that refer to the frame `keep` stay.
    pub(super) fn forget_file(
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

    /// Satisfies a fault; a file's page that can be written to from now on is for [`Written::tell`].
    pub(super) fn fault(&mut self, addr: usize, wanted: Wanted) -> Result<Option<Written>, Fault> {
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
        if !allowed && area.name == Some(super::STACK_GUARD) {
            return Err(Fault::NotMapped);
        }
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
            let index = page_index(*offset, page - start);
            let kept = self.pages.address(page);
            let written = kept.map(|frame| Written {
                source: source.clone(),
                index,
                frame,
            });
            self.forget_file(key, index, index + 1, false, kept);
            return Ok(written);
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::with_memory;
    use super::*;

    fn mappings() -> Mappings {
        let mut mappings = Mappings::new(Arc::new(Tables::new().unwrap()));
        mappings.areas.open();
        mappings.top = USER_END;
        mappings
    }

    fn insert(mappings: &mut Mappings, place: Place, len: usize) -> Result<usize, Errno> {
        let mut area = Area {
            end: 0,
            prot: Prot::READ,
            backing: Backing::Anonymous,
            marks: Marks::empty(),
            name: None,
        };
        mappings.check_more(&area, len, 0..0)?;
        let at = mappings.place(place, len)?;
        area.end = at + len;
        mappings.areas.insert(at, area);
        Ok(at)
    }

    #[test]
    fn spaces_do_not_share_what_is_mapped() {
        with_memory(|| {
            let (mut one, mut other) = (mappings(), mappings());
            let fixed = Place::FixedNoReplace(USER_START);
            assert_eq!(insert(&mut one, fixed, PAGE), Ok(USER_START));
            assert_eq!(insert(&mut one, fixed, PAGE), Err(Errno::EEXIST));
            assert_eq!(insert(&mut other, fixed, PAGE), Ok(USER_START));
        });
    }

    #[test]
    fn a_limit_is_that_of_one_space() {
        with_memory(|| {
            let (mut one, mut other) = (mappings(), mappings());
            one.limits.all = 2 * PAGE;
            let anywhere = Place::Anywhere { hint: 0 };
            assert_eq!(
                insert(&mut one, anywhere, 2 * PAGE),
                Ok(USER_END - 2 * PAGE)
            );
            assert_eq!(insert(&mut one, anywhere, PAGE), Err(Errno::ENOMEM));
            assert_eq!(insert(&mut other, anywhere, PAGE), Ok(USER_END - PAGE));
        });
    }

    #[test]
    fn a_hint_counts_where_there_is_room() {
        with_memory(|| {
            let mut mappings = mappings();
            let hint = Place::Anywhere {
                hint: 16 * PAGE + 1,
            };
            assert_eq!(insert(&mut mappings, hint, PAGE), Ok(16 * PAGE));
            assert_eq!(insert(&mut mappings, hint, PAGE), Ok(USER_END - PAGE));
            let aligned = Place::Aligned(64 * PAGE);
            assert_eq!(
                insert(&mut mappings, aligned, PAGE).map(|at| at % (64 * PAGE)),
                Ok(0)
            );
        });
    }
}
