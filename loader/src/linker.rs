//! What a load does with objects: maps, adds, relocates and forgets them.
//!
//! What loads know is handed to each function ([`State`](crate::state::State)), so that only who has locked it can call
//! them. They are where their subjects are: [`crate::load`], [`crate::preload`], [`crate::interpreter`],
//! [`crate::execstack`], [`crate::versions`].

use alloc::sync::Arc;

use crate::host::Host;
use crate::loaded::Loaded;
use crate::object::Object;
use crate::publish::Published;
use crate::registry::Registry;
use crate::sync::Mutex;
use crate::threads::Threads;
use crate::tls::Tls;
use crate::world::World;

/// Where the objects of loads become known.
#[derive(Clone, Copy)]
pub(crate) struct Linker<'a> {
    loaded: &'a Loaded,
    threads: &'a Threads,
}

impl<'a> Linker<'a> {
    /// Links objects for these.
    pub(crate) fn new(loaded: &'a Loaded, threads: &'a Threads) -> Self {
        Self { loaded, threads }
    }

    pub(crate) fn host(self) -> &'static dyn Host {
        self.loaded.host()
    }

    pub(crate) fn loaded(self) -> &'a Loaded {
        self.loaded
    }

    pub(crate) fn world(self) -> &'a Published<World> {
        self.loaded.world()
    }

    pub(crate) fn registry(self) -> &'a Registry<Arc<Object>> {
        self.loaded.registry()
    }

    pub(crate) fn tls(self) -> &'a Mutex<Tls> {
        self.threads.tls()
    }
}
