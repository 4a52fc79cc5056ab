//! `dlopen`, `dlsym`, `dlclose` and their relatives, as functions from Rust values to results.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::debug::{RState, announce};
use crate::elf::version::Version;
use crate::error::Error;
use crate::host::Errno;
use crate::load::Adding;
use crate::loader::Loader;
use crate::lookup::{Definition, Request, Value, find, find_in, may_go};
use crate::object::{Object, ObjectId, Role, Visibility};
use crate::relocate::Bind;
use crate::search::expand;
use crate::thread::ThreadRef;
use crate::tls::{self, TlsIndex};
use crate::world::Group;

const RTLD_LAZY: usize = 1;
const RTLD_NOW: usize = 2;
const RTLD_NOLOAD: usize = 4;
const RTLD_GLOBAL: usize = 0x100;
const RTLD_NODELETE: usize = 0x1000;
/// Pseudo-handles of `dlsym`.
const RTLD_DEFAULT: usize = 0;
const RTLD_NEXT: usize = usize::MAX;

impl Loader {
    /// Returns the calling thread's proxy; a thread the loader does not know gets one of its own.
    pub(crate) fn current_thread(&self) -> Arc<ThreadRef> {
        tls::current(self.host().thread_pointer())
            .map_or_else(ThreadRef::root, |record| record.thread.clone())
    }

    /// Loads an object and whatever it needs, or finds it loaded; returns its handle, 0 for RTLD_NOLOAD's "no".
    pub(crate) fn dlopen(&self, name: &[u8], mode: usize, caller: usize) -> Result<usize, Error> {
        if mode & (RTLD_LAZY | RTLD_NOW) == 0 {
            return Err(Error::Host {
                object: name.to_vec(),
                doing: "invalid mode for dlopen()",
                errno: Errno::EINVAL,
            });
        }
        let thread = self.current_thread();
        let held = self.family().enter(self.host(), &thread);
        let caller = self
            .world()
            .get()
            .and_then(|world| world.at(caller).map(|entry| entry.object.clone()));
        let (root, new) = {
            let mut state = self.state().lock(self.host());
            if name.is_empty() {
                let main = state.with_role(Role::Main).map(|main| main.handle());
                return main.ok_or(Error::Invalid("no program is loaded"));
            }
            let origin = caller.as_ref().or(state.with_role(Role::Main));
            let origin = origin.map_or(&b"."[..], |caller| caller.origin());
            let name = expand(name, origin);
            let first = state.nodes().len();
            let how = Adding {
                thread: &thread,
                initial: false,
                role: None,
            };
            let wanted_by = caller.as_ref().map(|caller| caller.id());
            if mode & RTLD_NOLOAD != 0 {
                let known = state.by_name(&name).or_else(|| {
                    let wanted = state.wanted(wanted_by);
                    let found = state
                        .search
                        .as_mut()?
                        .find(self.host(), &name, &wanted)
                        .ok()?;
                    state.by_file(found.file.id(), &name)
                });
                let Some(root) = known else { return Ok(0) };
                (root, Vec::new())
            } else {
                let (debug, brk) = (state.r_debug, state.r_brk);
                let loaded = self
                    .find_or_add(&mut state, &name, wanted_by, how)
                    .and_then(|root| {
                        if state.nodes().len() != first {
                            announce(self.host(), debug, brk, RState::Add);
                        }
                        self.add_needed(&mut state, first, how)?;
                        Ok(root)
                    });
                match loaded {
                    Ok(root) => {
                        let new = state
                            .nodes()
                            .iter()
                            .skip(first)
                            .map(|node| node.object.clone())
                            .collect();
                        (root, new)
                    }
                    Err(error) => {
                        self.roll_back(&mut state, first);
                        announce(self.host(), debug, brk, RState::Consistent);
                        return Err(error);
                    }
                }
            }
        };
        if let Err(error) = self.link(root, &new, &thread, mode) {
            let mut state = self.state().lock(self.host());
            let first = state.nodes().len() - new.len();
            drop(new);
            self.roll_back(&mut state, first);
            announce(self.host(), state.r_debug, state.r_brk, RState::Consistent);
            return Err(error);
        }
        let (order, handle) = self.open(root, &new, &thread, mode);
        if !new.is_empty() {
            thread.name();
            self.initialise(&held, &order);
            Self::set_visibility(&new, Visibility::Public);
            thread.unname();
        } else {
            self.initialise(&held, &order);
        }
        Ok(handle)
    }

    /// Relocates the new objects of a load.
    fn link(
        &self,
        root: ObjectId,
        new: &[Arc<Object>],
        thread: &Arc<ThreadRef>,
        mode: usize,
    ) -> Result<(), Error> {
        if new.is_empty() {
            return Ok(());
        }
        let deferred = {
            let mut state = self.state().lock(self.host());
            let group: Group = state.closure(&[root]).into();
            let ids: Vec<ObjectId> = new.iter().map(|object| object.id()).collect();
            for &id in &ids {
                if let Some(node) = state.node_mut(id) {
                    node.group = (id == root).then(|| group.clone());
                }
            }
            // Only the new objects for now: those that were there before join the group when the load has succeeded.
            state.add_local_group(root, &group, &ids);
            let bind = if mode & RTLD_NOW != 0 || state.bind_now {
                Bind::Now
            } else {
                Bind::Lazy
            };
            let order: Vec<Arc<Object>> = new.iter().rev().cloned().collect();
            for object in &order {
                Self::unprotect_text(self.host(), object, true)?;
            }
            self.relocate(&mut state, &order, thread, bind)?
        };
        self.check_functions(new)?;
        for word in &deferred {
            // SAFETY: all objects are relocated but for the words on this list.
            unsafe { word.finish(self.host()) };
        }
        for object in new {
            Self::unprotect_text(self.host(), object, false)?;
            object.protect_relro(self.host())?;
        }
        let mut tls = self.tls().lock(self.host());
        // The images of blocks that became static before they were relocated.
        tls.refill(new);
        Ok(())
    }

    /// Enters a load that can no longer fail into the books; returns what is to be initialised, and the handle.
    fn open(
        &self,
        root: ObjectId,
        new: &[Arc<Object>],
        thread: &Arc<ThreadRef>,
        mode: usize,
    ) -> (Vec<Arc<Object>>, usize) {
        let mut state = self.state().lock(self.host());
        let group: Group = state.closure(&[root]).into();
        let everybody: Vec<ObjectId> = group.iter().map(|object| object.id()).collect();
        state.add_local_group(root, &group, &everybody);
        if mode & RTLD_GLOBAL != 0 {
            state.add_global(&group);
        }
        let mut handle = 0;
        if let Some(node) = state.node_mut(root) {
            node.opens += 1;
            node.group.get_or_insert(group);
            handle = node.object.handle();
            if mode & RTLD_NODELETE != 0 {
                node.object.pin();
            }
        }
        Self::set_visibility(new, Visibility::ThreadAndItsChildren(thread.id()));
        let order = state.uninitialised(&state.closure(&[root]));
        state.publish(self.world());
        if !new.is_empty() {
            announce(self.host(), state.r_debug, state.r_brk, RState::Consistent);
        }
        (order, handle)
    }

    /// Undoes one `dlopen`; unloads what nothing keeps any more.
    pub(crate) fn dlclose(&self, handle: usize) -> Result<(), Error> {
        let thread = self.current_thread();
        let held = self.family().enter(self.host(), &thread);
        let (garbage, fini) = {
            let mut state = self.state().lock(self.host());
            let id = state
                .nodes()
                .iter()
                .find(|node| node.object.handle() == handle)
                .map(|node| node.object.id());
            let node = id
                .and_then(|id| state.node_mut(id))
                .filter(|node| node.opens != 0);
            let Some(node) = node else {
                return Err(Error::Invalid("shared object not open"));
            };
            if node.object.role() == Role::Main {
                return Ok(());
            }
            node.opens -= 1;
            let garbage = state.garbage();
            for object in &garbage {
                if let Some(node) = state.node_mut(object.id()) {
                    (node.going, node.finished) = (true, true);
                }
            }
            let mut fini = state.fini_order();
            fini.retain(|object| garbage.iter().any(|gone| gone.id() == object.id()));
            (garbage, fini)
        };
        if garbage.is_empty() {
            self.state().lock(self.host()).reclaim();
            return Ok(());
        }
        for object in &fini {
            held.lend(|| self.run_fini_functions(object));
        }
        let mut state = self.state().lock(self.host());
        announce(self.host(), state.r_debug, state.r_brk, RState::Delete);
        state.remove(&garbage, &mut self.tls().lock(self.host()));
        state.publish(self.world());
        drop((garbage, fini));
        state.reclaim();
        announce(self.host(), state.r_debug, state.r_brk, RState::Consistent);
        Ok(())
    }

    /// Finds a symbol. Takes no lock.
    pub(crate) fn dlsym(
        &self,
        handle: usize,
        name: &[u8],
        version: Option<&[u8]>,
        caller: usize,
    ) -> Result<usize, Error> {
        let world = self
            .world()
            .get()
            .ok_or(Error::Invalid("nothing is loaded"))?;
        let record = tls::current(self.host().thread_pointer());
        let calling = world.at(caller);
        let request = Request {
            version: version.map(Version::exactly),
            newest: version.is_none(),
            referrer: calling.map(|entry| entry.object.id()),
            ..Request::new(name, record.map(|record| &*record.thread))
        };
        let main = world
            .entries
            .first()
            .ok_or(Error::Invalid("nothing is loaded"))?;
        let (found, place) = match handle {
            RTLD_DEFAULT => {
                let from = calling.unwrap_or(main);
                (
                    find(&world, world.scopes(from), &world.unique, &request),
                    from,
                )
            }
            RTLD_NEXT => {
                let from = calling.ok_or(Error::Invalid(
                    "RTLD_NEXT used in code not dynamically loaded",
                ))?;
                let after = |group: &Group| {
                    let at = group
                        .iter()
                        .position(|object| object.id() == from.object.id())?;
                    Some(group.iter().skip(at + 1).cloned().collect::<Group>())
                };
                let rest = world.scopes(from).find_map(after);
                let found = rest.and_then(|rest| {
                    let found = rest.iter().find_map(|object| find_in(object, &request))?;
                    let entry = world.entry(found.object.id())?;
                    Some(Definition {
                        object: &entry.object,
                        index: found.index,
                        symbol: entry.object.symbol(found.index)?,
                    })
                });
                (found, from)
            }
            handle => {
                let from = world
                    .by_handle(handle)
                    .ok_or(Error::Invalid("invalid handle"))?;
                let group = if from.object.role() == Role::Main {
                    Some(&world.global)
                } else {
                    from.group.as_ref()
                };
                (
                    find(&world, group.into_iter(), &world.unique, &request),
                    from,
                )
            }
        };
        let Some(found) = found else {
            return Err(Error::UndefinedSymbol {
                object: place.object.shown().to_vec(),
                symbol: name.to_vec(),
                version: version.map(<[u8]>::to_vec),
            });
        };
        if let Some(calling) = calling
            && calling.object.id() != found.object.id()
            && handle == RTLD_DEFAULT
            && may_go(found.object)
        {
            calling.object.bind_to(found.object);
        }
        if found.is_tls() {
            let index = TlsIndex {
                module: found.object.tls_module(),
                offset: crate::image::address(found.symbol.st_value),
            };
            return Ok(self.tls_address(&index));
        }
        Ok(match found.value(self.host()) {
            Value::Address(address) => address,
            // SAFETY: the definition's object is relocated, or the asking thread could not see it.
            Value::Resolver(resolver) => unsafe { self.host().call(resolver, [0; 4]) },
        })
    }

    /// Returns the address of a thread-local variable in the calling thread.
    pub(crate) fn tls_address(&self, index: &TlsIndex) -> usize {
        let thread_pointer = self.host().thread_pointer();
        // SAFETY: it is the calling thread's.
        let block = unsafe {
            self.tls()
                .lock(self.host())
                .block(thread_pointer, index.module)
        };
        match block {
            Some(block) => block.wrapping_add(index.offset),
            None => self
                .host()
                .fatal("cannot allocate memory for thread-local data: ABORT"),
        }
    }

    /// Runs the FINI functions of everything: the program is about to exit.
    pub(crate) fn fini(&self) {
        let order = self.state().lock(self.host()).fini_order();
        for object in &order {
            {
                let mut state = self.state().lock(self.host());
                match state.node_mut(object.id()) {
                    Some(node) if node.initialised && !node.finished => node.finished = true,
                    _ => continue,
                }
            }
            self.run_fini_functions(object);
        }
    }
}
