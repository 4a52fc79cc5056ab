//! Whose turn it is to be called back by `dl_iterate_phdr`.
//!
//! `ld.so` calls back with a lock held (`dl_load_write_lock`), and what is called relies on it: the unwinders of gcc
//! before version 12 and of LLVM keep a cache there that nothing else guards. The loader itself needs no such lock.
//! It keeps apart the threads that iterate with *one* function, which has the state; it may be entered again by its
//! own thread. Threads that iterate with different functions do not wait for each other: a function that waits for
//! the GIL of Python would hang if the thread that has the GIL threw an exception, as it does under `ld.so`.
//!
//! Nor does a thread wait if that could take for ever: for one that waits, in here, for itself, or that loads
//! meanwhile.

use alloc::vec::Vec;

use crate::hold::Turn;
use crate::host::Host;
use crate::sync::Monitor;
use crate::thread::ThreadId;

struct Turns {
    /// What runs, in the order it began.
    running: Vec<Turn>,
    /// Who waits, and for which function.
    waiting: Vec<Turn>,
    /// Who loads or waits for it, once for each load.
    loading: Vec<ThreadId>,
}

/// The lock.
pub(crate) struct CallbackLock {
    turns: Monitor<Turns>,
}

impl Turns {
    /// Says whether a thread must wait for its turn.
    fn must_wait(&self, turn: &Turn) -> bool {
        let mut behind = self.holders(turn.callback);
        if behind.contains(&turn.thread) {
            return false;
        }
        let must_wait = !behind.is_empty();
        // Whom the calling thread would wait for, directly or not.
        let mut at = 0;
        while let Some(&holder) = behind.get(at) {
            at += 1;
            for wait in self.waiting.iter().filter(|wait| wait.thread == holder) {
                for further in self.holders(wait.callback) {
                    if further == turn.thread {
                        return false;
                    }
                    if !behind.contains(&further) {
                        behind.push(further);
                    }
                }
            }
        }
        must_wait
    }

    /// Returns the threads whose turn it is with a function.
    fn holders(&self, callback: usize) -> Vec<ThreadId> {
        let turns = self
            .running
            .iter()
            .filter(|turn| turn.callback == callback && !self.loading.contains(&turn.thread));
        turns.map(|turn| turn.thread).collect()
    }
}

impl CallbackLock {
    /// Makes a free lock.
    pub(crate) const fn new() -> Self {
        Self {
            turns: Monitor::new(Turns {
                running: Vec::new(),
                waiting: Vec::new(),
                loading: Vec::new(),
            }),
        }
    }

    /// Waits until it is a thread's turn, the calling one's, to iterate with a function.
    pub(crate) fn enter(&self, host: &dyn Host, thread: ThreadId, callback: usize) -> Turn {
        let turn = Turn { thread, callback };
        self.turns.when(host, |turns| {
            // What a signal handler has interrupted tries again when that returns; what it has left does not.
            turns.waiting.retain(|wait| wait.thread != thread);
            if turns.must_wait(&turn) {
                turns.waiting.push(turn);
                return None;
            }
            turns.running.push(turn);
            Some(turn)
        })
    }

    /// Ends a turn, if it has not been ended.
    pub(crate) fn leave(&self, host: &dyn Host, turn: &Turn) {
        self.change(host, |turns| {
            if let Some(last) = turns.running.iter().rposition(|known| known == turn) {
                turns.running.remove(last);
            }
        });
    }

    /// Ends all turns of a thread.
    pub(crate) fn leave_all(&self, host: &dyn Host, thread: ThreadId) {
        self.change(host, |turns| {
            turns.running.retain(|turn| turn.thread != thread);
        });
    }

    /// Gives up the turns of a thread that begins a load, or waits for it: whomever it waits for may want to iterate.
    pub(crate) fn give_up<'a>(&'a self, host: &'a dyn Host, thread: ThreadId) -> NoTurns<'a> {
        self.change(host, |turns| turns.loading.push(thread));
        NoTurns {
            lock: self,
            host,
            thread,
        }
    }

    /// Notes that a load of a thread has ended.
    pub(crate) fn end_load(&self, host: &dyn Host, thread: ThreadId) {
        let mut turns = self.turns.lock(host);
        if let Some(last) = turns.loading.iter().rposition(|&known| known == thread) {
            turns.loading.swap_remove(last);
        }
    }

    /// Keeps whose turn it is as it is for as long as the result lasts.
    pub(crate) fn lock<'a>(&'a self, host: &'a dyn Host) -> impl Sized + 'a {
        self.turns.lock(host)
    }

    /// Ends that, in a copy of the address space.
    pub(crate) fn free_in_copy(&self) {
        self.turns.free_in_copy();
    }

    fn change(&self, host: &dyn Host, change: impl FnOnce(&mut Turns)) {
        change(&mut self.turns.lock(host));
        self.turns.changed(host);
    }
}

/// While this lasts, nobody waits for the turns of a thread.
pub(crate) struct NoTurns<'a> {
    lock: &'a CallbackLock,
    host: &'a dyn Host,
    thread: ThreadId,
}

impl Drop for NoTurns<'_> {
    fn drop(&mut self) {
        self.lock.end_load(self.host, self.thread);
    }
}
