//! The load lock, and who sees what while a load goes on.

use super::*;
use crate::family::FamilyLock;
use crate::visibility::{Visibility, VisibilityCell};

/// What a load changes, a library it loads, and the lock.
struct World {
    host: &'static Futex,
    lock: FamilyLock,
    /// Changed only with the lock.
    loads: Shared<u32>,
    library: VisibilityCell,
    relocated: Shared<bool>,
    initialised: Shared<bool>,
}

impl World {
    fn new(loader: &Arc<ThreadProxy>) -> Arc<Self> {
        let world = Arc::new(Self {
            host: Futex::leak(),
            lock: FamilyLock::new(),
            loads: Shared::new(0),
            library: VisibilityCell::new(loader.id()),
            relocated: Shared::new(false),
            initialised: Shared::new(false),
        });
        assert!(world.library.admits(Some(loader)));
        let first = world.lock.enter(world.host, &ThreadProxy::root());
        first.lend(|| ());
        drop(first);
        world
    }

    fn change(&self) {
        self.loads.set(self.loads.get() + 1);
    }

    /// A load of something else.
    fn load(&self, thread: &Arc<ThreadProxy>) {
        let _held = self.lock.enter(self.host, thread);
        self.change();
    }

    /// A load by a thread outside the library's family: before or after the library's load.
    fn load_outside(&self, thread: &Arc<ThreadProxy>) {
        let _held = self.lock.enter(self.host, thread);
        assert_eq!(self.relocated.get(), self.initialised.get());
        self.change();
    }

    /// A look-up by a thread of the family.
    fn must_see(&self, thread: &ThreadProxy) {
        assert!(self.library.admits(Some(thread)));
        assert!(self.relocated.get());
    }

    /// A look-up by any other thread.
    fn may_see(&self, thread: &ThreadProxy) {
        if self.library.admits(Some(thread)) {
            assert!(self.relocated.get() && self.initialised.get());
        }
    }

    /// A load of the library, with `init` as its INIT function.
    fn load_library(&self, thread: &Arc<ThreadProxy>, init: impl FnOnce()) {
        let held = self.lock.enter(self.host, thread);
        self.change();
        self.relocated.set(true);
        self.library
            .set(Visibility::ThreadAndItsChildren(held.family()));
        held.lend(init);
        self.change();
        self.initialised.set(true);
        self.library.set(Visibility::Public);
    }
}

fn start(
    world: &Arc<World>,
    thread: &Arc<ThreadProxy>,
    code: fn(&Arc<World>, &Arc<ThreadProxy>),
) -> loom::thread::JoinHandle<()> {
    let (world, thread) = (world.clone(), thread.clone());
    loom::thread::spawn(move || code(&world, &thread))
}

#[test]
fn two_loads_exclude_each_other() {
    explore(3, || {
        let (first, second) = (ThreadProxy::root(), ThreadProxy::root());
        let world = World::new(&first);
        let other = start(&world, &second, |world, thread| world.load(thread));
        world.load(&first);
        other.join().unwrap();
        assert_eq!(world.loads.get(), 2);
    });
}

#[test]
fn init_joins_a_thread_that_loads() {
    explore(2, || {
        let (loader, outsider) = (ThreadProxy::root(), ThreadProxy::root());
        let world = World::new(&loader);
        let other = start(&world, &outsider, |world, thread| {
            world.load_outside(thread);
        });
        world.load_library(&loader, || {
            let child = child_of(&mut lineage(), &loader);
            let child = start(&world, &child, |world, thread| {
                world.must_see(thread);
                world.load(thread);
            });
            child.join().unwrap();
        });
        other.join().unwrap();
        assert_eq!(world.loads.get(), 4);
    });
}

#[test]
fn a_load_outlasts_the_loads_it_lent_the_lock_to() {
    explore(3, || {
        let loader = ThreadProxy::root();
        let world = World::new(&loader);
        let mut borrower = None;
        world.load_library(&loader, || {
            let child = child_of(&mut lineage(), &loader);
            borrower = Some(start(&world, &child, |world, thread| world.load(thread)));
        });
        borrower.unwrap().join().unwrap();
        assert_eq!(world.loads.get(), 3);
    });
}

#[test]
fn threads_from_before_and_from_elsewhere_see_what_is_initialised() {
    explore(3, || {
        let (loader, outsider) = (ThreadProxy::root(), ThreadProxy::root());
        let before = child_of(&mut lineage(), &loader);
        let world = World::new(&loader);
        let look: fn(&Arc<World>, &Arc<ThreadProxy>) = |world, thread| world.may_see(thread);
        let others = [&before, &outsider].map(|thread| start(&world, thread, look));
        world.load_library(&loader, || world.must_see(&loader));
        for other in others {
            other.join().unwrap();
        }
    });
}

#[test]
fn descendants_see_through_threads_that_have_ended() {
    explore(3, || {
        let mut lineage = lineage();
        let loader = ThreadProxy::root();
        let world = World::new(&loader);
        let mut last = None;
        world.load_library(&loader, || {
            let child = child_of(&mut lineage, &loader);
            let grandchild = child_of(&mut lineage, &child);
            lineage.end(&child);
            drop(child);
            last = Some(start(&world, &grandchild, |world, thread| {
                world.must_see(thread);
            }));
            // The grandchild's child starts a thread, and the grandchild's line gets shorter.
            let deep = child_of(&mut lineage, &grandchild);
            child_of(&mut lineage, &deep);
        });
        // The load may be over before the grandchild has looked.
        last.unwrap().join().unwrap();
    });
}

#[test]
fn descendants_see_what_the_end_of_the_founder_makes_public() {
    explore(3, || {
        let mut lineage = lineage();
        let loader = ThreadProxy::root();
        let world = World::new(&loader);
        let held = world.lock.enter(world.host, &loader);
        world.relocated.set(true);
        let family = held.family();
        world.library.set(Visibility::ThreadAndItsChildren(family));
        let child = child_of(&mut lineage, &loader);
        let other = start(&world, &child, |world, thread| world.must_see(thread));
        // As `Loader::thread_ended` does when an INIT function calls `pthread_exit`.
        std::mem::forget(held);
        world.library.open_to_all(family);
        world.lock.leave(world.host, family);
        lineage.end(&loader);
        // The child is not asked to wait: its line gets shorter while it looks.
        child_of(&mut lineage, &child);
        other.join().unwrap();
    });
}

#[test]
fn a_load_left_by_the_end_of_its_thread_keeps_nobody() {
    explore(2, || {
        let (loader, outsider) = (ThreadProxy::root(), ThreadProxy::root());
        let world = World::new(&loader);
        let other = start(&world, &outsider, |world, thread| {
            let _held = world.lock.enter(world.host, thread);
            if world.loads.get() != 0 {
                // After the other's load.
                assert!(world.library.admits(Some(thread)));
            }
            world.change();
        });
        // As `Loader::thread_ended` does when an INIT function calls `pthread_exit`.
        let held = world.lock.enter(world.host, &loader);
        world.change();
        world
            .library
            .set(Visibility::ThreadAndItsChildren(held.family()));
        let family = held.family();
        std::mem::forget(held);
        world.library.open_to_all(family);
        world.lock.leave(world.host, family);
        other.join().unwrap();
    });
}

#[test]
fn a_load_left_by_longjmp_ends_with_the_one_around_it() {
    explore(2, || {
        let (loader, outsider) = (ThreadProxy::root(), ThreadProxy::root());
        let world = World::new(&loader);
        let other = start(&world, &outsider, |world, thread| {
            world.load_outside(thread);
        });
        world.load_library(&loader, || {
            std::mem::forget(world.lock.enter(world.host, &loader));
            world.load(&loader);
        });
        world.load(&loader);
        other.join().unwrap();
        assert_eq!(world.loads.get(), 5);
    });
}
