//! Physical frames: handles, which may be several to one frame, and contiguous blocks.

use super::buddy::{Buddy, Links};
use crate::arch::layout::{PAGE, phys_to_virt};
use crate::sync::{Rank, SpinLock};
use core::ops::Range;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use spin::Once;

/// One allocated 4 KiB frame, or a share of it; freed when the last is dropped.
#[derive(Debug)]
pub struct Frame {
    phys: u64,
}

impl Frame {
    /// Allocates a zeroed frame; `None` when memory is exhausted.
    pub fn zeroed() -> Option<Self> {
        let frame = Self::uninit()?;
        frame.zero(0);
        Some(frame)
    }

    /// Allocates a frame with unspecified contents. What the kernel keeps for itself is not given out.
    pub fn uninit() -> Option<Self> {
        let mut frames = FRAMES.free.lock();
        let frames = frames.as_mut()?;
        if frames.counts().1 <= FRAMES.reserve.load(Ordering::Relaxed) {
            return None;
        }
        let phys = (frames.take(0)? * PAGE) as u64;
        // Nobody else knows of it yet; what is there of a frame that was never taken is left from before the boot.
        shares(phys).store(0, Ordering::Relaxed);
        Some(Self { phys })
    }

    /// Physical address.
    pub fn phys(&self) -> u64 {
        self.phys
    }

    /// Its bytes through the direct map. The program may have the frame mapped, too.
    pub(crate) fn bytes(&self) -> *mut u8 {
        phys_to_virt(self.phys)
    }

    /// Reads what is at `offset`.
    ///
    /// # Panics
    /// If that is not all within the frame.
    pub fn read(&self, offset: usize, to: &mut [u8]) {
        assert!(offset + to.len() <= PAGE);
        // SAFETY: the range lies within the frame, which is ours while `self` lives; a program that has it mapped may
        // write to it meanwhile, which changes bytes but never their validity, and nobody makes references into frames.
        unsafe {
            self.bytes()
                .add(offset)
                .copy_to_nonoverlapping(to.as_mut_ptr(), to.len());
        }
    }

    /// Writes at `offset`. Who writes at the same time as others gets a mixture of both, as on Linux.
    ///
    /// # Panics
    /// If that is not all within the frame.
    pub fn write(&self, offset: usize, from: &[u8]) {
        assert!(offset + from.len() <= PAGE);
        // SAFETY: as for `read`: within the frame, bytes only, and no references into frames.
        unsafe {
            self.bytes()
                .add(offset)
                .copy_from_nonoverlapping(from.as_ptr(), from.len());
        }
    }

    /// Fills the frame with zeros from `offset` on.
    ///
    /// # Panics
    /// If that is not within the frame.
    pub fn zero(&self, offset: usize) {
        assert!(offset <= PAGE);
        // SAFETY: as for `read`: within the frame, bytes only, and no references into frames.
        unsafe { self.bytes().add(offset).write_bytes(0, PAGE - offset) };
    }

    /// Gives the frame to a page-table entry, which owns it from now on.
    pub(super) fn into_phys(self) -> u64 {
        core::mem::ManuallyDrop::new(self).phys
    }

    /// How many have a share of it, this one included. If it is alone, nobody can make it more meanwhile.
    pub fn references(&self) -> u32 {
        // Acquire: what others have done with it comes before what the last one does.
        shares(self.phys).load(Ordering::Acquire) + 1
    }

    /// Gives another page-table entry a share of a frame that is an entry's already, which the caller keeps as it is.
    pub(super) fn share(phys: u64) {
        // Nothing is published by it: the caller's lock keeps the entry, and so the frame.
        shares(phys).fetch_add(1, Ordering::Relaxed);
    }

    /// Whether other entries than the one that owns it have a share of the frame. Who keeps that entry as it is, and
    /// hears no, has the frame alone: only an owner can share.
    pub(super) fn is_shared(phys: u64) -> bool {
        // Acquire: what the other owners have done with it comes before what the last one does.
        shares(phys).load(Ordering::Acquire) != 0
    }

    /// Takes a frame, or a share of it, back from a page-table entry.
    ///
    /// # Safety
    /// `phys` must come from [`Frame::into_phys`] or [`Frame::share`], once for each, and no CPU may be able to reach
    /// the frame by the entry's translation.
    pub(super) unsafe fn from_phys(phys: u64) -> Self {
        Self { phys }
    }
}

impl Clone for Frame {
    /// Another share of it.
    fn clone(&self) -> Self {
        Self::share(self.phys);
        Self { phys: self.phys }
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        let others = shares(self.phys);
        let less = |others: u32| others.checked_sub(1);
        if others.load(Ordering::Acquire) != 0
            && others
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, less)
                .is_ok()
        {
            return;
        }
        if let Some(frames) = FRAMES.free.lock().as_mut() {
            frames.release(number(self.phys), 0);
        }
    }
}

/// Link words in the first bytes of free frames.
struct InFrames;

impl Links for InFrames {
    fn get(&self, frame: usize) -> (usize, usize) {
        // SAFETY: the frame is free, so it is the allocator's, and all frames given to it are mapped.
        unsafe {
            phys_to_virt((frame * PAGE) as u64)
                .cast::<(usize, usize)>()
                .read()
        }
    }
    fn set(&mut self, frame: usize, links: (usize, usize)) {
        // SAFETY: as above.
        unsafe {
            phys_to_virt((frame * PAGE) as u64)
                .cast::<(usize, usize)>()
                .write(links);
        }
    }
}

/// What there is of memory.
struct Frames {
    free: SpinLock<Option<Buddy<InFrames>>>,
    /// How many owners each frame has beside the first.
    shares: Once<&'static [AtomicU32]>,
    /// Frames kept for the kernel's own needs, so that a program that takes all memory can be told so.
    reserve: AtomicUsize,
}

static FRAMES: Frames = Frames {
    free: SpinLock::ranked(Rank::Frames, None),
    shares: Once::new(),
    reserve: AtomicUsize::new(0),
};

fn shares(phys: u64) -> &'static AtomicU32 {
    let shares = FRAMES.shares.get();
    &shares.expect("there are no frames before the allocator")[number(phys)]
}

fn number(phys: u64) -> usize {
    phys as usize / PAGE
}

fn order(count: usize) -> usize {
    count.max(1).next_power_of_two().trailing_zeros() as usize
}

/// Physically contiguous frames for DMA, tables and the heap; address of the first. Contents are unspecified.
pub fn alloc_contiguous(count: usize) -> Option<u64> {
    let order = order(count);
    if order >= super::buddy::ORDERS {
        return None;
    }
    let block = FRAMES.free.lock().as_mut()?.take(order)?;
    Some((block * PAGE) as u64)
}

/// Frees what [`alloc_contiguous`] gave.
///
/// # Safety
/// `phys` and `count` must come from one `alloc_contiguous`, and nothing may use the memory any more.
pub unsafe fn free_contiguous(phys: u64, count: usize) {
    if let Some(frames) = FRAMES.free.lock().as_mut() {
        frames.release(number(phys), order(count));
    }
}

/// A zeroed frame for a page table.
pub(crate) fn alloc_table() -> Option<u64> {
    let phys = alloc_contiguous(1)?;
    // SAFETY: the frame is ours and mapped in the direct map.
    unsafe { phys_to_virt(phys).write_bytes(0, PAGE) };
    Some(phys)
}

/// Frames managed and frames free.
pub fn counts() -> (usize, usize) {
    FRAMES.free.lock().as_ref().map_or((0, 0), Buddy::counts)
}

/// Frames a program may have at most.
pub fn available() -> usize {
    counts()
        .1
        .saturating_sub(FRAMES.reserve.load(Ordering::Relaxed))
}

/// What the kernel keeps of so many frames for itself.
fn reserve(total: usize) -> usize {
    (total / 64).clamp((total / 32).min(128), 1024)
}

/// Sets the allocator up for as many frames, from address 0 on, as its two tables are long, whatever is in them. They
/// are touched for frames that are used alone.
pub(crate) fn init(states: &'static mut [u8], shares: &'static [AtomicU32]) {
    FRAMES.shares.call_once(|| shares);
    *FRAMES.free.lock() = Some(Buddy::new(InFrames, states));
}

/// The numbers of the whole frames between two addresses.
fn within(start: u64, end: u64) -> Range<usize> {
    number(start + PAGE as u64 - 1)..number(end)
}

/// Says that a range will be given by [`add`]: of all of them before the first is.
pub(crate) fn expect(start: u64, end: u64) {
    if let Some(frames) = FRAMES.free.lock().as_mut() {
        let whole = within(start, end);
        frames.expect(whole.start, whole.end);
    }
}

/// Sets the allocator up for unit tests, of this crate or another, with the memory that these have. Called once.
#[cfg(hosted)]
pub fn init_hosted() {
    use crate::arch::hosted::MEMORY_SIZE;
    use alloc::{vec, vec::Vec};
    let count = MEMORY_SIZE / PAGE;
    let shares = (0..count).map(|_| AtomicU32::new(0)).collect::<Vec<_>>();
    init(vec![0; count].leak(), shares.leak());
    add(PAGE as u64, MEMORY_SIZE as u64);
}

/// Gives a mapped, unused range of physical memory to the allocator.
pub(crate) fn add(start: u64, end: u64) {
    if let Some(frames) = FRAMES.free.lock().as_mut() {
        let whole = within(start, end);
        frames.add(whole.start, whole.end);
        FRAMES
            .reserve
            .store(reserve(frames.counts().0), Ordering::Relaxed);
    }
}
