//! Who finds an object's definitions by name while it is being loaded.
//!
//! A load makes its objects visible in three steps: to the thread that maps and relocates them, to the thread that
//! runs their INIT functions and whatever that thread starts meanwhile, and to everybody. A look-up by any other thread
//! passes over them as if they were not there, so nobody is bound to code that is not initialised.

use crate::primitive::{AtomicU64, Ordering};
use crate::thread::{Family, ThreadId, ThreadRef};

/// Which threads find an object's definitions by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Everybody.
    Public,
    /// The thread that maps and relocates it.
    ThreadOnly(ThreadId),
    /// The thread that runs its INIT functions, and the descendants it starts during this load: the load's family, which
    /// lasts until the object is public.
    ThreadAndItsChildren(Family),
}

/// A visibility that a load changes while look-ups read it.
pub(crate) struct VisibilityCell(AtomicU64);

impl VisibilityCell {
    /// Makes a cell.
    pub(crate) const fn new(visibility: Visibility) -> Self {
        Self(AtomicU64::new(pack(visibility)))
    }

    /// Returns the visibility.
    pub(crate) fn get(&self) -> Visibility {
        unpack(self.0.load(Ordering::Acquire))
    }

    /// Changes the visibility. What the caller wrote before is seen by whoever finds the object because of it.
    pub(crate) fn set(&self, visibility: Visibility) {
        self.0.store(pack(visibility), Ordering::Release);
    }

    /// Makes the object public if it is a family's.
    pub(crate) fn open_to_all(&self, family: Family) {
        let private = pack(Visibility::ThreadAndItsChildren(family));
        let public = pack(Visibility::Public);
        // The result does not matter: otherwise the load has gone on, or it is not this family's object.
        let _ = self
            .0
            .compare_exchange(private, public, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Says whether the calling thread may see the object. `None` stands for one the loader does not know.
    pub(crate) fn admits(&self, thread: Option<&ThreadRef>) -> bool {
        match self.get() {
            Visibility::Public => true,
            Visibility::ThreadOnly(owner) => thread.is_some_and(|thread| thread.id() == owner),
            Visibility::ThreadAndItsChildren(family) => {
                thread.is_some_and(|thread| thread.belongs_to(family))
            }
        }
    }
}

const LEVEL_SHIFT: u32 = 62;

const fn pack(visibility: Visibility) -> u64 {
    match visibility {
        Visibility::Public => 0,
        Visibility::ThreadOnly(thread) => 1 << LEVEL_SHIFT | thread,
        Visibility::ThreadAndItsChildren(Family(family)) => 2 << LEVEL_SHIFT | family,
    }
}

const fn unpack(word: u64) -> Visibility {
    let number = word & ((1 << LEVEL_SHIFT) - 1);
    match word >> LEVEL_SHIFT {
        0 => Visibility::Public,
        1 => Visibility::ThreadOnly(number),
        _ => Visibility::ThreadAndItsChildren(Family(number)),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn each_level_admits_whom_it_names() {
        let loader = ThreadRef::root();
        let before = ThreadRef::child_of(&loader);
        let worker = ThreadRef::child_of(&loader);
        let family = worker.begin_family();
        let child = ThreadRef::child_of(&worker);
        let grandchild = ThreadRef::child_of(&child);
        let sibling = ThreadRef::child_of(&loader);
        let cell = VisibilityCell::new(Visibility::ThreadOnly(loader.id()));
        let admitted =
            |threads: &[&ThreadRef]| threads.iter().filter(|t| cell.admits(Some(t))).count();
        assert!(cell.admits(Some(&loader)));
        assert_eq!(
            admitted(&[&before, &worker, &child, &grandchild, &sibling]),
            0
        );
        cell.set(Visibility::ThreadAndItsChildren(family));
        assert_eq!(admitted(&[&worker, &child, &grandchild]), 3);
        assert_eq!(admitted(&[&loader, &before, &sibling]), 0);
        cell.open_to_all(ThreadRef::root().begin_family());
        assert_eq!(admitted(&[&loader, &before, &sibling]), 0);
        cell.open_to_all(family);
        assert_eq!(admitted(&[&loader, &before, &sibling, &worker, &child]), 5);
    }

    #[test]
    fn unknown_threads_see_what_is_public() {
        let cell = VisibilityCell::new(Visibility::ThreadOnly(1));
        assert!(!cell.admits(None));
        cell.set(Visibility::ThreadAndItsChildren(Family(1)));
        assert!(!cell.admits(None));
        cell.set(Visibility::Public);
        assert!(cell.admits(None));
    }

    #[test]
    fn a_level_survives_packing() {
        for visibility in [
            Visibility::Public,
            Visibility::ThreadOnly(7),
            Visibility::ThreadAndItsChildren(Family(1 << 40)),
        ] {
            assert_eq!(unpack(pack(visibility)), visibility);
        }
    }
}
