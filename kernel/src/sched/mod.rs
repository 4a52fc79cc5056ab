//! Threads and the scheduler: per-CPU run queues, priorities, time slices, sleeping, balancing.
//!
//! Kernel code is never preempted: a thread leaves the CPU when it parks, ends, or is about to go back to the program.

mod policy;
mod queue;
mod ranked;
mod thread;

pub use policy::Policy;
pub(crate) use queue::{become_idle, init, slice_end, thread_start, tick, user_start};
pub use queue::{exit_current, park, reschedule, yield_now};
pub use ranked::Level;
pub use thread::{Thread, Tid, thread_count};

use crate::arch::{TrapFrame, percpu};
use crate::process::ThreadState;
use crate::syscall::Errno;
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::ops::Range;
use x86_64::instructions::interrupts;

/// The running thread.
pub fn current() -> Arc<Thread> {
    interrupts::without_interrupts(|| {
        let thread = percpu::current_thread();
        // SAFETY: the scheduler holds a reference to the running thread, made by `Arc::into_raw`.
        unsafe {
            Arc::increment_strong_count(thread);
            Arc::from_raw(thread)
        }
    })
}

/// The running thread without touching its reference count.
pub fn with_current<R>(f: impl FnOnce(&Thread) -> R) -> R {
    let thread = percpu::current_thread();
    // SAFETY: the scheduler holds a reference for as long as the thread runs, and this is the thread that runs `f`. The
    // address is read in one instruction, and is the same on whatever CPU this thread goes on.
    f(unsafe { &*thread })
}

/// The running thread's id.
pub fn current_tid() -> Tid {
    with_current(|thread| thread.tid)
}

/// Sets the current thread's FS base.
pub fn set_fs_base(base: u64) {
    interrupts::without_interrupts(|| thread::write_fs_base(base));
}

/// Starts a kernel thread.
pub fn spawn_kernel(name: &'static str, f: Box<dyn FnOnce() + Send>) -> Arc<Thread> {
    let thread = Thread::kernel(f, false);
    // Without memory for this the machine cannot do anything useful.
    let thread = thread.unwrap_or_else(|| panic!("no memory for the thread {name}"));
    queue::enqueue(thread.clone());
    thread
}

/// Makes the program's main thread, which starts in the kernel, with `f`. It does not run before [`start`].
pub fn new_main(f: Box<dyn FnOnce() + Send>) -> Option<Arc<Thread>> {
    Thread::kernel(f, true)
}

/// Makes a user thread that starts from `frame` on `stack`; its FPU state is the caller's (clone), or the initial one when the caller
/// is a kernel thread. It does not run before [`start`]. `EAGAIN` when there is no memory.
pub fn new_user(
    frame: TrapFrame,
    stack: Range<usize>,
    fs_base: u64,
    state: ThreadState,
) -> Result<Arc<Thread>, Errno> {
    Thread::user(frame, stack, fs_base, state).ok_or(Errno::EAGAIN)
}

/// Puts a new thread on a run queue.
pub fn start(thread: Arc<Thread>) {
    queue::enqueue(thread);
}
