//! Calls of functions on other CPUs: what those who ask and those who answer agree by.
//!
//! Who is which CPU, and interrupting it, is [`super::cpu`]'s business.

use super::callee::Callee;
use crate::primitive::{AtomicBool, AtomicUsize, Ordering, spin_loop};
use crate::sync::SpinLock;

/// The one call in progress, of type `C`.
pub(super) struct CrossCalls<C> {
    busy: AtomicBool,
    call: SpinLock<Option<C>>,
    /// How many CPUs have not made it yet.
    missing: AtomicUsize,
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
            callee.ask();
        });
        while self.missing.load(Ordering::Acquire) != 0 {
            spin_loop();
        }
        self.busy.swap(false, Ordering::Release);
    }

    /// Makes the call that this CPU is asked for, if any.
    pub(super) fn answer(&self, this: &Callee, make: impl FnOnce(C)) {
        if !this.take_asked() {
            return;
        }
        let call = *self.call.lock();
        if let Some(call) = call {
            make(call);
        }
        self.missing.fetch_sub(1, Ordering::Release);
    }
}
