//! What prctl(2), set_mempolicy(2) and ioprio_set(2) set and nothing else changes: of a process, and of one of its
//! threads.
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};

/// A process' part.
pub struct ProcessSettings {
    /// `PR_SET_DUMPABLE`: whether the process' files in /proc are its user's, and not root's. Other ids take it away.
    pub dumpable: AtomicUsize,
    /// `PR_SET_CHILD_SUBREAPER`: orphans among its descendants become its children.
    pub child_subreaper: AtomicBool,
    /// `PR_SET_THP_DISABLE`: there are no huge pages.
    pub no_huge_pages: AtomicBool,
    /// Which barriers membarrier(2) has been asked to be ready for.
    pub barriers: AtomicUsize,
}

impl Default for ProcessSettings {
    fn default() -> Self {
        Self {
            dumpable: AtomicUsize::new(1),
            child_subreaper: AtomicBool::new(false),
            no_huge_pages: AtomicBool::new(false),
            barriers: AtomicUsize::new(0),
        }
    }
}

impl ProcessSettings {
    /// What a process that this one starts begins with. In memory of its own nothing has changed for the barriers.
    pub(super) fn inherited(&self) -> Self {
        let copy = |word: &AtomicUsize| AtomicUsize::new(word.load(Ordering::Relaxed));
        let no_huge_pages = self.no_huge_pages.load(Ordering::Relaxed);
        Self {
            dumpable: copy(&self.dumpable),
            no_huge_pages: AtomicBool::new(no_huge_pages),
            barriers: copy(&self.barriers),
            ..Self::default()
        }
    }
}

/// How late a sleep may end, in nanoseconds, if nothing else is said.
const TIMER_SLACK: usize = 50_000;

/// A thread's part.
pub struct ThreadSettings {
    /// `PR_SET_PDEATHSIG`: the signal it gets when its parent ends; 0 for none.
    pub death_signal: AtomicI32,
    /// `PR_SET_NO_NEW_PRIVS`: what it executes gives it no rights.
    pub no_new_privileges: AtomicBool,
    /// `PR_SET_TIMERSLACK`: it is remembered and changes nothing, as sleeps end on time.
    pub timer_slack: AtomicUsize,
    /// What 0 sets it to.
    default_timer_slack: usize,
    /// `set_mempolicy`'s mode with its flags: it is remembered and changes nothing, as there is one node.
    pub memory_policy: AtomicUsize,
    /// `ioprio_set`'s class and level: it is remembered and changes nothing, as blocks are asked for in order.
    pub io_priority: AtomicUsize,
}

impl Default for ThreadSettings {
    fn default() -> Self {
        Self {
            death_signal: AtomicI32::new(0),
            no_new_privileges: AtomicBool::new(false),
            timer_slack: AtomicUsize::new(TIMER_SLACK),
            default_timer_slack: TIMER_SLACK,
            memory_policy: AtomicUsize::new(0),
            io_priority: AtomicUsize::new(0),
        }
    }
}

impl ThreadSettings {
    /// What a thread or process that this one starts begins with.
    pub(super) fn inherited(&self) -> Self {
        let copy = |word: &AtomicUsize| AtomicUsize::new(word.load(Ordering::Relaxed));
        let slack = self.timer_slack.load(Ordering::Relaxed);
        let no_new_privileges = self.no_new_privileges.load(Ordering::Relaxed);
        Self {
            no_new_privileges: AtomicBool::new(no_new_privileges),
            timer_slack: AtomicUsize::new(slack),
            default_timer_slack: slack,
            memory_policy: copy(&self.memory_policy),
            io_priority: copy(&self.io_priority),
            ..Self::default()
        }
    }

    /// As long as it runs other programs it wants the same signal at the end of its parent.
    pub(super) fn keep_death_signal(&self, before: &Self) {
        let signal = before.death_signal.load(Ordering::Relaxed);
        self.death_signal.store(signal, Ordering::Relaxed);
    }

    /// `PR_SET_TIMERSLACK`
    pub fn set_timer_slack(&self, ns: usize) {
        let ns = if ns == 0 {
            self.default_timer_slack
        } else {
            ns
        };
        self.timer_slack.store(ns, Ordering::Relaxed);
    }
}
