//! Who a thread is and whose descendant: the ground on which visibility stands.
//!
//! A [`ThreadRef`] is a proxy for a thread, not the thread: it outlives it, so an ancestor that has ended neither
//! dangles nor breaks the chain, and ids are never used twice. New threads hang themselves below the nearest ancestor
//! that still matters (alive, or named by an object), so a million generations of "start a thread and end" take
//! constant memory.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::publish::{Published, Readers, Retired};

/// The number of a thread; larger means started later.
pub(crate) type ThreadId = u64;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Walkers of parent links.
pub(crate) static WALKERS: Readers = Readers::new();

/// Returns an id that no thread has or had. Also serves as a moment in time: threads started later have larger ids.
pub(crate) fn next_id() -> ThreadId {
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}

/// A proxy for a thread.
pub(crate) struct ThreadRef {
    id: ThreadId,
    parent: Published<ThreadRef>,
    /// The id of the child of `parent` through which this thread descends from it: its own, until links are skipped.
    /// Says whether a line of descent began before or after some moment.
    through: AtomicU64,
    terminated: AtomicBool,
    /// How many loads name this thread in a visibility.
    named: AtomicU32,
}

impl ThreadRef {
    /// Makes the proxy of a thread without a parent.
    pub(crate) fn root() -> Arc<Self> {
        let id = next_id();
        Arc::new(Self {
            id,
            parent: Published::empty(&WALKERS),
            through: AtomicU64::new(id),
            terminated: AtomicBool::new(false),
            named: AtomicU32::new(0),
        })
    }

    /// Makes the proxy of a thread started by `parent`, and shortens the parent's own chain on the way. The caller
    /// excludes other callers.
    pub(crate) fn child_of(parent: &Arc<Self>, retired: &mut Retired<Self>) -> Arc<Self> {
        parent.shorten(retired);
        let child = Self::root();
        child.parent.set(Some(parent.clone()), retired);
        child
    }

    /// Returns the thread's id.
    pub(crate) fn id(&self) -> ThreadId {
        self.id
    }

    /// Notes that the thread is no more.
    pub(crate) fn terminate(&self) {
        self.terminated.store(true, Ordering::Release);
    }

    /// Keeps the proxy in the chains of its descendants although the thread may end.
    pub(crate) fn name(&self) {
        self.named.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes back one [`name`](Self::name).
    pub(crate) fn unname(&self) {
        self.named.fetch_sub(1, Ordering::Relaxed);
    }

    /// Says whether this thread is `ancestor`, or descends from it through a child started after the moment `since`.
    pub(crate) fn is_or_started_by(&self, ancestor: ThreadId, since: ThreadId) -> bool {
        if self.id == ancestor {
            return true;
        }
        let mut next = self.parent.get();
        let mut through = self.through.load(Ordering::Acquire);
        while let Some(thread) = next {
            if thread.id == ancestor {
                return through > since;
            }
            next = thread.parent.get();
            through = thread.through.load(Ordering::Acquire);
        }
        false
    }

    /// Makes the parent link skip ancestors that have ended and that nothing names. Safe beside readers; the caller
    /// excludes other writers.
    pub(crate) fn shorten(&self, retired: &mut Retired<Self>) {
        while let Some(parent) = self.parent.get() {
            let dead = parent.terminated.load(Ordering::Acquire)
                && parent.named.load(Ordering::Acquire) == 0;
            if !dead {
                return;
            }
            // In this order: a walker that sees the new parent sees through whom, too. One that sees the old parent
            // passes it, because nobody asks for a thread that has ended and is not named.
            let through = parent.through.load(Ordering::Acquire);
            self.through.store(through, Ordering::Release);
            self.parent.set(parent.parent.get(), retired);
        }
        retired.reclaim(&WALKERS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl ThreadRef {
        fn is_or_descends_from(&self, ancestor: ThreadId) -> bool {
            self.is_or_started_by(ancestor, 0)
        }
    }

    #[test]
    fn ended_ancestors_do_not_break_the_chain() {
        let mut retired = Retired::new();
        let init = ThreadRef::root();
        let first = ThreadRef::child_of(&init, &mut retired);
        let second = ThreadRef::child_of(&first, &mut retired);
        first.terminate();
        second.shorten(&mut retired);
        assert!(second.is_or_descends_from(init.id()));
        assert!(!init.is_or_descends_from(second.id()));
    }

    #[test]
    fn a_named_ancestor_stays() {
        let mut retired = Retired::new();
        let root = ThreadRef::root();
        let worker = ThreadRef::child_of(&root, &mut retired);
        let child = ThreadRef::child_of(&worker, &mut retired);
        worker.name();
        worker.terminate();
        child.shorten(&mut retired);
        assert!(child.is_or_descends_from(worker.id()));
        worker.unname();
        child.shorten(&mut retired);
        assert!(!child.is_or_descends_from(worker.id()));
        assert!(child.is_or_descends_from(root.id()));
    }

    #[test]
    fn a_million_generations_take_constant_memory() {
        let mut retired = Retired::new();
        let root = ThreadRef::root();
        let mut thread = ThreadRef::child_of(&root, &mut retired);
        for _ in 0..1_000_000 {
            let child = ThreadRef::child_of(&thread, &mut retired);
            thread.terminate();
            retired.push(core::mem::replace(&mut thread, child));
            retired.reclaim(&WALKERS);
        }
        assert!(thread.is_or_descends_from(root.id()));
        assert!(retired.len() < 8, "{} proxies kept", retired.len());
    }

    #[test]
    fn only_threads_started_since_belong_to_the_family() {
        let mut retired = Retired::new();
        let worker = ThreadRef::root();
        let before = ThreadRef::child_of(&worker, &mut retired);
        let since = next_id();
        let after = ThreadRef::child_of(&worker, &mut retired);
        assert!(worker.is_or_started_by(worker.id(), since));
        assert!(!before.is_or_started_by(worker.id(), since));
        assert!(after.is_or_started_by(worker.id(), since));
    }

    #[test]
    fn skipped_links_keep_when_the_line_began() {
        let mut retired = Retired::new();
        let worker = ThreadRef::root();
        let outsider = ThreadRef::child_of(&worker, &mut retired);
        let since = next_id();
        let insider = ThreadRef::child_of(&worker, &mut retired);
        let late = ThreadRef::child_of(&outsider, &mut retired);
        let deep = ThreadRef::child_of(&insider, &mut retired);
        outsider.terminate();
        insider.terminate();
        late.shorten(&mut retired);
        deep.shorten(&mut retired);
        assert!(!late.is_or_started_by(worker.id(), since));
        assert!(deep.is_or_started_by(worker.id(), since));
    }
}
