//! Who finds an object's definitions by name while it is being loaded.
//!
//! A load makes its objects visible in three steps: to the thread that maps and relocates them, to the thread that
//! runs their INIT functions and whatever that thread starts meanwhile, and to everybody. A look-up by any other thread
//! passes over them as if they were not there, so nobody is bound to code that is not initialised.

use crate::primitive::{AtomicU64, Ordering};
use crate::thread::{Family, ThreadId, ThreadProxy};

/// Which threads find an object's definitions by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Everybody.
    Public,
    /// The thread that maps and relocates it.
    ThreadOnly(ThreadId),
    /// The thread that runs its INIT functions, and the descendants it starts during this load: the load's family,
    /// which lasts until the object is public. An object has this visibility once.
    ThreadAndItsChildren(Family),
}

/// A visibility that a load changes while look-ups read it.
pub(crate) struct VisibilityCell {
    /// The level, and in the lower bits the thread, or the family's number.
    level: AtomicU64,
    /// The family's founder: there before the level says that there is a family, and from then on.
    founder: AtomicU64,
}

impl VisibilityCell {
    /// Makes a cell of an object that one thread sees.
    pub(crate) const fn new(owner: ThreadId) -> Self {
        Self {
            level: AtomicU64::new(level(Visibility::ThreadOnly(owner))),
            founder: AtomicU64::new(0),
        }
    }

    /// Returns the visibility.
    pub(crate) fn get(&self) -> Visibility {
        let level = self.level.load(Ordering::Acquire);
        let number = level & ((1 << LEVEL_SHIFT) - 1);
        match level >> LEVEL_SHIFT {
            0 => Visibility::Public,
            1 => Visibility::ThreadOnly(number),
            _ => Visibility::ThreadAndItsChildren(Family {
                founder: self.founder.load(Ordering::Relaxed),
                number,
            }),
        }
    }

    /// Changes the visibility. What the caller wrote before is seen by whoever finds the object because of it.
    pub(crate) fn set(&self, visibility: Visibility) {
        if let Visibility::ThreadAndItsChildren(family) = visibility {
            self.founder.store(family.founder, Ordering::Relaxed);
        }
        self.level.store(level(visibility), Ordering::Release);
    }

    /// Makes the object public if it is a family's.
    pub(crate) fn open_to_all(&self, family: Family) {
        let private = level(Visibility::ThreadAndItsChildren(family));
        let public = level(Visibility::Public);
        // The result does not matter: otherwise the load has gone on, or it is not this family's object.
        let _ = self
            .level
            .compare_exchange(private, public, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Says whether the calling thread may see the object. `None` stands for one the loader does not know.
    pub(crate) fn admits(&self, thread: Option<&ThreadProxy>) -> bool {
        let visibility = self.get();
        match visibility {
            Visibility::Public => true,
            Visibility::ThreadOnly(owner) => thread.is_some_and(|thread| thread.id() == owner),
            Visibility::ThreadAndItsChildren(family) => thread.is_some_and(|thread| {
                // The founder may have ended meanwhile, and be no ancestor any more; then the object has become public.
                thread.belongs_to(family) || self.get() == Visibility::Public
            }),
        }
    }
}

const LEVEL_SHIFT: u32 = 62;

const fn level(visibility: Visibility) -> u64 {
    match visibility {
        Visibility::Public => 0,
        Visibility::ThreadOnly(thread) => 1 << LEVEL_SHIFT | thread,
        Visibility::ThreadAndItsChildren(family) => 2 << LEVEL_SHIFT | family.number,
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::thread::Lineage;

    const FAMILY: Family = Family {
        founder: 1,
        number: 1 << 40,
    };

    #[test]
    fn each_level_admits_whom_it_names() {
        let mut lineage = Lineage::new();
        let loader = ThreadProxy::root();
        let before = lineage.child_of(&loader, 0);
        let worker = lineage.child_of(&loader, 0);
        let family = worker.begin_family();
        let child = lineage.child_of(&worker, 0);
        let grandchild = lineage.child_of(&child, 0);
        let sibling = lineage.child_of(&loader, 0);
        let cell = VisibilityCell::new(loader.id());
        let admitted =
            |threads: &[&ThreadProxy]| threads.iter().filter(|t| cell.admits(Some(t))).count();
        assert!(cell.admits(Some(&loader)));
        assert_eq!(
            admitted(&[&before, &worker, &child, &grandchild, &sibling]),
            0
        );
        cell.set(Visibility::ThreadAndItsChildren(family));
        assert_eq!(admitted(&[&worker, &child, &grandchild]), 3);
        assert_eq!(admitted(&[&loader, &before, &sibling]), 0);
        cell.open_to_all(worker.begin_family());
        assert_eq!(admitted(&[&loader, &before, &sibling]), 0);
        cell.open_to_all(family);
        assert_eq!(admitted(&[&loader, &before, &sibling, &worker, &child]), 5);
    }

    #[test]
    fn unknown_threads_see_what_is_public() {
        let cell = VisibilityCell::new(1);
        assert!(!cell.admits(None));
        cell.set(Visibility::ThreadAndItsChildren(FAMILY));
        assert!(!cell.admits(None));
        cell.set(Visibility::Public);
        assert!(cell.admits(None));
    }

    #[test]
    fn a_visibility_survives_packing() {
        for visibility in [
            Visibility::Public,
            Visibility::ThreadOnly(7),
            Visibility::ThreadAndItsChildren(FAMILY),
        ] {
            let cell = VisibilityCell::new(1);
            cell.set(visibility);
            assert_eq!(cell.get(), visibility);
        }
    }
}
