//! What floors above keep with a thread, as far as this one has to know.

use super::Thread;
use core::any::Any;

/// State of a thread that belongs to a floor above; [`Thread::state_as`] gives it back with its own type.
pub trait ThreadState: Any + Send + Sync {
    /// Whether a signal has to be looked at before the thread goes back to the program, or sleeps on in an interruptible wait.
    /// Called often, by the thread itself: a few loads.
    fn signal_pending(&self, thread: &Thread) -> bool;
}

/// Nothing: the state of threads that never enter the program, such as idle ones.
#[derive(Debug)]
pub struct NoState;

impl ThreadState for NoState {
    fn signal_pending(&self, _: &Thread) -> bool {
        false
    }
}
