//! Abandoned calls: the loader calls the program's code, which need not come back. An exception, `longjmp` or the end
//! of the thread may leave it.
//!
//! Nothing is dropped then of what the loader's functions had on their stack. So what matters is not there, but in the
//! thread's record ([`crate::hold`]): objects a callback is told of, and all that belongs to a load or a close. The
//! host knows which calls of the program have been left. What was held for them is released when the program comes in
//! through a gate ([`Loader::enter_from`]), and when the thread has ended.

use alloc::sync::Arc;

use crate::hold::{Hold, Turn};
use crate::host::Gate;
use crate::loader::Loader;
use crate::signals;
use crate::tls::{self, Record};
use crate::world::World;

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

impl Holding<'_> {
    /// Releases what is held by calls within, which have been left.
    pub(crate) fn release_inner(&self) {
        if let Place::Record(record, rest) = self.place {
            signals::undisturbed(self.loader.host(), || {
                self.loader.release_above(record, rest + 1);
            });
        }
    }
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

    /// Waits until it is the calling thread's turn to iterate with a function. Threads that are none of the program's
    /// do not take turns.
    fn begin_turn(&self, callback: usize) -> Option<Turn> {
        let thread = tls::current(self.host().thread_pointer())?.thread.id();
        Some(self.callbacks().enter(self.host(), thread, callback))
    }

    fn end_turn(&self, turn: &Turn) {
        self.callbacks().leave(self.host(), turn);
    }

    /// Takes notice that the calling thread unwinds through the loader. If that is an exception, the function it is
    /// called back by does not return, and there may be nothing else that tells.
    pub(crate) fn unwinds(&self) {
        let record = tls::current(self.host().thread_pointer());
        let Some(record) = record.filter(|record| !record.holds.are_empty()) else {
            return;
        };
        signals::undisturbed(self.host(), || {
            if record.holds.have_turn() {
                self.callbacks().leave_all(self.host(), record.thread.id());
            }
        });
    }

    /// As [`enter`](Self::enter), for hosts whose calls of the program need not come back: first releases what the
    /// loader holds for calls that the thread has left. `mark` says from where the program comes in; `has_left` tells
    /// from the mark of a gate whether the calls have been left that the loader has made there. A mark is not
    /// `usize::MAX`.
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
        // SAFETY: the caller says that the program called the gate with these arguments.
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
        let undertaking = match hold {
            Hold::World(world, turn) => {
                drop(world);
                return turn.iter().for_each(|turn| self.end_turn(turn));
            }
            Hold::Destructor(object) => return drop(object),
            Hold::Load(undertaking) => undertaking,
        };
        // SAFETY: the thread has left the code that used it.
        let (added, groups) = unsafe {
            let added = (*undertaking.added.get()).take();
            (added, core::mem::take(&mut *undertaking.objects.get()))
        };
        if let Some((added, namespace)) = added {
            self.linker()
                .roll_back(&mut self.state().lock(self.host()), &added, namespace);
        }
        // What was being initialised is as good as initialised.
        for object in groups.iter().flat_map(|group| group.iter()) {
            object.open_to_all(undertaking.family);
        }
        self.family().leave(self.host(), undertaking.family);
        self.callbacks()
            .end_load(self.host(), undertaking.thread.id());
    }
}
