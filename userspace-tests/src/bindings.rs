//! The table that `elfin build` puts into an image, compared with look-ups by name: for every program of the image,
//! and for every library that its Python may open.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use goblin::elf::Elf;
use loader::bindings::{PATH, differences};
use loader_process::{Process, ProcessFile};

/// The program that libraries are opened by.
const OPENER: &str = "/usr/bin/python3";

/// An object of the image.
struct Object {
    file: PathBuf,
    needed: Vec<String>,
    names: Vec<String>,
    is_program: bool,
}

/// Compares; returns how many references the table answers, or the first that it answers otherwise.
///
/// # Errors
///
/// There is a difference, or the image cannot be read.
pub fn compare(image: &Path, scratch: &Path) -> Result<usize, String> {
    let tree = scratch.join("bindings-tree");
    // What is left of an earlier run. If it cannot be removed, neither can the files be written.
    let _ = fs::remove_dir_all(&tree);
    let extract = format!("--extract={}", tree.display());
    let fsck = Command::new("fsck.erofs").arg(extract).arg(image).output();
    let fsck = fsck.map_err(|error| format!("fsck.erofs: {error}"))?;
    if !fsck.status.success() {
        return Err(String::from_utf8_lossy(&fsck.stderr).into_owned());
    }
    let compared = compare_tree(&tree);
    let _ = fs::remove_dir_all(&tree);
    compared
}

fn compare_tree(tree: &Path) -> Result<usize, String> {
    let table = tree.join(PATH.trim_start_matches('/'));
    let table = fs::read(table).map_err(|error| format!("{PATH}: {error}"))?;
    let mut objects = Vec::new();
    find(tree, &mut objects);
    let mut by_name = HashMap::new();
    for (number, object) in objects.iter().enumerate() {
        for name in &object.names {
            by_name.entry(name.as_str()).or_insert(number);
        }
    }
    let numbers = 0..objects.len();
    let (programs, libraries): (Vec<usize>, Vec<usize>) =
        numbers.partition(|&number| objects[number].is_program);
    let opener = fs::canonicalize(tree.join(OPENER.trim_start_matches('/')));
    let opener = opener.map_err(|error| format!("{OPENER}: {error}"))?;
    let opener = programs
        .iter()
        .find(|&&program| objects[program].file == opener);
    let started = programs.iter().map(|&program| (program, None));
    let opened = libraries
        .iter()
        .filter_map(|&library| Some((*opener?, Some(library))));
    let mut compared = 0;
    for (program, library) in started.chain(opened) {
        // The program's closure is the global scope; that of what it opens comes behind.
        let mut scope = closure(&objects, &by_name, program);
        for object in library.map_or_else(Vec::new, |root| closure(&objects, &by_name, root)) {
            if !scope.contains(&object) {
                scope.push(object);
            }
        }
        let files = scope.iter().filter_map(|&object| {
            let file = File::open(&objects[object].file).ok()?;
            let file: Box<dyn loader::File> = Box::new(ProcessFile::new(file).ok()?);
            Some(file)
        });
        let (count, differences) = differences(&Process, &table, files);
        if let Some(difference) = differences.first() {
            let root = objects[library.unwrap_or(program)].file.display();
            let file = objects[scope[difference.file]].file.display();
            let symbol = &difference.symbol;
            return Err(format!(
                "in the scope of {root}, {file} finds another {symbol} by the table"
            ));
        }
        compared += count;
    }
    Ok(compared)
}

/// Finds the objects in a directory and below.
fn find(dir: &Path, objects: &mut Vec<Object>) {
    let mut entries: Vec<_> = fs::read_dir(dir).into_iter().flatten().flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if kind.is_dir() {
            find(&entry.path(), objects);
        } else if kind.is_file()
            && let Ok(bytes) = fs::read(entry.path())
            && let Ok(elf) = Elf::parse(&bytes)
        {
            let own = entry.file_name().to_string_lossy().into_owned();
            let soname = elf.soname.map(str::to_owned);
            objects.push(Object {
                file: entry.path(),
                needed: elf
                    .libraries
                    .iter()
                    .map(|name| (*name).to_owned())
                    .collect(),
                names: [own].into_iter().chain(soname).collect(),
                is_program: elf.interpreter.is_some(),
            });
        }
    }
}

/// What an object needs, breadth first, as it is searched.
fn closure(objects: &[Object], by_name: &HashMap<&str, usize>, root: usize) -> Vec<usize> {
    let mut order = vec![root];
    let mut seen = HashSet::from([root]);
    let mut at = 0;
    while let Some(&object) = order.get(at) {
        at += 1;
        let needed = objects[object].needed.iter();
        let needed = needed.filter_map(|name| by_name.get(name.as_str()).copied());
        order.extend(needed.filter(|&needed| seen.insert(needed)));
    }
    order
}
