//! What is loaded, as anybody may read it at any time: by lazy binding, look-ups of names and addresses, backtraces and
//! crash reports, in signal handlers as elsewhere. Nothing here takes a lock.
//!
//! Loads publish it ([`crate::state`]). What is asked of it is in [`crate::address`], [`crate::lazy`],
//! [`crate::registry`] and [`crate::interrupted`].

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::auditors::Auditors;
use crate::host::Host;
use crate::linker_object::LinkerObject;
use crate::object::Object;
use crate::publish::Published;
use crate::registry::Registry;
use crate::stack::InitArguments;
use crate::visibility::Visibility;
use crate::world::{READERS, World};

/// The published world, the registry of addresses, and the program's arguments.
pub(crate) struct Loaded {
    host: &'static dyn Host,
    world: Published<World>,
    registry: Registry<Arc<Object>>,
    auditors: Auditors,
    argc: AtomicUsize,
    argv: AtomicUsize,
    envp: AtomicUsize,
    /// What describes the host's own code, made when a program starts.
    linker_object: spin::Once<Box<LinkerObject>>,
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

impl Loaded {
    /// Nothing is loaded yet.
    pub(crate) const fn new(host: &'static dyn Host) -> Self {
        Self {
            host,
            world: Published::empty(&READERS),
            registry: Registry::new(),
            auditors: Auditors::new(),
            argc: AtomicUsize::new(0),
            argv: AtomicUsize::new(0),
            envp: AtomicUsize::new(0),
            linker_object: spin::Once::new(),
        }
    }

    /// Lists the objects now loaded: the program's namespace first, each in load order.
    pub(crate) fn objects(&self) -> Vec<LoadedObject> {
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

    pub(crate) fn world(&self) -> &Published<World> {
        &self.world
    }

    pub(crate) fn registry(&self) -> &Registry<Arc<Object>> {
        &self.registry
    }

    pub(crate) fn auditors(&self) -> &Auditors {
        &self.auditors
    }

    pub(crate) fn linker_object(&self) -> &spin::Once<Box<LinkerObject>> {
        &self.linker_object
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
}
