//! Giving pages back when memory is short: those of files that are elsewhere, or in an image on a disk, and that have
//! not been changed since they were read.
//!
//! Which one goes is chosen as by a clock's hand that goes round through each file (second chance). A page that is
//! mapped is not seen to be used, and stays; only when nothing else is left, [`give_back_all`] takes all of them out of
//! the mappings, into which they come back with the next access. Left out: pages of files in memory, and swapping.
use super::{
    ALL, CachedPage, Content, Inner, PAGE_LEN,
    frames::{self, Purpose, new_frame},
};
use abi::Errno;
use alloc::{sync::Weak, vec::Vec};
use core::{cell::Cell, sync::atomic::Ordering};
use machine::mm::frame::{self, Frame};

/// Pages given back in one go.
const BATCH: usize = 64;
/// Pages of a file that are looked at in one go.
const SCAN: usize = 1024;
/// How often room is looked for.
const TRIES: usize = 8;

/// Whether there is memory left for what file systems note; gives pages back if there is none otherwise.
pub fn has_room() -> bool {
    // Two rounds of the hand through all of them: in the first each may have been used.
    let rounds = 2 * ALL.cached.load(Ordering::Relaxed) / SCAN;
    for _ in 0..TRIES.max(rounds) {
        if frames::free() > 0 {
            return true;
        }
        evict_others();
    }
    frames::free() > 0
}

impl CachedPage {
    pub(super) fn new(frame: Frame, clean: bool) -> Self {
        Self {
            frame,
            clean,
            used: Cell::new(false),
        }
    }

    /// Whether it is in the source, too, and nobody has it.
    fn is_idle(&self) -> bool {
        // Others get theirs under the content's lock.
        self.clean && self.frame.references() == 1
    }
}

impl Content {
    /// Gives back the pages that lie within the bytes `start..end`, as far as the file has them, too, and nobody else
    /// does, once they are written.
    #[doc(alias = "invalidate_mapping_pages")]
    pub fn let_go(&self, start: u64, end: u64) {
        // A failure is remembered.
        let _ = self.write_back();
        let mut inner = self.inner.lock();
        let (from, to) = (start.div_ceil(PAGE_LEN), end / PAGE_LEN);
        // The last page goes with the range that reaches the end, however long it is.
        let to = if end >= inner.size { u64::MAX } else { to };
        if from < to {
            let idle = |_: &u64, page: &mut CachedPage| page.is_idle();
            let gone = inner.pages.extract_if(from..to, idle).count();
            inner.give_back(gone);
        }
    }
}

impl Inner {
    /// Has the file found when pages are to be given back.
    pub(super) fn list(&mut self) {
        if self.hand.is_none() {
            self.hand = Some(0);
            ALL.listed.lock().push_back(self.content.clone());
        }
    }

    /// A frame with unspecified contents; `ENOSPC`.
    pub(super) fn frame(&mut self, purpose: Purpose) -> Result<Frame, Errno> {
        for _ in 0..TRIES {
            if let Ok(frame) = new_frame(purpose) {
                return Ok(frame);
            }
            if self.make_room() == 0 && purpose == Purpose::Reading {
                break;
            }
        }
        new_frame(purpose)
    }

    /// Whether there is memory for what is read.
    pub(super) fn may_cache(&mut self) -> bool {
        frames::may_cache() || (self.make_room() != 0 && frames::may_cache())
    }

    /// Gives pages back, of this file if it has many; how many.
    fn make_room(&mut self) -> usize {
        let own = if self.pages.len() > SCAN {
            self.evict(BATCH)
        } else {
            0
        };
        if own != 0 {
            return own;
        }
        match evict_others() {
            0 => self.evict(BATCH),
            gone => gone,
        }
    }

    /// Gives up to `most` pages back; how many.
    fn evict(&mut self, most: usize) -> usize {
        let from = self.hand.unwrap_or(0);
        let mut going = Vec::new();
        let round = self.pages.range(from..).chain(self.pages.range(..from));
        for (&index, page) in round.take(SCAN) {
            self.hand = Some(index + 1);
            if page.is_idle() && !page.used.replace(false) {
                going.push(index);
                if going.len() == most {
                    break;
                }
            }
        }
        for index in &going {
            self.pages.remove(index);
        }
        self.give_back(going.len());
        going.len()
    }
}

/// Gives pages of some file back that nobody is using; how many.
fn evict_others() -> usize {
    let mut files = ALL.listed.lock();
    for _ in 0..files.len().min(BATCH) {
        let Some(file) = files.pop_front() else {
            break;
        };
        let Some(content) = file.upgrade() else {
            continue;
        };
        files.push_back(file);
        // One that is in use has its lock taken.
        let gone = content
            .inner
            .try_lock()
            .map_or(0, |mut inner| inner.evict(BATCH));
        if gone != 0 {
            return gone;
        }
    }
    0
}

/// Gives pages back, mapped ones, too, until `enough` frames are free. The caller has no locks.
pub fn give_back_all(enough: usize) {
    let files: Vec<_> = ALL.listed.lock().iter().filter_map(Weak::upgrade).collect();
    for content in files {
        content.forget_mapped(0, u64::MAX, false);
        let mut inner = content.inner.lock();
        let rounds = inner.pages.len().div_ceil(SCAN);
        for _ in 0..rounds {
            inner.evict(SCAN);
        }
        if frame::available() >= enough {
            return;
        }
    }
}
