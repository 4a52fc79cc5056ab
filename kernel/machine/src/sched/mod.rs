//! Threads and the scheduler: per-CPU run queues, priorities, fair shares, sleeping, balancing.
//!
//! Kernel code is never preempted: a thread leaves the CPU when it parks, ends, or is about to go back to the program
//! ([`exit_to_program`]). What floors above keep with a thread is behind [`ThreadState`].

#[expect(unsafe_code, reason = "shared by nobody but their thread")]
pub(crate) mod calls;
mod cputime;
#[expect(unsafe_code, reason = "the running thread is found by address")]
mod current;
mod exit;
mod fair;
mod load;
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
mod tick;
mod usage;

pub use cputime::CpuTimes;
pub(crate) use current::is_idle;
pub use current::{
    count_storage, current, current_tid, gs, kill_pending, set_gs, set_thread_pointer,
    signal_pending, try_with_current, with_current, with_space,
};
pub(crate) use exit::{exit_to_program, has_exit_work, user_start};
pub use load::{SHIFT as LOAD_SHIFT, load_averages};
pub use policy::Policy;
pub use queue::counts::{active_count, switch_count};
pub(crate) use queue::{become_idle, init, thread_start};
pub use queue::{
    enter_program, exit_current, exit_current_with, park, reschedule, when_left, yield_now,
};
pub use ranked::Level;
pub use space::AddressSpace;
pub use state::{NoState, ThreadState, Tid};
pub use thread::{Body, Start, Thread, thread_count};
pub use tick::cpu_times;
pub(crate) use tick::tick;
pub use usage::{Storage, Used};

use alloc::boxed::Box;
use alloc::sync::Arc;

/// Starts a kernel thread, whose id is 0.
///
/// # Panics
/// Without memory for it, the machine cannot do anything useful.
pub fn spawn_kernel(name: &'static str, state: Box<dyn ThreadState>, body: Body) -> Arc<Thread> {
    let thread = Thread::kernel(0, body, None, state);
    let thread = thread.unwrap_or_else(|| panic!("no memory for the thread {name}"));
    queue::enqueue(thread.clone());
    thread
}

/// Makes a kernel thread, whose id is 0, that works on a program in an address space, or in none. It does not run
/// before [`fn@start`]. `None` without memory.
pub fn new_kernel(
    space: Option<Arc<dyn AddressSpace>>,
    state: Box<dyn ThreadState>,
    body: Body,
) -> Option<Arc<Thread>> {
    Thread::kernel(0, body, space, state)
}

/// Makes a program's main thread, which starts in the kernel, with `body`. It does not run before [`fn@start`]. `None`
/// without memory.
pub fn new_main(
    tid: Tid,
    space: Arc<dyn AddressSpace>,
    state: Box<dyn ThreadState>,
    body: Body,
) -> Option<Arc<Thread>> {
    Thread::kernel(tid, body, Some(space), state)
}

/// Makes a user thread; its FPU state is the caller's (clone), or the initial one when the caller is a kernel thread.
/// It does not run before [`fn@start`]. `None` without memory.
pub fn new_user(tid: Tid, start: Start, state: Box<dyn ThreadState>) -> Option<Arc<Thread>> {
    Thread::user(tid, start, state)
}

/// Puts a new thread on a run queue.
pub fn start(thread: Arc<Thread>) {
    queue::enqueue(thread);
}
