//! The load lock, which belongs to a *family* of threads.
//!
//! A load holds the lock from its first change to its last, over its INIT functions too: another thread that wants the
//! same library gets it initialised. But an INIT function may start a thread that calls `dlopen`, and join it; and may
//! call `dlopen` itself. So while a load runs code of the program it *lends* the lock to its family: the thread that
//! runs that code and those started from there. A borrower is a load like any other, one level further up; levels end in
//! reverse order.
//!
//! Code of the program need not come back. If it has left, by `longjmp` or an exception, the thread itself can go on
//! loading; others wait until the loader learns of it ([`crate::abandoned`]), by the thread's next call or its end.

use alloc::vec::Vec;

use crate::host::Host;
use crate::primitive::{Arc, AtomicU32, Ordering};
use crate::sync::Monitor;
use crate::thread::{Family, ThreadId, ThreadProxy};

/// The lock.
pub(crate) struct FamilyLock {
    /// The innermost is last.
    levels: Monitor<Vec<Level>>,
    /// How many wait for a moment without a load: none begins meanwhile but within one that is under way.
    awaited: AtomicU32,
}

struct Level {
    holder: ThreadId,
    /// Whom the level is lent to. Also tells levels apart.
    family: Family,
    /// Whether code of the program runs.
    lent: bool,
    /// Whether the holder will not come back to it.
    left: bool,
}

impl FamilyLock {
    /// Makes a free lock.
    pub(crate) const fn new() -> Self {
        Self {
            levels: Monitor::new(Vec::new()),
            awaited: AtomicU32::new(0),
        }
    }

    /// Waits until `thread`, the calling one, may load, and opens a level for it.
    pub(crate) fn enter<'a>(&'a self, host: &'a dyn Host, thread: &Arc<ThreadProxy>) -> Held<'a> {
        self.levels.when(host, |levels| {
            let free = match levels.last() {
                // Its own: it is in code the level called, or has left that by `longjmp`.
                Some(top) => {
                    top.holder == thread.id() || (top.lent && thread.belongs_to(top.family))
                }
                None => self.awaited.load(Ordering::Relaxed) == 0,
            };
            free.then(|| self.push(host, levels, thread))
        })
    }

    /// As [`enter`](Self::enter), for a thread that need not be known, if nobody is loading.
    pub(crate) fn try_enter<'a>(
        &'a self,
        host: &'a dyn Host,
        thread: &Arc<ThreadProxy>,
    ) -> Option<Held<'a>> {
        let mut levels = self.levels.lock(host);
        levels
            .is_empty()
            .then(|| self.push(host, &mut levels, thread))
    }

    /// Opens a level.
    fn push<'a>(
        &'a self,
        host: &'a dyn Host,
        levels: &mut Vec<Level>,
        thread: &Arc<ThreadProxy>,
    ) -> Held<'a> {
        // Under the lock, so that numbers of families say which is inside which.
        let family = thread.begin_family();
        levels.push(Level {
            holder: thread.id(),
            family,
            lent: false,
            left: false,
        });
        Held {
            lock: self,
            host,
            holder: thread.id(),
            family,
        }
    }

    /// Runs `between` when nobody is loading, or who does runs code of the program, which need not come back: no load
    /// is in the middle of anything. `lock` locks what comes before the lock's own state, and lasts meanwhile.
    pub(crate) fn between_loads<G, R>(
        &self,
        host: &dyn Host,
        lock: impl Fn() -> G,
        between: impl FnOnce() -> R,
    ) -> R {
        self.awaited.fetch_add(1, Ordering::Relaxed);
        let result = loop {
            let changes = self.levels.changes();
            let locked = lock();
            let levels = self.levels.lock(host);
            if levels.last().is_none_or(|top| top.lent) {
                break between();
            }
            drop(levels);
            drop(locked);
            self.levels.wait_for_change(host, changes);
        };
        self.awaited.fetch_sub(1, Ordering::Relaxed);
        self.levels.changed(host);
        result
    }

    /// Frees the lock's own state, in a copy of the address space that was made between loads.
    pub(crate) fn free_in_copy(&self) {
        self.awaited.store(0, Ordering::Relaxed);
        self.levels.free_in_copy();
    }

    /// Says whether a family's level has not ended.
    pub(crate) fn lasts(&self, host: &dyn Host, family: Family) -> bool {
        let levels = self.levels.lock(host);
        levels.iter().any(|level| level.family == family)
    }

    /// Ends the level of a family, to which nobody will come back, as soon as those within have ended.
    pub(crate) fn leave(&self, host: &dyn Host, family: Family) {
        let mut levels = self.levels.lock(host);
        for level in levels.iter_mut().filter(|level| level.family == family) {
            level.left = true;
        }
        pop_left(&mut levels);
        drop(levels);
        self.levels.changed(host);
    }
}

fn pop_left(levels: &mut Vec<Level>) {
    while levels.pop_if(|top| top.left).is_some() {}
}

/// Proof that the calling thread may change what is loaded.
pub(crate) struct Held<'a> {
    lock: &'a FamilyLock,
    host: &'a dyn Host,
    holder: ThreadId,
    family: Family,
}

impl Held<'_> {
    /// Returns the load's family, which lasts until this is dropped: the calling thread and what it starts meanwhile.
    pub(crate) fn family(&self) -> Family {
        self.family
    }

    /// Runs code of the program with the lock lent to the load's family.
    pub(crate) fn lend<R>(&self, code: impl FnOnce() -> R) -> R {
        self.when_innermost(|levels, own| levels[own].lent = true);
        let result = code();
        self.when_innermost(|levels, own| levels[own].lent = false);
        result
    }

    /// Waits until the level is the innermost, and changes it then.
    fn when_innermost(&self, change: impl Fn(&mut Vec<Level>, usize)) {
        self.lock.levels.when(self.host, |levels| {
            let own = levels.iter().position(|level| level.family == self.family);
            let Some(own) = own else {
                // A load further out on this thread came back before this one: the program switches stacks.
                return Some(());
            };
            // Levels further up that are the thread's own it has left by `longjmp`, or it would not be here.
            while levels.len() > own + 1 && levels.pop_if(|top| top.holder == self.holder).is_some()
            {
                pop_left(levels);
            }
            (levels.len() == own + 1).then(|| {
                change(levels, own);
                pop_left(levels);
            })
        });
        self.lock.levels.changed(self.host);
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.when_innermost(|levels, own| levels.truncate(own));
    }
}
