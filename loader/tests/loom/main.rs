//! Models of what the loader's threads do without locks, or to make locks: publication and reclamation, descent,
//! visibility, the load lock. [loom](https://docs.rs/loom) runs each with every interleaving of so many preemptions and
//! every result of every load that the memory model allows, and finds data races, deadlocks and leaks.
//!
//! The modules are the loader's own sources, with loom's types in place of the atomic ones. To run:
//!
//!     RUSTFLAGS='--cfg loom --cfg hosted' cargo test --release -p loader --test loom --target-dir target/loom
#![cfg(loom)]
#![expect(dead_code, reason = "the models do not use all of the modules")]
extern crate alloc;

#[path = "../../src/family.rs"]
mod family;
#[path = "../../src/publish.rs"]
mod publish;
#[path = "../../src/sync.rs"]
mod sync;
#[path = "../../src/thread.rs"]
mod thread;
#[path = "../../src/visibility.rs"]
mod visibility;

mod primitive;

mod signals;

mod host;

use host::Futex;
use loom::cell::UnsafeCell;
use primitive::Arc;
use thread::{Lineage, ThreadProxy};

/// Explores a model, with at most so many preemptions on each path: fewer than two or three find nearly everything
/// there is to find (M. Musuvathi and S. Qadeer, “Iterative Context Bounding”, PLDI 2007).
fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// Begins without threads. What is made at its first use is made.
fn lineage() -> Lineage {
    let mut lineage = Lineage::new();
    lineage.end(&ThreadProxy::root());
    lineage
}

/// Makes a child, of which what is made at its first use is made.
fn child_of(lineage: &mut Lineage, parent: &Arc<ThreadProxy>) -> Arc<ThreadProxy> {
    let child = lineage.child_of(parent, 0);
    assert!(!child.belongs_to(ThreadProxy::root().begin_family()));
    child
}

/// Memory that several threads use; loom complains if two do at once.
struct Shared<T>(UnsafeCell<T>);

impl<T: Copy> Shared<T> {
    fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
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

mod publication;

mod descent;

mod locks;

mod loads;
