//! Kernel stacks: mapped in a region of their own, each above a guard page, and kept for reuse.

use super::PAGE;
use super::frame::{alloc_contiguous, available};
use crate::arch::paging::{self, Flags};
use crate::sync::SpinLock;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Where the region starts.
pub(crate) const REGION: usize = 0xffff_c000_0000_0000;

/// Size of one.
pub(crate) const SIZE: usize = 64 << 10;
const SLOT: usize = 2 * SIZE;

static NEXT: AtomicUsize = AtomicUsize::new(REGION);
static UNUSED: SpinLock<Vec<usize>> = SpinLock::new(Vec::new());

/// A kernel stack. Dropping it keeps the memory for the next one, still mapped: no translation has to be flushed.
#[derive(Debug)]
pub struct KernelStack {
    top: usize,
}

impl KernelStack {
    /// Takes or makes a stack. `None` without memory.
    pub fn new() -> Option<Self> {
        if let Some(top) = UNUSED.lock().pop() {
            return Some(Self { top });
        }
        // What is kept for the kernel's own needs must not go into threads, and each needs a few pages beside this.
        if available() < 2 * SIZE / PAGE {
            return None;
        }
        let top = NEXT.fetch_add(SLOT, Ordering::Relaxed) + SLOT;
        for page in (top - SIZE..top).step_by(PAGE) {
            let frame = alloc_contiguous(1)?;
            paging::map_kernel(page, frame, PAGE, Flags::WRITABLE | Flags::NO_EXECUTE)?;
        }
        Some(Self { top })
    }

    /// The address past its end; a multiple of 16.
    pub fn top(&self) -> usize {
        self.top
    }
}

impl Drop for KernelStack {
    fn drop(&mut self) {
        UNUSED.lock().push(self.top);
    }
}
