//! The buddy system that hands out physical frames in blocks of powers of two (Knuth, TAOCP volume 1, 2.5).
//!
//! Knows frame numbers only. The links of free blocks lie in the blocks themselves, reached through [`Links`]; one byte
//! a frame says which frames begin a free block, and of what order.

/// Number of block sizes: 4 KiB to 1 GiB.
pub(super) const ORDERS: usize = 19;

const NOT_FREE: u8 = u8::MAX;
const NONE: usize = usize::MAX;

/// Access to the two link words in a free block.
pub(super) trait Links {
    /// Reads (next, previous).
    fn get(&self, frame: usize) -> (usize, usize);
    /// Writes (next, previous).
    fn set(&mut self, frame: usize, links: (usize, usize));
}

/// The allocator.
pub(super) struct Buddy<L> {
    links: L,
    states: &'static mut [u8],
    heads: [usize; ORDERS],
    total: usize,
    free: usize,
}

impl<L: Links> Buddy<L> {
    /// An allocator without frames, for frame numbers below `states.len()`.
    pub(super) fn new(links: L, states: &'static mut [u8]) -> Self {
        states.fill(NOT_FREE);
        Self {
            links,
            states,
            heads: [NONE; ORDERS],
            total: 0,
            free: 0,
        }
    }

    /// Gives the frames `start..end` to the allocator.
    pub(super) fn add(&mut self, start: usize, end: usize) {
        let end = end.min(self.states.len());
        let mut at = start;
        while at < end {
            let aligned = at.trailing_zeros() as usize;
            let fits = (end - at).ilog2() as usize;
            let order = aligned.min(fits).min(ORDERS - 1);
            self.total += 1 << order;
            self.release(at, order);
            at += 1 << order;
        }
    }

    /// (frames managed, frames free).
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.total, self.free)
    }

    /// Takes a block of `1 << order` frames.
    pub(super) fn take(&mut self, order: usize) -> Option<usize> {
        let mut found = (order..ORDERS).find(|&order| self.heads[order] != NONE)?;
        let block = self.heads[found];
        self.unlink(block, found);
        while found > order {
            found -= 1;
            self.link(block + (1 << found), found);
        }
        self.free -= 1 << order;
        Some(block)
    }

    /// Gives a block back.
    pub(super) fn release(&mut self, block: usize, order: usize) {
        self.free += 1 << order;
        let (mut block, mut order) = (block, order);
        while order + 1 < ORDERS {
            let buddy = block ^ (1 << order);
            if self.states.get(buddy).copied() != u8::try_from(order).ok() {
                break;
            }
            self.unlink(buddy, order);
            block = block.min(buddy);
            order += 1;
        }
        self.link(block, order);
    }

    fn link(&mut self, block: usize, order: usize) {
        let head = self.heads[order];
        self.links.set(block, (head, NONE));
        if head != NONE {
            let (next, _) = self.links.get(head);
            self.links.set(head, (next, block));
        }
        self.heads[order] = block;
        self.states[block] = order as u8;
    }

    fn unlink(&mut self, block: usize, order: usize) {
        let (next, previous) = self.links.get(block);
        if next != NONE {
            let (after, _) = self.links.get(next);
            self.links.set(next, (after, previous));
        }
        if previous == NONE {
            self.heads[order] = next;
        } else {
            let (_, before) = self.links.get(previous);
            self.links.set(previous, (next, before));
        }
        self.states[block] = NOT_FREE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Table(Vec<(usize, usize)>);

    impl Links for Table {
        fn get(&self, frame: usize) -> (usize, usize) {
            self.0[frame]
        }
        fn set(&mut self, frame: usize, links: (usize, usize)) {
            self.0[frame] = links;
        }
    }

    fn buddy(frames: usize) -> Buddy<Table> {
        let states = vec![0; frames].leak();
        Buddy::new(Table(vec![(0, 0); frames]), states)
    }

    #[test]
    fn blocks_do_not_overlap_and_merge_again() {
        let mut buddy = buddy(1000);
        buddy.add(3, 997);
        assert_eq!(buddy.counts(), (994, 994));
        let mut used = vec![false; 1000];
        let mut blocks = Vec::new();
        for step in 0.. {
            let order = step % 4;
            let Some(block) = buddy.take(order) else {
                break;
            };
            assert!(block.is_multiple_of(1 << order));
            for frame in &mut used[block..block + (1 << order)] {
                assert!(!*frame);
                *frame = true;
            }
            blocks.push((block, order));
        }
        for &(block, order) in blocks
            .iter()
            .step_by(2)
            .chain(blocks.iter().skip(1).step_by(2))
        {
            buddy.release(block, order);
        }
        assert_eq!(buddy.counts(), (994, 994));
        // 256..512 lies within: whole again.
        assert!(buddy.take(8).is_some());
    }

    #[test]
    fn exhaustion_is_not_an_error() {
        let mut buddy = buddy(8);
        buddy.add(0, 8);
        assert!(buddy.take(3).is_some());
        assert_eq!(buddy.take(0), None);
        assert_eq!(buddy.take(ORDERS - 1), None);
    }
}
