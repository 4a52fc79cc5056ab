//! The process: threads as Linux sees them, signals, futexes, exit.
//!
//! There is one process and there will not be another: no fork, no exec, no children. Lock order, outermost first: signal
//! dispositions ([`signal`]), the thread table, one thread's signal state.
pub mod clock;
pub mod clone;
pub mod credentials;
mod exit;
pub mod futex;
pub mod signal;
mod table;

pub(crate) use exit::{claim_exit, stop_if_over};
pub use exit::{exit_by_signal, exit_group, exit_thread};
pub use table::{adopt_main, cpu_time_ns, thread_ids, with_thread};

use crate::sync::SpinLock;
use crate::syscall::restart::Restart;
use core::sync::atomic::AtomicUsize;

/// Process id, also the main thread's id.
pub const PID: i32 = 1;

/// Longest thread name, with its NUL.
pub const NAME_LEN: usize = 16;

/// What a user thread carries beside the scheduler's state.
pub struct ThreadState {
    /// Mask, pending signals, alternate stack.
    pub(crate) signals: signal::ThreadSignals,
    /// Address that is zeroed and woken when the thread ends; 0 for none.
    pub(crate) clear_child_tid: AtomicUsize,
    /// Head of the robust futex list; 0 for none.
    pub(crate) robust_list: AtomicUsize,
    /// The priority-inheritance futex it waits for; 0 for none.
    pub(crate) awaited_futex: AtomicUsize,
    /// The interrupted system call that restart_syscall(2) goes on with.
    pub(crate) restart: SpinLock<Option<Restart>>,
    /// Who it is to checks of permission.
    pub(crate) credentials: SpinLock<credentials::Credentials>,
    /// Name as `PR_SET_NAME` sets it, NUL padded.
    pub(crate) name: SpinLock<[u8; NAME_LEN]>,
}

impl Default for ThreadState {
    fn default() -> Self {
        Self {
            signals: signal::ThreadSignals::new(0),
            clear_child_tid: AtomicUsize::new(0),
            robust_list: AtomicUsize::new(0),
            awaited_futex: AtomicUsize::new(0),
            restart: SpinLock::new(None),
            credentials: SpinLock::default(),
            name: SpinLock::new([0; NAME_LEN]),
        }
    }
}

impl ThreadState {
    /// The thread's name without padding, as `/proc/self/comm` shows it.
    pub fn name(&self) -> alloc::vec::Vec<u8> {
        let name = *self.name.lock();
        name.iter().copied().take_while(|&byte| byte != 0).collect()
    }

    /// Sets the name, cut to what fits.
    pub fn set_name(&self, name: &[u8]) {
        let mut padded = [0; NAME_LEN];
        let len = name.len().min(NAME_LEN - 1);
        padded[..len].copy_from_slice(&name[..len]);
        *self.name.lock() = padded;
    }
}
