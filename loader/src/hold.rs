//! What a thread holds in its record for calls of the program's code, which need not come back ([`crate::abandoned`]).

use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::group::Group;
use crate::namespace::{Key, NamespaceId};
use crate::object::Object;
use crate::thread::{Family, ThreadId, ThreadProxy};
use crate::world::World;

/// Something held for calls of the program's code.
pub(crate) enum Hold {
    /// The objects that callbacks are told of, and whose turn it is to be called back.
    World(Arc<World>, Option<Turn>),
    /// A load or a close.
    Load(Rc<Undertaking>),
    /// An object whose thread-local destructor runs.
    Destructor(Destructor),
}

/// What keeps an object loaded for a thread-local destructor.
pub(crate) struct Destructor(Arc<Object>);

impl Destructor {
    /// Keeps an object loaded.
    pub(crate) fn of(object: &Arc<Object>) -> Self {
        object.pending_destructors.fetch_add(1, Ordering::AcqRel);
        Self(object.clone())
    }
}

impl Drop for Destructor {
    fn drop(&mut self) {
        self.0.pending_destructors.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What a thread holds for calls of the program's code, innermost last, each with the mark of the gate.
pub(crate) struct Holds {
    /// Touched by the thread itself only, with signals blocked, and by who sees to its end.
    held: UnsafeCell<Vec<(usize, Hold)>>,
    /// The last one's mark, or [`NO_MARK`]: for a look without blocking signals.
    innermost: AtomicUsize,
}

const NO_MARK: usize = usize::MAX;

impl Holds {
    /// Makes an empty list, with room for what a thread usually has, so that a callback takes no memory.
    pub(crate) fn new() -> Self {
        Self {
            held: UnsafeCell::new(Vec::with_capacity(8)),
            innermost: AtomicUsize::new(NO_MARK),
        }
    }

    fn change<R>(&self, change: impl FnOnce(&mut Vec<(usize, Hold)>) -> R) -> R {
        // SAFETY: nobody else touches it, and no `change` comes back here.
        let held = unsafe { &mut *self.held.get() };
        let result = change(held);
        let innermost = held.last().map_or(NO_MARK, |&(mark, _)| mark);
        self.innermost.store(innermost, Ordering::Relaxed);
        result
    }

    /// Adds one; returns how many were there before.
    pub(crate) fn push(&self, mark: usize, hold: Hold) -> usize {
        self.change(|held| {
            held.push((mark, hold));
            held.len() - 1
        })
    }

    /// Takes the last one out if there are more than `rest`.
    pub(crate) fn pop_above(&self, rest: usize) -> Option<Hold> {
        self.change(|held| (held.len() > rest).then(|| held.pop()).flatten())
            .map(|(_, hold)| hold)
    }

    /// Says whether there is none.
    pub(crate) fn are_empty(&self) -> bool {
        self.innermost.load(Ordering::Relaxed) == NO_MARK
    }

    /// Says whether there is a callback among them.
    pub(crate) fn have_turn(&self) -> bool {
        let is_turn = |hold: &(usize, Hold)| matches!(hold.1, Hold::World(_, Some(_)));
        self.change(|held| held.iter().any(is_turn))
    }

    /// Says whether the last one was for a call that has been left.
    pub(crate) fn is_left(&self, has_left: &impl Fn(usize) -> bool) -> bool {
        let mark = self.innermost.load(Ordering::Relaxed);
        mark != NO_MARK && has_left(mark)
    }

    /// Takes out what a thread that has ended had.
    pub(crate) fn take(&self) -> Vec<Hold> {
        let held = self.change(core::mem::take);
        held.into_iter().rev().map(|(_, hold)| hold).collect()
    }
}

/// What a load or a close has in hand. The cells are for the thread that works on it, in functions that call none of
/// the program's code; when it has left them, for who releases it.
pub(crate) struct Undertaking {
    pub(crate) thread: Arc<ThreadProxy>,
    pub(crate) family: Family,
    /// The objects it works on.
    pub(crate) objects: UnsafeCell<Vec<Group>>,
    /// Whatever else it needs.
    pub(crate) kept: UnsafeCell<Vec<Rc<dyn Any>>>,
    /// Until a load can no longer fail: what it has added, and for which namespace.
    pub(crate) added: UnsafeCell<Option<(Vec<Key>, NamespaceId)>>,
}

/// A call of `dl_iterate_phdr`, of which it is the turn, or which waits for it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) thread: ThreadId,
    /// The function's address.
    pub(crate) callback: usize,
}
