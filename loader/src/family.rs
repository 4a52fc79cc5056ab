//! The load lock, which belongs to a *family* of threads.
//!
//! A load holds the lock from its first change to its last, over its INIT functions too: another thread that wants the
//! same library gets it initialised. But an INIT function may start a thread that calls `dlopen`, and join it; and may
//! call `dlopen` itself. So while a load runs application code it *lends* the lock to the thread that runs that code
//! and to the threads started from there meanwhile. A borrower is a load like any other, one level further up; levels
//! end in reverse order.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::host::Host;
use crate::sync::Mutex;
use crate::thread::{self, ThreadId, ThreadRef};

/// The lock.
pub(crate) struct FamilyLock {
    levels: Mutex<Vec<Level>>,
    /// Changes whenever somebody waiting might go on.
    changes: AtomicU32,
    /// How many threads sleep, or are about to.
    waiting: AtomicU32,
}

struct Level {
    holder: ThreadId,
    /// Since when the holder runs application code, if it does.
    lent_since: Option<ThreadId>,
}

impl FamilyLock {
    /// Makes a free lock.
    pub(crate) const fn new() -> Self {
        Self {
            levels: Mutex::new(Vec::new()),
            changes: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
        }
    }

    /// Waits until `thread` may load, and opens a level for it.
    pub(crate) fn enter<'a>(&'a self, host: &'a dyn Host, thread: &Arc<ThreadRef>) -> Held<'a> {
        loop {
            let changes = self.changes.load(Ordering::SeqCst);
            let mut levels = self.levels.lock(host);
            let free = match levels.last() {
                None => true,
                Some(top) => top
                    .lent_since
                    .is_some_and(|since| thread.is_or_started_by(top.holder, since)),
            };
            if free {
                levels.push(Level {
                    holder: thread.id(),
                    lent_since: None,
                });
                return Held {
                    lock: self,
                    host,
                    depth: levels.len(),
                };
            }
            drop(levels);
            self.wait(host, changes);
        }
    }

    /// Sleeps until `changes` has another value than the one read before looking at the levels.
    fn wait(&self, host: &dyn Host, changes: u32) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        host.wait(&self.changes, changes);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    fn changed(&self, host: &dyn Host) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        // Who is not counted yet finds another value of `changes` than it read, and does not sleep.
        if self.waiting.load(Ordering::SeqCst) != 0 {
            host.wake(&self.changes);
        }
    }

    /// Waits until the level at `depth` is the innermost, and does something to the stack of levels then.
    fn at_top(&self, host: &dyn Host, depth: usize, change: impl Fn(&mut Vec<Level>)) {
        loop {
            let changes = self.changes.load(Ordering::SeqCst);
            let mut levels = self.levels.lock(host);
            if levels.len() <= depth {
                change(&mut levels);
                drop(levels);
                return self.changed(host);
            }
            drop(levels);
            self.wait(host, changes);
        }
    }
}

/// Proof that the calling thread may change what is loaded.
pub(crate) struct Held<'a> {
    lock: &'a FamilyLock,
    host: &'a dyn Host,
    depth: usize,
}

impl Held<'_> {
    /// Runs application code with the lock lent to the calling thread and the threads it starts there.
    pub(crate) fn lend<R>(&self, code: impl FnOnce() -> R) -> R {
        self.lock.at_top(self.host, self.depth, |levels| {
            if let Some(top) = levels.last_mut() {
                top.lent_since = Some(thread::next_id());
            }
        });
        let result = code();
        self.lock.at_top(self.host, self.depth, |levels| {
            if let Some(top) = levels.last_mut() {
                top.lent_since = None;
            }
        });
        result
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.lock.at_top(self.host, self.depth, |levels| {
            levels.pop();
        });
    }
}
