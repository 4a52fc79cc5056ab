//! Frames for the data of files: how many there may be, and copying to and from them.
use super::{ALL, cached_pages};
use abi::Errno;
use core::sync::atomic::Ordering;
use machine::mm::frame::{self, Frame};

/// Frames that files leave to the program, at most.
const LEFT_TO_PROGRAM: usize = 8192;

/// What pages are made for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It may be read again: a part of memory is left to other uses.
    Reading,
    /// Files may do without: some memory is left to the program.
    Growth,
    /// A mapping needs it, or what is cut.
    Need,
}

/// Frames by which files in memory may still grow: those that are free, and those that can be had by giving back pages.
#[doc(alias = "si_mem_available")]
pub fn available() -> usize {
    let dirty = ALL.dirty.load(Ordering::Relaxed);
    free() + cached_pages().saturating_sub(dirty)
}

/// Free frames by which files may grow.
pub(super) fn free() -> usize {
    let left = (frame::counts().0 / 16).min(LEFT_TO_PROGRAM);
    frame::available().saturating_sub(left)
}

/// Whether there is memory for what is read.
pub(super) fn may_cache() -> bool {
    frame::available() > frame::counts().0 / 8
}

/// A frame with unspecified contents for file data; `ENOSPC`.
pub(super) fn new_frame(purpose: Purpose) -> Result<Frame, Errno> {
    let refused = match purpose {
        Purpose::Reading => !may_cache(),
        Purpose::Growth => free() == 0,
        Purpose::Need => false,
    };
    if refused {
        return Err(Errno::ENOSPC);
    }
    Frame::uninit().ok_or(Errno::ENOSPC)
}
