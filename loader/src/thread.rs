//! Who a thread is, and to which load's *family* it belongs: the ground on which visibility and the load lock stand.
//!
//! While a load runs INIT functions, what it may do extends to the thread that runs them and to whatever that thread
//! starts from then on, at any depth: the load's family. Only members of the innermost family can begin another load
//! while that family lasts (see [`crate::family`]), so families nest: one that begins while another lasts lies inside it.
//!
//! This makes descent a matter of one number. Families are numbered as they begin; a thread carries the number of the
//! latest family it was in, and a new thread inherits it. If a thread's number is not smaller than that of a family which
//! lasts, then its latest family is that one or began while that one lasted, and so lies inside it: the thread is a
//! member. If it is smaller, the thread has not been in that family. No ancestor is ever asked, so it does not matter
//! whether it has ended, how many generations lie between, or who got its id.

use crate::primitive::{Arc, AtomicU64, Ordering};

/// The number of a thread, which no other thread has or had.
pub type ThreadId = u64;

/// A load's family. Larger means begun later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Family(pub(crate) u64);

/// The last number given out to a thread or a family.
static LAST: core::sync::atomic::AtomicU64 = core::sync::atomic::AtomicU64::new(0);

fn next() -> u64 {
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

/// A thread, as far as look-ups and the load lock know it.
pub(crate) struct ThreadRef {
    id: ThreadId,
    /// The latest family it belonged to; 0: none yet. Changed by the thread itself only.
    family: AtomicU64,
}

impl ThreadRef {
    /// Makes a thread that belongs to no family.
    pub(crate) fn root() -> Arc<Self> {
        Arc::new(Self {
            id: next(),
            family: AtomicU64::new(0),
        })
    }

    /// Makes a thread that `parent`, the calling thread, is about to start.
    pub(crate) fn child_of(parent: &Self) -> Arc<Self> {
        Arc::new(Self {
            id: next(),
            family: AtomicU64::new(parent.family.load(Ordering::Relaxed)),
        })
    }

    /// Returns the thread's id.
    pub(crate) fn id(&self) -> ThreadId {
        self.id
    }

    /// Begins a family: this thread, which is the calling one, and what it starts from now on. The caller makes sure that
    /// it belongs to every family that lasts.
    pub(crate) fn begin_family(&self) -> Family {
        let family = next();
        self.family.store(family, Ordering::Relaxed);
        Family(family)
    }

    /// Says whether the thread, which is the calling one, belongs to a family that lasts.
    pub(crate) fn belongs_to(&self, family: Family) -> bool {
        self.family.load(Ordering::Relaxed) >= family.0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_the_founder_starts_from_then_on_belongs() {
        let founder = ThreadRef::root();
        let before = ThreadRef::child_of(&founder);
        let family = founder.begin_family();
        let after = ThreadRef::child_of(&founder);
        let stranger = ThreadRef::root();
        let late_child_of_the_first = ThreadRef::child_of(&before);
        assert!(founder.belongs_to(family) && after.belongs_to(family));
        assert!(ThreadRef::child_of(&ThreadRef::child_of(&after)).belongs_to(family));
        assert!(!before.belongs_to(family) && !stranger.belongs_to(family));
        assert!(!late_child_of_the_first.belongs_to(family));
    }

    #[test]
    fn inner_families_belong_to_the_outer_one() {
        let founder = ThreadRef::root();
        let outer = founder.begin_family();
        let (helper, bystander) = (ThreadRef::child_of(&founder), ThreadRef::child_of(&founder));
        let inner = helper.begin_family();
        let grandchild = ThreadRef::child_of(&helper);
        assert!(grandchild.belongs_to(inner) && grandchild.belongs_to(outer));
        assert!(bystander.belongs_to(outer) && !bystander.belongs_to(inner));
        assert!(!founder.belongs_to(inner));
    }

    #[test]
    fn members_of_a_past_family_are_strangers_to_the_next() {
        let (first, second) = (ThreadRef::root(), ThreadRef::root());
        first.begin_family();
        let resident = ThreadRef::child_of(&first);
        let next = second.begin_family();
        assert!(!resident.belongs_to(next) && !first.belongs_to(next));
        assert!(!ThreadRef::child_of(&resident).belongs_to(next));
    }

    #[test]
    fn a_million_generations_leave_nothing_behind() {
        let founder = ThreadRef::root();
        let family = founder.begin_family();
        let mut parent = founder.clone();
        let mut thread = ThreadRef::child_of(&parent);
        // Each is still there while its child starts a thread of its own.
        for _ in 0..1_000_000 {
            let child = ThreadRef::child_of(&thread);
            assert_eq!(Arc::strong_count(&thread), 1);
            parent = core::mem::replace(&mut thread, child);
        }
        assert!(thread.belongs_to(family) && parent.belongs_to(family));
        assert_eq!(Arc::strong_count(&founder), 1);
        assert!(!core::mem::needs_drop::<ThreadRef>());
    }
}
