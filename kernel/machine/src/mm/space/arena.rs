//! A space's arena: where the dynamic linker keeps what it has, in the program's half and at the same address in each
//! space. Programs are given pointers to much of it (link maps, names, blocks of thread-local storage), as by ld.so,
//! whose memory is the program's, too. Which threads allocate from it, and when, is in [`crate::mm::arena`].
//!
//! The pages are always there, so that no kernel code that runs on them faults. The program cannot unmap them.
//!
//! A space is copied while no thread of it is inside: one that wants in waits, and those that are come out soon, as
//! they do whatever takes time outside. So in a copy nothing is half done but what a thread asks the kernel for.

use crate::arch::interrupt_flag;
use crate::arch::layout::phys_to_virt;
use crate::arch::paging::{Flags, Tables, entry_address};
use crate::mm::PAGE;
use crate::mm::frame::{Frame, alloc_contiguous, free_contiguous};
use crate::mm::slab::{Slab, class, pages};
use crate::sync::{Rank, SpinLock};
use alloc::sync::Arc;
use core::alloc::Layout;
use core::hint::spin_loop;
use core::ops::Range;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Where arenas lie: far below where mappings of ordinary programs begin, and where sanitizers know programs' memory to
/// be.
pub const START: usize = 0x7e90_0000_0000;
/// The end of their place.
pub const END: usize = START + (64 << 30);

/// Where the dynamic linker's own record lies: in the first page, which is there from the beginning, filled with zeros.
pub const ROOT: usize = START;

/// What may be done with its pages.
const FLAGS: Flags = Flags::PRESENT
    .union(Flags::WRITABLE)
    .union(Flags::NO_EXECUTE)
    .union(Flags::ACCESSED)
    .union(Flags::DIRTY);

/// Orders of runs of pages: the largest is the arena.
const ORDERS: usize = ((END - START) / PAGE).trailing_zeros() as usize + 1;
/// Order from which on freed runs give their frames back, but for the first.
const LARGE: usize = 6;

/// A free run of pages; it stands in the first.
struct Run {
    next: Option<NonNull<Run>>,
    /// Whether the other pages are there, too.
    is_mapped: bool,
}

struct State {
    slab: Slab,
    /// Free runs, by order.
    runs: [Option<NonNull<Run>>; ORDERS],
    /// Where nothing has been yet.
    next: usize,
}

// SAFETY: runs are the arena's own memory; the lock admits one user.
unsafe impl Send for State {}

/// An address space's arena.
pub struct Arena {
    tables: Arc<Tables>,
    state: SpinLock<State>,
    /// How many threads are inside.
    inside: AtomicUsize,
    /// Nobody may come in.
    is_closed: AtomicBool,
}

fn order(layout: Layout) -> usize {
    pages(layout).next_power_of_two().trailing_zeros() as usize
}

impl Arena {
    /// One that is empty but for its first page, of the space that has these tables. `None` without memory.
    pub(super) fn new(tables: Arc<Tables>) -> Option<Self> {
        let root = Frame::zeroed()?;
        tables
            .entry(ROOT, true)?
            .store(root.into_phys() | FLAGS.bits(), Ordering::Release);
        let state = State {
            slab: Slab::new(),
            runs: [None; ORDERS],
            next: ROOT + PAGE,
        };
        Some(Self::with(tables, state))
    }

    fn with(tables: Arc<Tables>, state: State) -> Self {
        Self {
            tables,
            state: SpinLock::ranked(Rank::Arena, state),
            inside: AtomicUsize::new(0),
            is_closed: AtomicBool::new(false),
        }
    }

    /// One on other tables, with copies of all pages, taken while no thread is inside, and what `meanwhile` gives. The
    /// calling thread is outside, and nobody else copies it. `None` without memory.
    pub(super) fn copy<R>(
        &self,
        tables: Arc<Tables>,
        meanwhile: impl FnOnce() -> R,
    ) -> (Option<Self>, R) {
        self.is_closed.store(true, Ordering::SeqCst);
        while self.inside.load(Ordering::SeqCst) != 0 {
            spin_loop();
        }
        let copy = self.copy_pages(tables);
        let result = meanwhile();
        self.is_closed.store(false, Ordering::SeqCst);
        (copy, result)
    }

    fn copy_pages(&self, tables: Arc<Tables>) -> Option<Self> {
        let state = {
            let state = self.state.lock();
            State {
                slab: state.slab.copy(),
                ..*state
            }
        };
        let end = state.next;
        // From here on what has been copied goes with it.
        let copy = Self::with(tables, state);
        let mut at = START;
        while let Some((first, entries)) = self.tables.next_entries(at, end) {
            let copies = copy.tables.entries(first, entries.len())?;
            for (entry, copy) in entries.iter().zip(copies) {
                if let from @ 1.. = entry_address(entry.load(Ordering::Relaxed)) {
                    let to = alloc_contiguous(1)?;
                    // SAFETY: two whole frames, both mapped in the direct map; the new one is ours, and nobody is
                    // inside who might write to the other.
                    unsafe { phys_to_virt(to).copy_from_nonoverlapping(phys_to_virt(from), PAGE) };
                    copy.store(to | FLAGS.bits(), Ordering::Release);
                }
            }
            at = first + entries.len() * PAGE;
        }
        Some(copy)
    }

    /// The calling thread comes in.
    pub(in crate::mm) fn enter(&self) {
        loop {
            // In this order, as in `copy`: one of the two sees the other's.
            self.inside.fetch_add(1, Ordering::SeqCst);
            if !self.is_closed.load(Ordering::SeqCst) {
                return;
            }
            self.leave();
            while self.is_closed.load(Ordering::Relaxed) {
                spin_loop();
            }
        }
    }

    /// The calling thread goes out.
    pub(in crate::mm) fn leave(&self) {
        self.inside.fetch_sub(1, Ordering::SeqCst);
    }

    /// Calls `f` while no page of it is given back, unless that is being done.
    pub(super) fn keep<R>(&self, f: impl FnOnce() -> R) -> R {
        let _state = self.state.lock();
        f()
    }

    /// What of its place has ever been in use.
    pub(super) fn used(&self) -> Range<usize> {
        START..self.state.lock().next
    }

    /// A block, or null without memory.
    pub(in crate::mm) fn alloc(&self, layout: Layout) -> *mut u8 {
        let tables = &*self.tables;
        let mut state = self.state.lock();
        match class(layout) {
            Some(class) => {
                let State { slab, runs, next } = &mut *state;
                // SAFETY: the page is a run of one, which is nobody's, and is not given back.
                unsafe { slab.take(class, || take(tables, runs, next, 0)) }
            }
            None => {
                let State { runs, next, .. } = &mut *state;
                take(tables, runs, next, order(layout))
            }
        }
    }

    /// Gives a block back.
    ///
    /// # Safety
    /// The block must come from [`alloc`](Self::alloc) for this layout, and be nobody's any more.
    pub(in crate::mm) unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(class) = class(layout) else {
            let order = order(layout);
            // Taking pages out wants other CPUs to hear of it.
            let is_mapped = order < LARGE || !interrupt_flag::are_enabled();
            if !is_mapped {
                let second = block.expose_provenance() + PAGE;
                unmap(&self.tables, second, (1 << order) - 1);
            }
            let run = block.cast::<Run>();
            let mut state = self.state.lock();
            let next = state.runs[order];
            // SAFETY: `alloc` took a run of this order for this layout; it is nobody's by the caller's word, and its
            // first page is there still.
            unsafe { run.write(Run { next, is_mapped }) };
            state.runs[order] = NonNull::new(run);
            return;
        };
        // SAFETY: `alloc` took a block of this class for this layout; it is nobody's by the caller's word.
        unsafe { self.state.lock().slab.put(class, block) };
    }
}

/// Takes a run of pages; null without memory, or room.
fn take(
    tables: &Tables,
    runs: &mut [Option<NonNull<Run>>; ORDERS],
    next: &mut usize,
    order: usize,
) -> *mut u8 {
    let others = (1 << order) - 1;
    if let Some(run) = runs[order] {
        // SAFETY: runs on a list are the arena's, and their first page is there.
        let Run { next, is_mapped } = unsafe { run.read() };
        if !is_mapped && map(tables, run.addr().get() + PAGE, others).is_none() {
            return ptr::null_mut();
        }
        runs[order] = next;
        return run.as_ptr().cast();
    }
    // Aligned to its size, as a layout may want.
    let size = PAGE << order;
    let start = next.next_multiple_of(size);
    if start + size > END || map(tables, start, 1 << order).is_none() {
        return ptr::null_mut();
    }
    *next = start + size;
    ptr::with_exposed_provenance_mut(start)
}

/// Maps pages, as far as they are not there; `None` without memory, when some may be there.
fn map(tables: &Tables, start: usize, count: usize) -> Option<()> {
    for page in (start..start + count * PAGE).step_by(PAGE) {
        let entry = tables.entry(page, true)?;
        if entry.load(Ordering::Relaxed) == 0 {
            entry.store(alloc_contiguous(1)? | FLAGS.bits(), Ordering::Release);
        }
    }
    Some(())
}

/// Takes pages out and frees their frames. Interrupts are on.
fn unmap(tables: &Tables, start: usize, count: usize) {
    /// Pages taken out at a time.
    const BATCH: usize = 64;
    for first in (0..count).step_by(BATCH) {
        let pages = first..count.min(first + BATCH);
        let start = start + first * PAGE;
        let gone = take_out::<BATCH>(tables, start, pages.len());
        tables.flush(start, pages.len() * PAGE);
        free(gone);
    }
}

/// Takes at most `N` pages out; their frames, or 0.
fn take_out<const N: usize>(tables: &Tables, start: usize, count: usize) -> [u64; N] {
    let mut gone = [0; N];
    for (index, frame) in gone.iter_mut().enumerate().take(count) {
        if let Some(entry) = tables.entry(start + index * PAGE, false) {
            *frame = entry_address(entry.swap(0, Ordering::AcqRel));
        }
    }
    gone
}

/// Frees frames that have been taken out, which no CPU can reach any more.
fn free<const N: usize>(frames: [u64; N]) {
    for frame in frames.into_iter().filter(|&frame| frame != 0) {
        // SAFETY: `map` took the frame, whose entry is gone from the tables and, by the caller's word, from every TLB.
        unsafe { free_contiguous(frame, 1) };
    }
}

impl Drop for Arena {
    /// No thread runs in the space any more: what is in the arena is gone with it.
    fn drop(&mut self) {
        let end = self.state.lock().next;
        let mut at = START;
        while let Some((first, entries)) = self.tables.next_entries(at, end) {
            for entry in entries {
                free([entry_address(entry.swap(0, Ordering::AcqRel))]);
            }
            at = first + entries.len() * PAGE;
        }
    }
}
