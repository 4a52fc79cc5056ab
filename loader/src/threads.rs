//! The program's threads: their thread-local storage, which is under a leaf lock, and what each of them reads of its
//! own record without one.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::host::Host;
use crate::namespace::{BASE, NamespaceId};
use crate::signals;
use crate::sync::Mutex;
use crate::thread::{Ancestor, ThreadProxy};
use crate::tls::{self, Tls, TlsIndex};
use crate::world::Entry;

/// All threads that have a control block of libc's.
pub(crate) struct Threads {
    host: &'static dyn Host,
    tls: Mutex<Tls>,
    /// libc's own `__cxa_thread_atexit_impl`.
    thread_atexit: AtomicUsize,
}

impl Threads {
    /// There are none yet.
    pub(crate) const fn new(host: &'static dyn Host) -> Self {
        Self {
            host,
            tls: Mutex::new(Tls::new()),
            thread_atexit: AtomicUsize::new(0),
        }
    }

    pub(crate) fn host(&self) -> &'static dyn Host {
        self.host
    }

    pub(crate) fn tls(&self) -> &Mutex<Tls> {
        &self.tls
    }

    /// Returns the calling thread's proxy; a thread the loader does not know gets one of its own.
    pub(crate) fn current_thread(&self) -> Arc<ThreadProxy> {
        tls::current(self.host().thread_pointer())
            .map_or_else(ThreadProxy::root, |record| record.thread.clone())
    }

    /// Returns the namespace that plain `dlopen` and `dlsym` act in: that of the code which calls, or, if that is the
    /// base namespace, the one of the session the calling thread is bound to.
    pub(crate) fn acting_namespace(&self, caller: Option<&Entry>) -> NamespaceId {
        let own = caller.map_or(BASE, |entry| entry.object.namespace());
        if own == BASE { self.bound_to() } else { own }
    }

    /// Returns the namespace the calling thread is bound to; the base namespace if none.
    pub(crate) fn bound_to(&self) -> NamespaceId {
        tls::current(self.host().thread_pointer()).map_or(BASE, |record| record.namespace())
    }

    /// Returns the address of a thread-local variable in the calling thread.
    pub(crate) fn tls_address(&self, index: &TlsIndex) -> usize {
        let thread_pointer = self.host().thread_pointer();
        let block = signals::undisturbed(self.host(), || {
            let mut tls = self.tls().lock(self.host());
            // SAFETY: it is the calling thread's.
            unsafe { tls.block(thread_pointer, index.module) }
        });
        match block {
            Some(block) => block.wrapping_add(index.offset),
            None => self
                .host()
                .fatal("cannot allocate memory for thread-local data: ABORT"),
        }
    }

    /// Returns who started the thread with this thread pointer, who started that one, and so on.
    pub(crate) fn ancestors(&self, thread_pointer: usize) -> Vec<Ancestor> {
        self.tls.lock(self.host).ancestors(thread_pointer)
    }

    /// Returns where libc's own `__cxa_thread_atexit_impl` is.
    pub(crate) fn thread_atexit(&self) -> &AtomicUsize {
        &self.thread_atexit
    }

    /// Has a gate called with an argument when the calling thread ends.
    ///
    /// # Safety
    ///
    /// The gate must take this argument.
    pub(crate) unsafe fn call_at_thread_exit(&self, gate: usize, argument: usize) -> usize {
        let real = self.thread_atexit.load(Ordering::Relaxed);
        // libc looks for the object of its third argument unless it is the one it saw last, which at first is 0. It
        // finds none and counts the destructor for the program, which is never unloaded.
        // SAFETY: libc's own function, which calls the gate with the argument that the caller says it takes.
        unsafe { signals::call(self.host(), real, [gate, argument, gate, 0]) }
    }
}
