//! Signals: dispositions, masks, queues, frames.
use crate::{arch::TrapFrame, mm::fault::Fault};

/// An exception that becomes a signal.
#[derive(Clone, Copy, Debug)]
pub enum Exception {
    /// A page fault.
    Page {
        /// CR2.
        addr: usize,
        /// What is wrong.
        fault: Fault,
        /// The hardware's error code.
        error: u64,
    },
    /// Any other.
    Other {
        /// Vector number.
        vector: u8,
        /// The hardware's error code, or 0.
        error: u64,
    },
}

/// Called by the trap entry for an exception in the program: forces the signal; without a handler, prints the crash report and
/// ends the program.
pub fn exception(frame: &mut TrapFrame, exception: Exception) {
    unimplemented!("{frame:?} {exception:?}")
}
/// Whether the current thread has something to deliver (cheap; called at each return to the program and by waits).
pub fn pending() -> bool {
    unimplemented!()
}
/// Delivers pending signals by changing `frame`; also restarts interrupted system calls. Called on the kernel stack with interrupts
/// on, before each return to the program when [`pending`].
pub fn deliver(frame: &mut TrapFrame) {
    unimplemented!("{frame:?}")
}
