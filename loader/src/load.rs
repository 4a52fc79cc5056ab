//! A load: from a name to mapped and relocated objects, or to nothing at all.

use alloc::borrow::Cow;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::arch;
use crate::audit::{Activity, Source};
use crate::elf::header::{Headers, Problem};
use crate::error::Error;
use crate::host::{Errno, Event, File};
use crate::hunt;
use crate::image::Image;
use crate::link_map::Type;
use crate::linker::Linker;
use crate::mode::Mode;
use crate::namespace::{Arrival, Audited, BASE, Key, NamespaceId, Node};
use crate::object::{Object, Place, Role};
use crate::observer::{Step, tell};
use crate::search::{Found, directory_of};
use crate::state::{Dependency, DependencyKind, State};
use crate::tables::dynamic_section;
use crate::text::In;
use crate::thread::ThreadProxy;

/// A load under way: what it is to do, and what it has added so far.
pub(crate) struct Load {
    /// The thread its objects are visible to.
    pub(crate) thread: Arc<ThreadProxy>,
    pub(crate) mode: Mode,
    /// Whether the objects are part of the program as started.
    pub(crate) initial: bool,
    /// Whether auditors have been told that objects are being added.
    pub(crate) is_told: bool,
    /// The program's interpreter, until something needs it.
    pub(crate) interpreter: Option<Arc<Object>>,
    /// Whether that has been added before anything needs it: it gets its place in the order when something does.
    pub(crate) has_early_interpreter: bool,
    /// Nodes it has added, in the order they came.
    pub(crate) added: Vec<Key>,
    /// Those whose closures form the local scopes: what was asked for, and objects loaded for the sake of a proxy.
    pub(crate) roots: Vec<Key>,
}

impl Load {
    /// Begins a load.
    pub(crate) fn new(thread: Arc<ThreadProxy>, mode: Mode, initial: bool) -> Self {
        Self {
            thread,
            mode,
            initial,
            is_told: false,
            interpreter: None,
            has_early_interpreter: false,
            added: Vec::new(),
            roots: Vec::new(),
        }
    }

    /// Says whether what is looked for now is what `dlopen` was asked for: what that needs comes later.
    fn is_asked_for(&self) -> bool {
        !self.initial && self.added.is_empty()
    }

    /// Says whether what comes next is the program itself.
    pub(crate) fn is_program(&self) -> bool {
        self.initial && self.added.is_empty()
    }

    /// Returns the objects it has added, without proxies.
    pub(crate) fn objects(&self, state: &State) -> Vec<Arc<Object>> {
        let node = |&key: &Key| state.node(key).filter(|node| node.proxy.is_none());
        let nodes = self.added.iter().filter_map(node);
        nodes.map(|node| node.object.clone()).collect()
    }
}

impl Linker<'_> {
    /// Maps a file and adds its object; returns the node in the namespace it was asked for, which may be a proxy's.
    pub(crate) fn add_object(
        &self,
        state: &mut State,
        load: &mut Load,
        file: &dyn File,
        path: &[u8],
        (namespace, arrival): (NamespaceId, Arrival<'_>),
    ) -> Result<Key, Error> {
        let is_main = load.is_program();
        let object = self.map_object(state, load, file, path, (namespace, arrival.name))?;
        if !is_main {
            let step = Step::Mapped {
                file: In(arrival.name, object.namespace()),
                dynamic: object.dynamic_address(),
                bias: object.bias(),
                size: object.span().len(),
                entry: object.entry(),
                headers: (object.headers_address(), object.segments().len()),
            };
            tell(self.host(), &step);
        }
        self.add_mapped(state, load, &object, (namespace, arrival))
    }

    /// Maps a file that is asked for by a name in a namespace.
    pub(crate) fn map_object(
        &self,
        state: &mut State,
        load: &Load,
        file: &dyn File,
        path: &[u8],
        (namespace, asked_for): (NamespaceId, &[u8]),
    ) -> Result<Arc<Object>, Error> {
        let headers = Headers::read(file).map_err(|problem| problem.about(path, asked_for))?;
        let is_main = load.is_program();
        // SAFETY: `program_name` gives a C string that stays.
        let program = unsafe { crate::stack::c_bytes(self.loaded().program_name()) };
        // From here on ld.so says what was asked for, not what was found.
        let name = if is_main { program } else { asked_for };
        let malformed = |what| Error::Malformed {
            object: name.to_vec(),
            what,
        };
        if headers.fixed && !is_main {
            return Err(executable(name, false));
        }
        dynamic_section(&headers.segments).map_err(malformed)?;
        if headers.isa_needed & !arch::isa_levels() != 0 {
            let object = if is_main { program } else { path }.to_vec();
            return Err(Error::IsaLevel { object });
        }
        let image = Image::map(self.host(), name, file, headers)?;
        let mut origin = directory_of(path).to_vec();
        if !origin.starts_with(b"/") {
            origin = [&self.host().current_directory(), &b"/"[..], &origin].concat();
        }
        let vdso = state.with_role(Role::Vdso).cloned();
        let place = Place {
            namespace,
            isolated: load.mode.contains(Mode::ISOLATE),
            kind: if is_main {
                Type::Executable
            } else if load.initial {
                Type::Library
            } else {
                Type::Loaded
            },
            path,
            shown: if is_main { program } else { path },
            origin,
            vdso: vdso.as_deref(),
        };
        let object = Object::new(state.new_id(), place, file.id(), image, &load.thread)?;
        if let Some(layout) = state.layout.filter(|_| !load.initial) {
            object.fill_details(layout);
        }
        if object.dynamic().program && !is_main {
            return Err(executable(name, true));
        }
        if object.dynamic().noopen && !load.initial {
            return Err(malformed("shared object cannot be dlopen()ed"));
        }
        self.provide_stacks(state, load, object.segments(), name)?;
        self.host().trace(&Event::Mapped {
            object: path,
            base: object.bias(),
        });
        Ok(object)
    }

    /// Adds an object that has been mapped.
    pub(crate) fn add_mapped(
        &self,
        state: &mut State,
        load: &mut Load,
        object: &Arc<Object>,
        (namespace, mut arrival): (NamespaceId, Arrival<'_>),
    ) -> Result<Key, Error> {
        self.tls().lock(self.host()).add_module(object);
        arrival.deep &= object.namespace() == namespace;
        let node = Node::new(object.clone(), &arrival);
        let added = state.add(object.namespace(), node).ok_or(GONE)?;
        load.added.push(added);
        self.registry()
            .add_object(self.host(), object.id(), object.span(), object.clone());
        self.tell_of_object(state, load, object);
        if object.namespace() == namespace {
            return Ok(added);
        }
        load.roots.push(added);
        self.add_proxy(state, load, namespace, object, arrival.name)
    }

    /// Tells auditors of an object that has just been added, and of the first one that objects are being added.
    fn tell_of_object(&self, state: &State, load: &mut Load, object: &Object) {
        let audited = state.space(object.namespace()).map(|space| space.audited);
        let audited = audited.unwrap_or(Audited::Not);
        if !self.loaded().auditors().are_there() || audited == Audited::Not {
            return;
        }
        let notices = self.loaded().locked_notices();
        let is_first = !core::mem::replace(&mut load.is_told, true);
        if is_first && audited == Audited::Wholly {
            state.tell_activity(notices, object.namespace(), Activity::Add);
        }
        notices.objopen(object);
    }

    /// Gives a namespace the proxy of an object of the base namespace.
    pub(crate) fn add_proxy(
        &self,
        state: &mut State,
        load: &mut Load,
        namespace: NamespaceId,
        object: &Arc<Object>,
        name: &[u8],
    ) -> Result<Key, Error> {
        let node = Node::proxy(state.new_id(), object, namespace, name);
        let added = state.add(namespace, node).ok_or(GONE)?;
        load.added.push(added);
        Ok(added)
    }

    /// Finds or maps what a name stands for in a namespace. `shared`: RTLD_SHARED is asked for.
    pub(crate) fn find_or_add(
        &self,
        state: &mut State,
        load: &mut Load,
        namespace: NamespaceId,
        name: &[u8],
        wanted_by: Option<Key>,
        shared: bool,
    ) -> Result<Key, Error> {
        let shared = shared && namespace != BASE;
        let own = |node: &Node| {
            let is_main = node.object.role() == Role::Main && node.proxy.is_none();
            if is_main && node.object.soname() != Some(name) {
                // The program's file: no library, even though it is there already.
                return Err(executable(name, node.object.dynamic().program));
            }
            if shared && node.proxy.is_none() {
                return Err(Error::AlreadyLoaded(node.object.shown().to_vec()));
            }
            Ok(Key {
                namespace,
                id: node.id(),
            })
        };
        let proxied = |node: &Node, mode: Mode| {
            let by_itself = node.object.is_shared_by_all() && !mode.contains(Mode::ISOLATE);
            let proxied =
                namespace != BASE && (shared || by_itself || node.object.role() == Role::Rtld);
            proxied.then(|| node.object.clone())
        };
        let asked_for = name;
        let space = state.space_mut(namespace).ok_or(GONE)?;
        // In a session a path means the file that is there now, whatever was there before.
        let by_path_only = space.is_session() && name.contains(&b'/');
        if !by_path_only {
            if let Some(node) = space.by_name(name) {
                let found = own(node)?;
                return Ok(self.place_interpreter(state, load, found));
            }
            let known = state.base().by_name(name);
            if let Some(object) = known.and_then(|node| proxied(node, load.mode)) {
                let space = state.space_mut(namespace).ok_or(GONE)?;
                if let Some(node) = space.by_file(object.file_id(), name) {
                    return own(node);
                }
                return self.add_proxy(state, load, namespace, &object, name);
            }
        }
        let arrival = Arrival {
            name,
            loaded_by: wanted_by,
            initial: load.initial,
            deep: load.mode.contains(Mode::DEEPBIND) || state.is_session(namespace),
        };
        if let Some(rtld) = load.take_interpreter(state, namespace, name, None) {
            return self.add_mapped(state, load, &rtld, (namespace, arrival));
        }
        if let Some(node) = wanted_by.and_then(|key| state.node(key)) {
            let step = Step::Needed {
                file: In(name, namespace),
                by: node.object.label(),
                dynamically: load.is_asked_for(),
            };
            tell(self.host(), &step);
        }
        let renamed = self.renamed(state, name, wanted_by)?;
        let name = &*renamed;
        let Found { path, file } = self.search(state, (name, namespace), wanted_by)?;
        let space = state.space_mut(namespace).ok_or(GONE)?;
        if let Some(node) = space.by_file(file.id(), asked_for) {
            return own(node);
        }
        let known = state.base().by_file(file.id(), name);
        if let Some(object) = known.and_then(|node| proxied(node, load.mode)) {
            return self.add_proxy(state, load, namespace, &object, name);
        }
        if let Some(rtld) = load.take_interpreter(state, namespace, name, Some(file.id())) {
            return self.add_mapped(state, load, &rtld, (namespace, arrival));
        }
        if !shared {
            return self.add_object(state, load, &*file, &path, (namespace, arrival));
        }
        let added = self.add_object(state, load, &*file, &path, (BASE, arrival))?;
        load.roots.push(added);
        let object = state.node(added).map(|node| node.object.clone());
        self.add_proxy(state, load, namespace, &object.ok_or(GONE)?, name)
    }

    /// Returns what to look for instead of a name that an object has asked for: an auditor may say another, or none.
    fn renamed<'n>(
        &self,
        state: &State,
        name: &'n [u8],
        wanted_by: Option<Key>,
    ) -> Result<Cow<'n, [u8]>, Error> {
        let by = wanted_by.and_then(|key| state.audited(key));
        let ear = by.and_then(|by| self.loaded().locked_notices().ear(by));
        hunt::renamed(ear, name, Source::Original)
            .ok_or_else(|| hunt::cannot_open(name, Errno::ENOENT))
    }

    /// Looks for a file.
    pub(crate) fn search(
        &self,
        state: &mut State,
        name: (&[u8], NamespaceId),
        wanted_by: Option<Key>,
    ) -> Result<Found, Error> {
        let wanted = state.wanted(wanted_by);
        let main = state.with_role(Role::Main).map(|main| Key::of(main));
        let by = wanted_by.or(main).and_then(|key| state.audited(key));
        let by = by.filter(|_| self.loaded().auditors().are_there()).cloned();
        let ear = by.as_deref();
        let ear = ear.and_then(|by| self.loaded().locked_notices().ear(by));
        let search = state.search.get_or_insert_default();
        search.find(self.host(), name, &wanted, ear)
    }

    /// Finds what a name stands for, if it is loaded.
    pub(crate) fn known(
        &self,
        state: &mut State,
        namespace: NamespaceId,
        name: &[u8],
        wanted_by: Option<Key>,
    ) -> Option<Key> {
        let id = match state.space(namespace)?.by_name(name) {
            Some(node) => node.id(),
            None => {
                let name = &*self.renamed(state, name, wanted_by).ok()?;
                let found = self.search(state, (name, namespace), wanted_by).ok()?;
                let space = state.space_mut(namespace)?;
                space.by_file(found.file.id(), name)?.id()
            }
        };
        Some(Key { namespace, id })
    }

    /// Maps whatever the added objects need or are filters for, breadth first.
    pub(crate) fn add_needed(&self, state: &mut State, load: &mut Load) -> Result<(), Error> {
        let mut at = 0;
        while let Some(&key) = load.added.get(at) {
            at += 1;
            for Dependency { name, kind } in state.dependencies(key) {
                let found = self.find_or_add(state, load, key.namespace, &name, Some(key), false);
                let id = match found {
                    Ok(found) => found.id,
                    Err(_) if kind == DependencyKind::Auxiliary => continue,
                    Err(error) => return Err(error),
                };
                if let Some(node) = state.node_mut(key) {
                    node.needed.push(id);
                    if kind != DependencyKind::Needed {
                        node.filtees.push(id);
                    }
                }
            }
        }
        self.check_versions(state, load)
    }

    /// Takes back everything that was added, as if the load had not been tried. `namespace` is where it was to go.
    pub(crate) fn roll_back(&self, state: &mut State, added: &[Key], namespace: NamespaceId) {
        self.forget(state, added);
        state.drop_if_empty(namespace);
        state.publish(self.world());
        state.reclaim();
    }

    /// Takes nodes off all records, but for the world: it is to be published next.
    pub(crate) fn forget(&self, state: &mut State, gone: &[Key]) {
        let nodes = gone.iter().filter_map(|&key| state.node(key));
        for node in nodes.filter(|node| node.proxy.is_none()) {
            let object = &node.object;
            self.registry()
                .remove_object(self.host(), object.id(), object.span().start);
        }
        state.remove(gone, &mut self.tls().lock(self.host()));
    }
}

/// Makes the error for a program that is asked for as a library.
fn executable(path: &[u8], position_independent: bool) -> Error {
    Error::Malformed {
        object: path.to_vec(),
        what: if position_independent {
            "cannot dynamically load position-independent executable"
        } else {
            "cannot dynamically load executable"
        },
    }
}

/// A namespace that was there is not: its last object has been closed.
pub(crate) const GONE: Error = Error::Invalid("invalid target namespace in dlmopen()");

impl Problem {
    /// Makes the error about a file that was found for a name.
    pub(crate) fn about(self, path: &[u8], name: &[u8]) -> Error {
        match self {
            Self::Read(errno) => Error::Host {
                object: path.to_vec(),
                doing: "cannot read file data",
                errno,
            },
            Self::OtherMachine => Error::CannotOpen {
                name: name.to_vec(),
                errno: Errno::ENOENT,
            },
            Self::Malformed(what) => Error::Malformed {
                object: path.to_vec(),
                what,
            },
            Self::Unloadable(what) => Error::Malformed {
                object: name.to_vec(),
                what,
            },
        }
    }
}
