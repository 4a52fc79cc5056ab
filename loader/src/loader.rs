//! The loader as its host sees it: one value, usually a `static`, with the start of a program and the gates.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::callbacks::CallbackLock;
use crate::family::FamilyLock;
use crate::host::Host;
use crate::object::Object;
use crate::publish::Published;
use crate::registry::Registry;
use crate::stack::InitArguments;
use crate::state::State;
use crate::sync::Mutex;
use crate::thread::Ancestor;
use crate::tls::{Ended, Tls};
use crate::visibility::Visibility;
use crate::world::{READERS, World};

/// A dynamic linker for one address space.
///
/// Three kinds of state, by who may touch them: what loads know, changed only by the holder of the family lock; the
/// published world and the registry of addresses, which anybody reads at any time without a lock; and the threads' TLS,
/// under a leaf lock.
pub struct Loader {
    host: &'static dyn Host,
    family: FamilyLock,
    callbacks: CallbackLock,
    state: Mutex<State>,
    world: Published<World>,
    registry: Registry<Arc<Object>>,
    tls: Mutex<Tls>,
    argc: AtomicUsize,
    argv: AtomicUsize,
    envp: AtomicUsize,
    /// libc's own `__cxa_thread_atexit_impl`.
    thread_atexit: AtomicUsize,
    /// Whether the program's allocator has been called.
    has_allocated: AtomicBool,
}

/// A program that has been mapped and relocated, and is ready to be initialised and entered.
///
/// Its objects are visible to the loading thread only until [`Loader::run_init`] has begun.
#[derive(Debug)]
pub struct Program {
    /// The address at which the program is entered.
    pub entry: usize,
    /// The stack pointer to enter it with: the address of `argc`.
    pub stack: usize,
    /// What `%rdx` holds at entry: the function to be run at exit.
    pub fini: usize,
    /// The main thread's thread pointer.
    pub thread_pointer: usize,
    pub(crate) rseq_offset: usize,
    pub(crate) fields: crate::glibc::Fields,
}

/// A loaded object, for tools.
#[derive(Debug, Clone)]
pub struct LoadedObject {
    /// The object's path.
    pub path: Vec<u8>,
    /// Its load bias.
    pub base: usize,
    /// The first address it occupies.
    pub start: usize,
    /// The address behind the last one it occupies.
    pub end: usize,
    /// Who finds its definitions by name.
    pub visibility: Visibility,
}

impl Loader {
    /// Makes a loader that works on `host`. Nothing is allocated yet, so it can be a `static`.
    pub const fn new(host: &'static dyn Host) -> Self {
        Self {
            host,
            family: FamilyLock::new(),
            callbacks: CallbackLock::new(),
            state: Mutex::new(State::new()),
            world: Published::empty(&READERS),
            registry: Registry::new(),
            tls: Mutex::new(Tls::new()),
            argc: AtomicUsize::new(0),
            argv: AtomicUsize::new(0),
            envp: AtomicUsize::new(0),
            thread_atexit: AtomicUsize::new(0),
            has_allocated: AtomicBool::new(false),
        }
    }

    /// Takes notice that the thread with this thread pointer has ended. Optional: without it the loader learns of the
    /// end when its stack is reused or freed.
    pub fn thread_ended(&self, thread_pointer: usize) {
        let thread = self.tls.lock(self.host).end_thread(thread_pointer);
        if let Some(thread) = thread {
            self.forget_thread(thread);
        }
    }

    /// Takes back what a thread that has ended had: its registered code, and what it was in the middle of.
    pub(crate) fn forget_thread(&self, thread: Ended) {
        self.registry.remove_thread(self.host, thread.thread.id());
        if !thread.holds.is_empty() {
            for hold in thread.holds {
                self.release(hold);
            }
            self.finish_left_close();
            self.reclaim();
        }
        // Last: its descendants may ask for its families until they have ended.
        self.tls.lock(self.host).forget(&thread.thread);
    }

    /// Returns who started the thread with this thread pointer, who started that one, and so on, as far as it is known:
    /// for crash reports and tools. The program's main thread was started by nobody, and a thread that the loader does
    /// not know has no ancestors.
    pub fn ancestors(&self, thread_pointer: usize) -> Vec<Ancestor> {
        self.tls.lock(self.host).ancestors(thread_pointer)
    }

    /// Returns how many threads have TLS (running, or ended with their stack kept for reuse).
    pub fn thread_count(&self) -> usize {
        self.tls.lock(self.host).thread_count()
    }

    /// Lists the objects now loaded: the program's namespace first, each in load order.
    pub fn objects(&self) -> Vec<LoadedObject> {
        let Some(world) = self.world.get() else {
            return Vec::new();
        };
        let objects = world.objects().map(|object| LoadedObject {
            path: object.path().to_vec(),
            base: object.bias(),
            start: object.span().start,
            end: object.span().end,
            visibility: object.visibility(),
        });
        objects.collect()
    }

    pub(crate) fn host(&self) -> &'static dyn Host {
        self.host
    }

    pub(crate) fn family(&self) -> &FamilyLock {
        &self.family
    }

    pub(crate) fn callbacks(&self) -> &CallbackLock {
        &self.callbacks
    }

    pub(crate) fn state(&self) -> &Mutex<State> {
        &self.state
    }

    pub(crate) fn world(&self) -> &Published<World> {
        &self.world
    }

    pub(crate) fn registry(&self) -> &Registry<Arc<Object>> {
        &self.registry
    }

    pub(crate) fn tls(&self) -> &Mutex<Tls> {
        &self.tls
    }

    pub(crate) fn init_arguments(&self) -> InitArguments {
        InitArguments {
            argc: self.argc.load(Ordering::Relaxed),
            argv: self.argv.load(Ordering::Relaxed),
            envp: self.envp.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn set_init_arguments(&self, arguments: InitArguments) {
        self.argc.store(arguments.argc, Ordering::Relaxed);
        self.argv.store(arguments.argv, Ordering::Relaxed);
        self.envp.store(arguments.envp, Ordering::Relaxed);
    }

    /// Returns where libc's own `__cxa_thread_atexit_impl` is.
    pub(crate) fn thread_atexit(&self) -> &AtomicUsize {
        &self.thread_atexit
    }

    /// Says whether the program's allocator has been called: see [`crate::first_thread`].
    pub(crate) fn has_allocated(&self) -> &AtomicBool {
        &self.has_allocated
    }
}
