//! Frames for the data of files: how many there may be, and copying to and from them.
use crate::{
    mm::{PAGE, frame, frame::Frame},
    syscall::Errno,
};

/// Frames that files leave to the program, at most.
const LEFT_TO_PROGRAM: usize = 8192;

/// What pages are made for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It may be read again: half of memory is left to other uses, as nothing of it is given back.
    Reading,
    /// Files may do without: some memory is left to the program.
    Growth,
    /// A mapping needs it, or what is cut.
    Need,
}

/// Frames by which files may still grow.
pub fn available() -> usize {
    let left = (frame::counts().0 / 16).min(LEFT_TO_PROGRAM);
    frame::available().saturating_sub(left)
}

/// Whether there is memory for what is read.
pub(super) fn may_cache() -> bool {
    frame::available() > frame::counts().0 / 2
}

/// A zeroed frame for file data; `ENOSPC`.
pub(super) fn new_frame(purpose: Purpose) -> Result<Frame, Errno> {
    let refused = match purpose {
        Purpose::Reading => !may_cache(),
        Purpose::Growth => available() == 0,
        Purpose::Need => false,
    };
    if refused {
        return Err(Errno::ENOSPC);
    }
    Frame::zeroed().ok_or(Errno::ENOSPC)
}

pub(super) fn copy_from(frame: &Frame, within: usize, to: &mut [u8]) {
    assert!(within + to.len() <= PAGE);
    // SAFETY: the range lies within the frame (asserted), which is ours while `frame` lives; the program may write to it
    // through a shared mapping, which changes bytes but never their validity.
    unsafe {
        frame
            .bytes()
            .add(within)
            .copy_to_nonoverlapping(to.as_mut_ptr(), to.len());
    }
}

pub(super) fn copy_to(frame: &Frame, within: usize, from: &[u8]) {
    assert!(within + from.len() <= PAGE);
    // SAFETY: as in `copy_from`; kernel writers are serialised by the content's lock.
    unsafe {
        frame
            .bytes()
            .add(within)
            .copy_from_nonoverlapping(from.as_ptr(), from.len());
    }
}

pub(super) fn zero(frame: &Frame, within: usize) {
    assert!(within <= PAGE);
    // SAFETY: as in `copy_to`.
    unsafe { frame.bytes().add(within).write_bytes(0, PAGE - within) };
}
