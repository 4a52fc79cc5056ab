//! vfork(2): a parent that waits until its child does not use its memory any more.

use super::Process;
use core::sync::atomic::{AtomicBool, Ordering};
use machine::sync::{Signals, WaitQueue};

/// A parent's wait.
#[derive(Default)]
pub(super) struct Vfork {
    is_over: AtomicBool,
    queue: WaitQueue,
}

impl Vfork {
    /// Waits until the child runs another program, or has ended; less long if the caller is killed.
    pub(super) fn wait(&self) {
        let is_over = || self.is_over.load(Ordering::Acquire).then_some(());
        // A caller that is killed notices on the way back to the program.
        let _ = self.queue.wait_until(None, Signals::Kill, is_over);
    }
}

impl Process {
    /// It does not use its parent's memory any more.
    pub(super) fn release_parent(&self) {
        let vfork = self.vfork.lock().take();
        if let Some(vfork) = vfork {
            vfork.is_over.store(true, Ordering::Release);
            vfork.queue.wake_all();
        }
    }
}
