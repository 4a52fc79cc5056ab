//! The second half of a load: what has been mapped finds what it refers to.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::arch;
use crate::error::Error;
use crate::group::Group;
use crate::linker::Linker;
use crate::load::Load;
use crate::loader::Loader;
use crate::loading::Loading;
use crate::lookup::UniqueTables;
use crate::mode::Mode;
use crate::namespace::Key;
use crate::object::Object;
use crate::observer::{self, Category, Step, tell};
use crate::relocate::{Bind, Deferred, Relocation};
use crate::state::State;
use crate::text::Text;
use crate::thread::ThreadProxy;

impl Loader {
    /// Relocates the objects of a `dlopen`.
    pub(crate) fn link(&self, loading: &Loading<'_>, load: &Load) -> Result<(), Error> {
        if load.added.is_empty() {
            return Ok(());
        }
        let (deferred, objects) = {
            let mut state = self.state().lock(self.host());
            let objects = loading.keep_objects(load.objects(&state));
            // Only the new objects for now: those that were there before join the groups when the load has succeeded.
            self.linker()
                .add_local_groups(&mut state, load, |key| load.added.contains(&key));
            let bind = if load.mode.contains(Mode::NOW) || state.bind_now {
                Bind::Now
            } else {
                Bind::Lazy
            };
            let order: Vec<Arc<Object>> = objects.iter().rev().cloned().collect();
            self.linker()
                .show_scopes(&mut state, objects.get(..1).unwrap_or(&[]));
            let deferred = self
                .linker()
                .relocate(&mut state, &order, &load.thread, bind)?;
            self.linker().show_scopes(&mut state, objects);
            (deferred, objects)
        };
        for word in loading.keep(deferred) {
            // SAFETY: all objects are relocated but for the words on this list.
            unsafe { word.finish(self.loaded()) };
        }
        self.linker().check_functions(objects)?;
        for object in objects {
            object.protect_relro(self.host())?;
        }
        // The images of blocks that became static before they were relocated.
        self.tls().lock(self.host()).refill(objects);
        Ok(())
    }
}

impl Linker<'_> {
    /// Says what the references of objects search, if LD_DEBUG asks for it.
    pub(crate) fn show_scopes(&self, state: &mut State, objects: &[Arc<Object>]) {
        if !observer::is_on(Category::Scopes) {
            return;
        }
        let world = state.publish(self.world());
        let entries = objects.iter().filter_map(|object| world.entry_of(object));
        for entry in entries {
            tell(self.host(), &Step::Scopes(entry.object.label()));
            for (number, group) in world.scopes(entry).enumerate() {
                tell(self.host(), &Step::Scope(number, &Names(group)));
            }
            tell(self.host(), &Step::EndOfScopes);
        }
    }

    /// Lets the members of each root's closure find each other; `joins` says which members.
    pub(crate) fn add_local_groups(
        &self,
        state: &mut State,
        load: &Load,
        joins: impl Fn(Key) -> bool,
    ) {
        for &root in &load.roots {
            let group: Group = state.closure(&[root]).into();
            let home = state
                .node(root)
                .map_or(root.namespace, |node| node.object.namespace());
            let members = group.iter().map(|object| Key::of(object));
            let members = members.filter(|&key| key.namespace == home && joins(key));
            let members: Vec<_> = members.map(|key| key.id).collect();
            if let Some(space) = state.space_mut(home) {
                space.add_local_group(root, &group, &members);
            }
        }
    }

    /// Relocates objects, in the order given, all but the words that need resolvers.
    pub(crate) fn relocate(
        &self,
        state: &mut State,
        objects: &[Arc<Object>],
        thread: &ThreadProxy,
        bind: Bind,
    ) -> Result<Vec<Deferred>, Error> {
        // What relocations lead to.
        arch::install(self.host());
        let bindings = state.bindings.serve(self.host(), objects);
        let world = state.publish(self.world());
        let mut unique = UniqueTables::default();
        let (mut deferred, mut uses) = (Vec::new(), Vec::new());
        for object in objects {
            let Some(entry) = world.entry_of(object) else {
                continue;
            };
            let mut relocation = Relocation {
                host: self.host(),
                loaded: self.loaded(),
                world: &world,
                bindings,
                thread,
                bind,
                unique: &mut unique,
                tls: self.tls(),
                deferred: &mut deferred,
                uses: &mut uses,
            };
            relocation.run(entry)?;
        }
        for (namespace, table) in unique.changed() {
            if let Some(space) = state.space_mut(namespace) {
                space.set_unique(table);
            }
        }
        state.note_uses(&uses);
        Ok(deferred)
    }

    /// Checks that INIT and FINI functions of relocated objects are code.
    pub(crate) fn check_functions(&self, objects: &[Arc<Object>]) -> Result<(), Error> {
        let snapshot = self.registry().snapshot();
        let is_code = |function: usize| {
            let object = snapshot
                .as_ref()
                .and_then(|snapshot| snapshot.object_at(function));
            object.is_some_and(|object| object.is_executable(function))
        };
        for object in objects {
            let dynamic = object.dynamic();
            let init = object.functions(dynamic.init, dynamic.init_array);
            let fini = object.functions(dynamic.fini, dynamic.fini_array);
            if !init.chain(fini).all(is_code) {
                return Err(Error::Malformed {
                    object: object.shown().to_vec(),
                    what: "INIT or FINI function outside the executable segments",
                });
            }
        }
        Ok(())
    }
}

/// Displays the names of objects, with a space before each.
struct Names<'a>(&'a [Arc<Object>]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|object| write!(f, " {}", Text(object.shown())))
    }
}
