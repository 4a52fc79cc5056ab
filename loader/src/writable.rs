//! Where relocations may write: a question asked of every one of them.

use core::ops::Range;

use crate::object::Object;

/// The writable segments of an object, asked for one place after the other: mostly the next is where the last was.
pub(crate) struct Writable<'a> {
    object: &'a Object,
    last: Range<usize>,
}

impl<'a> Writable<'a> {
    /// Those of an object.
    pub(crate) fn of(object: &'a Object) -> Self {
        Self { object, last: 0..0 }
    }

    /// Says whether `len` bytes at a real address lie in one of them.
    #[inline(always)]
    pub(crate) fn has(&mut self, at: usize, len: usize) -> bool {
        let left = self.last.end.wrapping_sub(at);
        if at >= self.last.start && at <= self.last.end && left >= len {
            return true;
        }
        match self.object.writable_segment(at, len) {
            Some(segment) => {
                self.last = segment;
                true
            }
            None => false,
        }
    }
}
