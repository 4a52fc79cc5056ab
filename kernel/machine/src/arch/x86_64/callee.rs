//! The part of a CPU that others call: what it is asked for, and TLB flushes that it puts off while it is idle.

use crate::primitive::{AtomicBool, Ordering};

/// The part of a CPU that is called.
#[derive(Debug)]
pub(crate) struct Callee {
    /// It is asked to make the call in progress.
    asked: AtomicBool,
    /// It runs its idle thread: TLB flushes may wait until it stops doing so.
    idle: AtomicBool,
    /// The TLB holds what it should not.
    stale: AtomicBool,
}

impl Callee {
    /// That of a busy CPU.
    pub(super) const fn new() -> Self {
        Self {
            asked: AtomicBool::new(false),
            idle: AtomicBool::new(false),
            stale: AtomicBool::new(false),
        }
    }

    /// Asks it to make the call in progress, which it sees.
    pub(super) fn ask(&self) {
        self.asked.swap(true, Ordering::Release);
    }

    /// Whether it has been asked since the last time.
    pub(super) fn take_asked(&self) -> bool {
        self.asked.swap(false, Ordering::Acquire)
    }

    /// Whether it runs its idle thread.
    pub(super) fn is_idle(&self) -> bool {
        self.idle.load(Ordering::SeqCst)
    }

    /// This CPU begins to be idle: it does not touch the program's memory.
    pub(super) fn enter_idle(&self) {
        self.idle.store(true, Ordering::SeqCst);
    }

    /// This CPU stops being idle; whether it has to forget all translations first.
    pub(super) fn leave_idle(&self) -> bool {
        self.idle.store(false, Ordering::SeqCst);
        self.stale.swap(false, Ordering::SeqCst)
    }

    /// The page tables have changed, and this CPU may know what they were; whether it must be asked to forget now. An
    /// idle CPU does so when it stops being idle: it clears `idle` before it looks at `stale`, so one of the two sees
    /// the other's store.
    pub(super) fn outdate(&self) -> bool {
        self.stale.swap(true, Ordering::SeqCst);
        !self.is_idle()
    }
}
