//! Where a file has data and room for them: fallocate(2), which sets room aside, makes holes, takes ranges out or puts
//! some in, lseek(2)'s `SEEK_DATA` and `SEEK_HOLE`. Files in memory cannot move ranges; others can do what their file
//! system can.
use super::{Content, MAX_SIZE, PAGE_LEN, available, frames::Purpose};
use crate::fs::inode::{Extent, InodeOperations};
use abi::Errno;
use alloc::vec::Vec;
use linux_raw_sys::general as linux;
use machine::mm::PAGE;

const KEEP: u32 = linux::FALLOC_FL_KEEP_SIZE;
const COLLAPSE: u32 = linux::FALLOC_FL_COLLAPSE_RANGE;
const INSERT: u32 = linux::FALLOC_FL_INSERT_RANGE;

impl Content {
    /// Does to the range what `mode` says, a combination of flags that there is.
    pub fn allocate(&self, mode: u32, offset: u64, len: u64) -> Result<(), Errno> {
        let end = offset.checked_add(len).ok_or(Errno::EFBIG)?;
        if end > MAX_SIZE {
            return Err(Errno::EFBIG);
        }
        if self.inner.lock().is_stored() {
            return self.allocate_stored(mode, offset, end);
        }
        let grow = mode & KEEP == 0;
        match mode & !KEEP {
            0 => self.reserve(offset, len, grow),
            linux::FALLOC_FL_PUNCH_HOLE => self.punch(offset, len),
            linux::FALLOC_FL_ZERO_RANGE => {
                self.punch(offset, len)?;
                self.reserve(offset, len, grow)
            }
            _ => Err(Errno::EOPNOTSUPP),
        }
    }

    fn allocate_stored(&self, mode: u32, start: u64, end: u64) -> Result<(), Errno> {
        let moves = mode & (COLLAPSE | INSERT) != 0;
        let changed = match mode & !KEEP {
            0 => start..start,
            _ if moves => start..u64::MAX,
            _ => start..end,
        };
        let pages = changed.start / PAGE_LEN..changed.end.div_ceil(PAGE_LEN);
        // What lies around the range, or moves, must not be lost with the pages.
        self.with_written(pages.clone(), |inner, operations| {
            operations.allocate(mode, start, end - start)?;
            let gone = inner.pages.extract_if(pages.clone(), |_, _| true).count();
            inner.give_back(gone);
            inner.dirty.forget(pages);
            inner.give_room_back();
            inner.size = match mode {
                COLLAPSE => inner.size - (end - start),
                INSERT => inner.size + (end - start),
                _ if mode & KEEP == 0 => inner.size.max(end),
                _ => inner.size,
            };
            inner.source_len = inner.size;
            Ok(())
        })?;
        self.forget_mapped(changed.start, changed.end, moves);
        Ok(())
    }

    /// Makes the range read as zeros, within the size (`FALLOC_FL_PUNCH_HOLE`).
    pub fn punch(&self, offset: u64, len: u64) -> Result<(), Errno> {
        let mut inner = self.inner.lock();
        inner.may_write(0, 0)?;
        let end = offset.saturating_add(len).min(inner.size);
        let zeros = [0; PAGE];
        let mut at = offset;
        while at < end {
            let part = (PAGE_LEN - at % PAGE_LEN).min(end - at);
            let index = at / PAGE_LEN;
            let in_source = index * PAGE_LEN < inner.source_len;
            if part == PAGE_LEN && !in_source {
                // From here on there are whole pages, up to the last one.
                let whole = index..end / PAGE_LEN;
                let gone = inner.pages.extract_if(whole, |_, _| true).count();
                inner.give_back(gone);
                at = end / PAGE_LEN * PAGE_LEN;
                continue;
            }
            if in_source || inner.pages.contains_key(&index) {
                inner.write(at, &zeros[..part as usize])?;
            }
            at += part;
        }
        drop(inner);
        self.forget_mapped(offset, end, false);
        Ok(())
    }

    /// Grows to `size` with memory reserved for the range (`fallocate`).
    fn reserve(&self, offset: u64, len: u64, grow: bool) -> Result<(), Errno> {
        let end = offset + len;
        let mut inner = self.inner.lock();
        inner.may_reserve(end)?;
        let source_end = inner.source_len.div_ceil(PAGE_LEN);
        let indices = (offset / PAGE_LEN).max(source_end)..end.div_ceil(PAGE_LEN);
        let there = match indices.is_empty() {
            true => 0,
            false => inner.pages.range(indices.clone()).count(),
        };
        let missing = indices.end.saturating_sub(indices.start) - there as u64;
        let left = inner.quota.as_ref().map_or(u64::MAX, |quota| quota.left());
        if missing > left.min(available() as u64) {
            return Err(Errno::ENOSPC);
        }
        for index in indices {
            inner.writable(index, Purpose::Growth)?;
        }
        if grow {
            inner.size = inner.size.max(end);
        }
        Ok(())
    }

    /// The next offset from `offset` with data (or in a hole); `ENXIO` past the end.
    pub fn seek(&self, offset: u64, data: bool) -> Result<u64, Errno> {
        let inner = self.inner.lock();
        if offset >= inner.size {
            return Err(Errno::ENXIO);
        }
        if inner.is_stored() {
            drop(inner);
            // What has been put into holes is not known there yet.
            return self.with_written(0..u64::MAX, |inner, operations| {
                seek_stored(operations, offset, inner.size, data)
            });
        }
        let mut at = offset;
        while at < inner.size {
            let index = at / PAGE_LEN;
            if (at < inner.source_len || inner.pages.contains_key(&index)) == data {
                return Ok(at);
            }
            at = if data {
                let next = inner.pages.range(index..).next().ok_or(Errno::ENXIO)?;
                next.0 * PAGE_LEN
            } else {
                (index + 1) * PAGE_LEN
            };
        }
        if data {
            Err(Errno::ENXIO)
        } else {
            Ok(inner.size)
        }
    }

    /// Where the bytes of the range are on a disk, once they are there; `EOPNOTSUPP`.
    pub fn extents(&self, offset: u64, len: u64) -> Result<Vec<Extent>, Errno> {
        self.with_written(0..u64::MAX, |inner, operations| {
            let len = len.min(inner.size.saturating_sub(offset));
            if len == 0 {
                return Ok(Vec::new());
            }
            let extents = operations.extents(offset, len)?;
            extents.ok_or(Errno::EOPNOTSUPP)
        })
    }

    /// The 512-byte blocks that a file in memory takes, those of the image included.
    pub fn blocks(&self) -> u64 {
        let inner = self.inner.lock();
        let source = inner.source_len.div_ceil(PAGE_LEN);
        // Most files have no source: each fstat(2) of a large one must not count its pages.
        let beyond = match source {
            0 => u64::try_from(inner.pages.len()).unwrap_or(u64::MAX),
            _ => inner.pages.range(source..).map(|_| 1).sum(),
        };
        (source + beyond) * (PAGE_LEN / 512)
    }
}

/// The same for a file that is elsewhere.
fn seek_stored(
    operations: &dyn InodeOperations,
    offset: u64,
    size: u64,
    data: bool,
) -> Result<u64, Errno> {
    let Some(left) = size.checked_sub(offset).filter(|&left| left > 0) else {
        return Err(Errno::ENXIO);
    };
    let Some(extents) = operations.extents(offset, left)? else {
        return Ok(if data { offset } else { size });
    };
    let mut at = offset;
    for extent in extents.iter().filter(|extent| !extent.unwritten) {
        match data {
            true => return Ok(at.max(extent.logical)),
            false if extent.logical > at => break,
            false => at = at.max(extent.logical + extent.len),
        }
    }
    match data {
        true => Err(Errno::ENXIO),
        false => Ok(at.min(size)),
    }
}
