//! Forgetting nodes of files that are elsewhere, and that nobody is using: when there are many, or memory is short.
//! What is asked for again is looked up again. Left out: names and nodes that are nowhere else.
use super::{
    mount, numbers,
    tree::{Entry, Kind, Node},
};
use alloc::{sync::Arc, vec, vec::Vec};

impl Drop for Node {
    fn drop(&mut self) {
        if self.operations.is_some() {
            numbers::stored_gone();
        }
    }
}

/// Forgets nodes if there have become many.
pub(super) fn if_many() {
    if numbers::are_stored_many() {
        unused();
        numbers::are_stored_left();
    }
}

/// Forgets all nodes that nobody is using, and names that led to none. The caller has no locks.
#[doc(alias = "prune_dcache_sb")]
pub(super) fn unused() {
    for mount in mount::all() {
        let root = mount.fs.root();
        if root.operations.is_some() {
            below(root);
        }
    }
}

/// Those below a directory, the innermost first.
fn below(root: Arc<Node>) {
    let mut directories = vec![root];
    let mut next = 0;
    while let Some(directory) = directories.get(next).cloned() {
        next += 1;
        if let Kind::Directory(inner) = &directory.kind {
            let entries = inner.entries.lock();
            directories.extend(entries.names.values().filter_map(|entry| match entry {
                Entry::Known(Some(node), _) if node.is_directory() => Some(node.clone()),
                _ => None,
            }));
        }
    }
    for directory in directories.into_iter().rev() {
        let Kind::Directory(inner) = &directory.kind else {
            continue;
        };
        let mut entries = inner.entries.lock();
        let is_unused = |entry: &Entry| match entry {
            Entry::Known(node, _) => node.as_ref().is_none_or(is_unused),
            _ => false,
        };
        let gone = entries.names.extract_if(.., |_, entry| is_unused(entry));
        let gone: Vec<_> = gone.collect();
        entries.absent = 0;
        drop(entries);
        // Not under the lock: what a node stands for may be given up by a message.
        drop(gone);
    }
}

/// Whether nothing but the entry has the node, and nothing is lost with it.
fn is_unused(node: &Arc<Node>) -> bool {
    // Who has it otherwise, by its number, gives it to whoever looks the name up again.
    if Arc::strong_count(node) > 1 || node.is_mount_point() {
        return false;
    }
    match &node.kind {
        Kind::Directory(directory) => directory.entries.lock().names.is_empty(),
        Kind::Regular(content) => content.can_be_forgotten(),
        Kind::Symlink(_) | Kind::Special(_) => true,
        _ => false,
    }
}
