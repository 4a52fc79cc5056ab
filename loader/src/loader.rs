//! The loader as its host sees it: one value, usually a `static`, with the start of a program and the gates.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::AtomicBool;

use crate::callbacks::CallbackLock;
use crate::family::FamilyLock;
use crate::host::Host;
use crate::linker::Linker;
use crate::loaded::Loaded;
pub use crate::loaded::LoadedObject;
use crate::object::Object;
use crate::publish::Published;
use crate::registry::{Registry, Symbolised};
use crate::state::State;
use crate::sync::Mutex;
use crate::thread::Ancestor;
use crate::threads::Threads;
use crate::tls::{Ended, Tls};
use crate::world::World;

/// A dynamic linker for one address space.
///
/// Its parts are separate by who may touch them. What has a method of the loader itself concerns more than one: loads,
/// from the start of the program to its end.
pub struct Loader {
    host: &'static dyn Host,
    /// Who may load.
    family: FamilyLock,
    /// Whose turn it is to be called back.
    callbacks: CallbackLock,
    /// What loads know: for the holder of the family lock, mostly by a [`Linker`].
    state: Mutex<State>,
    /// What anybody reads, at any time, without a lock.
    loaded: Loaded,
    /// The program's threads: their TLS, under a leaf lock.
    threads: Threads,
    /// Whether the program's allocator has been called.
    has_allocated: AtomicBool,
}

impl Loader {
    /// Makes a loader that works on `host`. Nothing is allocated yet, so it can be a `static`.
    pub const fn new(host: &'static dyn Host) -> Self {
        Self {
            host,
            family: FamilyLock::new(),
            callbacks: CallbackLock::new(),
            state: Mutex::new(State::new()),
            loaded: Loaded::new(host),
            threads: Threads::new(host),
            has_allocated: AtomicBool::new(false),
        }
    }

    /// Takes notice that the thread with this thread pointer has ended. Optional: without it the loader learns of the
    /// end when its stack is reused or freed.
    pub fn thread_ended(&self, thread_pointer: usize) {
        let thread = self.tls().lock(self.host).end_thread(thread_pointer);
        if let Some(thread) = thread {
            self.forget_thread(thread);
        }
    }

    /// Takes back what a thread that has ended had: its registered code, and what it was in the middle of.
    pub(crate) fn forget_thread(&self, thread: Ended) {
        self.registry().remove_thread(self.host, thread.thread.id());
        if !thread.holds.is_empty() {
            for hold in thread.holds {
                self.release(hold);
            }
            self.finish_left_close();
            self.reclaim();
        }
        // Last: its descendants may ask for its families until they have ended.
        self.tls().lock(self.host).forget(&thread.thread);
    }

    /// Returns who started the thread with this thread pointer, who started that one, and so on, as far as it is known:
    /// for crash reports and tools. The program's main thread was started by nobody, and a thread that the loader does
    /// not know has no ancestors.
    pub fn ancestors(&self, thread_pointer: usize) -> Vec<Ancestor> {
        self.threads.ancestors(thread_pointer)
    }

    /// Returns how many threads have TLS (running, or ended with their stack kept for reuse).
    pub fn thread_count(&self) -> usize {
        self.tls().lock(self.host).thread_count()
    }

    /// Lists the objects now loaded: the program's namespace first, each in load order.
    pub fn objects(&self) -> Vec<LoadedObject> {
        self.loaded.objects()
    }

    /// Says where an address belongs. Takes no lock, so a crash handler may call it.
    pub fn symbolise(&self, at: usize) -> Option<Symbolised> {
        self.loaded.symbolise(at)
    }

    /// Returns the address of the `.eh_frame_hdr` section, or of one the loader has made, by which to unwind from an
    /// address. Takes no lock.
    pub fn unwind_header(&self, at: usize) -> Option<usize> {
        self.loaded.unwind_header(at)
    }

    /// Takes notice that the program gives up memory: code that was registered there is no more.
    pub fn unmapped(&self, start: usize, len: usize) {
        let range = start..start.saturating_add(len);
        self.registry().unmapped(self.host, range);
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

    pub(crate) fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    pub(crate) fn world(&self) -> &Published<World> {
        self.loaded.world()
    }

    pub(crate) fn registry(&self) -> &Registry<Arc<Object>> {
        self.loaded.registry()
    }

    pub(crate) fn threads(&self) -> &Threads {
        &self.threads
    }

    pub(crate) fn tls(&self) -> &Mutex<Tls> {
        self.threads.tls()
    }

    pub(crate) fn linker(&self) -> Linker<'_> {
        Linker::new(&self.loaded, &self.threads)
    }

    /// Says whether the program's allocator has been called: see [`crate::first_thread`].
    pub(crate) fn has_allocated(&self) -> &AtomicBool {
        &self.has_allocated
    }
}
