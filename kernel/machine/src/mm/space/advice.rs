//! What a program says about memory that it has mapped, and asks about it: madvise(2), mincore(2), msync(2), mlock(2).

use super::Space;
use super::area::{Area, Backing, Marks, PageSource, Prot, is_same_file};
use super::mappings::{Mappings, page_up, range};
use crate::mm::PAGE;
use crate::mm::fault::{Fault, Wanted};
use abi::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// An advice that is followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Advice {
    /// `MADV_DONTNEED`: contents are forgotten.
    Forget,
    /// `MADV_DONTNEED_LOCKED`: those of locked memory, too.
    ForgetLocked,
    /// `MADV_FREE`: the same, for private memory of no file.
    Free,
    /// `MADV_REMOVE`: what is shared becomes zeros for all.
    Remove,
    /// `MADV_POPULATE_READ`: pages are brought in.
    Read,
    /// `MADV_POPULATE_WRITE`: pages are brought in as if they were written.
    Write,
    /// `MADV_DONTFORK`, `MADV_DOFORK`: a child gets it, or not.
    Fork(bool),
    /// `MADV_WIPEONFORK`, `MADV_KEEPONFORK`: a child gets zeros, or what is there.
    Wipe(bool),
    /// Nothing but a check that something is mapped.
    Nothing,
}

/// A range of a file.
type Hole = (Arc<dyn PageSource>, u64, u64);

impl Space {
    /// madvise(2). `ENOMEM` if not all of the range is mapped: the rest is done all the same.
    pub fn advise(&self, addr: usize, len: usize, advice: Advice) -> Result<(), Errno> {
        let end = range(addr, len)?;
        match advice {
            Advice::Forget => self.forget(addr, end, false, false),
            Advice::ForgetLocked => self.forget(addr, end, false, true),
            // Linux lets it be, too, though it is locked.
            Advice::Free => self.forget(addr, end, true, true),
            Advice::Remove => self.remove(addr, end),
            Advice::Read => self.populate(addr, end, Wanted::Read),
            Advice::Write => self.populate(addr, end, Wanted::Write),
            Advice::Fork(fork) => self.mark(addr, end, Marks::DONT_FORK, !fork),
            Advice::Wipe(wipe) => self.mark(addr, end, Marks::WIPE_ON_FORK, wipe),
            Advice::Nothing => self.mark(addr, end, Marks::empty(), true),
        }
    }

    fn forget(
        &self,
        addr: usize,
        end: usize,
        only_private: bool,
        even_locked: bool,
    ) -> Result<(), Errno> {
        let mut space = self.mappings.lock();
        let Mappings { areas, pages, .. } = &mut *space;
        for (at, area) in areas.overlapping(addr, end) {
            if area.marks.contains(Marks::LOCKED) && !even_locked {
                return Err(Errno::EINVAL);
            }
            match area.backing {
                Backing::Anonymous => {}
                _ if only_private => return Err(Errno::EINVAL),
                Backing::File { .. } => {}
            }
            pages.zap(at.max(addr), area.end.min(end));
        }
        space.check_covered(addr, end)
    }

    fn remove(&self, addr: usize, end: usize) -> Result<(), Errno> {
        let space = self.mappings.lock();
        let mut holes: Vec<Hole> = Vec::new();
        for (at, area) in space.areas.overlapping(addr, end) {
            let part = at.max(addr)..area.end.min(end);
            match &area.backing {
                Backing::Anonymous => return Err(Errno::EINVAL),
                _ if area.marks.contains(Marks::LOCKED) => return Err(Errno::EINVAL),
                _ if !area.is_shared() || !area.prot.contains(Prot::WRITE) => {
                    return Err(Errno::EACCES);
                }
                Backing::File { source, offset, .. } => {
                    let offset = *offset + (part.start - at) as u64;
                    holes.push((source.clone(), offset, part.len() as u64));
                }
            }
        }
        let covered = space.check_covered(addr, end);
        drop(space);
        for (source, offset, len) in holes {
            source.punch(offset, len)?;
        }
        covered
    }

    fn populate(&self, addr: usize, end: usize, wanted: Wanted) -> Result<(), Errno> {
        for page in (addr..end).step_by(PAGE) {
            match self.fault(page, wanted) {
                Ok(()) => {}
                Err(Fault::NotMapped | Fault::OutOfMemory) => return Err(Errno::ENOMEM),
                Err(Fault::Protection) => return Err(Errno::EINVAL),
                Err(Fault::Bus) => return Err(Errno::EFAULT),
            }
        }
        Ok(())
    }

    fn mark(&self, addr: usize, end: usize, mark: Marks, on: bool) -> Result<(), Errno> {
        let mut space = self.mappings.lock();
        let wipes = mark == Marks::WIPE_ON_FORK && on;
        let is_private = |(_, area): (usize, &Area)| matches!(area.backing, Backing::Anonymous);
        if wipes && !space.areas.overlapping(addr, end).all(is_private) {
            return Err(Errno::EINVAL);
        }
        if !mark.is_empty() {
            let areas = &mut space.areas;
            areas.change(addr, end, |area| area.marks.set(mark, on))?;
        }
        space.check_covered(addr, end)
    }

    /// mlock(2): brings in what is not there yet, if `populates`, as far as it may be touched; `ENOMEM` if not all of
    /// the range is mapped, or there is no memory for it.
    pub fn lock(&self, addr: usize, end: usize, populates: bool) -> Result<(), Errno> {
        self.mark(addr, end, Marks::LOCKED, true)?;
        if !populates {
            return Ok(());
        }
        let space = self.mappings.lock();
        let parts: Vec<_> = space
            .areas
            .overlapping(addr, end)
            .map(|(at, area)| {
                let writes = area.prot.contains(Prot::WRITE) && !area.is_shared();
                let wanted = match writes {
                    true => Wanted::Write,
                    false => Wanted::Read,
                };
                (at.max(addr), area.end.min(end), wanted)
            })
            .collect();
        drop(space);
        let populated = parts.into_iter().map(|(start, end, wanted)| {
            let populated = self.populate(start, end, wanted);
            populated.map_err(|_| Errno::ENOMEM)
        });
        populated.fold(Ok(()), Result::and)
    }

    /// munlock(2); `ENOMEM` if not all of the range is mapped.
    pub fn unlock(&self, addr: usize, end: usize) -> Result<(), Errno> {
        self.mark(addr, end, Marks::LOCKED, false)
    }

    /// Whether any of the range is locked.
    pub fn has_locked(&self, addr: usize, end: usize) -> bool {
        let space = self.mappings.lock();
        let mut areas = space.areas.overlapping(addr, end);
        areas.any(|(_, area)| area.marks.contains(Marks::LOCKED))
    }

    /// Whether every page of the range is mapped (`msync`: `ENOMEM` if not, beyond the program's addresses,
    /// too).
    pub fn check_mapped(&self, addr: usize, len: usize) -> Result<(), Errno> {
        let end = page_up(len)
            .and_then(|len| addr.checked_add(len))
            .filter(|_| addr.is_multiple_of(PAGE))
            .ok_or(Errno::EINVAL)?;
        if self.mappings.lock().areas.is_covered(addr, end) {
            Ok(())
        } else {
            Err(Errno::ENOMEM)
        }
    }

    /// msync(2) with `MS_SYNC`: has what shared mappings in the range show of files where it is to stay; the first
    /// error.
    pub fn sync(&self, addr: usize, end: usize) -> Result<(), Errno> {
        let space = self.mappings.lock();
        let mut sources: Vec<Arc<dyn PageSource>> = Vec::new();
        for (_, area) in space.areas.overlapping(addr, end) {
            if let Backing::File { source, shared, .. } = &area.backing
                && *shared
                && !sources
                    .iter()
                    .any(|other| is_same_file(&**other, &**source))
            {
                sources.push(source.clone());
            }
        }
        drop(space);
        let synced = sources.iter().map(|source| source.sync());
        synced.fold(Ok(()), Result::and)
    }

    /// mincore(2): one byte a page, 1 when it is in memory.
    pub fn resident(&self, addr: usize, len: usize) -> Result<Vec<u8>, Errno> {
        let end = range(addr, len).map_err(|_| Errno::ENOMEM)?;
        let space = self.mappings.lock();
        space.check_covered(addr, end)?;
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact((end - addr) / PAGE)
            .map_err(|_| Errno::EAGAIN)?;
        for (start, area) in space.areas.overlapping(addr, end) {
            for page in (start.max(addr)..area.end.min(end)).step_by(PAGE) {
                let there = space.pages.is_present(page) || area.is_cached(page - start);
                bytes.push(u8::from(there));
            }
        }
        Ok(bytes)
    }
}
