//! Reading shared objects of a tree: what they need, what they are called, and the directories a
//! dynamic linker would look into.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use goblin::elf::{Elf, header};
use walkdir::WalkDir;

use crate::tree::Tree;

/// The directories that the kernel's dynamic linker looks into by itself.
const DEFAULT: [&str; 6] = [
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
];

/// An ELF program or shared object.
pub(crate) struct Object {
    /// Its path in the image.
    pub(crate) path: PathBuf,
    pub(crate) soname: Option<String>,
    pub(crate) needed: Vec<String>,
    /// PT_INTERP, which makes it a program.
    pub(crate) interpreter: Option<PathBuf>,
    /// DT_RPATH, not [expanded](expand).
    pub(crate) rpath: Vec<String>,
    /// DT_RUNPATH, not [expanded](expand).
    pub(crate) runpath: Vec<String>,
}

/// The directories searched for every object: those of ld.so.conf, then the built-in ones.
pub(crate) fn system_dirs(tree: &Tree) -> Vec<PathBuf> {
    let mut dirs = Vec::new();
    read_conf(tree, Path::new("/etc/ld.so.conf"), 0, &mut dirs);
    dirs.extend(DEFAULT.map(PathBuf::from));
    let mut seen = std::collections::HashSet::new();
    dirs.retain(|dir| seen.insert(dir.clone()));
    dirs
}

fn read_conf(tree: &Tree, conf: &Path, depth: u32, dirs: &mut Vec<PathBuf>) {
    let Some(text) = tree
        .resolve(conf)
        .and_then(|host| fs::read_to_string(host).ok())
    else {
        return;
    };
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or("").trim();
        if let Some(pattern) = line.strip_prefix("include ") {
            // Debian's only pattern is `/etc/ld.so.conf.d/*.conf`.
            let (dir, name) = pattern.trim().rsplit_once('/').unwrap_or(("", pattern));
            let (start, end) = name.split_once('*').unwrap_or((name, ""));
            let Some(host) = tree.resolve(Path::new(dir)) else {
                continue;
            };
            let mut files: Vec<_> = fs::read_dir(host)
                .into_iter()
                .flatten()
                .flatten()
                .filter_map(|entry| entry.file_name().into_string().ok())
                .filter(|name| name.starts_with(start) && name.ends_with(end))
                .collect();
            files.sort();
            for file in files.iter().filter(|_| depth < 4) {
                read_conf(tree, &Path::new(dir).join(file), depth + 1, dirs);
            }
        } else if line.starts_with('/') {
            dirs.push(line.into());
        }
    }
}

/// All x86-64 ELF programs and shared objects in the tree.
pub(crate) fn objects(tree: &Tree) -> Result<Vec<Object>> {
    let mut objects = Vec::new();
    for entry in WalkDir::new(tree.root()).sort_by_file_name() {
        let entry = entry?;
        if entry.file_type().is_file()
            && let Some(object) = read(tree, entry.path())
        {
            objects.push(object);
        }
    }
    Ok(objects)
}

/// Reads the object at the host path `host`; `None` if it is no such object.
pub(crate) fn read(tree: &Tree, host: &Path) -> Option<Object> {
    use std::io::Read;
    let mut file = fs::File::open(host).ok()?;
    let mut bytes = vec![0; header::SELFMAG];
    file.read_exact(&mut bytes).ok()?;
    if bytes != header::ELFMAG {
        return None;
    }
    file.read_to_end(&mut bytes).ok()?;
    let head = Elf::parse_header(&bytes).ok()?;
    let loadable = matches!(head.e_type, header::ET_DYN | header::ET_EXEC);
    if head.e_machine != header::EM_X86_64 || !loadable {
        return None;
    }
    let elf = Elf::parse(&bytes).ok()?;
    let split = |lists: &[&str]| {
        let dirs = lists.iter().flat_map(|list| list.split(':'));
        dirs.filter(|dir| !dir.is_empty())
            .map(str::to_owned)
            .collect()
    };
    Some(Object {
        path: tree.guest_name(host),
        soname: elf.soname.map(str::to_owned),
        needed: elf
            .libraries
            .iter()
            .map(|name| (*name).to_owned())
            .collect(),
        interpreter: elf.interpreter.map(PathBuf::from),
        rpath: split(&elf.rpaths),
        runpath: split(&elf.runpaths),
    })
}

/// The directories `list` of the object at `path`, with the dynamic linker's variables filled in.
pub(super) fn expand(list: &[String], path: &Path) -> Vec<PathBuf> {
    let origin = path.parent().unwrap_or(Path::new("/")).to_string_lossy();
    let values = [
        ("ORIGIN", &*origin),
        ("LIB", "lib/x86_64-linux-gnu"),
        ("PLATFORM", "x86_64"),
    ];
    let expanded = list.iter().map(|dir| {
        let fill = |dir: String, (name, value): &(&str, &str)| {
            dir.replace(&format!("${{{name}}}"), value)
                .replace(&format!("${name}"), value)
        };
        values.iter().fold(dir.clone(), fill).into()
    });
    expanded.collect()
}
