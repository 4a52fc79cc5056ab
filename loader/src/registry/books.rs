//! What only changes of the registry need: which code ranges there are by number, and who owns them.

use alloc::collections::btree_map::{BTreeMap, Entry as Slot};
use alloc::collections::btree_set::BTreeSet;
use alloc::sync::Arc;
use core::ops::Range;

use super::{Code, CodeId, LINKER, Occupant, Owner, Snapshot};
use crate::host::Errno;

/// The registry as changes see it.
pub(super) struct Books<O> {
    pub(super) current: Snapshot<O>,
    last_id: CodeId,
    /// Where each code range starts.
    starts: BTreeMap<CodeId, usize>,
    /// Who can own code ranges (the loaded objects, and threads that have asked to), and what each owns.
    owners: BTreeMap<Owner, BTreeSet<CodeId>>,
}

impl<O: Clone> Books<O> {
    pub(super) const fn new() -> Self {
        Self {
            current: Snapshot::new(),
            last_id: 0,
            starts: BTreeMap::new(),
            owners: BTreeMap::new(),
        }
    }

    /// Returns how many code ranges there are.
    pub(super) fn codes(&self) -> usize {
        self.starts.len()
    }

    /// Lets somebody own code ranges; says whether it could not before.
    pub(super) fn add_owner(&mut self, owner: Owner) -> bool {
        match self.owners.entry(owner) {
            Slot::Vacant(slot) => {
                slot.insert(BTreeSet::new());
                true
            }
            Slot::Occupied(_) => false,
        }
    }

    /// Takes out what somebody owns, who can own nothing any more.
    pub(super) fn remove_owner(&mut self, owner: Owner) {
        for id in self.owners.remove(&owner).into_iter().flatten() {
            self.remove_code(id);
        }
    }

    /// Enters an object. Address space is given out once: no other object is in this place.
    pub(super) fn add_object(&mut self, span: Range<usize>, object: O) {
        if let Some(next) = self.current.with(span, Occupant::Object(object)) {
            self.current = next;
        }
    }

    /// Takes an object out.
    pub(super) fn remove_object(&mut self, start: usize) {
        if let Some(next) = self.current.without(start) {
            self.current = next;
        }
    }

    /// Enters a code range under a new number.
    pub(super) fn add_code(&mut self, range: Range<usize>, code: Code<O>) -> Result<CodeId, Errno> {
        let owner = code.owner;
        if owner != Owner::Nobody && !self.owners.contains_key(&owner) {
            return Err(Errno::EINVAL);
        }
        let id = self.last_id + 1;
        let start = range.start;
        let code = Occupant::Code(id, Arc::new(code));
        self.current = self.current.with(range, code).ok_or(Errno::EEXIST)?;
        self.last_id = id;
        self.starts.insert(id, start);
        if let Some(owned) = self.owners.get_mut(&owner) {
            owned.insert(id);
        }
        Ok(id)
    }

    /// Enters code of the linker's own, which nobody can unregister.
    pub(super) fn add_linker(&mut self, range: Range<usize>, code: Code<O>) {
        let code = Occupant::Code(LINKER, Arc::new(code));
        if let Some(next) = self.current.with(range, code) {
            self.current = next;
        }
    }

    /// Takes a code range out.
    pub(super) fn remove_code(&mut self, id: CodeId) -> Option<()> {
        let start = self.starts.remove(&id)?;
        let owner = match &self.current.at(start)?.value {
            Occupant::Code(_, code) => code.owner,
            Occupant::Object(_) => return None,
        };
        if let Some(owned) = self.owners.get_mut(&owner) {
            owned.remove(&id);
        }
        self.current = self.current.without(start)?;
        Some(())
    }

    /// Takes out all code ranges that have an address in common with `range`.
    pub(super) fn remove_codes_in(&mut self, mut range: Range<usize>) {
        while let Some(entry) = self.current.overlapping(&range) {
            range.end = entry.start;
            if let Occupant::Code(id, _) = entry.value {
                self.remove_code(id);
            }
        }
    }
}
