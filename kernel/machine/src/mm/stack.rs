//! Kernel stacks: mapped in a region of their own, each above a guard page, and kept for reuse.

use super::frame::{Frame, available};
use crate::arch::layout::{PAGE, STACKS};
use crate::arch::paging::{self, Flags};
use crate::sync::SpinLock;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

/// Size of one.
pub(crate) const SIZE: usize = 64 << 10;
const SLOT: usize = 2 * SIZE;

static STACKS_LEFT: SpinLock<Slots> = SpinLock::new(Slots {
    mapped: Vec::new(),
    bare: Vec::new(),
    next: STACKS,
});

/// Places for stacks, by the addresses past their ends.
struct Slots {
    /// Those that have been stacks and can be again.
    mapped: Vec<usize>,
    /// Those for which there was no memory.
    bare: Vec<usize>,
    /// Where the first lies that nobody has had.
    next: usize,
}

/// A kernel stack. Dropping it keeps the memory for the next one, still mapped: no translation has to be flushed.
#[derive(Debug)]
pub struct KernelStack {
    top: usize,
}

impl KernelStack {
    /// Takes or makes a stack. `None` without memory.
    pub fn new() -> Option<Self> {
        if let Some(top) = STACKS_LEFT.lock().mapped.pop() {
            return Some(Self { top });
        }
        // What is kept for the kernel's own needs must not go into threads, and each needs a few pages beside this.
        if available() < 2 * SIZE / PAGE {
            return None;
        }
        let bare = STACKS_LEFT.lock().bare.pop();
        let top = bare.unwrap_or_else(|| {
            let mut slots = STACKS_LEFT.lock();
            slots.next += SLOT;
            slots.next
        });
        if map(top).is_none() {
            STACKS_LEFT.lock().bare.push(top);
            return None;
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
        STACKS_LEFT.lock().mapped.push(self.top);
    }
}

/// Maps a stack's pages, all or none: they have one table, as places of stacks are as large as they are aligned.
fn map(top: usize) -> Option<()> {
    let pages = 0..SIZE / PAGE;
    let frames: Vec<Frame> = pages.map(|_| Frame::uninit()).collect::<Option<_>>()?;
    let entries = paging::entries(top - SIZE, SIZE / PAGE)?;
    let flags =
        Flags::PRESENT | Flags::WRITABLE | Flags::NO_EXECUTE | Flags::ACCESSED | Flags::DIRTY;
    for (entry, frame) in entries.iter().zip(frames) {
        entry.store(frame.into_phys() | flags.bits(), Ordering::Release);
    }
    Some(())
}
