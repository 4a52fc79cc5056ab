//! Reading data of files from the disk into frames, without the crate: where they are is asked for once, and the disk
//! fills the frames, while others use the file system. Left out: what is not in whole pages on the disk, and all of a
//! file that has been written to since the last commit, as the crate may have it in its cache; those it reads itself.
use super::file::File;
use crate::fs::{
    inode::{Extent, InodeOperations, copy_to_frames},
    page_cache::{PAGE_LEN, len64},
};
use abi::Errno;
use alloc::{sync::Arc, vec::Vec};
use machine::mm::{PAGE, frame::Frame};

/// Pages that the crate reads at a time.
const AT_A_TIME: usize = 8;
/// Files in more pieces are looked up each time.
const MOST: usize = 4096;

/// Frames that are filled in one go: how many, and from where on the disk; with zeros if from nowhere.
type Run = (usize, Option<u64>);

/// How to fill `count` pages from `offset` on, by a file's extents; `None` if pages are not in one piece on the disk.
fn runs(extents: &[Extent], offset: u64, count: usize) -> Option<Vec<Run>> {
    let mut runs: Vec<Run> = Vec::new();
    let mut extents = extents.iter().peekable();
    for at in (offset..).step_by(PAGE).take(count) {
        while extents
            .next_if(|extent| extent.logical + extent.len <= at)
            .is_some()
        {}
        let from = match extents.peek() {
            Some(extent) if extent.logical <= at => {
                if extent.logical + extent.len < at + PAGE_LEN {
                    return None;
                }
                let from = extent.physical + (at - extent.logical);
                (!extent.unwritten).then_some(from)
            }
            Some(extent) if extent.logical < at + PAGE_LEN => return None,
            _ => None,
        };
        match (runs.last_mut(), from) {
            (Some((len, None)), None) => *len += 1,
            (Some((len, Some(before))), Some(from)) if *before + PAGE_LEN * len64(*len) == from => {
                *len += 1;
            }
            _ => runs.push((1, from)),
        }
    }
    Some(runs)
}

impl File {
    /// Where the file's data are. The page cache's lock keeps it from being changed meanwhile.
    fn all_extents(&self) -> Result<Arc<[Extent]>, Errno> {
        if let Some(known) = &*self.extents.lock() {
            return Ok(known.clone());
        }
        let found: Arc<[Extent]> = self.extents(0, u64::MAX)?.ok_or(Errno::EOPNOTSUPP)?.into();
        if found.len() <= MOST {
            *self.extents.lock() = Some(found.clone());
        }
        Ok(found)
    }

    /// Fills frames that nobody else has.
    pub(super) fn read_to(&self, offset: u64, frames: &[Frame]) -> Result<(), Errno> {
        let runs = match self.is_behind() {
            true => None,
            false => runs(&self.all_extents()?, offset, frames.len()),
        };
        let Some(runs) = runs else {
            // A few at a time: the crate takes as much memory again, and has nothing else if there is none.
            let offsets = (offset..).step_by(AT_A_TIME * PAGE);
            for (at, frames) in offsets.zip(frames.chunks(AT_A_TIME)) {
                copy_to_frames(frames, |bytes| self.read(at, bytes))?;
            }
            return Ok(());
        };
        let mut left = frames;
        for (len, from) in runs {
            let (part, rest) = left.split_at(len);
            match from {
                Some(from) => self.shared.disk.read_frames(from, part)?,
                None => part.iter().for_each(|frame| frame.zero(0)),
            }
            left = rest;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(logical: u64, physical: u64, len: u64, unwritten: bool) -> Extent {
        let [logical, physical, len] = [logical, physical, len].map(|pages| pages * PAGE_LEN);
        Extent {
            logical,
            physical,
            len,
            unwritten,
        }
    }

    #[test]
    fn pages_are_read_in_as_few_requests_as_there_are_pieces() {
        let file = [
            extent(0, 10, 2, false),
            extent(2, 12, 1, false),
            extent(4, 20, 2, true),
            extent(6, 30, 1, false),
        ];
        let at = |page: u64| Some(page * PAGE_LEN);
        let all = [(3, at(10)), (3, None), (1, at(30)), (2, None)];
        assert_eq!(runs(&file, 0, 9).unwrap(), all);
        assert_eq!(runs(&file, PAGE_LEN, 1).unwrap(), [(1, at(11))]);
        assert_eq!(runs(&[], 0, 2).unwrap(), [(2, None)]);
    }

    #[test]
    fn pages_in_pieces_are_left_to_the_crate() {
        let mut piece = extent(0, 10, 2, false);
        piece.len -= 1024;
        assert_eq!(runs(&[piece], 0, 2), None);
        piece.logical = 1024;
        assert_eq!(runs(&[piece], 0, 1), None);
    }
}
