//! The kernel heap: free lists of powers of two cut from frames; large blocks are frames of their own.
//!
//! The program's `malloc` has nothing to do with it. Works before the scheduler and in interrupt context.

use super::frame::{alloc_contiguous, free_contiguous, mark_heap};
use crate::arch::layout::{DIRECT_MAP, PAGE, phys_to_virt};
use crate::sync::SpinLock;
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{self, NonNull};

const SMALLEST: usize = 16;
const CLASSES: usize = 8;
const LARGEST: usize = SMALLEST << (CLASSES - 1);

struct Free {
    next: Option<NonNull<Free>>,
}

struct Heap([Option<NonNull<Free>>; CLASSES]);

// SAFETY: the blocks are the heap's own; the lock admits one user.
unsafe impl Send for Heap {}

static HEAP: SpinLock<Heap> = SpinLock::new(Heap([None; CLASSES]));

/// The kernel heap as the global allocator.
#[derive(Debug)]
pub struct Allocator;

fn class(layout: Layout) -> Option<usize> {
    let size = layout.size().max(layout.align()).max(SMALLEST);
    let size = size.next_power_of_two();
    (size <= LARGEST).then(|| (size / SMALLEST).trailing_zeros() as usize)
}

fn pages(layout: Layout) -> usize {
    layout.size().max(layout.align()).div_ceil(PAGE)
}

fn take(count: usize) -> Option<u64> {
    let frames = alloc_contiguous(count)?;
    mark_heap(frames, count, true);
    Some(frames)
}

// SAFETY: a block comes from frames of the heap's own, is as large as its class or its frames and aligned to that, and has
// one owner until it is given back.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(class) = class(layout) else {
            return take(pages(layout)).map_or(ptr::null_mut(), phys_to_virt);
        };
        let mut heap = HEAP.lock();
        if heap.0[class].is_none() {
            let Some(frame) = take(1) else {
                return ptr::null_mut();
            };
            let size = SMALLEST << class;
            for offset in (0..PAGE).step_by(size) {
                let block = phys_to_virt(frame + offset as u64).cast::<Free>();
                // SAFETY: the frame is the heap's; blocks are large enough and aligned for a link.
                unsafe {
                    block.write(Free {
                        next: heap.0[class],
                    });
                }
                heap.0[class] = NonNull::new(block);
            }
        }
        match heap.0[class] {
            Some(block) => {
                // SAFETY: blocks on a free list are the heap's and start with the link.
                heap.0[class] = unsafe { block.as_ref().next };
                block.as_ptr().cast()
            }
            None => ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(class) = class(layout) else {
            let frames = (block.expose_provenance() - DIRECT_MAP) as u64;
            mark_heap(frames, pages(layout), false);
            // SAFETY: `alloc` took as many frames for this layout, and the owner gives them back.
            unsafe { free_contiguous(frames, pages(layout)) };
            return;
        };
        let mut heap = HEAP.lock();
        let block = block.cast::<Free>();
        // SAFETY: the block is the heap's again, and large enough and aligned for a link.
        unsafe {
            block.write(Free {
                next: heap.0[class],
            });
        }
        heap.0[class] = NonNull::new(block);
    }
}
