//! Who finds an object's definitions by name while it is being loaded.
//!
//! A load makes its objects visible in three steps: to the thread that maps and relocates them, to the thread that
//! runs their INIT functions and whatever that thread starts, and to everybody. A look-up by any other thread passes
//! over them as if they were not there, so nobody is bound to code that is not initialised.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::thread::{ThreadId, ThreadRef};

/// Which threads find an object's definitions by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visibility {
    /// Everybody.
    Public,
    /// The thread that maps and relocates it.
    ThreadOnly(ThreadId),
    /// The thread that runs its INIT functions, and that thread's descendants.
    ThreadAndItsChildren(ThreadId),
}

/// A visibility that a load changes while look-ups read it.
pub(crate) struct VisibilityCell(AtomicU64);

impl VisibilityCell {
    /// Makes a cell.
    pub(crate) fn new(visibility: Visibility) -> Self {
        Self(AtomicU64::new(pack(visibility)))
    }

    /// Changes the visibility. What the caller wrote before is seen by whoever finds the object because of it.
    pub(crate) fn set(&self, visibility: Visibility) {
        self.0.store(pack(visibility), Ordering::Release);
    }

    /// Says whether a thread may see the object. `None` stands for a thread the loader does not know.
    pub(crate) fn admits(&self, thread: Option<&ThreadRef>) -> bool {
        match unpack(self.0.load(Ordering::Acquire)) {
            Visibility::Public => true,
            Visibility::ThreadOnly(owner) => thread.is_some_and(|thread| thread.id() == owner),
            Visibility::ThreadAndItsChildren(worker) => {
                thread.is_some_and(|thread| thread.is_or_descends_from(worker))
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

    #[test]
    fn each_level_admits_whom_it_names() {
        let mut retired = Retired::new();
        let loader = ThreadRef::root();
        let worker = ThreadRef::child_of(&loader, &mut retired);
        let child = ThreadRef::child_of(&worker, &mut retired);
        let grandchild = ThreadRef::child_of(&child, &mut retired);
        let sibling = ThreadRef::child_of(&loader, &mut retired);
        let everybody = [&loader, &worker, &child, &grandchild, &sibling];
        let admitted = |visibility| {
            let cell = VisibilityCell::new(visibility);
            everybody.map(|thread| cell.admits(Some(thread)))
        };
        assert_eq!(
            admitted(Visibility::ThreadOnly(loader.id())),
            [true, false, false, false, false]
        );
        assert_eq!(
            admitted(Visibility::ThreadAndItsChildren(worker.id())),
            [false, true, true, true, false]
        );
        assert_eq!(admitted(Visibility::Public), [true; 5]);
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
