//! Who finds an object's definitions by name while it is being loaded.
//!
//! A load makes its objects visible in three steps: to the thread that maps and relocates them, to the thread that
//! runs their INIT functions and whatever that thread starts, and to everybody. A look-up by any other thread passes
//! over them as if they were not there, so nobody is bound to code that is not initialised.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::thread::{ThreadId, ThreadRef, next_id};

/// Which threads find an object's definitions by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visibility {
    /// Everybody.
    Public,
    /// The thread that maps and relocates it.
    ThreadOnly(ThreadId),
    /// The thread that runs its INIT functions, and the descendants it starts from now on.
    ThreadAndItsChildren(ThreadId),
}

/// A visibility that a load changes while look-ups read it.
pub(crate) struct VisibilityCell {
    level: AtomicU64,
    /// The moment at which the last level but `Public` was set.
    since: AtomicU64,
}

impl VisibilityCell {
    /// Makes a cell.
    pub(crate) fn new(visibility: Visibility) -> Self {
        Self {
            level: AtomicU64::new(pack(visibility)),
            since: AtomicU64::new(next_id()),
        }
    }

    /// Changes the visibility. What the caller wrote before is seen by whoever finds the object because of it.
    pub(crate) fn set(&self, visibility: Visibility) {
        if visibility != Visibility::Public {
            // A reader between the two stores takes the new moment for the old level, which names one thread only.
            self.since.store(next_id(), Ordering::Release);
        }
        self.level.store(pack(visibility), Ordering::Release);
    }

    /// Says whether a thread may see the object. `None` stands for a thread the loader does not know.
    pub(crate) fn admits(&self, thread: Option<&ThreadRef>) -> bool {
        match unpack(self.level.load(Ordering::Acquire)) {
            Visibility::Public => true,
            Visibility::ThreadOnly(owner) => thread.is_some_and(|thread| thread.id() == owner),
            Visibility::ThreadAndItsChildren(worker) => {
                let since = self.since.load(Ordering::Acquire);
                thread.is_some_and(|thread| thread.is_or_started_by(worker, since))
            }
        }
    }
}

const LEVEL_SHIFT: u32 = 62;

fn pack(visibility: Visibility) -> u64 {
    match visibility {
        Visibility::Public => 0,
        Visibility::ThreadOnly(thread) => 1 << LEVEL_SHIFT | thread,
        Visibility::ThreadAndItsChildren(thread) => 2 << LEVEL_SHIFT | thread,
    }
}

fn unpack(word: u64) -> Visibility {
    let thread = word & ((1 << LEVEL_SHIFT) - 1);
    match word >> LEVEL_SHIFT {
        0 => Visibility::Public,
        1 => Visibility::ThreadOnly(thread),
        _ => Visibility::ThreadAndItsChildren(thread),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::Retired;
    use alloc::vec::Vec;

    #[test]
    fn each_level_admits_whom_it_names() {
        let mut retired = Retired::new();
        let loader = ThreadRef::root();
        let worker = ThreadRef::child_of(&loader, &mut retired);
        let before = ThreadRef::child_of(&worker, &mut retired);
        let cell = VisibilityCell::new(Visibility::ThreadOnly(loader.id()));
        let admitted = |threads: &[&ThreadRef]| -> Vec<bool> {
            threads
                .iter()
                .map(|thread| cell.admits(Some(thread)))
                .collect()
        };
        assert_eq!(admitted(&[&loader, &worker, &before]), [true, false, false]);
        cell.set(Visibility::ThreadAndItsChildren(worker.id()));
        let child = ThreadRef::child_of(&worker, &mut retired);
        let grandchild = ThreadRef::child_of(&child, &mut retired);
        let sibling = ThreadRef::child_of(&loader, &mut retired);
        assert_eq!(admitted(&[&worker, &child, &grandchild]), [true; 3]);
        assert_eq!(admitted(&[&loader, &sibling, &before]), [false; 3]);
        cell.set(Visibility::Public);
        assert_eq!(admitted(&[&loader, &sibling, &before, &child]), [true; 4]);
    }

    #[test]
    fn unknown_threads_see_what_is_public() {
        let cell = VisibilityCell::new(Visibility::ThreadOnly(1));
        assert!(!cell.admits(None));
        cell.set(Visibility::ThreadAndItsChildren(1));
        assert!(!cell.admits(None));
        cell.set(Visibility::Public);
        assert!(cell.admits(None));
    }

    #[test]
    fn descendants_see_through_ancestors_that_have_ended() {
        let mut retired = Retired::new();
        let worker = ThreadRef::root();
        let cell = VisibilityCell::new(Visibility::ThreadAndItsChildren(worker.id()));
        worker.name();
        let mut thread = ThreadRef::child_of(&worker, &mut retired);
        for _ in 0..1000 {
            let next = ThreadRef::child_of(&thread, &mut retired);
            thread.terminate();
            thread = next;
        }
        // The worker itself has ended as well, but the load still names it.
        worker.terminate();
        thread.shorten(&mut retired);
        assert!(cell.admits(Some(&thread)));
        assert!(!cell.admits(Some(&ThreadRef::root())));
    }

    #[test]
    fn a_level_survives_packing() {
        for visibility in [
            Visibility::Public,
            Visibility::ThreadOnly(7),
            Visibility::ThreadAndItsChildren(1 << 40),
        ] {
            assert_eq!(unpack(pack(visibility)), visibility);
        }
    }
}
