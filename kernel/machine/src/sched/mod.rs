//! Threads and the scheduler: per-CPU run queues, priorities, fair shares, sleeping, balancing.
//!
//! Kernel code is never preempted: a thread leaves the CPU when it parks, ends, or is about to go back to the program
//! ([`exit_to_program`]). What floors above keep with a thread is behind [`ThreadState`].

#[expect(unsafe_code, reason = "shared by nobody but their thread")]
pub(crate) mod calls;
#[expect(unsafe_code, reason = "the running thread is found by address")]
mod current;
mod exit;
mod fair;
mod parking;
mod place;
mod policy;
#[expect(unsafe_code, reason = "the switch of threads")]
mod queue;
mod ranked;
mod run_queue;
mod space;
mod state;
#[expect(unsafe_code, reason = "what the switch saves")]
mod thread;

pub use current::{
    current, current_tid, gs, set_gs, set_thread_pointer, signal_pending, with_current, with_space,
};
pub(crate) use exit::{exit_to_program, has_exit_work, user_start};
pub use policy::Policy;
pub(crate) use queue::{become_idle, init, thread_start, tick};
pub use queue::{exit_current, park, reschedule, yield_now};
pub use ranked::Level;
pub use state::{NoState, ThreadState, Tid};
pub use thread::{Body, Thread, thread_count};

use crate::arch::TrapFrame;
use crate::mm::space::Space;
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::ops::Range;

/// Starts a kernel thread, whose id is 0, in an address space if it works on a program.
///
/// # Panics
/// Without memory for it, the machine cannot do anything useful.
pub fn spawn_kernel(
    name: &'static str,
    space: Option<Arc<Space>>,
    state: Box<dyn ThreadState>,
    body: Body,
) -> Arc<Thread> {
    let thread = Thread::kernel(body, space, state, false);
    let thread = thread.unwrap_or_else(|| panic!("no memory for the thread {name}"));
    queue::enqueue(thread.clone());
    thread
}

/// Makes the program's main thread, which starts in the kernel, with `body`. It does not run before [`start`]. `None`
/// without memory.
pub fn new_main(space: Arc<Space>, state: Box<dyn ThreadState>, body: Body) -> Option<Arc<Thread>> {
    Thread::kernel(body, Some(space), state, true)
}

/// Makes a user thread that starts from `frame` on `stack`; its address space and its FPU state are the caller's
/// (clone), the latter the initial one when the caller is a kernel thread. It does not run before [`start`]. `None`
/// without memory.
pub fn new_user(
    frame: TrapFrame,
    stack: Range<usize>,
    thread_pointer: u64,
    state: Box<dyn ThreadState>,
) -> Option<Arc<Thread>> {
    Thread::user(frame, stack, thread_pointer, state)
}

/// Puts a new thread on a run queue.
pub fn start(thread: Arc<Thread>) {
    queue::enqueue(thread);
}
