//! Calls of functions on other CPUs, and TLB flushes that idle CPUs put off: what those who ask and those who answer
//! agree by.
//!
//! Who is which CPU, and interrupting it, is [`super::cpu`]'s business.

use crate::primitive::{AtomicBool, AtomicUsize, Ordering, spin_loop};
use crate::sync::SpinLock;

/// The one call in progress, of type `C`.
pub(super) struct CrossCalls<C> {
    busy: AtomicBool,
    call: SpinLock<Option<C>>,
    /// How many CPUs have not made it yet.
    missing: AtomicUsize,
}

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

impl<C: Copy> CrossCalls<C> {
    /// No call in progress.
    pub(super) const fn new() -> Self {
        Self {
            busy: AtomicBool::new(false),
            call: SpinLock::new(None),
            missing: AtomicUsize::new(0),
        }
    }

    /// Has every CPU make a call that `ask_others` asks to, by the function it is given, and then interrupts. Returns
    /// when all have made it. Others' calls must be answered meanwhile: interrupts are on.
    pub(super) fn make(&self, call: C, ask_others: impl FnOnce(&dyn Fn(&Callee))) {
        while self.busy.swap(true, Ordering::Acquire) {
            spin_loop();
        }
        *self.call.lock() = Some(call);
        ask_others(&|callee| {
            self.missing.fetch_add(1, Ordering::Relaxed);
            callee.asked.swap(true, Ordering::Release);
        });
        while self.missing.load(Ordering::Acquire) != 0 {
            spin_loop();
        }
        self.busy.swap(false, Ordering::Release);
    }

    /// Makes the call that this CPU is asked for, if any.
    pub(super) fn answer(&self, this: &Callee, make: impl FnOnce(C)) {
        if !this.asked.swap(false, Ordering::Acquire) {
            return;
        }
        let call = *self.call.lock();
        if let Some(call) = call {
            make(call);
        }
        self.missing.fetch_sub(1, Ordering::Release);
    }
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
