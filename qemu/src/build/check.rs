//! Looking before the leap: what programs and libraries of the tree need must be where the dynamic linker will look
//! for it. Of a program that is known. A library may be loaded by anything, after anything; what it needs is found if
//! it has been loaded before, from wherever: so of libraries only what is nowhere in the tree is missing for sure.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::library;
use super::needs::Finder;
use crate::tree::Tree;

/// One line for each library that is missing.
pub(super) fn missing_libraries(tree: &Tree, objects: &[library::Object]) -> Vec<String> {
    let mut places: HashMap<String, PathBuf> = HashMap::new();
    for object in objects {
        let file = object.path.file_name().map(|name| name.to_string_lossy());
        for name in file.map(String::from).iter().chain(&object.soname) {
            places.entry(name.clone()).or_insert(object.path.clone());
        }
    }
    let finder = Finder::new(tree, Vec::new());
    let mut problems = Vec::new();
    let mut said = HashSet::new();
    let mut add = |object: &Path, name: &str, searched: &[PathBuf]| {
        if said.insert((object.to_owned(), name.to_owned())) {
            problems.push(describe(object, name, places.get(name), searched));
        }
    };
    for object in objects {
        if let Some(interpreter) = &object.interpreter {
            if tree.resolve(interpreter).is_none() {
                add(&object.path, &interpreter.to_string_lossy(), &[]);
            }
            // Another dynamic linker looks elsewhere.
            if is_glibcs(interpreter) {
                for missing in finder.missing(&object.path) {
                    add(&missing.object, &missing.name, &missing.dirs);
                }
            }
            continue;
        }
        let dirs = [&object.rpath, &object.runpath]
            .map(|list| library::expand(list, &object.path))
            .concat();
        for name in &object.needed {
            if !places.contains_key(name) && !finder.finds(name, &dirs) {
                add(&object.path, name, &dirs);
            }
        }
    }
    problems
}

fn is_glibcs(interpreter: &Path) -> bool {
    let name = interpreter.file_name().map(|name| name.to_string_lossy());
    name.is_some_and(|name| name.starts_with("ld-linux"))
}

fn describe(object: &Path, name: &str, place: Option<&PathBuf>, searched: &[PathBuf]) -> String {
    let object = object.display();
    match place {
        Some(place) => {
            let dirs: Vec<_> = searched
                .iter()
                .map(|dir| dir.display().to_string())
                .collect();
            let dir = place.parent().unwrap_or(Path::new("/"));
            format!(
                "{object} needs {name}, which is only at {}, where it will not be looked for (but in {}) \
                 without `elfin run --env LD_LIBRARY_PATH={}`",
                place.display(),
                dirs.join(", "),
                dir.display()
            )
        }
        None => format!("{object} needs {name}, which is not in the image"),
    }
}
