//! A load: from a name to mapped, relocated and initialised objects, or to nothing at all.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::elf::header::{Headers, Problem};
use crate::error::Error;
use crate::family::Held;
use crate::host::{Errno, Event, File, Host};
use crate::image::{Image, address};
use crate::loader::Loader;
use crate::object::{Names, Object, ObjectId, Role, Visibility};
use crate::relocate::{Bind, Deferred, Relocation};
use crate::search::directory_of;
use crate::state::State;
use crate::thread::ThreadRef;

/// The arguments INIT functions get.
#[derive(Clone, Copy, Default)]
pub(crate) struct InitArguments {
    pub(crate) argc: usize,
    pub(crate) argv: usize,
    pub(crate) envp: usize,
}

impl Loader {
    /// Maps a file, adds its object, and returns the id.
    pub(crate) fn add_object(
        &self,
        state: &mut State,
        file: &dyn File,
        path: &[u8],
        name: &[u8],
        loaded_by: Option<ObjectId>,
        how: Adding<'_>,
    ) -> Result<ObjectId, Error> {
        let headers = Headers::read(file).map_err(|problem| problem.about(path))?;
        let is_main = how.role == Some(Role::Main);
        if headers.fixed && !is_main {
            let what = "cannot dynamically load executable";
            return Err(Error::Malformed {
                object: path.to_vec(),
                what,
            });
        }
        let image = Image::map(self.host(), path, file, headers)?;
        let id = state.new_id();
        // SAFETY: `program_name` gives a C string that stays.
        let program = unsafe { crate::stack::c_bytes(self.program_name()) };
        let shown = if is_main { program } else { path };
        let mut origin = directory_of(path).to_vec();
        if !origin.starts_with(b"/") {
            origin = [&self.host().current_directory(), &b"/"[..], &origin].concat();
        }
        let names = Names {
            path,
            shown,
            origin,
        };
        let thread = how.thread;
        let object = Object::new(id, names, file.id(), is_main, image, thread)?;
        if object.dynamic().program && !is_main {
            return Err(Error::Malformed {
                object: path.to_vec(),
                what: "cannot dynamically load position-independent executable",
            });
        }
        self.host().trace(&Event::Mapped {
            object: path,
            base: object.bias(),
        });
        self.tls().lock(self.host()).add_module(&object);
        state.add(object, name, loaded_by, how.initial);
        Ok(id)
    }

    /// Finds or maps what a name stands for.
    pub(crate) fn find_or_add(
        &self,
        state: &mut State,
        name: &[u8],
        wanted_by: Option<ObjectId>,
        how: Adding<'_>,
    ) -> Result<ObjectId, Error> {
        if let Some(id) = state.by_name(name) {
            return Ok(id);
        }
        let wanted = state.wanted(wanted_by);
        let Some(search) = &mut state.search else {
            return Err(Error::Invalid("nothing is loaded yet"));
        };
        let found = search.find(self.host(), name, &wanted)?;
        if let Some(id) = state.by_file(found.file.id(), name) {
            return Ok(id);
        }
        self.add_object(state, &*found.file, &found.path, name, wanted_by, how)
    }

    /// Maps whatever the objects from index `first` on need, breadth first.
    pub(crate) fn add_needed(
        &self,
        state: &mut State,
        first: usize,
        how: Adding<'_>,
    ) -> Result<(), Error> {
        let mut at = first;
        while let Some(id) = state.nodes().get(at).map(|node| node.object.id()) {
            at += 1;
            for name in state.needed_names(id) {
                let needed = self.find_or_add(state, &name, Some(id), how)?;
                if let Some(node) = state.node_mut(id) {
                    node.needed.push(needed);
                }
            }
        }
        for index in first..state.nodes().len() {
            if let Some(id) = state.nodes().get(index).map(|node| node.object.id()) {
                state.check_versions(id)?;
            }
        }
        Ok(())
    }

    /// Takes back every object from index `first` on, as if the load had not been tried.
    pub(crate) fn roll_back(&self, state: &mut State, first: usize) {
        let new: Vec<Arc<Object>> = state
            .nodes()
            .iter()
            .skip(first)
            .map(|node| node.object.clone())
            .collect();
        state.remove(&new, &mut self.tls().lock(self.host()));
        state.publish(self.world());
        drop(new);
        state.reclaim();
    }

    /// Relocates objects, in the order given, all but the words that need resolvers. The objects must be published.
    pub(crate) fn relocate(
        &self,
        state: &mut State,
        objects: &[Arc<Object>],
        thread: &ThreadRef,
        bind: Bind,
    ) -> Result<Vec<Deferred>, Error> {
        let world = state.publish(self.world());
        let mut unique = state.unique();
        let (mut deferred, mut uses) = (Vec::new(), Vec::new());
        for object in objects {
            let Some(entry) = world.entry(object.id()) else {
                continue;
            };
            let mut relocation = Relocation {
                host: self.host(),
                world: &world,
                thread,
                bind,
                unique: &mut unique,
                tls: self.tls(),
                deferred: &mut deferred,
                uses: &mut uses,
            };
            relocation.run(entry)?;
        }
        state.set_unique(unique);
        state.note_uses(&uses);
        Ok(deferred)
    }

    /// Runs the INIT functions of objects in order, with the load lock lent to whoever they start.
    pub(crate) fn initialise(&self, held: &Held<'_>, objects: &[Arc<Object>]) {
        for object in objects {
            {
                let mut state = self.state().lock(self.host());
                let Some(node) = state.node_mut(object.id()) else {
                    continue;
                };
                if node.initialised {
                    continue;
                }
                node.initialised = true;
            }
            // The program's own INIT functions are run by libc's start-up code.
            if object.role() != Role::Main {
                held.lend(|| self.run_init_functions(object));
            }
        }
    }

    fn run_init_functions(&self, object: &Object) {
        let InitArguments { argc, argv, envp } = self.init_arguments();
        let dynamic = object.dynamic();
        for function in object.functions(dynamic.init, dynamic.init_array) {
            self.host().trace(&Event::Init {
                object: object.path(),
                function,
            });
            // SAFETY: DT_INIT and DT_INIT_ARRAY hold functions, relocated by now, that take these arguments.
            unsafe { self.host().call(function, [argc, argv, envp, 0]) };
        }
    }

    /// Runs the FINI functions of one object.
    pub(crate) fn run_fini_functions(&self, object: &Object) {
        let dynamic = object.dynamic();
        for function in object.functions(dynamic.fini, dynamic.fini_array).rev() {
            // SAFETY: DT_FINI and DT_FINI_ARRAY hold functions without arguments.
            unsafe { self.host().call(function, [0; 4]) };
        }
    }

    /// Checks that INIT and FINI functions of relocated objects are code.
    pub(crate) fn check_functions(&self, objects: &[Arc<Object>]) -> Result<(), Error> {
        let world = self.world().get();
        let is_code = |function: usize| {
            let entry = world.as_ref().and_then(|world| world.at(function));
            entry.is_some_and(|entry| entry.object.is_executable(function))
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

    /// Makes objects visible as a step of a load has it.
    pub(crate) fn set_visibility(objects: &[Arc<Object>], visibility: Visibility) {
        for object in objects {
            object.set_visibility(visibility);
        }
    }

    /// Relocates the text of objects that ask for it: makes their segments writable, and executable again later.
    pub(crate) fn unprotect_text(
        host: &dyn Host,
        object: &Object,
        writable: bool,
    ) -> Result<(), Error> {
        use goblin::elf::program_header as pt;
        if !object.dynamic().text_relocations {
            return Ok(());
        }
        for segment in object
            .segments()
            .iter()
            .filter(|segment| segment.p_type == pt::PT_LOAD && segment.p_flags & pt::PF_W == 0)
        {
            let start = crate::image::page_floor(object.real(address(segment.p_vaddr)));
            let end = crate::image::page_ceil(
                object.real(address(segment.p_vaddr) + address(segment.p_memsz)),
            );
            let access = if writable {
                crate::host::Access::ReadWrite
            } else {
                crate::image::access(segment.p_flags)
            };
            // SAFETY: the pages are the object's own, and nobody runs its code yet.
            unsafe { host.protect(start, end - start, access) }.map_err(|errno| Error::Host {
                object: object.shown().to_vec(),
                doing: "cannot change memory protections",
                errno,
            })?;
        }
        Ok(())
    }
}

/// How objects are added in one load.
#[derive(Clone, Copy)]
pub(crate) struct Adding<'a> {
    /// The thread they are visible to.
    pub(crate) thread: &'a Arc<ThreadRef>,
    /// Whether they are part of the program as started.
    pub(crate) initial: bool,
    /// Set for the program itself.
    pub(crate) role: Option<Role>,
}

impl Problem {
    /// Makes the error about a file.
    pub(crate) fn about(self, path: &[u8]) -> Error {
        match self {
            Self::Read(errno) => Error::Host {
                object: path.to_vec(),
                doing: "cannot read file data",
                errno,
            },
            Self::OtherMachine => Error::CannotOpen {
                name: path.to_vec(),
                errno: Errno::ENOENT,
            },
            Self::Malformed(what) => Error::Malformed {
                object: path.to_vec(),
                what,
            },
        }
    }
}
