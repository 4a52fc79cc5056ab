//! `run --root DIR`: checks before the boot that DIR has the program with all it needs, and packs
//! DIR into an image that is kept for as long as DIR does not change.

use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use walkdir::WalkDir;

use super::config::{self, Environment};
use super::options::RunOptions;
use crate::build::library;
use crate::build::needs::Finder;
use crate::cache::{self, Cache};
use crate::image::Owners;
use crate::progress::Progress;
use crate::tree::{PLACES, Tree};
use crate::{image, tool};

/// Images kept for directories.
const KEPT: usize = 8;

/// Checks that the program, its interpreter and its libraries are in `dir`; returns the program's file.
pub(super) fn check(
    dir: &Path,
    options: &RunOptions,
    environment: &Environment,
) -> Result<PathBuf> {
    let dir = open(dir)?;
    let tree = Tree::new(&dir);
    let name = options.command.first().context("no program given")?;
    let cwd = Path::new("/").join(&options.cwd);
    let program = find(&tree, Path::new(name), &cwd, environment)?;
    if !tool::is_executable(&program) {
        bail!("{} is not an executable file", program.display());
    }
    let mut start = Vec::new();
    fs::File::open(&program)
        .and_then(|file| file.take(256).read_to_end(&mut start))
        .with_context(|| format!("cannot read {}", program.display()))?;
    let mut executed = tree.guest_name(&program);
    if let Some(interpreter) = interpreter(&start) {
        if tree.resolve(&interpreter).is_none() {
            bail!(
                "{} needs the interpreter {}, which is not in {}",
                program.display(),
                interpreter.display(),
                dir.display()
            );
        }
        executed = interpreter;
    } else if library::read(&tree, &program).is_none() {
        bail!("{} is not a program for x86-64 Linux", program.display());
    }
    check_libraries(&tree, &executed, environment)?;
    Ok(program)
}

fn open(dir: &Path) -> Result<PathBuf> {
    let full = dir
        .canonicalize()
        .with_context(|| format!("cannot open the directory {}", dir.display()))?;
    if !full.is_dir() {
        bail!(
            "{} is not a directory (for an image, use --image)",
            dir.display()
        );
    }
    if full == Path::new("/") {
        bail!("--root / would pack the whole machine: choose a smaller directory");
    }
    Ok(full)
}

/// Finds the program as execvp would.
fn find(tree: &Tree, name: &Path, cwd: &Path, environment: &Environment) -> Result<PathBuf> {
    let candidates: Vec<PathBuf> = if name.as_os_str().as_bytes().contains(&b'/') {
        vec![cwd.join(name)]
    } else {
        let path = config::value(environment, "PATH").unwrap_or_default();
        std::env::split_paths(path)
            .map(|dir| cwd.join(dir).join(name))
            .collect()
    };
    let found = candidates.iter().find_map(|path| tree.resolve(path));
    found.with_context(|| {
        let places: Vec<_> = candidates
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        format!(
            "the program {} is not in {}: there is no {}",
            name.display(),
            tree.root().display(),
            places.join(", ")
        )
    })
}

/// The interpreter in a script's first line.
fn interpreter(start: &[u8]) -> Option<PathBuf> {
    let line = start
        .strip_prefix(b"#!")?
        .split(|&byte| byte == b'\n')
        .next()?;
    let word = line
        .split(|byte| byte.is_ascii_whitespace())
        .find(|word| !word.is_empty())?;
    Some(Path::new(std::ffi::OsStr::from_bytes(word)).to_owned())
}

/// Checks that the program at the guest path `program` finds its libraries.
fn check_libraries(tree: &Tree, program: &Path, environment: &Environment) -> Result<()> {
    let library_path = config::value(environment, "LD_LIBRARY_PATH")
        .map(|path| std::env::split_paths(path).collect())
        .unwrap_or_default();
    let Some(missing) = Finder::new(tree, library_path)
        .missing(program)
        .into_iter()
        .next()
    else {
        return Ok(());
    };
    let places: Vec<_> = missing
        .dirs
        .iter()
        .map(|dir| dir.display().to_string())
        .collect();
    bail!(
        "{} needs {}, which is not in {} (looked in {})",
        missing.object.display(),
        missing.name,
        tree.root().display(),
        places.join(", ")
    )
}

/// The image of `dir`: the one packed before if nothing has changed since.
pub(super) fn image(cache: &Cache, dir: &Path) -> Result<PathBuf> {
    let dir = open(dir)?;
    let images = cache.dir("images")?;
    let image = images.join(format!("{}.img", fingerprint(&dir)?));
    let _lock = cache.lock("images")?;
    if !image.exists() {
        let progress = Progress::new();
        progress.step(format!("packing {}", dir.display()));
        let complete = PLACES.iter().all(|(place, _)| dir.join(place).exists());
        if complete {
            image::write(&dir, &image, Owners::Root)?;
        } else {
            let staging = tempfile::tempdir_in(cache.dir("tmp")?)?;
            let tree = Tree::new(staging.path());
            tree.add_tree(&dir, Path::new("/"))?;
            tree.add_places()?;
            image::write(tree.root(), &image, Owners::Root)?;
        }
    }
    // The time of last use decides which images stay.
    filetime::set_file_mtime(&image, SystemTime::now().into())?;
    prune(&images)?;
    Ok(image)
}

/// A hash of what can be seen of a tree without reading its files.
fn fingerprint(dir: &Path) -> Result<String> {
    let mut parts = vec![dir.as_os_str().as_bytes().to_vec()];
    for entry in WalkDir::new(dir).sort_by_file_name() {
        let entry = entry.with_context(|| format!("cannot read {}", dir.display()))?;
        let meta = entry.metadata()?;
        parts.push(entry.path().as_os_str().as_bytes().to_vec());
        parts.push(
            format!(
                "{} {} {} {} {}",
                meta.mode(),
                meta.size(),
                meta.mtime(),
                meta.mtime_nsec(),
                meta.ino()
            )
            .into_bytes(),
        );
    }
    Ok(cache::key(parts))
}

fn prune(images: &Path) -> Result<()> {
    let mut all = Vec::new();
    for entry in fs::read_dir(images)? {
        let entry = entry?;
        all.push((entry.metadata()?.modified()?, entry.path()));
    }
    all.sort();
    let surplus = all.len().saturating_sub(KEPT);
    for (_, path) in &all[..surplus] {
        fs::remove_file(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpreters() {
        let parse = |text: &str| interpreter(text.as_bytes());
        assert_eq!(
            parse("#! /usr/bin/env python3\nx"),
            Some("/usr/bin/env".into())
        );
        assert_eq!(parse("#!/bin/sh"), Some("/bin/sh".into()));
        assert_eq!(parse("\x7fELF"), None);
    }

    #[test]
    fn missing_programs_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::new(dir.path());
        let environment = vec![("PATH".into(), "/usr/bin:/bin".into())];
        let search = |name| find(&tree, Path::new(name), Path::new("/w"), &environment);
        let error = search("p").unwrap_err().to_string();
        assert!(error.ends_with("there is no /usr/bin/p, /bin/p"), "{error}");
        let error = search("./p").unwrap_err().to_string();
        assert!(error.ends_with("there is no /w/./p"), "{error}");
    }
}
