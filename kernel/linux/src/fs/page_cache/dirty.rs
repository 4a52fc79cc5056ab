//! Changed pages of files that are elsewhere: which there are, how many of all files may be, writing them to where the
//! file is, and remembering what went wrong. When that is done is `fs/write_back.rs`'.
use super::{ALL, Content, Inner, PAGE_LEN, Source, len64};
use crate::fs::inode::InodeOperations;
use abi::Errno;
use alloc::{collections::BTreeSet, sync::Arc, vec::Vec};
use core::{
    iter::Peekable,
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};
use machine::{
    mm::{PAGE, frame},
    sched::{Storage, count_storage},
};

/// Pages written at a time.
const RUN: u64 = 128;

/// Changed pages there are, of all files.
pub fn dirty_pages() -> usize {
    ALL.dirty.load(Ordering::Relaxed)
}

/// Of what memory there is for them so many percent may be changed pages before they are written back, whatever their
/// age.
pub const BACKGROUND_RATIO: u64 = 10;
/// The same before who changes more writes himself.
pub const RATIO: u64 = 20;

/// Both as pages.
pub fn may_be_dirty() -> (usize, usize) {
    // Not all that is cached, as on Linux: what writing a page back takes is not set aside beforehand.
    let all = len64(frame::available() + dirty_pages());
    let [background, most] =
        [BACKGROUND_RATIO, RATIO].map(|percent| usize::try_from(all * percent / 100));
    (background.unwrap_or(0), most.unwrap_or(0))
}

/// Pages of a file that are to be written to where it is.
#[derive(Default)]
pub(super) struct DirtyPages {
    indices: BTreeSet<u64>,
    /// Of those taken away to be written.
    in_flight: u64,
    /// For so many of both there is room set aside where the file is.
    with_room: u64,
}

impl DirtyPages {
    pub(super) fn contains(&self, index: u64) -> bool {
        self.indices.contains(&index)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }

    pub(super) fn insert(&mut self, index: u64) {
        if self.indices.insert(index) {
            ALL.dirty.fetch_add(1, Ordering::Relaxed);
            count_storage(Storage::Written, PAGE_LEN);
        }
    }

    /// The same for one with room set aside.
    pub(super) fn insert_with_room(&mut self, index: u64) {
        self.insert(index);
        self.with_room += 1;
    }

    /// They are not to be written any more.
    pub(super) fn forget(&mut self, pages: Range<u64>) {
        let gone = self.indices.extract_if(pages, |_| true).count();
        ALL.dirty.fetch_sub(gone, Ordering::Relaxed);
        count_storage(Storage::Cancelled, len64(gone) * PAGE_LEN);
    }

    /// Takes all, to be written.
    pub(super) fn take(&mut self) -> BTreeSet<u64> {
        let taken = core::mem::take(&mut self.indices);
        ALL.dirty.fetch_sub(taken.len(), Ordering::Relaxed);
        self.in_flight = len(&taken);
        taken
    }

    /// Room that is set aside for more pages than there are.
    fn excess(&mut self) -> u64 {
        let needed = len(&self.indices) + self.in_flight;
        let excess = self.with_room.saturating_sub(needed);
        self.with_room -= excess;
        excess
    }
}

fn len(pages: &BTreeSet<u64>) -> u64 {
    len64(pages.len())
}

/// What writing back has come to.
#[doc(alias = "errseq_t")]
#[derive(Default)]
pub(super) struct Failures {
    /// How often it has failed.
    count: u64,
    /// Why, the first time that nobody has been told of, or the last one.
    last: Option<Errno>,
    /// Somebody has been told.
    is_told: bool,
}

impl Content {
    /// What who opens the file now need not be told any more: a failure that nobody has been told of is not among that.
    pub fn failures_told(&self) -> u64 {
        let failures = self.failures.lock();
        let untold = failures.count > 0 && !failures.is_told;
        failures.count - u64::from(untold)
    }

    /// The last failure since `told`, which it is among then.
    pub fn failure_since(&self, told: &AtomicU64) -> Result<(), Errno> {
        let mut failures = self.failures.lock();
        if told.swap(failures.count, Ordering::Relaxed) == failures.count {
            return Ok(());
        }
        failures.is_told = true;
        failures.last.map_or(Ok(()), Err)
    }

    /// Pages for which there is room set aside where the file is.
    pub fn pages_with_room(&self) -> u64 {
        self.inner.lock().dirty.with_room
    }

    /// Whether it was cut to nothing and has been written again, and this has not been where the file is.
    pub fn is_replaced(&self) -> bool {
        let inner = self.inner.lock();
        inner.replaced && !inner.dirty.is_empty()
    }

    /// Writes changed pages to where the file is. What cannot be written is lost, and that is remembered.
    pub fn write_back(&self) -> Result<(), Errno> {
        self.write_dirty().inspect_err(|error| self.failed(*error))
    }

    /// Whether nothing is lost if it is read again from where the file is.
    pub(in crate::fs) fn can_be_forgotten(&self) -> bool {
        let failures = self.failures.lock();
        let is_told = failures.count == 0 || failures.is_told;
        drop(failures);
        is_told && !self.is_noted.load(Ordering::SeqCst) && self.inner.lock().dirty.is_empty()
    }

    /// Changed pages could not be written.
    fn failed(&self, error: Errno) {
        let mut failures = self.failures.lock();
        // The first that nobody has been told of says why; what comes after it, that nothing can be written any more.
        let untold = failures.last.filter(|_| !failures.is_told);
        *failures = Failures {
            count: failures.count + 1,
            last: untold.or(Some(error)),
            is_told: false,
        };
    }

    /// Calls `f` when the changed pages of a range are where the file is, and nobody can change the file otherwise than
    /// by mappings; `EOPNOTSUPP` for one that is here.
    pub(super) fn with_written<R>(
        &self,
        range: Range<u64>,
        f: impl FnOnce(&mut Inner, &dyn InodeOperations) -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        // What somebody has taken away to write is not to be called clean, and given back, before he has seen it.
        let _one_at_a_time = self.writing.lock();
        let mut inner = self.inner.lock();
        let operations = inner.stored().ok_or(Errno::EOPNOTSUPP)?;
        let written = inner.write_changed(&*operations, range);
        written.inspect_err(|error| self.failed(*error))?;
        f(&mut inner, &*operations)
    }

    fn write_dirty(&self) -> Result<(), Errno> {
        let _one_at_a_time = self.writing.lock();
        let mut inner = self.inner.lock();
        let Some(operations) = inner.stored().filter(|_| !inner.dirty.is_empty()) else {
            return Ok(());
        };
        let dirty = inner.dirty.take();
        drop(inner);
        // From here on mappings fault again when they write, and their pages are dirty again.
        let (first, last) = (dirty.first().copied(), dirty.last().copied());
        let end = last.unwrap_or(0).saturating_add(1).saturating_mul(PAGE_LEN);
        self.forget_mapped(first.unwrap_or(0) * PAGE_LEN, end, false);
        let mut result = Ok(());
        let mut left = dirty.into_iter().peekable();
        while let Some(run) = next_run(&mut left) {
            // Under the lock: who writes to the file meanwhile would be written over by what was there before.
            let written = self.inner.lock().write_pages(&*operations, run);
            result = result.and(written);
        }
        let mut inner = self.inner.lock();
        inner.dirty.in_flight = 0;
        inner.replaced = false;
        inner.give_room_back();
        drop(inner);
        result.and(operations.written_back())
    }
}

/// The next numbers that follow each other, not too many.
fn next_run(left: &mut Peekable<impl Iterator<Item = u64>>) -> Option<Range<u64>> {
    let first = left.next()?;
    let mut end = first + 1;
    while end - first < RUN && left.next_if_eq(&end).is_some() {
        end += 1;
    }
    Some(first..end)
}

impl Inner {
    /// Where the file is, if that is not here.
    pub(super) fn stored(&self) -> Option<Arc<dyn InodeOperations>> {
        match &self.source {
            Some(Source::Stored(operations)) => Some(operations.clone()),
            _ => None,
        }
    }

    /// Gives room back that is set aside for no page any more.
    pub(super) fn give_room_back(&mut self) {
        let excess = self.dirty.excess();
        if let Some(operations) = self.stored().filter(|_| excess > 0) {
            operations.give_room_back(excess);
        }
    }

    /// Writes those pages of a range that the file has otherwise to where it is.
    fn write_changed(
        &mut self,
        operations: &dyn InodeOperations,
        range: Range<u64>,
    ) -> Result<(), Errno> {
        let pages = self.pages.range(range).filter(|(_, page)| !page.clean);
        let mut changed = pages
            .map(|(&index, _)| index)
            .collect::<Vec<_>>()
            .into_iter()
            .peekable();
        let mut result = Ok(());
        while let Some(run) = next_run(&mut changed) {
            result = result.and(self.write_pages(operations, run));
        }
        self.give_room_back();
        result
    }

    /// Writes pages, as far as they are still there, to where the file is: all that can be; the first error.
    pub(super) fn write_pages(
        &mut self,
        operations: &dyn InodeOperations,
        pages: Range<u64>,
    ) -> Result<(), Errno> {
        let mut result = Ok(());
        let mut at = pages.start;
        while at < pages.end {
            let there = (at..pages.end).take_while(|index| self.pages.contains_key(index));
            let mut end = there.last().map_or(at, |last| last + 1);
            let mut bytes = Vec::new();
            let len = usize::try_from((end - at) * PAGE_LEN).unwrap_or(usize::MAX);
            if bytes.try_reserve_exact(len).is_err() {
                end = at + 1;
            }
            if end > at {
                result = result.and(self.write_run(operations, at..end, bytes));
                at = end;
            } else {
                at += 1;
            }
        }
        result
    }

    /// The same for pages that are all there, by way of `bytes`.
    fn write_run(
        &mut self,
        operations: &dyn InodeOperations,
        pages: Range<u64>,
        mut bytes: Vec<u8>,
    ) -> Result<(), Errno> {
        let start = pages.start * PAGE_LEN;
        let end = self.size.min(pages.end * PAGE_LEN);
        bytes.resize(usize::try_from(end.saturating_sub(start)).unwrap_or(0), 0);
        for (index, bytes) in pages.zip(bytes.chunks_mut(PAGE)) {
            let Some(page) = self.pages.get_mut(&index) else {
                continue;
            };
            // Before it is read: who has it mapped may change it, and not have it any more right afterwards.
            if page.frame.references() == 1 {
                self.dirty.forget(index..index + 1);
            }
            page.frame.read(0, bytes);
            page.clean = !self.dirty.contains(index);
        }
        let mut done = 0;
        while done < bytes.len() {
            match operations.write(start + len64(done), &bytes[done..])? {
                0 => return Err(Errno::EIO),
                more => done += more,
            }
        }
        self.source_len = self.source_len.max(end);
        Ok(())
    }
}
