//! `dlopen`, `dlclose`, `dlsym` and their relatives, as functions from Rust values to results.

mod close;
mod info;
mod open;
mod symbol;

use alloc::sync::Arc;

use crate::loader::Loader;
use crate::namespace::{BASE, NamespaceId};
use crate::thread::ThreadRef;
use crate::tls;
use crate::world::Entry;

pub(crate) use open::Opening;

impl Loader {
    /// Returns the calling thread's proxy; a thread the loader does not know gets one of its own.
    pub(crate) fn current_thread(&self) -> Arc<ThreadRef> {
        tls::current(self.host().thread_pointer())
            .map_or_else(ThreadRef::root, |record| record.thread.clone())
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
}
