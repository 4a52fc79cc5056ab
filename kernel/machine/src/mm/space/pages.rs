//! The page tables of the program's half: bringing pages in, taking them out, changing their protection.
//!
//! An entry with [`Flags::OWNED`] owns its frame, or has a share of it, which cannot be written to; one with
//! [`Flags::CACHED`] has a share of a file's. A share is given back only after every CPU has been made to forget the
//! translation, and no CPU may see the page's next frame before: what one reads there never goes back.

use super::area::{Area, Backing, Page, Prot, page_index};
use super::arena;
use crate::arch::layout::phys_to_virt;
use crate::arch::paging::{AT_ONCE, Flags, Tables, all_empty, empty, entry_address, entry_flags};
use crate::arch::{tlb, user as arch_user};
use crate::mm::fault::Fault;
use crate::mm::frame::Frame;
use crate::mm::{PAGE, USER_END, user};
use abi::Errno;
use alloc::sync::Arc;
use core::mem::ManuallyDrop;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};
use smallvec::SmallVec;

/// Pages of a file that are mapped at one fault, if they are in memory: those behind the one that is wanted, up to a
/// multiple of so many.
const AROUND: usize = 16;

/// Frames taken out before they are freed in one go.
const BATCH: usize = 512;

/// The tables, and what their entries refer to.
pub(super) struct Pages {
    tables: Arc<Tables>,
    resident: Resident,
}

/// How many pages are there.
struct Resident {
    now: usize,
    /// The most before some were taken out.
    most_before: usize,
}

impl Resident {
    const fn new() -> Self {
        Self {
            now: 0,
            most_before: 0,
        }
    }

    fn enter(&mut self) {
        self.now += 1;
    }

    fn leave(&mut self) {
        self.most_before = self.most_before.max(self.now);
        self.now -= 1;
    }
}

/// Frames that entries had which have been emptied, and that a CPU may still reach.
#[derive(Default)]
struct Gone(SmallVec<[u64; 16]>);

fn flags(prot: Prot, writable: bool) -> Flags {
    let mut flags = Flags::PRESENT | Flags::ACCESSED | Flags::DIRTY;
    if writable && prot.contains(Prot::WRITE) {
        flags |= Flags::WRITABLE;
    }
    if !prot.contains(Prot::EXEC) {
        flags |= Flags::NO_EXECUTE;
    }
    flags
}

fn out_of_memory(errno: Errno) -> Fault {
    if errno == Errno::ENOMEM || errno == Errno::ENOSPC {
        Fault::OutOfMemory
    } else {
        Fault::Bus
    }
}

impl Pages {
    pub(super) const fn new(tables: Arc<Tables>) -> Self {
        Self {
            tables,
            resident: Resident::new(),
        }
    }

    /// Number of pages that are there.
    pub(super) fn resident(&self) -> usize {
        self.resident.now
    }

    /// The most that there were at once.
    #[doc(alias = "hiwater_rss")]
    pub(super) fn most_resident(&self) -> usize {
        self.resident.most_before.max(self.resident.now)
    }

    /// Whether a page is there.
    pub(super) fn is_present(&self, page: usize) -> bool {
        let entry = self.tables.entry(page, false);
        entry.is_some_and(|entry| entry.load(Ordering::Relaxed) != 0)
    }

    /// Number of pages there in a range.
    pub(super) fn count(&self, start: usize, end: usize) -> usize {
        let mut count = 0;
        walk(&self.tables, start, end, |_, _| count += 1);
        count
    }

    /// Brings the page at `page` of `area`, which starts at `start`, in.
    pub(super) fn bring_in(
        &mut self,
        area: &Area,
        start: usize,
        page: usize,
        write: bool,
    ) -> Result<(), Fault> {
        let Self { tables, resident } = self;
        let entry = tables.entry(page, true).ok_or(Fault::OutOfMemory)?;
        if entry.load(Ordering::Relaxed) != 0 {
            return self.upgrade(area, start, page, write);
        }
        match &area.backing {
            Backing::Anonymous => {
                let frame = Frame::zeroed().ok_or(Fault::OutOfMemory)?;
                set_owned(resident, entry, frame, area.prot);
            }
            Backing::File {
                source,
                offset,
                shared,
            } => {
                let index = page_index(*offset, page - start);
                let found = source
                    .page(index, *shared && write)
                    .map_err(out_of_memory)?;
                if write && !shared {
                    let frame = copy(found.phys())?;
                    set_owned(resident, entry, frame, area.prot);
                    return Ok(());
                }
                set_shared(resident, entry, found, area.prot, *shared && write);
                let end = (page + 1).next_multiple_of(AROUND * PAGE).min(area.end);
                if !write && let Some((_, entries)) = tables.next_entries(page, end) {
                    let mut entries = entries[1..].iter();
                    source.around(index + 1, &mut |found| {
                        let entry = entries.next();
                        let entry = entry.filter(|entry| entry.load(Ordering::Relaxed) == 0);
                        entry.is_some_and(|entry| {
                            set_shared(resident, entry, found, area.prot, false);
                            true
                        })
                    });
                }
            }
        }
        Ok(())
    }

    /// Handles a fault on a page that is there: another CPU was faster, or it has to become writable.
    fn upgrade(
        &mut self,
        area: &Area,
        start: usize,
        page: usize,
        write: bool,
    ) -> Result<(), Fault> {
        let Self { tables, resident } = self;
        let entry = tables.entry(page, false).ok_or(Fault::NotMapped)?;
        let old = entry.load(Ordering::Relaxed);
        if !write || entry_flags(old).contains(Flags::WRITABLE) {
            // This CPU had not noticed that the entry allows more than before.
            tlb::flush_local(page, PAGE);
            return Ok(());
        }
        let is_owned = entry_flags(old).contains(Flags::OWNED);
        if is_owned && !Frame::is_shared(entry_address(old)) {
            entry.store(old | Flags::WRITABLE.bits(), Ordering::Release);
            tlb::flush_local(page, PAGE);
            return Ok(());
        }
        if !is_owned
            && let Backing::File {
                source,
                offset,
                shared: true,
            } = &area.backing
        {
            let index = page_index(*offset, page - start);
            let found = source.page(index, true).map_err(out_of_memory)?;
            let mut gone = Gone::default();
            take_out(resident, entry, &mut gone);
            tables.flush(page, PAGE);
            set_shared(resident, entry, found, area.prot, true);
            gone.free();
            return Ok(());
        }
        if !is_owned && matches!(area.backing, Backing::Anonymous) {
            return Err(Fault::Protection);
        }
        self.replace(area, page, entry_address(old))
    }

    /// Puts a private copy of the frame `phys`, which is there, in its place.
    fn replace(&mut self, area: &Area, page: usize, phys: u64) -> Result<(), Fault> {
        let Self { tables, resident } = self;
        let entry = tables.entry(page, false).ok_or(Fault::NotMapped)?;
        let frame = copy(phys)?;
        let mut gone = Gone::default();
        take_out(resident, entry, &mut gone);
        tables.flush(page, PAGE);
        set_owned(resident, entry, frame, area.prot);
        gone.free();
        Ok(())
    }

    /// Sees to it that a page of a private `area`, which starts at `start`, is the space's alone, whether the program
    /// may write to it or not.
    #[doc(alias = "FOLL_FORCE")]
    pub(super) fn own(&mut self, area: &Area, start: usize, page: usize) -> Result<(), Fault> {
        let entry = self.tables.entry(page, true).ok_or(Fault::OutOfMemory)?;
        let old = entry.load(Ordering::Relaxed);
        if old == 0 {
            return self.bring_in(area, start, page, true);
        }
        if entry_flags(old).contains(Flags::OWNED) && !Frame::is_shared(entry_address(old)) {
            return Ok(());
        }
        self.replace(area, page, entry_address(old))
    }

    /// Calls `f` with the page that is there, as a frame that stays whose it is. Nobody takes the page out meanwhile.
    pub(super) fn with_frame<R>(&self, page: usize, f: impl FnOnce(&Frame) -> R) -> Option<R> {
        let phys = self.address(page)?;
        // SAFETY: the entry's share of the frame is not given back here, and the caller sees to it that nobody else
        // does so before `f` is done. Memory that is no frame's, a static page, is read and written as one is.
        let frame = ManuallyDrop::new(unsafe { Frame::from_phys(phys) });
        Some(f(&frame))
    }

    /// Gives `to`, which has none there, the pages of a range: what this space owns is shared, and not to be written to
    /// any more, until somebody does and gets a copy. What is a file's in memory comes in by a fault again. `None`
    /// without memory for tables. Others may know the old entries until [`Pages::flush`].
    pub(super) fn share(&self, to: &mut Self, start: usize, end: usize) -> Option<()> {
        let mut at = start;
        while let Some((first, entries)) = self.tables.next_entries(at, end) {
            at = first + entries.len() * PAGE;
            let unused = empty(entries);
            if unused == entries.len() {
                continue;
            }
            let copies = to.tables.entries(first, entries.len())?;
            for (entry, copy) in entries.iter().zip(copies).skip(unused) {
                let old = entry.load(Ordering::Relaxed);
                if old == 0 || entry_flags(old).contains(Flags::CACHED) {
                    continue;
                }
                let mut new = old;
                if entry_flags(old).contains(Flags::OWNED) {
                    // Both own it from now on.
                    Frame::share(entry_address(old));
                    new &= !Flags::WRITABLE.bits();
                    entry.store(new, Ordering::Release);
                }
                copy.store(new, Ordering::Release);
                to.resident.enter();
            }
        }
        Some(())
    }

    /// Has all CPUs forget what they know of the program's half.
    pub(super) fn flush(&self) {
        self.tables.flush(0, USER_END);
    }

    /// Takes all pages of a range out and frees what only they used.
    pub(super) fn zap(&mut self, start: usize, end: usize) {
        let Self { tables, resident } = self;
        let mut at = start;
        while at < end {
            let mut gone = Gone::default();
            let (from, mut changed) = (at, 0);
            at = walk_some(tables, at, end, |_, entry| {
                take_out(resident, entry, &mut gone);
                changed += 1;
                changed < BATCH
            });
            if changed != 0 {
                tables.flush(from, at - from);
            }
            gone.free();
        }
    }

    /// Takes pages of a file out, and the copies that private mappings have made of them if `even_private`; not those
    /// whose frame is `keep`.
    pub(super) fn forget(
        &mut self,
        start: usize,
        end: usize,
        even_private: bool,
        keep: Option<u64>,
    ) {
        let Self { tables, resident } = self;
        let mut gone = Gone::default();
        let mut changed = false;
        walk(tables, start, end, |_, entry| {
            let old = entry.load(Ordering::Relaxed);
            let owned = entry_flags(old).contains(Flags::OWNED);
            if (even_private || !owned) && Some(entry_address(old)) != keep {
                take_out(resident, entry, &mut gone);
                changed = true;
            }
        });
        if changed {
            tables.flush(start, end - start);
        }
        gone.free();
    }

    /// Physical address of the page that is there.
    pub(super) fn address(&self, page: usize) -> Option<u64> {
        let entry = self.tables.entry(page, false)?.load(Ordering::Relaxed);
        (entry != 0).then(|| entry_address(entry))
    }

    /// Gives the pages of a range another protection.
    pub(super) fn protect(&mut self, start: usize, end: usize, prot: Prot) {
        let mut changed = false;
        walk(&self.tables, start, end, |_, entry| {
            let old = entry.load(Ordering::Relaxed);
            let kept = entry_flags(old) & (Flags::OWNED | Flags::CACHED);
            let new = if prot.is_empty() {
                // Not present, but not zero: what it refers to is kept.
                entry_address(old) | (kept | Flags::ACCESSED).bits()
            } else {
                // Pages of files become writable by a fault.
                // So do shares of what another space has, too.
                let owned = kept.contains(Flags::OWNED) && !Frame::is_shared(entry_address(old));
                entry_address(old) | (flags(prot, owned) | kept).bits()
            };
            if new != old {
                entry.store(new, Ordering::Release);
                changed |= entry_flags(old).contains(Flags::PRESENT);
            }
        });
        if changed {
            self.tables.flush(start, end - start);
        }
    }

    /// Makes the tables that [`Pages::relocate`] needs. `None` without memory.
    pub(super) fn prepare(&self, from: usize, to: usize, len: usize) -> Option<()> {
        let mut made = Some(());
        walk(&self.tables, from, from + len, |page, _| {
            made = made.and_then(|()| self.tables.entry(to + (page - from), true).map(|_| ()));
        });
        made
    }

    /// Moves pages from one range to another, which has none and is prepared.
    pub(super) fn relocate(&self, from: usize, to: usize, len: usize) {
        walk(&self.tables, from, from + len, |page, entry| {
            if let Some(slot) = self.tables.entry(to + (page - from), false) {
                slot.store(entry.swap(0, Ordering::AcqRel), Ordering::Release);
            }
        });
        self.tables.flush(from, len);
    }
}

impl Drop for Pages {
    /// No thread runs in the space any more. A CPU may still have its tables loaded, but does not use them.
    fn drop(&mut self) {
        let Self { tables, resident } = self;
        let mut gone = Gone::default();
        for range in [0..arena::START, arena::END..USER_END] {
            walk(tables, range.start, range.end, |_, entry| {
                take_out(resident, entry, &mut gone);
                if gone.0.len() == BATCH {
                    core::mem::take(&mut gone).free();
                }
            });
        }
        gone.free();
    }
}

fn set_owned(resident: &mut Resident, entry: &AtomicU64, frame: Frame, prot: Prot) {
    let flags = flags(prot, true) | Flags::OWNED;
    entry.store(frame.into_phys() | flags.bits(), Ordering::Release);
    resident.enter();
}

fn set_shared(resident: &mut Resident, entry: &AtomicU64, page: Page, prot: Prot, write: bool) {
    let flags = flags(prot, write);
    let (phys, flags) = match page {
        Page::Static(phys) => (phys, flags),
        Page::Cached(frame) => (frame.into_phys(), flags | Flags::CACHED),
    };
    entry.store(phys | flags.bits(), Ordering::Release);
    resident.enter();
}

fn take_out(resident: &mut Resident, entry: &AtomicU64, gone: &mut Gone) {
    let old = entry.swap(0, Ordering::AcqRel);
    resident.leave();
    if entry_flags(old).intersects(Flags::OWNED | Flags::CACHED) {
        gone.0.push(entry_address(old));
    }
}

impl Gone {
    /// Frees the frames, or gives shares of them back. Every CPU has been made to forget them.
    fn free(self) {
        for phys in self.0 {
            // SAFETY: an entry owned the frame, or a share of it, which is in no page table and in no TLB any more.
            drop(unsafe { Frame::from_phys(phys) });
        }
    }
}

impl Page {
    /// Copies a part of it to the program, at `addr`.
    ///
    /// # Panics
    /// If the part does not lie within the page.
    pub fn copy_out(&self, part: Range<usize>, addr: usize) -> Result<(), Errno> {
        assert!(part.start <= part.end && part.end <= PAGE);
        let to = user::target(addr, part.len())?;
        // SAFETY: the part lies within the page, which is mapped in the direct map while `self` lives; faults at the
        // target are caught.
        let copied = unsafe {
            let from = phys_to_virt(self.phys()).add(part.start);
            arch_user::copy(to, from, part.len())
        };
        Ok(copied?)
    }
}

/// A private copy of a page that the caller keeps where it is.
fn copy(phys: u64) -> Result<Frame, Fault> {
    let frame = Frame::uninit().ok_or(Fault::OutOfMemory)?;
    // SAFETY: two whole pages, both mapped in the direct map; the new one is ours.
    unsafe {
        frame
            .bytes()
            .copy_from_nonoverlapping(phys_to_virt(phys), PAGE);
    }
    Ok(frame)
}

/// Calls `f` for every entry in the range that is not empty.
fn walk(tables: &Tables, start: usize, end: usize, mut f: impl FnMut(usize, &AtomicU64)) {
    walk_some(tables, start, end, |page, entry| {
        f(page, entry);
        true
    });
}

/// As [`walk`], until `f` says stop; where the walk ended.
fn walk_some(
    tables: &Tables,
    start: usize,
    end: usize,
    mut f: impl FnMut(usize, &AtomicU64) -> bool,
) -> usize {
    let mut at = start;
    while let Some((first, entries)) = tables.next_entries(at, end) {
        let (chunks, rest) = entries.as_chunks();
        let some = chunks.iter().map(|some| match all_empty(some) {
            true => &[],
            false => &some[..],
        });
        for (page, some) in (first..).step_by(AT_ONCE * PAGE).zip(some.chain([rest])) {
            for (page, entry) in (page..).step_by(PAGE).zip(some) {
                if entry.load(Ordering::Relaxed) != 0 && !f(page, entry) {
                    return page + PAGE;
                }
            }
        }
        at = first + entries.len() * PAGE;
    }
    end
}
