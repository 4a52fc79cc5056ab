//! The buddy system that hands out physical frames in blocks of powers of two (Knuth, TAOCP volume 1, 2.5).
//!
//! Knows frame numbers only. The links of free blocks lie in the blocks themselves, reached through [`Links`]; one byte
//! a frame says which frames begin a free block, and of what order. That byte is written when a block that begins there
//! comes into being, and read later alone, so the table is touched as memory comes into use and not before.

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
    /// An allocator without frames, for frame numbers below `states.len()`, whatever is in there.
    pub(super) fn new(links: L, states: &'static mut [u8]) -> Self {
        Self {
            links,
            states,
            heads: [NONE; ORDERS],
            total: 0,
            free: 0,
        }
    }

    /// Says that `start..end` will be given by one [`Buddy::add`]. All of these are said before the first is given:
    /// what a block may be united with some day is noted not to be free, so that nobody takes what is there by chance
    /// for an answer. Below the order that a block is added with, both halves are noted when it is divided.
    pub(super) fn expect(&mut self, start: usize, end: usize) {
        for (block, order) in blocks(start, end.min(self.states.len())) {
            for order in order..ORDERS {
                let whole = block >> order << order;
                if let Some(state) = self.states.get_mut(whole ^ (1 << order)) {
                    *state = NOT_FREE;
                }
            }
        }
    }

    /// Gives the frames `start..end` to the allocator.
    pub(super) fn add(&mut self, start: usize, end: usize) {
        for (block, order) in blocks(start, end.min(self.states.len())) {
            self.total += 1 << order;
            self.release(block, order);
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

/// The largest blocks that make up `start..end`: where each begins, and its order.
fn blocks(start: usize, end: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut at = start;
    core::iter::from_fn(move || {
        let left = end.checked_sub(at).filter(|&left| left > 0)?;
        let (aligned, fits) = (at.trailing_zeros() as usize, left.ilog2() as usize);
        let (block, order) = (at, aligned.min(fits).min(ORDERS - 1));
        at += 1 << order;
        Some((block, order))
    })
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

    /// With the ranges that it will have, and something in each of its bytes.
    fn buddy(frames: usize, byte: u8, ranges: &[(usize, usize)]) -> Buddy<Table> {
        let states = vec![byte; frames].leak();
        let mut buddy = Buddy::new(Table(vec![(0, 0); frames]), states);
        for &(start, end) in ranges {
            buddy.expect(start, end);
        }
        buddy
    }

    #[test]
    fn blocks_do_not_overlap_and_merge_again() {
        let mut buddy = buddy(1000, 0, &[(3, 997)]);
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
        let mut buddy = buddy(8, 0, &[(0, 8)]);
        buddy.add(0, 8);
        assert!(buddy.take(3).is_some());
        assert_eq!(buddy.take(0), None);
        assert_eq!(buddy.take(ORDERS - 1), None);
    }

    #[test]
    fn what_its_table_held_before_does_not_matter() {
        let ranges = [(5, 64), (70, 71), (72, 300), (512, 700), (701, 900)];
        for byte in 0..=u8::MAX {
            let mut buddy = buddy(1024, byte, &ranges);
            for (start, end) in ranges {
                buddy.add(start, end);
                // Each is whole again before the next comes.
                let taken: Vec<_> = core::iter::from_fn(|| buddy.take(0)).collect();
                let given = |frame: &usize| (ranges.iter()).any(|(a, b)| (a..b).contains(&frame));
                assert!(taken.iter().all(given));
                taken.iter().for_each(|&frame| buddy.release(frame, 0));
            }
            let total = ranges.iter().map(|(start, end)| end - start).sum();
            assert_eq!(buddy.counts(), (total, total));
            assert!(buddy.take(7).is_some());
        }
    }

    #[test]
    fn its_table_is_touched_where_memory_is_used() {
        const FRAMES: usize = 1 << 18;
        let mut buddy = buddy(FRAMES, 77, &[(256, FRAMES)]);
        buddy.add(256, FRAMES);
        for _ in 0..100 {
            buddy.take(0);
        }
        assert!(buddy.states.iter().filter(|&&state| state != 77).count() < 200);
    }
}
