//! Who allocates from the arena of its address space ([`Arena`]): a thread while it is [`inside`]. Interrupts, page
//! faults and what the linker asks of the kernel are [`outside`].

pub use super::space::arena::{END, ROOT, START};

use super::space::arena::Arena;
use crate::arch::{interrupt_flag, percpu};
use crate::sched;
use core::alloc::Layout;
use core::ptr;
use core::sync::atomic::Ordering;

/// Runs `f` with the arena as what this thread allocates from.
pub fn inside<R>(f: impl FnOnce() -> R) -> R {
    with_flag(true, f)
}

/// Runs `f` with the kernel heap as what this thread allocates from.
pub fn outside<R>(f: impl FnOnce() -> R) -> R {
    with_flag(false, f)
}

fn with_flag<R>(value: bool, f: impl FnOnce() -> R) -> R {
    if percpu::current_address() == 0 {
        // Before there are threads there is no dynamic linker.
        return f();
    }
    // Nobody but the thread itself touches the flag.
    let set =
        |value| sched::with_current(|thread| thread.uses_arena.swap(value, Ordering::Relaxed));
    // What an interrupt interrupts is in the middle still.
    let run = || {
        if interrupt_flag::are_enabled() {
            with_count(value, f)
        } else {
            f()
        }
    };
    let before = set(value);
    let result = run();
    set(before);
    result
}

/// Runs `f`, which takes time, as if the thread were outside: it may be in the middle of something, but not of what it
/// does to the arena. Interrupts are on.
pub(crate) fn waiting<R>(f: impl FnOnce() -> R) -> R {
    with_count(false, f)
}

/// Runs `f` with the thread among those that are inside, or not. Interrupts are on.
fn with_count<R>(value: bool, f: impl FnOnce() -> R) -> R {
    let set = |value| {
        let before = sched::with_current(|thread| thread.is_inside.swap(value, Ordering::Relaxed));
        if before != value {
            with_current(|arena| if value { arena.enter() } else { arena.leave() });
        }
        before
    };
    let before = set(value);
    let result = f();
    set(before);
    result
}

/// Calls `f` with the arena of the running thread's space.
fn with_current<R>(f: impl FnOnce(&Arena) -> R) -> Option<R> {
    sched::with_space(|space| space.map(|space| f(space.arena())))
}

/// A block of the arena, or null without memory; `None` if the running thread does not allocate from it.
pub(super) fn alloc(layout: Layout) -> Option<*mut u8> {
    let uses = percpu::current_address() != 0
        && sched::with_current(|thread| thread.uses_arena.load(Ordering::Relaxed));
    uses.then(|| with_current(|arena| arena.alloc(layout)).unwrap_or(ptr::null_mut()))
}

/// Gives a block back.
///
/// # Safety
/// The block must come from [`alloc`], for this layout, in this address space, and be nobody's any more.
pub(super) unsafe fn dealloc(block: *mut u8, layout: Layout) {
    // Without a space there is no block to give back.
    // SAFETY: the block is this arena's and nobody's, by the caller's word.
    let _ = with_current(|arena| unsafe { arena.dealloc(block, layout) });
}
