//! What a program needs: follows DT_NEEDED from the program on, as the dynamic linker will (`ld.so(8)`), through
//! DT_RPATH of those who load, LD_LIBRARY_PATH, DT_RUNPATH, `ld.so.cache` and the system's directories.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::ldcache;
use super::library::{self, Object};
use crate::tree::Tree;

/// Subdirectories that the dynamic linker looks into first, on processors that can run what is in them.
const HWCAPS: [&str; 4] = [
    "glibc-hwcaps/x86-64-v4",
    "glibc-hwcaps/x86-64-v3",
    "glibc-hwcaps/x86-64-v2",
    "",
];

/// How libraries of a tree are found.
pub(crate) struct Finder<'a> {
    tree: &'a Tree,
    library_path: Vec<PathBuf>,
    cache: HashMap<String, PathBuf>,
    system: Vec<PathBuf>,
    /// What was read before, by host path: many programs need the same libraries.
    read: RefCell<HashMap<PathBuf, Option<Rc<Object>>>>,
}

/// A library that a program needs and will not find.
#[derive(Debug)]
pub(crate) struct Missing {
    /// Who needs it: the program, or a library that it loads.
    pub(crate) object: PathBuf,
    /// Its name.
    pub(crate) name: String,
    /// Where it was looked for.
    pub(crate) dirs: Vec<PathBuf>,
}

/// An object that the program loads, and the one that needed it first.
struct Loaded {
    object: Rc<Object>,
    /// Where it was found; `$ORIGIN` is the directory of this.
    path: PathBuf,
    loader: Option<usize>,
}

impl<'a> Finder<'a> {
    /// Looks into `library_path`, the value of LD_LIBRARY_PATH, and where `tree` says.
    pub(crate) fn new(tree: &'a Tree, library_path: Vec<PathBuf>) -> Self {
        Self {
            tree,
            library_path,
            cache: ldcache::read(tree),
            system: library::system_dirs(tree),
            read: RefCell::default(),
        }
    }

    /// The libraries that the program at the guest path `program` needs and will not find.
    pub(crate) fn missing(&self, program: &Path) -> Vec<Missing> {
        let mut missing = Vec::new();
        let Some(object) = self.object(program) else {
            return missing;
        };
        let mut names: HashSet<String> = HashSet::new();
        // The dynamic linker itself is loaded before everything else, wherever it lies.
        if let Some(interpreter) = &object.interpreter {
            names.extend(
                interpreter
                    .file_name()
                    .map(|name| name.to_string_lossy().into_owned()),
            );
            names.extend(
                self.object(interpreter)
                    .and_then(|linker| linker.soname.clone()),
            );
        }
        let mut loaded = vec![Loaded {
            object,
            path: program.to_owned(),
            loader: None,
        }];
        let mut next = 0;
        while next < loaded.len() {
            let needed = loaded[next].object.needed.clone();
            for name in needed {
                // A library that is loaded is found by its name, whatever the directories.
                if !names.insert(name.clone()) {
                    continue;
                }
                let dirs = self.dirs(&loaded, next);
                match self.find(&name, &dirs) {
                    Some((path, object)) => {
                        names.extend(object.soname.clone());
                        loaded.push(Loaded {
                            object,
                            path,
                            loader: Some(next),
                        });
                    }
                    None => missing.push(Missing {
                        object: loaded[next].path.clone(),
                        name,
                        dirs,
                    }),
                }
            }
            next += 1;
        }
        missing
    }

    /// Whether a library called `name` is where every object's needs are looked for, or in `dirs`.
    pub(super) fn finds(&self, name: &str, dirs: &[PathBuf]) -> bool {
        let dirs: Vec<PathBuf> = dirs.iter().chain(&self.system).cloned().collect();
        self.find(name, &dirs).is_some()
    }

    /// The directories for what `loaded[index]` needs, in their order; the cache comes before the system's.
    fn dirs(&self, loaded: &[Loaded], index: usize) -> Vec<PathBuf> {
        let mut dirs = Vec::new();
        let own = &loaded[index];
        if own.object.runpath.is_empty() {
            let mut next = Some(index);
            while let Some(loader) = next.map(|index| &loaded[index]) {
                if loader.object.runpath.is_empty() {
                    dirs.extend(library::expand(&loader.object.rpath, &loader.path));
                }
                next = loader.loader;
            }
        }
        dirs.extend(self.library_path.iter().cloned());
        dirs.extend(library::expand(&own.object.runpath, &own.path));
        dirs.extend(self.system.iter().cloned());
        let mut seen = HashSet::new();
        dirs.retain(|dir| seen.insert(dir.clone()));
        dirs
    }

    fn find(&self, name: &str, dirs: &[PathBuf]) -> Option<(PathBuf, Rc<Object>)> {
        let at = |path: PathBuf| self.object(&path).map(|object| (path, object));
        if name.contains('/') {
            return at(name.into());
        }
        let places = dirs
            .iter()
            .flat_map(|dir| HWCAPS.iter().map(move |part| dir.join(part).join(name)));
        places.chain(self.cache.get(name).cloned()).find_map(at)
    }

    /// The object that the guest path `path` leads to.
    fn object(&self, path: &Path) -> Option<Rc<Object>> {
        let host = self.tree.resolve(path)?;
        let mut read = self.read.borrow_mut();
        read.entry(host)
            .or_insert_with_key(|host| library::read(self.tree, host).map(Rc::new))
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::process::Command;

    /// Compiles an empty library, or program, at `at` below `dir`, linked with `needs`.
    fn link(dir: &Path, at: &str, options: &[&str], needs: &[&str]) {
        let out = dir.join(at);
        fs::create_dir_all(out.parent().unwrap()).unwrap();
        let mut gcc = Command::new("gcc");
        gcc.args([
            "-nostdlib",
            "-Wl,--no-as-needed",
            "-Wl,--allow-shlib-undefined",
            "-xc",
            "/dev/null",
            "-xnone",
        ]);
        gcc.args(options).arg("-o").arg(&out);
        gcc.args(needs.iter().map(|need| dir.join(need)));
        let output = gcc.output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn library(dir: &Path, at: &str, options: &[&str], needs: &[&str]) {
        let name = Path::new(at).file_name().unwrap().to_str().unwrap();
        let soname = format!("-Wl,-soname,{name}");
        let mut all = vec!["-shared", soname.as_str()];
        all.extend(options);
        link(dir, at, &all, needs);
    }

    fn missing(dir: &Path, program: &str) -> Vec<String> {
        let tree = Tree::new(dir);
        let finder = Finder::new(&tree, Vec::new());
        let missing = finder.missing(Path::new(program));
        missing.into_iter().map(|missing| missing.name).collect()
    }

    #[test]
    fn rpath_is_inherited_and_runpath_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        library(dir, "opt/lib/liba.so", &[], &[]);
        library(dir, "opt/lib/libb.so", &[], &["opt/lib/liba.so"]);
        for (tag, expected) in [
            ("--disable-new-dtags", &[][..]),
            ("--enable-new-dtags", &["liba.so"]),
        ] {
            let tag = format!("-Wl,{tag},-rpath,$ORIGIN/../lib");
            let link_only = format!("-Wl,-rpath-link,{}", dir.join("opt/lib").display());
            let options = ["-nostartfiles", "-Wl,-e0", &tag, &link_only];
            link(dir, "opt/bin/p", &options, &["opt/lib/libb.so"]);
            assert_eq!(missing(dir, "/opt/bin/p"), expected, "{tag}");
        }
    }

    #[test]
    fn what_is_loaded_is_found_by_its_soname() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        library(dir, "opt/liba.so", &[], &[]);
        library(dir, "usr/lib/libb.so", &[], &["opt/liba.so"]);
        let runpath = [
            "-nostartfiles",
            "-Wl,-e0",
            "-Wl,--enable-new-dtags,-rpath,/opt",
        ];
        link(dir, "p", &runpath, &["opt/liba.so", "usr/lib/libb.so"]);
        assert_eq!(missing(dir, "/p"), [""; 0]);
        let link_only = format!("-Wl,-rpath-link,{}", dir.join("opt").display());
        link(
            dir,
            "q",
            &["-nostartfiles", "-Wl,-e0", &link_only],
            &["usr/lib/libb.so"],
        );
        assert_eq!(missing(dir, "/q"), ["liba.so"]);
    }

    #[test]
    fn the_dynamic_linker_is_loaded_wherever_it_lies() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        library(dir, "odd/ld-own.so", &[], &[]);
        library(dir, "usr/lib/libc.so", &[], &["odd/ld-own.so"]);
        let link_only = format!("-Wl,-rpath-link,{}", dir.join("odd").display());
        let options = [
            "-nostartfiles",
            "-Wl,-e0",
            "-Wl,--dynamic-linker,/odd/ld-own.so",
            &link_only,
        ];
        link(dir, "p", &options, &["usr/lib/libc.so"]);
        assert_eq!(missing(dir, "/p"), [""; 0]);
    }
}
