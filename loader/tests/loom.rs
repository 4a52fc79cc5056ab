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

#[path = "../src/family.rs"]
mod family;
#[path = "../src/publish.rs"]
mod publish;
#[path = "../src/sync.rs"]
mod sync;
#[path = "../src/thread.rs"]
mod thread;
#[path = "../src/visibility.rs"]
mod visibility;

/// loom's atomic types. The loader's are made in `const` contexts, which loom's cannot be: they are made when they are
/// first used, which must be before there is a second thread.
mod primitive {
    use std::ops::Deref;
    use std::sync::OnceLock;

    pub(crate) use loom::sync::Arc;
    pub(crate) use loom::sync::atomic::{Ordering, fence};

    macro_rules! atomic {
        ($($name:ident $(<$parameter:ident>)?: $value:ty,)*) => { $(
            pub(crate) struct $name $(<$parameter>)? {
                initial: $value,
                made: OnceLock<loom::sync::atomic::$name $(<$parameter>)?>,
            }

            impl $(<$parameter>)? $name $(<$parameter>)? {
                pub(crate) const fn new(initial: $value) -> Self {
                    Self { initial, made: OnceLock::new() }
                }
            }

            impl $(<$parameter>)? Deref for $name $(<$parameter>)? {
                type Target = loom::sync::atomic::$name $(<$parameter>)?;

                fn deref(&self) -> &Self::Target {
                    self.made.get_or_init(|| Self::Target::new(self.initial))
                }
            }
        )* };
    }

    atomic! {
        AtomicBool: bool,
        AtomicU32: u32,
        AtomicU64: u64,
        AtomicUsize: usize,
        AtomicPtr<T>: *mut T,
    }

    // SAFETY: an atomic pointer may be shared whatever it points to; `initial` is only copied.
    unsafe impl<T> Sync for AtomicPtr<T> {}
    // SAFETY: as above.
    unsafe impl<T> Send for AtomicPtr<T> {}

    macro_rules! once_per_process {
        ($(#[$meta:meta])* static $name:ident: $type:ty = $value:expr;) => {
            loom::lazy_static! {
                $(#[$meta])*
                static ref $name: $type = $value;
            }
        };
    }
    pub(crate) use once_per_process;

    /// loom wants the same choices every time.
    pub(crate) fn thread_hint() -> usize {
        0
    }
}

/// There are no signals here.
mod signals {
    pub(crate) fn wait(
        host: &dyn super::host::Host,
        word: &super::primitive::AtomicU32,
        value: u32,
    ) {
        host.wait_with_handlers(word, value);
    }
}

/// The part of the loader's host that locks use: a futex.
mod host {
    use crate::primitive::{AtomicU32, Ordering};

    pub(crate) trait Host: Sync {
        fn wait(&self, word: &AtomicU32, value: u32);
        fn wait_with_handlers(&self, word: &AtomicU32, value: u32) {
            self.wait(word, value);
        }
        fn wake(&self, word: &AtomicU32);
    }

    /// A kernel with one queue.
    pub(crate) struct Futex {
        queue: loom::sync::Mutex<()>,
        woken: loom::sync::Condvar,
    }

    impl Futex {
        pub(crate) fn leak() -> &'static Self {
            Box::leak(Box::new(Self {
                queue: loom::sync::Mutex::new(()),
                woken: loom::sync::Condvar::new(),
            }))
        }
    }

    impl Host for Futex {
        fn wait(&self, word: &AtomicU32, value: u32) {
            let queue = self.queue.lock().unwrap();
            if word.load(Ordering::Acquire) == value {
                drop(self.woken.wait(queue).unwrap());
            }
        }

        fn wake(&self, _word: &AtomicU32) {
            let _queue = self.queue.lock().unwrap();
            self.woken.notify_all();
        }
    }
}

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

mod publication {
    use super::*;
    use crate::publish::{Published, Readers, Retired};
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::cell::RefCell;

    /// A value whose memory is used until it is freed, by the thread that made it.
    #[repr(align(256))]
    struct Value(Shared<u32>, loom::thread::ThreadId);

    /// Gives values the memory that was freed last, so that each run of a model meets old addresses at the same places.
    struct Reuse;

    #[global_allocator]
    static ALLOCATOR: Reuse = Reuse;

    thread_local! {
        static FREE: RefCell<Vec<*mut u8>> = const { RefCell::new(Vec::new()) };
    }

    // SAFETY: the system's allocator, but that blocks for values are kept to be given out again; they have one layout.
    unsafe impl GlobalAlloc for Reuse {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            let kept = if layout.align() == align_of::<Value>() {
                FREE.with_borrow_mut(Vec::pop)
            } else {
                None
            };
            // SAFETY: forwarded to the caller.
            kept.unwrap_or_else(|| unsafe { System.alloc(layout) })
        }

        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            if layout.align() == align_of::<Value>() {
                FREE.with_borrow_mut(|free| free.push(block));
            } else {
                // SAFETY: forwarded to the caller.
                unsafe { System.dealloc(block, layout) };
            }
        }
    }

    impl Drop for Value {
        fn drop(&mut self) {
            self.0.set(0);
            assert_eq!(loom::thread::current().id(), self.1);
        }
    }

    struct Place {
        place: Published<Value>,
        readers: &'static Readers,
    }

    fn value(number: u32) -> Option<Arc<Value>> {
        let writer = loom::thread::current().id();
        Some(Arc::new(Value(Shared::new(number), writer)))
    }

    impl Place {
        fn new(retired: &mut Retired<Value>) -> Arc<Self> {
            let readers = Box::leak(Box::new(Readers::new()));
            let place = Published::empty(readers);
            let place = Self { place, readers };
            place.write(1, retired);
            place.write(2, retired);
            Arc::new(place)
        }

        fn read(&self) {
            let reading = self.place.read().expect("there always is a value");
            assert_ne!(reading.0.get(), 0);
        }

        fn keep(&self) {
            let kept = self.place.get().expect("there always is a value");
            assert_ne!(kept.0.get(), 0);
        }

        fn write(&self, number: u32, retired: &mut Retired<Value>) {
            self.place.set(value(number), retired);
            retired.reclaim(self.readers);
        }
    }

    /// Readers (there is one slot: a second one stands in the crowd) and a writer, with so many preemptions.
    fn race(preemptions: usize, readers: &'static [fn(&Place)], writes: u32) {
        explore(preemptions, move || {
            let mut retired = Retired::new();
            let place = Place::new(&mut retired);
            let start = |read: &'static fn(&Place)| {
                let place = place.clone();
                loom::thread::spawn(move || read(&place))
            };
            let threads: Vec<_> = readers.iter().map(start).collect();
            for number in 3..3 + writes {
                place.write(number, &mut retired);
            }
            for thread in threads {
                thread.join().unwrap();
            }
            // No value is forgotten. That the last one goes, too, is seen by loom.
            retired.reclaim(place.readers);
            assert_eq!(retired.len(), 0);
            assert!(!place.readers.are_waited_for());
        });
    }

    #[test]
    fn a_reading() {
        race(6, &[Place::read], 2);
    }

    #[test]
    fn a_reference() {
        race(6, &[Place::keep], 2);
    }

    #[test]
    fn two_readings() {
        race(3, &[Place::read, Place::read], 1);
    }

    #[test]
    fn a_reading_and_a_reference() {
        race(3, &[Place::read, Place::keep], 1);
    }

    #[test]
    fn two_references() {
        race(3, &[Place::keep, Place::keep], 1);
    }

    #[test]
    fn a_slot_goes_from_reader_to_reader() {
        race(4, &[|place| (place.read(), place.read()).1], 2);
    }

    #[test]
    fn a_handler_reads_while_its_thread_reads() {
        let nested: &[fn(&Place)] = &[|place| {
            let outer = place.place.read().expect("there always is a value");
            place.read();
            assert_ne!(outer.0.get(), 0);
        }];
        race(4, nested, 2);
    }
}

mod descent {
    use super::*;
    use crate::sync::Mutex;
    use crate::thread::Family;

    /// Threads that start others, and end, while a thread that descends from them looks at its ancestors.
    struct Threads {
        host: &'static Futex,
        lineage: Mutex<Lineage>,
        founder: Arc<ThreadProxy>,
        family: Family,
        /// A child of the founder's, from before the family if it is an outsider; and that one's child, which looks.
        child: Arc<ThreadProxy>,
        looking: Arc<ThreadProxy>,
    }

    impl Threads {
        fn new(outsiders: bool) -> Arc<Self> {
            let mut lineage = lineage();
            let founder = ThreadProxy::root();
            let mut family = founder.begin_family();
            let child = child_of(&mut lineage, &founder);
            if outsiders {
                family = founder.begin_family();
            }
            let looking = child_of(&mut lineage, &child);
            let host = Futex::leak();
            let lineage = Mutex::new(lineage);
            drop(lineage.lock(host));
            Arc::new(Self {
                host,
                lineage,
                founder,
                family,
                child,
                looking,
            })
        }

        fn end(&self, thread: &Arc<ThreadProxy>) {
            self.lineage.lock(self.host).end(thread);
        }

        fn start_from(&self, thread: &Arc<ThreadProxy>) -> Arc<ThreadProxy> {
            child_of(&mut self.lineage.lock(self.host), thread)
        }
    }

    /// Looks, by so many threads, while `others` go on.
    fn race(outsiders: bool, lookers: usize, others: fn(&Threads)) {
        explore(5 - lookers, move || {
            let threads = Threads::new(outsiders);
            let look = |_| {
                let threads = threads.clone();
                loom::thread::spawn(move || {
                    assert_ne!(threads.looking.belongs_to(threads.family), outsiders);
                })
            };
            let looking: Vec<_> = (0..lookers).map(look).collect();
            others(&threads);
            for looking in looking {
                looking.join().unwrap();
            }
            assert_ne!(threads.looking.belongs_to(threads.family), outsiders);
        });
    }

    /// The line gets shorter by the child, and what has been taken out is freed if nobody looks at it.
    fn shorten(threads: &Threads) {
        threads.end(&threads.child);
        threads.start_from(&threads.looking);
    }

    #[test]
    fn a_line_is_shortened_while_it_is_followed() {
        race(false, 1, shorten);
    }

    #[test]
    fn an_outsider_stays_one_when_its_line_is_shortened() {
        race(true, 1, shorten);
    }

    #[test]
    fn two_follow_a_line_that_is_shortened() {
        race(false, 2, shorten);
    }

    #[test]
    fn what_is_taken_out_is_freed_after_who_looks() {
        explore(4, || {
            let mut lineage = lineage();
            let founder = ThreadProxy::root();
            let family = founder.begin_family();
            let mut line = vec![child_of(&mut lineage, &founder)];
            for at in 0..2 {
                line.push(child_of(&mut lineage, &line[at]));
            }
            let looking = line.pop().unwrap();
            let other = {
                let looking = looking.clone();
                loom::thread::spawn(move || assert!(looking.belongs_to(family)))
            };
            for thread in line {
                lineage.end(&thread);
            }
            child_of(&mut lineage, &looking);
            other.join().unwrap();
            lineage.end(&looking);
            assert_eq!(lineage.waiting(), 1);
        });
    }

    #[test]
    fn threads_start_and_end_at_once() {
        race(false, 1, |threads| {
            let child = threads.start_from(&threads.founder);
            threads.end(&child);
            threads.end(&threads.child);
            threads.start_from(&threads.looking);
        });
    }
}

mod locks {
    use super::*;
    use crate::sync::Mutex;

    #[test]
    fn a_mutex_admits_one_and_wakes_who_waits() {
        explore(3, || {
            let host = Futex::leak();
            let lock = Arc::new(Mutex::new(Shared::new(0)));
            lock.lock(host).set(0);
            let work = move |lock: &Mutex<Shared<i32>>| {
                let guard = lock.lock(host);
                guard.set(guard.get() + 1);
            };
            let threads = [0; 2].map(|_| {
                let lock = lock.clone();
                loom::thread::spawn(move || work(&lock))
            });
            work(&lock);
            for thread in threads {
                thread.join().unwrap();
            }
            assert_eq!(lock.lock(host).get(), 3);
        });
    }
}

mod loads {
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
}
