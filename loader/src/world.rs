//! What is loaded, as look-ups see it: an immutable snapshot.
//!
//! A load builds the next world and publishes it; lazy binding, `dlsym`, the unwinder's look-ups and the crash handler
//! read whichever is current, without a lock and without allocating. Namespaces that did not change are shared with
//! the world before.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::group::Group;
use crate::namespace::{Audited, BASE, NamespaceId};
use crate::object::{Object, ObjectId};
use crate::proxy::Proxy;
use crate::publish::Readers;

/// Readers of the published world.
pub(crate) static READERS: Readers = Readers::new();

/// The one definition of each STB_GNU_UNIQUE symbol in a namespace: object (which stays) and symbol index.
pub(crate) type UniqueTable = BTreeMap<Vec<u8>, (ObjectId, usize)>;

/// An object, or its proxy, with the scopes its references are resolved in.
pub(crate) struct Entry {
    /// The object's id; a proxy has one of its own.
    pub(crate) id: ObjectId,
    /// The object itself, for a proxy too.
    pub(crate) object: Arc<Object>,
    pub(crate) proxy: Option<Arc<Proxy>>,
    /// Searched beside the global scope: the groups of the `dlopen`s that brought the object in or use it.
    pub(crate) locals: Vec<Group>,
    /// The object and what it needs, breadth first: what `dlsym` with its handle searches.
    pub(crate) group: Option<Group>,
    /// `locals` come before the global scope.
    pub(crate) deep: bool,
}

impl Entry {
    /// Returns the handle.
    pub(crate) fn handle(&self) -> usize {
        match &self.proxy {
            Some(proxy) => proxy.link_map().address(),
            None => self.object.handle(),
        }
    }

    /// Returns the namespace the object, or the proxy, is in.
    pub(crate) fn namespace(&self) -> NamespaceId {
        match &self.proxy {
            Some(proxy) => proxy.namespace(),
            None => self.object.namespace(),
        }
    }
}

/// A namespace.
pub(crate) struct Space {
    pub(crate) id: NamespaceId,
    /// In load order.
    pub(crate) entries: Vec<Arc<Entry>>,
    /// Handles, ascending, with indices into `entries`.
    by_handle: Vec<(usize, usize)>,
    /// The global scope.
    pub(crate) global: Group,
    pub(crate) unique: Arc<UniqueTable>,
    pub(crate) audited: Audited,
}

impl Space {
    /// Makes a namespace of entries in load order.
    pub(crate) fn new(
        id: NamespaceId,
        entries: Vec<Arc<Entry>>,
        global: Group,
        unique: Arc<UniqueTable>,
        audited: Audited,
    ) -> Self {
        let handles = entries.iter().enumerate();
        let mut by_handle: Vec<_> = handles
            .map(|(index, entry)| (entry.handle(), index))
            .collect();
        by_handle.sort_unstable();
        Self {
            id,
            entries,
            by_handle,
            global,
            unique,
            audited,
        }
    }

    /// Returns the entry with this handle.
    fn with_handle(&self, handle: usize) -> Option<&Entry> {
        let found = self.by_handle.binary_search_by_key(&handle, |&(at, _)| at);
        let &(_, index) = self.by_handle.get(found.ok()?)?;
        self.entries.get(index).map(|entry| &**entry)
    }
}

/// A snapshot.
pub(crate) struct World {
    /// Ascending by id; the base namespace is the first.
    spaces: Vec<Arc<Space>>,
    /// How many objects were ever added and removed: `dlpi_adds`, `dlpi_subs`.
    pub(crate) adds: u64,
    pub(crate) subs: u64,
}

impl World {
    /// Makes a world of namespaces, ascending by id.
    pub(crate) fn new(spaces: Vec<Arc<Space>>, adds: u64, subs: u64) -> Self {
        Self { spaces, adds, subs }
    }

    /// Returns a namespace.
    pub(crate) fn space(&self, id: NamespaceId) -> Option<&Space> {
        let index = self.spaces.binary_search_by_key(&id, |space| space.id);
        self.spaces.get(index.ok()?).map(|space| &**space)
    }

    /// Returns the objects of the base namespace, the program first.
    pub(crate) fn program(&self) -> &[Arc<Entry>] {
        self.space(BASE).map_or(&[], |space| &space.entries)
    }

    /// Returns all objects, without proxies.
    pub(crate) fn objects(&self) -> impl Iterator<Item = &Object> {
        let entries = self.spaces.iter().flat_map(|space| &space.entries);
        let real = entries.filter(|entry| entry.proxy.is_none());
        real.map(|entry| &*entry.object)
    }

    /// Returns the entry of an object in its own namespace.
    pub(crate) fn entry(&self, namespace: NamespaceId, id: ObjectId) -> Option<&Entry> {
        let entries = &self.space(namespace)?.entries;
        let index = entries.binary_search_by_key(&id, |entry| entry.id);
        entries.get(index.ok()?).map(|entry| &**entry)
    }

    /// Returns the entry of an object in its own namespace.
    pub(crate) fn entry_of(&self, object: &Object) -> Option<&Entry> {
        self.space(object.namespace())?.with_handle(object.handle())
    }

    /// Returns the entry whose handle this is.
    pub(crate) fn by_handle(&self, handle: usize) -> Option<&Entry> {
        self.spaces
            .iter()
            .find_map(|space| space.with_handle(handle))
    }

    /// Returns the groups an object's references are resolved in, in order: those of its own namespace.
    pub(crate) fn scopes<'a>(&'a self, entry: &'a Entry) -> impl Iterator<Item = &'a Group> {
        let global = || {
            self.space(entry.object.namespace())
                .map(|space| &space.global)
        };
        let (first, last) = if entry.deep {
            (None, global())
        } else {
            (global(), None)
        };
        first.into_iter().chain(&entry.locals).chain(last)
    }
}
