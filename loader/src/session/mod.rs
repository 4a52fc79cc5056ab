//! Sessions: namespaces for interactive systems, plug-in hosts and JITs.
//!
//! A session has objects and a search order of its own, in which the newest definition shadows older ones, and shares
//! with the base namespace what it names when it is opened (the C library always). Threads can be bound to a session:
//! plain `dlopen` and `dlsym` called by code of the base namespace on them, and on threads they start, act in it.

mod c;

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::dl::Opening;
use crate::elf::hash::Name;
use crate::error::Error;
use crate::init::InitOn;
use crate::load::Load;
use crate::loader::Loader;
use crate::lookup::{Request, UniqueTables, find, is_strong};
use crate::mode::Mode;
use crate::namespace::{BASE, Key, NamespaceId, Order};
use crate::object::{Object, Role};
use crate::tls;

/// There is no such session, or it has been closed.
const NO_SESSION: Error = Error::Invalid("no such session");

/// A symbol that two objects of a session define.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duplicate {
    /// Its name.
    pub symbol: Vec<u8>,
    /// The path of the object whose definition counts.
    pub newer: Vec<u8>,
    /// The path of the one it shadows.
    pub older: Vec<u8>,
}

/// A session, closed when dropped.
pub struct Session<'l> {
    loader: &'l Loader,
    id: NamespaceId,
}

impl Session<'_> {
    /// Loads an object, as `dlopen` does it; returns its handle. In a session a path names the file that is there now:
    /// one that has been replaced since it was loaded is loaded again.
    ///
    /// # Errors
    ///
    /// As [`Loader::open`]; nothing has changed then.
    pub fn load(&self, name: &[u8], mode: Mode, init: InitOn) -> Result<usize, Error> {
        self.loader.session_load(self.id, name, mode.bits(), init)
    }

    /// Finds a symbol, the newest definition first, then what the session shares; returns its address.
    ///
    /// # Errors
    ///
    /// [`Error::UndefinedSymbol`].
    pub fn symbol(&self, name: &[u8]) -> Result<usize, Error> {
        self.loader.session_symbol(self.id, name)
    }

    /// Returns the symbols that several of the session's objects define, in the order of their names. Weak definitions
    /// do not count: they are meant to be there more than once.
    ///
    /// ```
    /// # use loader::{InitOn, Mode};
    /// # use loader_process::{LOADER, compile};
    /// # use std::os::unix::ffi::OsStrExt;
    /// let session = LOADER.session(&[])?;
    /// for source in ["int x = 1, y = 1;", "int x = 2;"] {
    ///     let path = compile("module", source)?;
    ///     session.load(path.as_os_str().as_bytes(), Mode::NOW, InitOn::Caller)?;
    /// }
    /// // SAFETY: variables of objects that are loaded.
    /// let value = |address: usize| unsafe { *(address as *const i32) };
    /// assert_eq!(session.symbol(b"x").map(value)?, 2);
    /// assert_eq!(session.symbol(b"y").map(value)?, 1);
    /// let symbols: Vec<_> = session.duplicates().into_iter().map(|found| found.symbol).collect();
    /// assert_eq!(symbols, [b"x"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn duplicates(&self) -> Vec<Duplicate> {
        let mut duplicates = Vec::new();
        let listed = self.loader.each_duplicate(self.id, |symbol, newer, older| {
            duplicates.push(Duplicate {
                symbol: symbol.to_vec(),
                newer: newer.path().to_vec(),
                older: older.path().to_vec(),
            });
            true
        });
        debug_assert!(listed.is_ok(), "the session is open");
        duplicates
    }

    /// Binds the calling thread, which must be one of the program's, to the session; see the module's description.
    ///
    /// # Errors
    ///
    /// The loader does not know the thread.
    pub fn bind_thread(&self) -> Result<(), Error> {
        self.loader.bind_thread(self.id).map(drop)
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        // It was open until now.
        let _ = self.loader.close_session(self.id);
    }
}

impl Loader {
    /// Opens a session that shares objects with the base namespace, by their names; the empty name stands for
    /// everything in the base namespace's global scope: the program, and what it was started with.
    ///
    /// # Errors
    ///
    /// As [`Loader::open`], for an object that is to be shared and is not there yet.
    pub fn session(&self, shared: &[&[u8]]) -> Result<Session<'_>, Error> {
        let id = self.open_session(shared.iter().copied())?;
        Ok(Session { loader: self, id })
    }

    /// Frees the calling thread of the session it is bound to, if it is.
    pub fn unbind_thread(&self) {
        // A thread that the loader does not know is bound to none.
        let _ = self.bind_thread(BASE);
    }

    /// Opens a session, without the value that closes it.
    pub(crate) fn open_session<'n>(
        &self,
        shared: impl Iterator<Item = &'n [u8]>,
    ) -> Result<NamespaceId, Error> {
        let id = {
            let _loading = self.begin(self.threads().current_thread());
            let mut state = self.state().lock(self.host());
            let id = state.new_namespace(Order::NewestFirst);
            state.publish(self.world());
            id
        };
        for name in shared {
            let result = if name.is_empty() {
                self.share_program(id)
            } else {
                let mode = (Mode::LAZY | Mode::SHARED).bits();
                let opening = Opening::new(name, mode, 0).in_namespace(id.lmid());
                self.open_object(&opening).map(drop)
            };
            if let Err(error) = result {
                self.close_session(id)?;
                return Err(error);
            }
        }
        self.share_libc(id)?;
        Ok(id)
    }

    /// Lets a session find the C library's symbols, last of all. It has no proxy of it yet: what it loads first may ask
    /// for a C library of its own.
    fn share_libc(&self, id: NamespaceId) -> Result<(), Error> {
        let _loading = self.begin(self.threads().current_thread());
        let mut state = self.state().lock(self.host());
        let libc = state.with_role(Role::Libc).map(|libc| Key::of(libc));
        let group = libc.map_or_else(Vec::new, |libc| state.closure(&[libc]));
        let space = state.space_mut(id).ok_or(NO_SESSION)?;
        space.add_to_session(&group);
        state.publish(self.world());
        Ok(())
    }

    /// Gives a session proxies of what is global in the base namespace.
    fn share_program(&self, id: NamespaceId) -> Result<(), Error> {
        let loading = self.begin(self.threads().current_thread());
        let mut state = self.state().lock(self.host());
        let mut load = Load::new(loading.thread().clone(), Mode::LAZY, false);
        let global: Vec<Arc<Object>> = state.base().global().to_vec();
        for object in &global {
            let space = state.space_mut(id).ok_or(NO_SESSION)?;
            if space.by_file(object.file_id(), object.path()).is_none() {
                let key =
                    self.linker()
                        .add_proxy(&mut state, &mut load, id, object, object.path())?;
                if let Some(node) = state.node_mut(key) {
                    node.set_opens(1);
                }
                object.pin();
            }
        }
        state
            .space_mut(id)
            .ok_or(NO_SESSION)?
            .add_to_session(&global);
        state.publish(self.world());
        Ok(())
    }

    /// Loads an object into a session.
    pub(crate) fn session_load(
        &self,
        id: NamespaceId,
        name: &[u8],
        mode: usize,
        init: InitOn,
    ) -> Result<usize, Error> {
        self.check_session(id)?;
        let opening = Opening::new(name, mode, 0).in_namespace(id.lmid());
        self.open_object(&Opening { init, ..opening })
    }

    /// Finds a symbol in a session.
    pub(crate) fn session_symbol(&self, id: NamespaceId, name: &[u8]) -> Result<usize, Error> {
        self.check_session(id)?;
        let world = self.world().read().ok_or(NO_SESSION)?;
        let space = world.space(id).ok_or(NO_SESSION)?;
        let record = tls::current(self.host().thread_pointer());
        let request = Request {
            newest: true,
            ..Request::new(
                self.host(),
                Name::new(name),
                record.map(|record| &*record.thread),
            )
        };
        let groups = core::iter::once(&space.global);
        let found = find(&world, groups, &UniqueTables::PUBLISHED, &request);
        let undefined = || Error::UndefinedSymbol {
            object: alloc::format!("session {}", id.lmid()).into_bytes(),
            symbol: name.to_vec(),
            version: None,
        };
        let value = self.value_of(&found.ok_or_else(undefined)?)?;
        drop(world);
        Ok(self.address_of(value))
    }

    /// Visits the strong definitions that are there more than once in a session, in the order of their names, with the
    /// object whose definition counts and the one whose it shadows, until `visit` says false.
    pub(crate) fn each_duplicate(
        &self,
        id: NamespaceId,
        mut visit: impl FnMut(&[u8], &Object, &Object) -> bool,
    ) -> Result<(), Error> {
        self.check_session(id)?;
        let visited = self.with_world(None, |world| {
            let space = world.space(id)?;
            let own = space.global.iter();
            each_duplicate(own.filter(|object| object.namespace() == id), &mut visit);
            Some(())
        });
        visited.flatten().ok_or(NO_SESSION)
    }

    /// Closes a session: its objects' FINI functions run, and what nothing else keeps goes. Objects that may not go
    /// (RTLD_NODELETE, thread-local destructors that are still to run) stay mapped until they may, out of sight.
    pub(crate) fn close_session(&self, id: NamespaceId) -> Result<(), Error> {
        let loading = self.begin(self.threads().current_thread());
        {
            let mut state = self.state().lock(self.host());
            let space = state.space_mut(id).filter(|space| space.is_session());
            let space = space.ok_or(NO_SESSION)?;
            if let Some(function) = self.loaded().interrupted_call() {
                return Err(Error::Interrupted {
                    object: b"session".to_vec(),
                    kind: "FINI",
                    function,
                });
            }
            if core::mem::replace(&mut space.ended, true) {
                return Err(NO_SESSION);
            }
            space.close_all();
        }
        self.collect(&loading, id);
        let mut state = self.state().lock(self.host());
        state.drop_if_empty(id);
        state.publish(self.world());
        state.reclaim();
        Ok(())
    }

    /// Binds the calling thread to a session, or to none (the base namespace). Threads it starts from now on inherit
    /// that. Returns what it was bound to.
    ///
    /// # Errors
    ///
    /// There is no such session, or the thread is not one of the program's.
    pub(crate) fn bind_thread(&self, id: NamespaceId) -> Result<NamespaceId, Error> {
        if id != BASE {
            self.check_session(id)?;
        }
        let record = tls::current(self.host().thread_pointer()).ok_or(NO_SESSION)?;
        Ok(record.bind(id))
    }

    /// Says whether a session is open. Takes the lock of what loads know only.
    fn check_session(&self, id: NamespaceId) -> Result<(), Error> {
        let state = self.state().lock(self.host());
        let space = state.space(id);
        let open = space.is_some_and(|space| space.is_session() && !space.ended);
        open.then_some(()).ok_or(NO_SESSION)
    }
}

/// Visits the strong definitions that several objects have, as [`Loader::each_duplicate`] does.
fn each_duplicate<'o>(
    own: impl Iterator<Item = &'o Arc<Object>>,
    mut visit: impl FnMut(&[u8], &Object, &Object) -> bool,
) {
    let mut by_name: BTreeMap<&[u8], Vec<&Object>> = BTreeMap::new();
    for object in own {
        for symbol in object.symbols().iter().filter(|symbol| is_strong(symbol)) {
            if let Some(name) = object.symbol_name(symbol) {
                let known: &mut Vec<&Object> = by_name.entry(name).or_default();
                // Versions of one name in one object are no duplicates.
                if known.last().is_none_or(|last| last.id() != object.id()) {
                    known.push(object);
                }
            }
        }
    }
    for (name, objects) in by_name {
        let Some((newest, older)) = objects.split_first() else {
            continue;
        };
        if !older.iter().all(|older| visit(name, newest, older)) {
            break;
        }
    }
}
