//! Who a thread is, and from whom it descends: the ground on which visibility and the load lock stand.
//!
//! Each thread has a *proxy*, which outlives it and refers to the proxy of its parent, the thread that started it. Who
//! descends from whom is found by following parents. It does not matter whether an ancestor has ended, or who has its
//! Linux id by now: a proxy has a number of its own, which is not used again.
//!
//! While a load runs INIT functions, what it may do extends to the load's *family*: the thread that runs them, and
//! whatever that thread starts from then on, at any depth. Numbers are given out in order, to threads and to families.
//! So a thread belongs to a family if it descends from the founder through a child with a larger number than the
//! family's.
//!
//! Following parents takes no lock and no memory, so that look-ups in signal handlers can do it. Changes are made under
//! a lock, by a thread that starts another: it takes proxies of threads that have ended out of the line of its
//! ancestors. Nobody asks for them any more, since a thread that ends has first lost what it held, its families among
//! it. What has been taken out is freed when nothing refers to it and no look-up has noted it (see [`crate::publish`]).
//! So a line of ancestors is as long as there were threads at once, however many generations lie behind.

use core::fmt;
use core::mem::offset_of;

use alloc::vec::Vec;

use crate::primitive::{Arc, AtomicBool, AtomicU32, AtomicU64, Ordering, once_per_process};
use crate::publish::{Published, Readers, Retired};

/// The number of a thread, which no other thread has or had. Larger means started later.
pub type ThreadId = u64;

/// A load's family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// The thread that loads.
    pub(crate) founder: ThreadId,
    /// Tells families apart, and is larger than the numbers of the threads that were there before.
    pub(crate) number: u64,
}

/// The last number given out to a thread or a family.
static LAST: core::sync::atomic::AtomicU64 = core::sync::atomic::AtomicU64::new(0);

fn next() -> u64 {
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

once_per_process! {
    /// Who follows parents.
    static WALKERS: Readers = Readers::new();
}

/// What stands for a thread in look-ups and in the load lock.
pub(crate) struct ThreadProxy {
    id: ThreadId,
    /// The nearest ancestor that has not been taken out of the line: the parent at first.
    parent: Published<ThreadProxy>,
    /// The child of `parent` through which the thread descends from it: the thread itself at first.
    through: AtomicU64,
    ended: AtomicBool,
    /// The thread's Linux id if it has started another; 0: not known.
    tid: AtomicU32,
    /// The Linux id its parent had; 0: not known.
    starter: u32,
}

impl ThreadProxy {
    /// Where debuggers find the fields, in this order: number, parent, through whom it descends from that, whether it
    /// has ended (a byte), its Linux id and its parent's (32 bits). A parent is found as an address of its fields.
    pub(crate) const LAYOUT: [usize; 6] = [
        offset_of!(Self, id),
        offset_of!(Self, parent) + Published::<Self>::CURRENT,
        offset_of!(Self, through),
        offset_of!(Self, ended),
        offset_of!(Self, tid),
        offset_of!(Self, starter),
    ];

    /// Makes the proxy of a thread whose parent nobody knows. It becomes nobody's parent unless a [`Lineage`] ends it.
    pub(crate) fn root() -> Arc<Self> {
        Self::new(0)
    }

    fn new(starter: u32) -> Arc<Self> {
        let id = next();
        Arc::new(Self {
            id,
            parent: Published::empty(&WALKERS),
            through: AtomicU64::new(id),
            ended: AtomicBool::new(false),
            tid: AtomicU32::new(0),
            starter,
        })
    }

    /// Returns the thread's number.
    pub(crate) fn id(&self) -> ThreadId {
        self.id
    }

    /// Begins a family: this thread, which is the calling one, and what it starts from now on.
    pub(crate) fn begin_family(&self) -> Family {
        Family {
            founder: self.id,
            number: next(),
        }
    }

    /// Says whether the thread belongs to a family. When the family's load is over, "no" may be said of any thread.
    pub(crate) fn belongs_to(&self, family: Family) -> bool {
        let Family { founder, number } = family;
        let is_founder =
            |thread: &Self, through| (thread.id == founder).then_some(through > number);
        self.id == founder || self.ask_ancestors(is_founder).unwrap_or(false)
    }

    /// Asks one ancestor after the other, the nearest first, until there is an answer. `ask` is told through which
    /// child of the ancestor the thread descends from it.
    fn ask_ancestors<R>(&self, mut ask: impl FnMut(&Self, ThreadId) -> Option<R>) -> Option<R> {
        // After the parent has been read: the counterpart is in `Lineage::shorten`.
        let through = |thread: &Self| thread.through.load(Ordering::Acquire);
        let mut next = self.parent.read();
        let mut child = through(self);
        while let Some(ancestor) = next {
            let answer = ask(&ancestor, child);
            if answer.is_some() {
                return answer;
            }
            (next, child) = ancestor.follow(|ancestor| &ancestor.parent, through);
        }
        None
    }

    /// Returns who started the thread, who started that one, and so on, as far as it is known.
    pub(crate) fn ancestors(&self) -> Vec<Ancestor> {
        let mut ancestors = Vec::new();
        let mut add = |tid, ended, started| {
            if tid != 0 {
                ancestors.push(Ancestor {
                    tid,
                    ended,
                    started,
                });
            }
        };
        let (mut id, mut starter) = (self.id, self.starter);
        let _: Option<()> = self.ask_ancestors(|ancestor, through| {
            let started = through == id;
            if !started {
                add(starter, true, true);
            }
            let ended = ancestor.ended.load(Ordering::Relaxed);
            add(ancestor.tid.load(Ordering::Relaxed), ended, started);
            (id, starter) = (ancestor.id, ancestor.starter);
            None
        });
        // The parent of the last one has been taken out, and had none.
        add(starter, true, true);
        ancestors
    }
}

/// An ancestor of a thread, for people who want to know where a thread comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ancestor {
    /// The Linux id it has, or had.
    pub tid: u32,
    /// Whether it has ended.
    pub ended: bool,
    /// Whether it has started the thread before it in the list. Otherwise there were others in between, which have
    /// ended.
    pub started: bool,
}

impl fmt::Display for Ancestor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.started {
            "started by"
        } else {
            "descended from"
        };
        let ended = if self.ended { " (ended)" } else { "" };
        write!(f, "{how} {}{ended}", self.tid)
    }
}

/// The right to change who refers to whom. There is one, kept under a lock.
///
/// A proxy that is somebody's parent is kept by the thread's record while the thread runs, and by the list here when it
/// has ended. So it is freed here and nowhere else.
pub(crate) struct Lineage {
    ended: Retired<ThreadProxy>,
}

impl Lineage {
    /// Begins without threads.
    pub(crate) const fn new() -> Self {
        Self {
            ended: Retired::new(),
        }
    }

    /// Makes the proxy of a thread that `parent`, whose Linux id is `tid` if that is known, is about to start.
    pub(crate) fn child_of(&mut self, parent: &Arc<ThreadProxy>, tid: u32) -> Arc<ThreadProxy> {
        self.shorten(parent);
        parent.tid.store(tid, Ordering::Relaxed);
        let child = ThreadProxy::new(tid);
        child.parent.replace(Some(parent.clone()));
        child
    }

    /// Takes notice that a thread has ended, and has nothing that its descendants could ask for.
    pub(crate) fn end(&mut self, thread: &Arc<ThreadProxy>) {
        if !thread.ended.swap(true, Ordering::Relaxed) {
            self.ended.push(thread.clone());
        }
        self.reclaim();
    }

    /// Returns how many threads have ended that somebody refers to.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.ended.len()
    }

    /// Takes threads that have ended out of a line of ancestors.
    fn shorten(&mut self, thread: &Arc<ThreadProxy>) {
        if self.ended.is_empty() {
            return;
        }
        let mut thread = thread.clone();
        while let Some(parent) = thread.parent.get() {
            if parent.ended.load(Ordering::Relaxed) {
                // In this order: who sees the new parent sees through whom, too. Who sees the old parent with the new
                // child passes it, for it is no founder any more.
                let through = parent.through.load(Ordering::Relaxed);
                thread.through.store(through, Ordering::Release);
                // What was there is on the list, and is freed with the others.
                thread.parent.replace(parent.parent.get());
            } else {
                thread = parent;
            }
        }
        drop(thread);
        self.reclaim();
    }

    /// Frees what nobody refers to and nobody looks at.
    fn reclaim(&mut self) {
        loop {
            let before = self.ended.len();
            self.ended.reclaim(&WALKERS);
            // What has been freed may have been the last to refer to its parent.
            if self.ended.len() == before {
                return;
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn child_of(parent: &Arc<ThreadProxy>) -> Arc<ThreadProxy> {
        Lineage::new().child_of(parent, 0)
    }

    #[test]
    fn what_the_founder_starts_from_then_on_belongs() {
        let founder = ThreadProxy::root();
        let before = child_of(&founder);
        let family = founder.begin_family();
        let after = child_of(&founder);
        let stranger = ThreadProxy::root();
        let late_child_of_the_first = child_of(&before);
        assert!(founder.belongs_to(family) && after.belongs_to(family));
        assert!(child_of(&child_of(&after)).belongs_to(family));
        assert!(!before.belongs_to(family) && !stranger.belongs_to(family));
        assert!(!late_child_of_the_first.belongs_to(family));
    }

    #[test]
    fn inner_families_belong_to_the_outer_one() {
        let founder = ThreadProxy::root();
        let outer = founder.begin_family();
        let (helper, bystander) = (child_of(&founder), child_of(&founder));
        let inner = helper.begin_family();
        let grandchild = child_of(&helper);
        assert!(grandchild.belongs_to(inner) && grandchild.belongs_to(outer));
        assert!(bystander.belongs_to(outer) && !bystander.belongs_to(inner));
        assert!(!founder.belongs_to(inner));
    }

    #[test]
    fn members_of_a_past_family_are_strangers_to_the_next() {
        let (first, second) = (ThreadProxy::root(), ThreadProxy::root());
        first.begin_family();
        let resident = child_of(&first);
        let next = second.begin_family();
        assert!(!resident.belongs_to(next) && !first.belongs_to(next));
        assert!(!child_of(&resident).belongs_to(next));
    }

    #[test]
    fn ancestors_that_have_ended_are_passed_and_taken_out() {
        let mut lineage = Lineage::new();
        let founder = ThreadProxy::root();
        let before = lineage.child_of(&founder, 0);
        let family = founder.begin_family();
        let after = lineage.child_of(&founder, 0);
        let (late, deep) = (lineage.child_of(&before, 0), lineage.child_of(&after, 0));
        lineage.end(&before);
        lineage.end(&after);
        assert!(!late.belongs_to(family) && deep.belongs_to(family));
        drop((before, after));
        assert_eq!(lineage.waiting(), 2);
        // Skipped links keep through whom a line has begun.
        let (later, deeper) = (lineage.child_of(&late, 0), lineage.child_of(&deep, 0));
        assert_eq!(lineage.waiting(), 0);
        assert!(!late.belongs_to(family) && !later.belongs_to(family));
        assert!(deep.belongs_to(family) && deeper.belongs_to(family));
    }

    #[test]
    fn who_ends_twice_has_ended_once() {
        let mut lineage = Lineage::new();
        let parent = ThreadProxy::root();
        let thread = lineage.child_of(&parent, 0);
        lineage.end(&thread);
        lineage.end(&thread);
        assert_eq!((lineage.waiting(), Arc::strong_count(&thread)), (1, 2));
        drop(thread);
        lineage.end(&parent);
        assert_eq!(lineage.waiting(), 1);
        assert_eq!(Arc::strong_count(&parent), 2);
    }

    /// Each of a million threads starts the next one while so many of its ancestors are still there.
    fn generations(overlap: usize) {
        let mut lineage = Lineage::new();
        let founder = ThreadProxy::root();
        let outsider = lineage.child_of(&founder, 0);
        let family = founder.begin_family();
        let mut alive = alloc::collections::VecDeque::from([lineage.child_of(&founder, 0)]);
        let mut last_of_outsiders = lineage.child_of(&outsider, 0);
        lineage.end(&outsider);
        drop(outsider);
        for _ in 0..1_000_000 {
            let youngest = alive.back().unwrap();
            alive.push_back(lineage.child_of(youngest, 0));
            if alive.len() > overlap {
                lineage.end(&alive.pop_front().unwrap());
            }
            assert!(lineage.waiting() <= overlap + 2);
        }
        last_of_outsiders = lineage.child_of(&last_of_outsiders, 0);
        assert!(alive.iter().all(|thread| thread.belongs_to(family)));
        assert!(!last_of_outsiders.belongs_to(family));
        for thread in alive.drain(..) {
            lineage.end(&thread);
        }
        lineage.end(&founder);
        // Here, in the list, and of the outsiders.
        assert_eq!((lineage.waiting(), Arc::strong_count(&founder)), (1, 3));
    }

    #[test]
    fn a_million_generations_leave_nothing_behind() {
        generations(1);
    }

    #[test]
    fn a_million_generations_that_overlap_leave_nothing_behind() {
        generations(5);
    }

    #[test]
    fn who_has_started_whom_is_told() {
        let mut lineage = Lineage::new();
        let told = |thread: &ThreadProxy| {
            let ancestors = thread.ancestors();
            let told: Vec<_> = ancestors.iter().map(ToString::to_string).collect();
            told.join(", ")
        };
        let first = lineage.child_of(&ThreadProxy::root(), 0);
        let second = lineage.child_of(&first, 1);
        let third = lineage.child_of(&second, 2);
        let seventh = lineage.child_of(&third, 3);
        assert_eq!(told(&first), "");
        assert_eq!(told(&seventh), "started by 3, started by 2, started by 1");
        lineage.end(&third);
        let known = "started by 3 (ended), started by 2, started by 1";
        assert_eq!(told(&seventh), known);
        lineage.end(&second);
        let eighth = lineage.child_of(&seventh, 7);
        let known = "started by 7, started by 3 (ended), descended from 1";
        assert_eq!(told(&eighth), known);
        lineage.end(&first);
        drop(lineage.child_of(&eighth, 8));
        assert_eq!(told(&eighth), "started by 7, started by 3 (ended)");
    }
}
