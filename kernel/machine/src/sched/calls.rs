//! What a thread has on its kernel stack while the kernel calls the program: one record a call. The processor's side of
//! it keeps the records (`arch::x86_64::entry::callout`).

use crate::mm::stack::KernelStack;
use alloc::vec::Vec;
use core::cell::UnsafeCell;
use core::ops::Range;

/// A call of the program by the kernel that has not returned.
#[derive(Debug)]
pub(crate) struct Call {
    /// The program's stack pointer at the call, and again at the return.
    pub(crate) stack: usize,
    pub(crate) place: Place,
    /// The kernel's stack pointer to come back to.
    pub(crate) kernel: usize,
    /// Where entries from the program put their frames before the call.
    pub(crate) outer: usize,
    /// Holds the frames of entries meanwhile, if those of `outer` have too little room left.
    pub(crate) own: Option<KernelStack>,
    /// Where the program's state goes in the end, for interrupted code that goes on; else 0.
    pub(crate) state: usize,
}

/// Which of a thread's stacks an address belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// The one it was started on.
    Own,
    /// The alternate signal stack.
    Alternate,
    /// One that the program has switched to by itself.
    Other,
}

impl Place {
    /// Whether a call made at `call` is over when the program comes in at `now`, which is on a stack of the kind
    /// `place`: then that part of its stack is not in use any more. Nobody knows how stacks of the program's own are
    /// related.
    pub(crate) fn has_left(self, call: usize, place: Self, now: usize) -> bool {
        match (self, place) {
            (Self::Own, Self::Own) | (Self::Alternate, Self::Alternate) => call < now,
            // Handlers run on top of what they interrupt.
            (Self::Alternate, Self::Own) => true,
            _ => false,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct State {
    /// Innermost last.
    pub(crate) calls: Vec<Call>,
    /// How many of them are not over.
    pub(crate) live: usize,
    /// The stack the thread was started on; empty if unknown.
    pub(crate) own: Range<usize>,
    /// How many calls were not over in the thread that started this one, if it goes on where that was: they are as
    /// good as its own, but never return to it.
    pub(crate) inherited: usize,
}

impl State {
    /// How many calls are not over, once those that are have been dropped.
    pub(crate) fn depth(&self) -> usize {
        self.inherited + self.calls.len()
    }
}

/// The calls of one thread.
#[derive(Debug, Default)]
pub(crate) struct Calls(pub(crate) UnsafeCell<State>);

// SAFETY: only the thread itself looks at its calls, see `arch::x86_64::entry::callout`.
unsafe impl Sync for Calls {}

impl Calls {
    /// Those of a thread that the calling one, whose calls these are, starts on the stack `own`, or on its own if that
    /// is empty. In a copy of the address space none of them is known.
    pub(crate) fn of_child(&self, own: Range<usize>, is_copy: bool) -> Self {
        // SAFETY: the thread's own record, and nothing in here changes it.
        let parent = unsafe { &*self.0.get() };
        let goes_on = own.is_empty();
        Self(UnsafeCell::new(State {
            own: if goes_on { parent.own.clone() } else { own },
            inherited: if goes_on && !is_copy {
                parent.depth()
            } else {
                0
            },
            ..State::default()
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::Place::{self, Alternate, Other, Own};

    fn left(call: (Place, usize), now: (Place, usize)) -> bool {
        call.0.has_left(call.1, now.0, now.1)
    }

    #[test]
    fn a_call_is_over_when_its_stack_is_not_in_use_any_more() {
        assert!(left((Own, 100), (Own, 200)));
        assert!(!left((Own, 200), (Own, 100)));
        assert!(left((Alternate, 100), (Alternate, 200)));
        assert!(!left((Alternate, 200), (Alternate, 100)));
    }

    #[test]
    fn handlers_run_on_top_of_what_they_interrupt() {
        assert!(!left((Own, 100), (Alternate, 200)));
        assert!(left((Alternate, 200), (Own, 100)));
    }

    #[test]
    fn calls_on_stacks_of_the_programs_own_are_kept() {
        for place in [Own, Alternate, Other] {
            assert!(!left((Other, 100), (place, 200)));
            assert!(!left((place, 100), (Other, 200)));
        }
    }
}
