//! Models of what CPUs and threads agree by: parking, wait queues and the sleeping lock, the hand-over of threads
//! between run queues, calls of other CPUs and TLB shootdown. [loom](https://docs.rs/loom) runs each with every
//! interleaving of so many preemptions and every result of every load that the memory model allows, and finds data
//! races, deadlocks and lost wake-ups.
//!
//! The modules are the kernel's own sources, with loom's types in place of the atomic ones; what surrounds them (the
//! switch of threads, interrupts, the clock) is restated in a few lines. To run:
//!
//!     RUSTFLAGS='--cfg loom --cfg hosted' cargo test --release -p machine --test loom --target-dir target/loom
#![cfg(loom)]
#![allow(
    dead_code,
    unreachable_pub,
    reason = "the models do not use all of the modules, and are no library"
)]
extern crate alloc;

#[path = "loom/arch.rs"]
mod arch;
#[path = "loom/sched.rs"]
mod sched;
#[path = "loom/sync.rs"]
mod sync;

/// loom's atomic types, made when they are first used if they are made in `const` contexts, where loom's cannot be:
/// that must be before a second thread uses them. loom takes sequentially consistent accesses for weaker than they are:
/// here a fence follows the stores, as on x86-64, where they are `xchg`. It also lets a store come before a
/// read-modify-write of another thread that did not see it; where both meet the kernel uses read-modify-writes only.
mod primitive {
    pub(crate) use loom::sync::atomic::{Ordering, fence};
    use std::sync::OnceLock;

    macro_rules! atomic {
        ($($name:ident: $value:ty,)*) => { $(
            #[derive(Debug)]
            pub(crate) struct $name {
                initial: $value,
                made: OnceLock<loom::sync::atomic::$name>,
            }

            /// Made at once.
            impl Default for $name {
                fn default() -> Self {
                    let new = Self::new(Default::default());
                    new.made();
                    new
                }
            }

            impl $name {
                pub(crate) const fn new(initial: $value) -> Self {
                    Self { initial, made: OnceLock::new() }
                }

                fn made(&self) -> &loom::sync::atomic::$name {
                    self.made.get_or_init(|| loom::sync::atomic::$name::new(self.initial))
                }

                pub(crate) fn load(&self, order: Ordering) -> $value {
                    self.made().load(order)
                }

                pub(crate) fn store(&self, value: $value, order: Ordering) {
                    self.made().store(value, order);
                    follow(order);
                }

                pub(crate) fn swap(&self, value: $value, order: Ordering) -> $value {
                    let old = self.made().swap(value, order);
                    follow(order);
                    old
                }
            }
        )* };
    }

    fn follow(order: Ordering) {
        if order == Ordering::SeqCst {
            fence(Ordering::SeqCst);
        }
    }

    atomic! {
        AtomicBool: bool,
        AtomicU32: u32,
        AtomicUsize: usize,
    }

    impl AtomicUsize {
        pub(crate) fn fetch_add(&self, value: usize, order: Ordering) -> usize {
            self.made().fetch_add(value, order)
        }

        pub(crate) fn fetch_sub(&self, value: usize, order: Ordering) -> usize {
            self.made().fetch_sub(value, order)
        }
    }

    /// Interrupts come in while a CPU spins.
    pub(crate) fn spin_loop() {
        super::arch::interrupt();
        loom::hint::spin_loop();
    }
}

/// The clock stands still; no model has deadlines.
mod time {
    use std::sync::Arc;

    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
    pub(crate) struct Instant;

    impl Instant {
        pub(crate) fn now() -> Self {
            Self
        }
    }

    pub(crate) trait Alarm {
        fn ring(&self);
    }

    pub(crate) struct Timer;

    impl Timer {
        pub(crate) fn arm(_at: Instant, _alarm: Arc<dyn Alarm>) -> Self {
            Self
        }
    }
}

/// Explores a model, with at most so many preemptions on each path; `None`: with any number.
fn explore(preemptions: impl Into<Option<usize>>, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions.into();
    builder.check(model);
}

/// Memory that several threads use; loom complains if two do at once.
struct Shared<T>(loom::cell::UnsafeCell<T>);

impl<T: Copy> Shared<T> {
    fn new(value: T) -> Self {
        Self(loom::cell::UnsafeCell::new(value))
    }

    fn get(&self) -> T {
        // SAFETY: loom checks that nobody writes meanwhile.
        self.0.with(|value| unsafe { *value })
    }

    fn set(&self, new: T) {
        // SAFETY: loom checks that nobody else uses it meanwhile.
        self.0.with_mut(|value| unsafe { *value = new });
    }
}
