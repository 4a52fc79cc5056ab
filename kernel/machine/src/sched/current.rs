//! The running thread.

use super::space::{self, AddressSpace};
use super::state::Tid;
use super::thread::Thread;
use super::usage::Storage;
use crate::arch::{context, interrupt_flag, percpu};
use alloc::sync::Arc;

/// The running thread's address, from `Arc::into_raw`; null before there is one.
#[inline]
pub(super) fn address() -> *const Thread {
    core::ptr::with_exposed_provenance(percpu::current_address())
}

/// The running thread.
pub fn current() -> Arc<Thread> {
    with_current(Thread::handle)
}

/// The running thread without touching its reference count.
pub fn with_current<R>(f: impl FnOnce(&Thread) -> R) -> R {
    let thread = address();
    // SAFETY: the scheduler holds a reference for as long as the thread runs, and this is the thread that runs `f`. The
    // address is read in one instruction, and is the same on whatever CPU this thread goes on.
    f(unsafe { &*thread })
}

/// The same where there may be no thread yet: early at boot; unit tests have no scheduler.
pub fn try_with_current<R>(f: impl FnOnce(&Thread) -> R) -> Option<R> {
    let is_there = !cfg!(hosted) && !address().is_null();
    is_there.then(|| with_current(f))
}

/// Counts bytes that pass between files and what they are stored on.
pub fn count_storage(what: Storage, bytes: u64) {
    try_with_current(|thread| thread.usage.count_storage(what, bytes));
}

/// Whether nothing runs on this CPU but its idle thread.
pub(crate) fn is_idle() -> bool {
    with_current(Thread::is_idle)
}

/// Calls `f` with the running thread's address space, if it has one.
#[inline]
pub fn with_space<R>(f: impl FnOnce(Option<&Arc<dyn AddressSpace>>) -> R) -> R {
    // SAFETY: only the thread itself changes it, in `leave_space`, and does not come back to `f` after that.
    with_current(|thread| f(unsafe { &*thread.space.get() }.as_ref()))
}

/// Has the running thread, which is about to end, leave its address space.
pub(super) fn leave_space() {
    // SAFETY: only the thread itself uses it while it runs, and what it has borrowed from it is never used again: it
    // ends.
    let space = with_current(|thread| unsafe { (*thread.space.get()).take() });
    interrupt_flag::without(|| space::enter(None));
    // It may be the last reference: with interrupts on.
    drop(space);
}

/// The running thread's id.
pub fn current_tid() -> Tid {
    with_current(|thread| thread.tid)
}

/// Sets the current thread's thread pointer (FS base).
pub fn set_thread_pointer(base: u64) {
    interrupt_flag::without(|| context::set_thread_pointer(base));
}

/// The current thread's GS base.
pub fn gs() -> u64 {
    interrupt_flag::without(|| context::program_gs(None))
}

/// Sets the current thread's GS base.
pub fn set_gs(base: u64) {
    interrupt_flag::without(|| context::program_gs(Some(base)));
}

/// Whether a signal is pending for the running thread that it does not block.
pub fn signal_pending() -> bool {
    with_current(Thread::signal_pending)
}

/// Whether the running thread is to end, whatever it waits for.
pub fn kill_pending() -> bool {
    with_current(Thread::kill_pending)
}
