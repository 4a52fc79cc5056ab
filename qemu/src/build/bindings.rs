//! Writing `/etc/ld.so.bindings`: who of the image's objects answers the references of which, so that the dynamic
//! linker need not ask all of them by name. The dynamic linker itself finds that out.

use std::fs::File;
use std::path::Path;

use anyhow::Result;
use filetime::FileTime;
use loader::bindings::{PATH, make};
use loader_process::{Process, ProcessFile};

use super::library;
use crate::tree::Tree;

/// Writes the table of the tree's objects.
pub(super) fn write(tree: &Tree, objects: &[library::Object]) -> Result<()> {
    let table = make(
        &Process,
        objects.iter().filter_map(|object| open(tree, &object.path)),
    );
    tree.add_file(Path::new(PATH), &mut &table[..], 0o644, FileTime::zero())
}

fn open(tree: &Tree, path: &Path) -> Option<Box<dyn loader::File>> {
    let file = File::open(tree.resolve(path)?).ok()?;
    Some(Box::new(ProcessFile::new(file).ok()?))
}
