//! Room for what is written to files and not yet on the disk: blocks that are free, and promised.
use crate::fs::page_cache::PAGE_LEN;
use core::sync::atomic::{AtomicU64, Ordering};

/// Blocks that are left for what describes those that were promised: a part of them, and some.
const PART: u64 = 64;
const SOME: u64 = 64;

/// The free blocks of a volume, and how many of them are promised.
pub(super) struct Room {
    blocks_of_page: u64,
    free: AtomicU64,
    promised: AtomicU64,
}

impl Room {
    /// Room in `free` blocks of this size.
    pub(super) fn new(block_size: u64, free: u64) -> Self {
        Self {
            blocks_of_page: PAGE_LEN.div_ceil(block_size.max(1)),
            free: AtomicU64::new(free),
            promised: AtomicU64::new(0),
        }
    }

    /// So many blocks are free now.
    pub(super) fn set_free(&self, blocks: u64) {
        self.free.store(blocks, Ordering::Relaxed);
    }

    /// Promises blocks for so many pages; whether there are enough.
    pub(super) fn promise(&self, pages: u64) -> bool {
        let free = self.free.load(Ordering::Relaxed);
        let more = |promised: u64| {
            let promised = promised + pages * self.blocks_of_page;
            (promised + promised / PART + SOME <= free).then_some(promised)
        };
        self.promised
            .try_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok()
    }

    /// So many pages are on the disk, or gone.
    pub(super) fn give_back(&self, pages: u64) {
        self.promised
            .fetch_sub(pages * self.blocks_of_page, Ordering::Relaxed);
    }

    /// Blocks that are promised.
    pub(super) fn promised(&self) -> u64 {
        self.promised.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_promised_than_is_free() {
        let room = Room::new(1024, 64 + 8 + 4);
        assert!(room.promise(2) && room.promise(1));
        assert!(!room.promise(1));
        assert_eq!(room.promised(), 12);
        room.give_back(3);
        room.set_free(64 + 3);
        assert!(!room.promise(1));
    }
}
