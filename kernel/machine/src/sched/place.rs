//! Where a thread is, and who may use its stack.
//!
//! A thread that is woken may be on a queue while the CPU it leaves still uses its stack. Until that CPU says that it
//! has left, only its own queue may hold the thread, and nobody else takes it from there.

use crate::primitive::{AtomicBool, AtomicUsize, Ordering};

/// One thread's place.
#[derive(Debug)]
pub(super) struct Place {
    cpu: AtomicUsize,
    /// Whether some CPU uses its stack.
    on_cpu: AtomicBool,
}

impl Place {
    /// A new thread's: on no CPU.
    pub(super) const fn new() -> Self {
        Self {
            cpu: AtomicUsize::new(0),
            on_cpu: AtomicBool::new(false),
        }
    }

    /// The CPU it runs on, ran on last, or is queued at.
    pub(super) fn cpu(&self) -> usize {
        self.cpu.load(Ordering::Relaxed)
    }

    /// Whether some CPU uses its stack. If not, what that CPU has saved there can be seen.
    pub(super) fn is_on_cpu(&self) -> bool {
        self.on_cpu.load(Ordering::SeqCst)
    }

    /// The CPU whose queue a thread that is ready has to wait at, if it is not free to choose.
    pub(super) fn bound_to(&self) -> Option<usize> {
        let cpu = self.cpu();
        self.is_on_cpu().then_some(cpu)
    }

    /// It is about to be queued at a CPU, by who has made it ready or has taken it from another queue.
    pub(super) fn queue_at(&self, cpu: usize) {
        self.cpu.store(cpu, Ordering::Relaxed);
    }

    /// A CPU, which has taken it from a queue, begins to use its stack.
    pub(super) fn enter(&self, cpu: usize) {
        self.cpu.store(cpu, Ordering::Relaxed);
        self.on_cpu.store(true, Ordering::Relaxed);
    }

    /// The CPU has stopped using its stack. A CPU that becomes idle and did not take the thread for this reason can be
    /// seen to be idle from here on.
    pub(super) fn leave(&self) {
        self.on_cpu.store(false, Ordering::SeqCst);
    }
}
