//! The kernel heap: small blocks by [`super::slab`], larger ones are frames of their own. What the dynamic linker
//! allocates comes from the arena of the thread's address space instead ([`super::arena`]); where a block is says where
//! it goes back to.
//!
//! The program's `malloc` has nothing to do with it. Works before the scheduler and in interrupt context.

use super::arena;
use super::frame::{alloc_contiguous, free_contiguous};
use super::kernel_map::virt_to_phys;
use super::slab::{Slab, class, pages};
use crate::arch::layout::{USER_END, phys_to_virt};
use crate::sync::{Rank, SpinLock};
use core::alloc::{GlobalAlloc, Layout};
use core::ptr;

static HEAP: SpinLock<Slab> = SpinLock::ranked(Rank::Heap, Slab::new());

/// The global allocator.
#[derive(Debug)]
pub struct Allocator;

fn take(count: usize) -> *mut u8 {
    alloc_contiguous(count).map_or(ptr::null_mut(), phys_to_virt)
}

// SAFETY: a block comes from frames of the heap's own, or the arena, is as large as its class or its frames and aligned
// to that, and has one owner until it is given back.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if let Some(block) = arena::alloc(layout) {
            return block;
        }
        match class(layout) {
            // SAFETY: the page comes from the frame allocator, and is never given back.
            Some(class) => unsafe { HEAP.lock().take(class, || take(1)) },
            None => take(pages(layout)),
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if block.addr() < USER_END {
            // SAFETY: the heap's blocks lie in the kernel's half, so this one is the arena's; the owner gives it back.
            unsafe { arena::dealloc(block, layout) };
            return;
        }
        match class(layout) {
            // SAFETY: `alloc` took a block of this class for this layout, and the owner gives it back.
            Some(class) => unsafe { HEAP.lock().put(class, block) },
            None => {
                let frames = virt_to_phys(block.expose_provenance());
                // SAFETY: `alloc` took as many frames for this layout, and the owner gives them back.
                unsafe { free_contiguous(frames, pages(layout)) };
            }
        }
    }
}
