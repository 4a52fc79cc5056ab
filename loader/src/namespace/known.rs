//! By which names, and for which files, the nodes of a namespace are found.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::host::FileId;
use crate::object::ObjectId;

/// Nodes by what they are found by. Their ids ascend in each list, so that the first in load order comes first.
#[derive(Default)]
pub(super) struct Known {
    names: BTreeMap<Vec<u8>, Vec<ObjectId>>,
    files: BTreeMap<FileId, Vec<ObjectId>>,
}

impl Known {
    /// Returns the nodes that a name stands for.
    pub(super) fn by_name(&self, name: &[u8]) -> &[ObjectId] {
        self.names.get(name).map_or(&[], |ids| ids)
    }

    /// Returns the nodes of a file.
    pub(super) fn by_file(&self, file: FileId) -> &[ObjectId] {
        self.files.get(&file).map_or(&[], |ids| ids)
    }

    /// A node goes by this name from now on.
    pub(super) fn add_name(&mut self, name: &[u8], id: ObjectId) {
        match self.names.get_mut(name) {
            Some(ids) => insert(ids, id),
            None => {
                self.names.insert(name.to_vec(), alloc::vec![id]);
            }
        }
    }

    /// A node is of this file.
    pub(super) fn add_file(&mut self, file: FileId, id: ObjectId) {
        insert(self.files.entry(file).or_default(), id);
    }

    /// Forgets nodes.
    pub(super) fn forget(&mut self, is_gone: impl Fn(&ObjectId) -> bool) {
        let stays = |ids: &mut Vec<ObjectId>| {
            ids.retain(|id| !is_gone(id));
            !ids.is_empty()
        };
        self.names.retain(|_, ids| stays(ids));
        self.files.retain(|_, ids| stays(ids));
    }
}

fn insert(ids: &mut Vec<ObjectId>, id: ObjectId) {
    if let Err(place) = ids.binary_search(&id) {
        ids.insert(place, id);
    }
}
