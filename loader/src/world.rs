//! What is loaded, as look-ups see it: an immutable snapshot.
//!
//! A load builds the next world and publishes it; lazy binding, `dlsym`, the unwinder's look-ups and the crash handler
//! read whichever is current, without a lock and without allocating.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::object::{Object, ObjectId};
use crate::publish::Readers;

/// Readers of the published world.
pub(crate) static READERS: Readers = Readers::new();

/// Objects in the order they are searched.
pub(crate) type Group = Arc<[Arc<Object>]>;

/// The one definition of each STB_GNU_UNIQUE symbol: object (which stays for ever) and symbol index.
pub(crate) type UniqueTable = BTreeMap<Vec<u8>, (ObjectId, usize)>;

/// An object with the scopes its references are resolved in.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) object: Arc<Object>,
    /// Searched after the global scope: the groups of the `dlopen`s that brought the object in or use it.
    pub(crate) locals: Vec<Group>,
    /// The object and what it needs, breadth first: what `dlsym` with its handle searches.
    pub(crate) group: Option<Group>,
}

/// A snapshot.
pub(crate) struct World {
    /// In load order, which is the order of ids.
    pub(crate) entries: Vec<Entry>,
    /// Start, end, and index into `entries`; ascending.
    by_address: Vec<(usize, usize, usize)>,
    /// The global scope.
    pub(crate) global: Group,
    pub(crate) unique: Arc<UniqueTable>,
    /// How many objects were ever added and removed: `dlpi_adds`, `dlpi_subs`.
    pub(crate) adds: u64,
    pub(crate) subs: u64,
}

impl World {
    /// Makes a world of entries in load order.
    pub(crate) fn new(
        entries: Vec<Entry>,
        global: Group,
        unique: Arc<UniqueTable>,
        adds: u64,
        subs: u64,
    ) -> Self {
        let mut by_address: Vec<_> = entries
            .iter()
            .enumerate()
            .map(|(index, entry)| (entry.object.span().start, entry.object.span().end, index))
            .collect();
        by_address.sort_unstable();
        Self {
            entries,
            by_address,
            global,
            unique,
            adds,
            subs,
        }
    }

    /// Returns the entry of an object.
    pub(crate) fn entry(&self, id: ObjectId) -> Option<&Entry> {
        let index = self
            .entries
            .binary_search_by_key(&id, |entry| entry.object.id())
            .ok()?;
        self.entries.get(index)
    }

    /// Returns the entry whose handle this is.
    pub(crate) fn by_handle(&self, handle: usize) -> Option<&Entry> {
        self.entries
            .iter()
            .find(|entry| entry.object.handle() == handle)
    }

    /// Returns the entry of the object that occupies an address.
    pub(crate) fn at(&self, address: usize) -> Option<&Entry> {
        let after = self
            .by_address
            .partition_point(|&(start, _, _)| start <= address);
        let &(_, end, index) = self.by_address.get(after.checked_sub(1)?)?;
        if address < end {
            self.entries.get(index)
        } else {
            None
        }
    }

    /// Returns the groups an object's references are resolved in, in order.
    pub(crate) fn scopes<'a>(&'a self, entry: &'a Entry) -> impl Iterator<Item = &'a Group> {
        core::iter::once(&self.global).chain(&entry.locals)
    }
}
