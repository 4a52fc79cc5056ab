//! The static TLS area: what lies where below every thread pointer.
//!
//! x86-64 is variant II: blocks grow downward from the thread control block (Drepper, *ELF Handling For Thread-Local
//! Storage*, "Run-Time Handling of TLS"). A place is a distance below the thread pointer.

use alloc::vec::Vec;
use core::ops::Range;

use crate::tables::TlsSegment;

/// What a thread pointer is aligned to in any case: the thread descriptor holds vector registers.
const LEAST_ALIGN: usize = 64;

/// The area that every thread has.
#[derive(Clone, Copy)]
pub(crate) struct Area {
    /// How far it reaches below the thread pointer.
    pub(crate) size: usize,
    /// What thread pointers are aligned to.
    pub(crate) align: usize,
}

/// The plan of the area, alike in all threads.
pub(crate) struct Layout {
    /// Distances in use, ascending.
    taken: Vec<Range<usize>>,
    /// What thread pointers are aligned to.
    align: usize,
    /// How far the area reaches, once threads have been started by it.
    limit: Option<usize>,
}

impl Layout {
    /// Makes the plan of an empty area.
    pub(crate) const fn new() -> Self {
        Self {
            taken: Vec::new(),
            align: LEAST_ALIGN,
            limit: None,
        }
    }

    /// Finds a place for a block; returns the distance of its start, or `None` when the area is fixed and has no room
    /// for it, or when its thread pointers are not aligned well enough.
    pub(crate) fn place(&mut self, segment: &TlsSegment) -> Option<usize> {
        if self.limit.is_none() {
            self.align = self.align.max(segment.align);
        } else if segment.align > self.align {
            return None;
        }
        let limit = self.limit.unwrap_or(usize::MAX);
        let mut near = 0;
        for index in 0..=self.taken.len() {
            let next = self.taken.get(index);
            let start = start_beyond(near, segment);
            if start <= next.map_or(limit, |part| part.start) {
                self.taken.insert(index, start - segment.size..start);
                return Some(start);
            }
            near = next.map_or(near, |part| part.end);
        }
        None
    }

    /// Takes the place of a block back.
    pub(crate) fn free(&mut self, start: usize) {
        self.taken.retain(|part| part.end != start);
    }

    /// Fixes how far the area reaches: what is in use and a surplus, room for initial-exec blocks of objects loaded
    /// later.
    pub(crate) fn fix(&mut self, surplus: usize) -> Area {
        let used = self.taken.last().map_or(0, |part| part.end);
        let size = (used + surplus).next_multiple_of(LEAST_ALIGN);
        self.limit = Some(size);
        Area {
            size,
            align: self.align,
        }
    }
}

/// Returns the smallest distance at which a block can start that ends at least `near` below the thread pointer.
fn start_beyond(near: usize, segment: &TlsSegment) -> usize {
    // The start is `skew` modulo `align`, so its distance from an aligned thread pointer is `-skew`.
    let before = (segment.align - segment.skew) % segment.align;
    (near + segment.size)
        .saturating_sub(before)
        .next_multiple_of(segment.align)
        + before
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(size: usize, align: usize, skew: usize) -> TlsSegment {
        TlsSegment {
            image: 0,
            file_size: 0,
            size,
            align,
            skew,
        }
    }

    const SURPLUS: usize = 4096;

    /// A thread pointer with every alignment.
    const TP: usize = 1 << 40;

    #[test]
    fn blocks_are_apart_and_aligned() {
        let mut layout = Layout::new();
        let mut blocks: Vec<Range<usize>> = Vec::new();
        for (size, align, skew) in [
            (1, 1, 0),
            (100, 16, 8),
            (3, 0x1_0000, 0),
            (8, 8, 0),
            (5000, 4096, 40),
            (1, 64, 63),
            (16, 16, 0),
        ] {
            let start = TP - layout.place(&segment(size, align, skew)).unwrap();
            assert_eq!(start % align, skew);
            assert!(start + size <= TP);
            assert!(
                blocks
                    .iter()
                    .all(|block| start + size <= block.start || block.end <= start)
            );
            blocks.push(start..start + size);
        }
        let area = layout.fix(SURPLUS);
        assert_eq!(area.align, 0x1_0000);
        assert!(blocks.iter().all(|block| block.start >= TP - area.size));
    }

    #[test]
    fn the_surplus_ends_and_is_used_again() {
        let mut layout = Layout::new();
        layout.place(&segment(100, 8, 0)).unwrap();
        layout.fix(SURPLUS);
        let block = segment(SURPLUS / 4, 16, 0);
        let places: Vec<usize> = (0..4).map_while(|_| layout.place(&block)).collect();
        assert!(places.len() >= 3);
        while layout.place(&block).is_some() {}
        // Not only the last one can be had back.
        layout.free(places[1]);
        assert_eq!(layout.place(&segment(SURPLUS / 4 + 64, 16, 0)), None);
        assert_eq!(layout.place(&block), Some(places[1]));
        assert_eq!(layout.place(&block), None);
    }

    #[test]
    fn alignment_cannot_grow_once_threads_are_laid_out() {
        let mut layout = Layout::new();
        layout.place(&segment(8, 256, 0)).unwrap();
        layout.fix(SURPLUS);
        assert_eq!(layout.place(&segment(8, 512, 0)), None);
        assert!(layout.place(&segment(8, 256, 0)).is_some());
    }
}
