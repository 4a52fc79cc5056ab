//! A loader in a copy of its address space: fork(2). All that it has lies where it lay, and is right there, but of the
//! threads only one goes on. The others have ended, as far as the copy knows: [`Loader::thread_ended`] sees to what
//! they had in hand.

use alloc::vec::Vec;

use crate::loader::Loader;

impl Loader {
    /// Runs `copy`, which copies the address space, between loads, and while nothing of what threads have is being
    /// changed. The calling thread is in no call of the loader's.
    pub fn while_unchanged<R>(&self, copy: impl FnOnce() -> R) -> R {
        let host = self.host();
        let state = || self.state().lock(host);
        self.family().between_loads(host, state, || {
            let _registry = self.registry().lock(host);
            let _turns = self.callbacks().lock(host);
            let _tls = self.tls().lock(host);
            copy()
        })
    }

    /// Begins to work in a copy that has been made by [`while_unchanged`](Self::while_unchanged), on the thread that
    /// goes on in it. Nobody else runs there.
    pub fn begin_in_copy(&self) {
        self.state().free_in_copy();
        self.registry().free_in_copy();
        self.callbacks().free_in_copy();
        self.family().free_in_copy();
        self.tls().free_in_copy();
        let own = self.host().thread_pointer();
        let ended: Vec<_> = {
            let tls = self.tls().lock(self.host());
            tls.thread_pointers()
                .filter(|&other| other != own)
                .collect()
        };
        for thread_pointer in ended {
            self.thread_ended(thread_pointer);
        }
    }
}
