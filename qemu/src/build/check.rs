//! Looking before the leap: every library that a program or library in the tree names must be
//! where the dynamic linker will look for it.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::library::{self, Object};
use crate::tree::Tree;

/// One line for each library that is missing.
pub(super) fn missing_libraries(tree: &Tree) -> Result<Vec<String>> {
    let objects = library::objects(tree)?;
    let system = library::system_dirs(tree);
    let mut elsewhere: HashMap<String, PathBuf> = HashMap::new();
    for object in &objects {
        let file = object.path.file_name().map(|name| name.to_string_lossy());
        for name in file.map(String::from).iter().chain(&object.soname) {
            elsewhere.entry(name.clone()).or_insert(object.path.clone());
        }
    }
    let mut found = HashSet::new();
    let mut problems = Vec::new();
    for object in &objects {
        for name in &object.needed {
            if found.contains(name) {
                continue;
            }
            if in_dirs(tree, &system, name) {
                found.insert(name);
            } else if !in_dirs(tree, &object.own_dirs(), name)
                && !loaded_before(tree, &objects, object, name)
            {
                problems.push(describe(object, name, elsewhere.get(name)));
            }
        }
    }
    Ok(problems)
}

fn in_dirs(tree: &Tree, dirs: &[PathBuf], name: &str) -> bool {
    if name.contains('/') {
        return tree.resolve(Path::new(name)).is_some();
    }
    dirs.iter()
        .any(|dir| tree.resolve(&dir.join(name)).is_some())
}

/// Whether whoever needs `object` reaches the library `name` itself: it is loaded then, and a
/// loaded library satisfies a need whatever the search path.
fn loaded_before(tree: &Tree, objects: &[Object], object: &Object, name: &str) -> bool {
    let is_object = |other: &&String| {
        Some(*other) == object.soname.as_ref()
            || object
                .path
                .file_name()
                .is_some_and(|file| file == other.as_str())
    };
    let mut parents = objects
        .iter()
        .filter(|parent| parent.needed.iter().any(|needed| is_object(&needed)))
        .peekable();
    parents.peek().is_some() && parents.all(|parent| in_dirs(tree, &parent.own_dirs(), name))
}

fn describe(object: &Object, name: &str, elsewhere: Option<&PathBuf>) -> String {
    let own = object.own_dirs();
    let mut text = format!("{} needs {name}, which ", object.path.display());
    match elsewhere {
        Some(place) => {
            text += &format!(
                "is only at {}, where it will not be looked for",
                place.display()
            );
        }
        None => text += "is not in the image",
    }
    if !own.is_empty() {
        let dirs: Vec<_> = own.iter().map(|dir| dir.display().to_string()).collect();
        text += &format!(
            " (looked in {} and the system's library directories)",
            dirs.join(", ")
        );
    }
    text
}
