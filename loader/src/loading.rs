//! A load or a close under way, from the load lock to the end.
//!
//! What it works on is kept in the thread's record and not on the stack: code of the program that it calls may leave it
//! ([`crate::abandoned`]).

use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::UnsafeCell;

use crate::abandoned::Holding;
use crate::callbacks::NoTurns;
use crate::family::Held;
use crate::group::Group;
use crate::hold::{Hold, Undertaking};
use crate::loader::Loader;
use crate::namespace::{Key, NamespaceId};
use crate::object::Object;
use crate::thread::{Family, ThreadProxy};

/// A load or a close under way: proof that the calling thread may change what is loaded.
pub(crate) struct Loading<'a> {
    held: Held<'a>,
    undertaking: *const Undertaking,
    // Last: what it holds lasts as long as the load lock is held.
    holding: Holding<'a>,
    _turns: NoTurns<'a>,
}

impl Loading<'_> {
    fn undertaking(&self) -> &Undertaking {
        // SAFETY: `holding` keeps it.
        unsafe { &*self.undertaking }
    }

    /// Returns the thread that loads.
    pub(crate) fn thread(&self) -> &Arc<ThreadProxy> {
        &self.undertaking().thread
    }

    /// Returns the load's family: see [`Held::family`].
    pub(crate) fn family(&self) -> Family {
        self.held.family()
    }

    /// Keeps objects for as long as the load takes; if it is left, they are opened to all.
    pub(crate) fn keep_objects(&self, objects: Vec<Arc<Object>>) -> &[Arc<Object>] {
        let group: Group = objects.into();
        let at = &raw const *group;
        // SAFETY: this thread alone uses it, and no reference to the list lasts.
        unsafe { (*self.undertaking().objects.get()).push(group) };
        // SAFETY: the list only grows as long as there is `self`.
        unsafe { &*at }
    }

    /// Keeps something else for as long as the load takes.
    pub(crate) fn keep<T: 'static>(&self, value: T) -> &T {
        let value = Rc::new(value);
        let at = Rc::as_ptr(&value);
        // SAFETY: this thread alone uses it, and no reference to the list lasts.
        unsafe { (*self.undertaking().kept.get()).push(value) };
        // SAFETY: the list only grows as long as there is `self`.
        unsafe { &*at }
    }

    /// Says what the load has added, which is taken back if it is left.
    pub(crate) fn set_added(&self, added: Option<(Vec<Key>, NamespaceId)>) {
        // SAFETY: this thread alone uses it, and no reference to it lasts.
        unsafe { *self.undertaking().added.get() = added };
    }

    /// Runs code of the program with the lock lent to the load's family.
    pub(crate) fn lend<R>(&self, code: impl FnOnce() -> R) -> R {
        self.held.lend(|| {
            let result = code();
            // What the code has called, and has left to come back here.
            self.holding.release_inner();
            result
        })
    }
}

impl Loader {
    /// Waits until the calling thread may load, and begins.
    pub(crate) fn begin(&self, thread: Arc<ThreadProxy>) -> Loading<'_> {
        let turns = self.callbacks().give_up(self.host(), thread.id());
        let held = self.family().enter(self.host(), &thread);
        let undertaking = Rc::new(Undertaking {
            thread,
            family: held.family(),
            objects: UnsafeCell::default(),
            kept: UnsafeCell::default(),
            added: UnsafeCell::default(),
        });
        Loading {
            held,
            undertaking: Rc::as_ptr(&undertaking),
            holding: self.hold(Hold::Load(undertaking)),
            _turns: turns,
        }
    }
}
