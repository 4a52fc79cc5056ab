//! Threads and the scheduler: per-CPU run queues, time slices, sleeping, balancing.
use crate::{arch::TrapFrame, process::ThreadState, syscall::Errno};
use alloc::{boxed::Box, sync::Arc};

/// Thread id as Linux numbers them; the first user thread is 1 and equals the process id.
pub type Tid = i32;

/// A thread, kernel or user.
pub struct Thread {
    /// Its id.
    pub tid: Tid,
    /// What `process` keeps per thread (signals, robust list, …).
    pub state: ThreadState,
}

impl Thread {
    /// CPU time used, in nanoseconds.
    pub fn cpu_time_ns(&self) -> u64 {
        unimplemented!()
    }
    /// CPUs it may run on, bit n = CPU n.
    pub fn affinity(&self) -> u64 {
        unimplemented!()
    }
    /// Sets the mask; moves the thread if need be.
    pub fn set_affinity(&self, mask: u64) {
        unimplemented!("{mask}")
    }
    /// Makes the thread pass through `process::signal::deliver` soon: wakes it from an interruptible wait, or interrupts the
    /// CPU it runs on.
    pub fn kick(&self) {
        unimplemented!()
    }
    /// Thread pointer (FS base).
    pub fn fs_base(&self) -> u64 {
        unimplemented!()
    }
}

/// The running thread.
pub fn current() -> Arc<Thread> {
    unimplemented!()
}
/// The running thread without touching its reference count.
pub fn with_current<R>(f: impl FnOnce(&Thread) -> R) -> R {
    f(&current())
}
/// Sets the current thread's FS base.
pub fn set_fs_base(base: u64) {
    unimplemented!("{base}")
}
/// Starts a kernel thread.
pub fn spawn_kernel(name: &'static str, f: Box<dyn FnOnce() + Send>) -> Arc<Thread> {
    let _ = (name, f);
    unimplemented!()
}
/// Makes a user thread that starts from `frame`; its FPU state is the caller's (clone), or the initial one when the caller is a
/// kernel thread. It does not run before [`start`]. `EAGAIN` when there is no memory.
pub fn new_user(frame: TrapFrame, fs_base: u64, state: ThreadState) -> Result<Arc<Thread>, Errno> {
    let _ = (frame, fs_base, state);
    unimplemented!()
}
/// Puts a new thread on a run queue.
pub fn start(thread: Arc<Thread>) {
    let _ = thread;
    unimplemented!()
}
/// Ends the current thread. Its kernel stack and FPU area are freed once it is off the CPU.
pub fn exit_current() -> ! {
    unimplemented!()
}
/// Lets others run.
pub fn yield_now() {
    unimplemented!()
}
