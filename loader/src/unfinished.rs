//! What the loader holds for a thread while it calls the program's code, which need not come back: an exception, `longjmp`
//! or the end of the thread may leave it.
//!
//! Nothing is dropped then of what the loader's functions had on their stack. So what matters is not there, but in the
//! thread's record: objects a callback is told of, and all that belongs to a load or a close. The host knows which calls
//! of the program have been left. What was held for them is released when the program comes in through a gate
//! ([`Loader::enter_from`]), and when the thread has ended.

use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::callbacks::{NoTurns, Turn};
use crate::family::Held;
use crate::host::Gate;
use crate::loader::Loader;
use crate::namespace::{Key, NamespaceId};
use crate::object::Object;
use crate::signals;
use crate::thread::{Family, ThreadProxy};
use crate::tls::{self, Record};
use crate::world::{Group, World};

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
    fn push(&self, mark: usize, hold: Hold) -> usize {
        self.change(|held| {
            held.push((mark, hold));
            held.len() - 1
        })
    }

    /// Takes the last one out if there are more than `rest`.
    fn pop_above(&self, rest: usize) -> Option<Hold> {
        self.change(|held| (held.len() > rest).then(|| held.pop()).flatten())
            .map(|(_, hold)| hold)
    }

    pub(crate) fn are_empty(&self) -> bool {
        self.innermost.load(Ordering::Relaxed) == NO_MARK
    }

    /// Says whether there is a callback among them.
    pub(crate) fn have_turn(&self) -> bool {
        let is_turn = |hold: &(usize, Hold)| matches!(hold.1, Hold::World(_, Some(_)));
        self.change(|held| held.iter().any(is_turn))
    }

    /// Says whether the last one was for a call that has been left.
    fn is_left(&self, has_left: &impl Fn(usize) -> bool) -> bool {
        let mark = self.innermost.load(Ordering::Relaxed);
        mark != NO_MARK && has_left(mark)
    }

    /// Takes out what a thread that has ended had.
    pub(crate) fn take(&self) -> Vec<Hold> {
        let held = self.change(core::mem::take);
        held.into_iter().rev().map(|(_, hold)| hold).collect()
    }
}

/// Something that is held until this is dropped, or until it turns out that nobody comes back to drop it.
pub(crate) struct Holding<'a> {
    loader: &'a Loader,
    place: Place,
}

enum Place {
    /// In the thread's record, above so many others.
    Record(&'static Record, usize),
    /// Here: the thread is none of the program's, and comes back.
    Here { _hold: Hold },
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        let Place::Record(record, rest) = self.place else {
            return;
        };
        signals::undisturbed(self.loader.host(), || {
            self.loader.release_above(record, rest + 1);
            match record.holds.pop_above(rest) {
                Some(Hold::World(_, Some(turn))) => self.loader.end_turn(&turn),
                hold => drop(hold),
            }
        });
    }
}

/// A load or a close under way: proof that the calling thread may change what is loaded.
pub(crate) struct Loading<'a> {
    held: Held<'a>,
    unfinished: *const Undertaking,
    // Last: what it holds lasts as long as the load lock is held.
    holding: Holding<'a>,
    _turns: NoTurns<'a>,
}

/// What a load or a close has in hand.
pub(crate) struct Undertaking {
    thread: Arc<ThreadProxy>,
    family: Family,
    /// The objects it works on.
    objects: UnsafeCell<Vec<Group>>,
    /// Whatever else it needs.
    kept: UnsafeCell<Vec<Rc<dyn Any>>>,
    /// Until a load can no longer fail: what it has added, and for which namespace.
    added: UnsafeCell<Option<(Vec<Key>, NamespaceId)>>,
}

impl Loading<'_> {
    fn unfinished(&self) -> &Undertaking {
        // SAFETY: `holding` keeps it.
        unsafe { &*self.unfinished }
    }

    /// Returns the thread that loads.
    pub(crate) fn thread(&self) -> &Arc<ThreadProxy> {
        &self.unfinished().thread
    }

    /// Returns the load's family: see [`Held::family`].
    pub(crate) fn family(&self) -> Family {
        self.held.family()
    }

    /// Keeps objects for as long as the load takes; if it is left, they are opened to all.
    pub(crate) fn keep_objects(&self, objects: Vec<Arc<Object>>) -> &[Arc<Object>] {
        let group: Group = objects.into();
        let at = Arc::as_ptr(&group);
        // SAFETY: this thread alone uses it, and no reference to the list lasts.
        unsafe { (*self.unfinished().objects.get()).push(group) };
        // SAFETY: the list only grows as long as there is `self`.
        unsafe { &*at }
    }

    /// Keeps something else for as long as the load takes.
    pub(crate) fn keep<T: 'static>(&self, value: T) -> &T {
        let value = Rc::new(value);
        let at = Rc::as_ptr(&value);
        // SAFETY: this thread alone uses it, and no reference to the list lasts.
        unsafe { (*self.unfinished().kept.get()).push(value) };
        // SAFETY: the list only grows as long as there is `self`.
        unsafe { &*at }
    }

    /// Says what the load has added, which is taken back if it is left.
    pub(crate) fn set_added(&self, added: Option<(Vec<Key>, NamespaceId)>) {
        // SAFETY: this thread alone uses it, and no reference to it lasts.
        unsafe { *self.unfinished().added.get() = added };
    }

    /// Runs code of the program with the lock lent to the load's family.
    pub(crate) fn lend<R>(&self, code: impl FnOnce() -> R) -> R {
        self.held.lend(|| {
            let result = code();
            if let Place::Record(record, rest) = self.holding.place {
                // What the code has called, and has left to come back here.
                let loader = self.holding.loader;
                signals::undisturbed(loader.host(), || loader.release_above(record, rest + 1));
            }
            result
        })
    }
}

impl Loader {
    /// Holds something for calls of the program's code that are about to be made.
    pub(crate) fn hold(&self, hold: Hold) -> Holding<'_> {
        let place = match tls::current(self.host().thread_pointer()) {
            Some(record) => {
                let push = || record.holds.push(record.gate.get(), hold);
                Place::Record(record, signals::undisturbed(self.host(), push))
            }
            None => Place::Here { _hold: hold },
        };
        Holding {
            loader: self,
            place,
        }
    }

    /// Shows the current world to code that calls the program's: a function that has a turn of its own, or others.
    pub(crate) fn with_world<R>(
        &self,
        callback: Option<usize>,
        code: impl FnOnce(&World) -> R,
    ) -> Option<R> {
        let (world, _holding) = signals::undisturbed(self.host(), || {
            let turn = callback.and_then(|callback| self.begin_turn(callback));
            let Some(world) = self.world().get() else {
                turn.iter().for_each(|turn| self.end_turn(turn));
                return None;
            };
            Some((Arc::as_ptr(&world), self.hold(Hold::World(world, turn))))
        })?;
        // SAFETY: it is being held.
        Some(code(unsafe { &*world }))
    }

    /// Waits until the calling thread may load, and begins.
    pub(crate) fn begin(&self, thread: Arc<ThreadProxy>) -> Loading<'_> {
        let turns = self.give_up_turns(thread.id());
        let held = self.family().enter(self.host(), &thread);
        let unfinished = Rc::new(Undertaking {
            thread,
            family: held.family(),
            objects: UnsafeCell::default(),
            kept: UnsafeCell::default(),
            added: UnsafeCell::default(),
        });
        Loading {
            held,
            unfinished: Rc::as_ptr(&unfinished),
            holding: self.hold(Hold::Load(unfinished)),
            _turns: turns,
        }
    }

    /// As [`enter`](Self::enter), for hosts whose calls of the program need not come back: first releases what the loader
    /// holds for calls that the thread has left. `mark` says from where the program comes in; `has_left` tells from the
    /// mark of a gate whether the calls have been left that the loader has made there. A mark is not `usize::MAX`.
    ///
    /// # Safety
    ///
    /// As [`enter`](Self::enter); `has_left` must tell no call left that can come back.
    pub unsafe fn enter_from(
        &self,
        mark: usize,
        has_left: impl Fn(usize) -> bool,
        gate: Gate,
        arguments: [usize; 4],
        frame: usize,
    ) -> usize {
        let current = || tls::current(self.host().thread_pointer());
        self.drop_left(has_left);
        let outer = current().map(|record| record.gate.replace(mark));
        // SAFETY: forwarded to the caller.
        let result = unsafe { self.enter(gate, arguments, frame) };
        // A thread that has freed its own control block has no record any more.
        if let (Some(outer), Some(record)) = (outer, current()) {
            record.gate.set(outer);
        }
        result
    }

    /// Releases what the thread holds for calls of the program that it has left.
    fn drop_left(&self, has_left: impl Fn(usize) -> bool) {
        let Some(record) = tls::current(self.host().thread_pointer()) else {
            return;
        };
        if !record.holds.is_left(&has_left) {
            return;
        }
        let blocked = record.blocked.get();
        signals::undisturbed(self.host(), || {
            while record.holds.is_left(&has_left) {
                if let Some(hold) = record.holds.pop_above(0) {
                    self.release(hold);
                }
            }
            self.finish_left_close();
        });
        if !record.holds.are_empty() {
            return;
        }
        record.interrupted.set(None);
        // An IFUNC resolver, called with signals blocked, has left the load that called it.
        if let Some(before) = blocked {
            record.blocked.set(None);
            self.host().unblock_signals(before);
        }
    }

    /// Releases what a thread holds, but for the first so many: it has left the calls.
    fn release_above(&self, record: &Record, rest: usize) {
        while let Some(hold) = record.holds.pop_above(rest) {
            self.release(hold);
        }
    }

    /// Releases what a thread held that will not come back to it.
    pub(crate) fn release(&self, hold: Hold) {
        let unfinished = match hold {
            Hold::World(world, turn) => {
                drop(world);
                return turn.iter().for_each(|turn| self.end_turn(turn));
            }
            Hold::Destructor(object) => return drop(object),
            Hold::Load(unfinished) => unfinished,
        };
        // SAFETY: the thread has left the code that used it.
        let (added, groups) = unsafe {
            let added = (*unfinished.added.get()).take();
            (added, core::mem::take(&mut *unfinished.objects.get()))
        };
        if let Some((added, namespace)) = added {
            self.roll_back(&mut self.state().lock(self.host()), &added, namespace);
        }
        // What was being initialised is as good as initialised.
        for object in groups.iter().flat_map(|group| group.iter()) {
            object.open_to_all(unfinished.family);
        }
        self.family().leave(self.host(), unfinished.family);
        self.callbacks()
            .end_load(self.host(), unfinished.thread.id());
    }
}
