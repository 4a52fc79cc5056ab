//! Free lists of blocks whose sizes are powers of two, cut from pages: the small blocks of the kernel heap and of
//! arenas.

use super::PAGE;
use core::alloc::Layout;
use core::ptr::{self, NonNull};

const SMALLEST: usize = 16;
const CLASSES: usize = 8;
const LARGEST: usize = SMALLEST << (CLASSES - 1);

struct Free {
    next: Option<NonNull<Free>>,
}

/// The free blocks, by class.
pub(super) struct Slab([Option<NonNull<Free>>; CLASSES]);

// SAFETY: the blocks are the slab's own, which has one user at a time like any value.
unsafe impl Send for Slab {}

/// The class of blocks for a layout; `None` if it wants pages of its own.
pub(super) fn class(layout: Layout) -> Option<usize> {
    let size = layout.size().max(layout.align()).max(SMALLEST);
    let size = size.next_power_of_two();
    (size <= LARGEST).then(|| (size / SMALLEST).trailing_zeros() as usize)
}

/// The pages for a layout that no class has.
pub(super) fn pages(layout: Layout) -> usize {
    layout.size().max(layout.align()).div_ceil(PAGE)
}

impl Slab {
    /// No blocks.
    pub(super) const fn new() -> Self {
        Self([None; CLASSES])
    }

    /// The same list of the same blocks, in a copy of the memory at the same addresses.
    pub(super) fn copy(&self) -> Self {
        Self(self.0)
    }

    /// Takes a block of a class; null if there is none and `page` does not give memory for more.
    ///
    /// # Safety
    /// `page` must give a page-aligned page that is nobody's and stays.
    pub(super) unsafe fn take(&mut self, class: usize, page: impl FnOnce() -> *mut u8) -> *mut u8 {
        if self.0[class].is_none() {
            let page = page();
            if page.is_null() {
                return ptr::null_mut();
            }
            for offset in (0..PAGE).step_by(SMALLEST << class) {
                // SAFETY: the offset is within the page, which the caller promises to be free; the part is a block of
                // this class.
                unsafe { self.put(class, page.add(offset)) };
            }
        }
        match self.0[class] {
            Some(block) => {
                // SAFETY: blocks on a free list are the slab's and start with the link.
                self.0[class] = unsafe { block.as_ref().next };
                block.as_ptr().cast()
            }
            None => ptr::null_mut(),
        }
    }

    /// Gives a block back.
    ///
    /// # Safety
    /// The block must have the size of its class, be aligned to that, and be nobody's any more.
    pub(super) unsafe fn put(&mut self, class: usize, block: *mut u8) {
        let block = block.cast::<Free>();
        // SAFETY: the block is free by the caller's word, and large enough and aligned for a link.
        unsafe {
            block.write(Free {
                next: self.0[class],
            });
        }
        self.0[class] = NonNull::new(block);
    }
}
