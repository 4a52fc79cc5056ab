//! What floors above keep with a thread, as far as this one has to know.

use core::any::{Any, TypeId};

/// Thread id as Linux numbers them; the first user thread is 1 and equals the process id.
pub type Tid = i32;

/// State of a thread that belongs to a floor above; [`super::Thread::state_as`] gives it back with its own type.
pub trait ThreadState: Any + Send + Sync {
    /// Whether a signal has to be looked at before the thread goes back to the program, or sleeps on in an
    /// interruptible wait. Called often, by the thread itself, whose id is `tid`: a few loads.
    fn signal_pending(&self, tid: Tid) -> bool;

    /// Whether the thread is to end, whatever it waits for. May be called with a thread's id as above.
    fn kill_pending(&self, tid: Tid) -> bool;

    /// The part of the state that has a type, for code that knows that type and not the whole's.
    fn part(&self, part: TypeId) -> Option<&dyn Any> {
        let _ = part;
        None
    }
}

/// Nothing: the state of threads that never enter the program, such as idle ones.
#[derive(Debug)]
pub struct NoState;

impl ThreadState for NoState {
    fn signal_pending(&self, _: Tid) -> bool {
        false
    }

    fn kill_pending(&self, _: Tid) -> bool {
        false
    }
}
