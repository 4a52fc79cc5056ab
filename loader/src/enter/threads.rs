//! What libc asks for when threads start and end.

use alloc::boxed::Box;

use crate::c::{Callback, ControlBlock};
use crate::hold::{Destructor, Hold};
use crate::host::Gate;
use crate::loader::Loader;
use crate::tls;

/// A destructor of a thread-local object, on its way through libc's list.
pub(super) struct ThreadExit {
    destructor: Callback<()>,
    object: Option<Destructor>,
}

impl Loader {
    /// `_dl_allocate_tls(mem)` and `_dl_allocate_tls_init(mem, …)`: a thread is about to be started, on a new stack or
    /// on one that a thread which has ended left behind. The caller is its parent.
    pub(super) fn allocate_tls(&self, block: Option<ControlBlock>) -> usize {
        let Some(thread_pointer) = block.map(|block| block.address()) else {
            return 0;
        };
        let parent = tls::current(self.host().thread_pointer());
        self.deallocate_tls(thread_pointer);
        let mut tls = self.tls().lock(self.host());
        let thread = tls.new_thread(parent, self.host().thread_id());
        // SAFETY: a `ControlBlock` has the static TLS area below it, and is not used yet.
        unsafe { tls.add_thread(thread_pointer, thread, self.threads().bound_to()) };
        thread_pointer
    }

    /// `_dl_deallocate_tls(tcb, …)`: a thread has ended, or could not be started.
    pub(super) fn deallocate_tls(&self, thread_pointer: usize) -> usize {
        let gone = self.tls().lock(self.host()).remove_thread(thread_pointer);
        if let Some(thread) = gone {
            self.forget_thread(thread);
        }
        0
    }

    /// `__cxa_thread_atexit_impl`: wraps a destructor so that its object, which `dso` lies in, is known, and stays
    /// loaded until it has run.
    pub(super) fn thread_atexit_register(&self, destructor: Callback<()>, dso: usize) -> usize {
        let snapshot = self.registry().snapshot();
        let object = snapshot.and_then(|snapshot| snapshot.object_at(dso).map(Destructor::of));
        let record = Box::into_raw(Box::new(ThreadExit { destructor, object }));
        let trampoline = self.host().gate(Gate::ThreadAtexitRun);
        // SAFETY: this gate takes the record.
        unsafe {
            self.threads()
                .call_at_thread_exit(trampoline, record.expose_provenance())
        }
    }

    /// Runs a destructor that has been registered.
    pub(super) fn thread_atexit_run(&self, exit: ThreadExit) -> usize {
        let ThreadExit { destructor, object } = exit;
        let _holding = object.map(|object| self.hold(Hold::Destructor(object)));
        destructor.run(self.host());
        0
    }
}
