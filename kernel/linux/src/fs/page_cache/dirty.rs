//! Writing pages that mappings have changed to where the file is, and remembering what went wrong. When that is done is
//! `fs/write_back.rs`'.
use super::{Content, Inner, PAGE_LEN, Source};
use crate::fs::inode::InodeOperations;
use abi::Errno;
use alloc::vec::Vec;
use core::{iter::Peekable, ops::Range};
use machine::mm::PAGE;

/// Pages written at a time.
const RUN: u64 = 32;

impl Content {
    /// How often writing back has failed, and why the last time.
    pub fn failures(&self) -> (u64, Errno) {
        *self.failures.lock()
    }

    /// Writes the pages that mappings have changed to where the file is. What cannot be written is lost, and that is
    /// remembered.
    pub fn write_back(&self) -> Result<(), Errno> {
        self.write_dirty().inspect_err(|error| {
            let mut failures = self.failures.lock();
            *failures = (failures.0 + 1, *error);
        })
    }

    fn write_dirty(&self) -> Result<(), Errno> {
        let mut inner = self.inner.lock();
        let Some(Source::Stored(operations)) = &inner.source else {
            return Ok(());
        };
        let operations = operations.clone();
        let dirty = core::mem::take(&mut inner.dirty);
        if dirty.is_empty() {
            return Ok(());
        }
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
        result
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
    /// Writes those pages of a range that the file has otherwise to where it is.
    pub(super) fn write_changed(
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
        while let Some(run) = next_run(&mut changed) {
            self.write_pages(operations, run)?;
        }
        Ok(())
    }

    /// Writes pages, as far as they are still there, to where the file is.
    fn write_pages(
        &mut self,
        operations: &dyn InodeOperations,
        pages: Range<u64>,
    ) -> Result<(), Errno> {
        let mut at = pages.start;
        while at < pages.end {
            let there = (at..pages.end).take_while(|index| self.pages.contains_key(index));
            let end = there.last().map_or(at, |last| last + 1);
            if end > at {
                self.write_run(operations, at..end)?;
            }
            at = end + 1;
        }
        Ok(())
    }

    /// The same for pages that are all there.
    fn write_run(
        &mut self,
        operations: &dyn InodeOperations,
        pages: Range<u64>,
    ) -> Result<(), Errno> {
        let start = pages.start * PAGE_LEN;
        let end = self.size.min(pages.end * PAGE_LEN);
        let mut bytes = alloc::vec![0; end.saturating_sub(start) as usize];
        for (index, bytes) in pages.zip(bytes.chunks_mut(PAGE)) {
            if let Some(page) = self.pages.get_mut(&index) {
                page.frame.read(0, bytes);
                page.clean = !self.dirty.contains(&index);
            }
        }
        let mut done = 0;
        while done < bytes.len() {
            match operations.write(start + done as u64, &bytes[done..])? {
                0 => return Err(Errno::EIO),
                more => done += more,
            }
        }
        Ok(())
    }
}
