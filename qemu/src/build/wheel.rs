//! Python wheels from PyPI. pip, run by the image's own Python, chooses and downloads them;
//! unpacking them is a matter of putting files into place.

use std::fs;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use filetime::FileTime;
use zip::ZipArchive;

use super::apt::Apt;
use super::deb;
use super::python::{self, Python};
use crate::cache::{self, Cache};
use crate::progress::Progress;
use crate::tool;
use crate::tree::Tree;

/// The source of wheels.
pub(super) struct Wheels<'a> {
    cache: &'a Cache,
    progress: &'a Progress,
    refresh: bool,
}

impl<'a> Wheels<'a> {
    /// Prepares to use PyPI; with `refresh`, earlier answers are ignored.
    pub(super) fn new(cache: &'a Cache, progress: &'a Progress, refresh: bool) -> Self {
        Self {
            cache,
            progress,
            refresh,
        }
    }

    /// Puts the wheels for `specs`, and those they depend on, into `tree`.
    pub(super) fn add(&mut self, apt: &mut Apt, tree: &Tree, specs: &[String]) -> Result<()> {
        let python = python::find(tree).context("the image has no Python to install wheels for")?;
        let files = self.fetch(apt, tree, &python, specs)?;
        self.progress.count("unpacking wheels", files.len());
        for file in files {
            unpack(&file, tree, &python)
                .with_context(|| format!("cannot unpack {}", file.display()))?;
            self.progress.advance();
        }
        Ok(())
    }

    fn fetch(
        &self,
        apt: &mut Apt,
        tree: &Tree,
        python: &Python,
        specs: &[String],
    ) -> Result<Vec<PathBuf>> {
        let key = cache::key(std::iter::once(&python.version).chain(specs));
        let dir = self.cache.dir(&format!("wheels/{key}"))?;
        let _lock = self.cache.lock("wheels")?;
        let done = dir.join("complete");
        if !self.refresh && done.exists() {
            return wheels_in(&dir);
        }
        let pip = self.pip(apt)?;
        self.progress
            .step(format!("downloading wheels for {}", specs.join(", ")));
        for old in wheels_in(&dir)? {
            fs::remove_file(old)?;
        }
        let mut command = python
            .command(tree)
            .with_context(|| format!("cannot run the image's Python {}", python.version))?;
        command
            .arg(pip)
            .args(["download", "--only-binary=:all:", "--no-input", "--quiet"])
            .args(["--disable-pip-version-check", "--no-cache-dir", "-d"])
            .arg(&dir)
            .args(specs);
        tool::output(&mut command)
            .with_context(|| format!("cannot get wheels for {}", specs.join(", ")))?;
        fs::write(done, "")?;
        wheels_in(&dir)
    }

    /// The path of pip inside the wheel that Debian ships for its own use: it runs from there.
    fn pip(&self, apt: &mut Apt) -> Result<PathBuf> {
        // Each suite's Python is accompanied by a pip that it can run.
        let dir = self.cache.dir(&format!("pip/{}", apt.key()?))?;
        if let Some(wheel) = wheels_in(&dir)?.pop() {
            return Ok(wheel.join("pip"));
        }
        let package = apt.fetch_alone("python3-pip-whl")?;
        let unpacked = tempfile::tempdir_in(self.cache.dir("tmp")?)?;
        let tree = Tree::new(unpacked.path());
        deb::unpack(&package, &tree)?;
        let wheel = wheels_in(&unpacked.path().join("usr/share/python-wheels"))?
            .into_iter()
            .find(|wheel| {
                let name = wheel.file_name().map(|name| name.to_string_lossy());
                name.is_some_and(|name| name.starts_with("pip-"))
            })
            .context("python3-pip-whl holds no pip")?;
        let target = dir.join(wheel.file_name().unwrap_or_default());
        cache::write_atomically(&target, &fs::read(&wheel)?)?;
        Ok(target.join("pip"))
    }
}

fn wheels_in(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut wheels = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "whl") {
            wheels.push(path);
        }
    }
    wheels.sort();
    Ok(wheels)
}

/// Puts the files of one wheel into place.
fn unpack(wheel: &Path, tree: &Tree, python: &Python) -> Result<()> {
    let mut archive = ZipArchive::new(fs::File::open(wheel)?)?;
    for index in 0..archive.len() {
        let mut file = archive.by_index(index)?;
        if file.is_dir() {
            continue;
        }
        let name = PathBuf::from(file.name()?.into_owned());
        let target = destination(&name, python)?;
        let time = file.last_modified().map_or(FileTime::zero(), |date| {
            FileTime::from_unix_time(
                unix_time(
                    [date.year().into(), date.month().into(), date.day().into()],
                    [
                        date.hour().into(),
                        date.minute().into(),
                        date.second().into(),
                    ],
                ),
                0,
            )
        });
        let mut mode = file.unix_mode().unwrap_or(0o644) & 0o777 | 0o644;
        let script = target.starts_with("/usr/local/bin");
        if !script {
            tree.add_file(&target, &mut file, mode, time)?;
        } else {
            mode |= 0o755;
            let mut text = Vec::new();
            file.read_to_end(&mut text)?;
            let text = with_interpreter(text, python);
            tree.add_file(&target, &mut &text[..], mode, time)?;
        }
        if name.ends_with("entry_points.txt") && is_metadata(&name) {
            let host = tree.place(&target)?;
            add_console_scripts(&fs::read_to_string(host)?, tree, python, time)?;
        }
    }
    Ok(())
}

fn is_metadata(name: &Path) -> bool {
    name.parent()
        .and_then(Path::extension)
        .is_some_and(|end| end == "dist-info")
}

/// Where a wheel's file goes, by the scheme of the directory it is in.
fn destination(name: &Path, python: &Python) -> Result<PathBuf> {
    let parts: Vec<_> = name.components().collect();
    if !parts
        .iter()
        .all(|part| matches!(part, Component::Normal(_)))
    {
        bail!("bad file name {}", name.display());
    }
    let packages = python.packages();
    let first = parts.first().map(|part| part.as_os_str().to_string_lossy());
    if !first.is_some_and(|first| first.ends_with(".data")) || parts.len() < 3 {
        return Ok(packages.join(name));
    }
    let base = match parts[1].as_os_str().to_str() {
        Some("purelib" | "platlib") => packages,
        Some("scripts") => "/usr/local/bin".into(),
        Some("headers") => {
            Path::new("/usr/local/include").join(format!("python{}", python.version))
        }
        Some("data") => "/usr/local".into(),
        _ => bail!("unknown scheme of {}", name.display()),
    };
    Ok(parts[2..].iter().fold(base, |path, part| path.join(part)))
}

/// Wheels leave the interpreter of their scripts open: `#!python`.
fn with_interpreter(text: Vec<u8>, python: &Python) -> Vec<u8> {
    match text.strip_prefix(b"#!python") {
        Some(rest) => {
            let line = rest
                .iter()
                .position(|&byte| byte == b'\n')
                .unwrap_or(rest.len());
            let mut new = format!("#!{}", python.program().display()).into_bytes();
            new.extend_from_slice(&rest[line..]);
            new
        }
        None => text,
    }
}

/// Programs that are only named in the metadata, as `name = module:function`.
fn add_console_scripts(text: &str, tree: &Tree, python: &Python, time: FileTime) -> Result<()> {
    for (name, module, function) in console_scripts(text) {
        let first = function.split('.').next().unwrap_or(function);
        let script = format!(
            "#!{}\nimport sys\nfrom {module} import {first}\nif __name__ == '__main__':\n    \
             sys.exit({function}())\n",
            python.program().display()
        );
        let path = Path::new("/usr/local/bin").join(name);
        tree.add_file(&path, &mut script.as_bytes(), 0o755, time)?;
    }
    Ok(())
}

fn console_scripts(text: &str) -> Vec<(&str, &str, &str)> {
    text.lines()
        .map(str::trim)
        .skip_while(|line| *line != "[console_scripts]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| {
            let (name, target) = line.split_once('=')?;
            let target = target.split('[').next()?.trim();
            let (module, function) = target.split_once(':')?;
            let name = name.trim();
            (!name.contains('/')).then_some((name, module.trim(), function.trim()))
        })
        .collect()
}

/// Seconds since 1970 of a date and time of day (UTC).
fn unix_time([year, month, day]: [i64; 3], [hour, minute, second]: [i64; 3]) -> i64 {
    // Years that begin in March have their leap day at the end.
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468;
    days * 86_400 + hour * 3600 + minute * 60 + second
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(unix_time([1970, 1, 1], [0, 0, 0]), 0);
        assert_eq!(unix_time([2024, 2, 29], [12, 0, 1]), 1_709_208_001);
        assert_eq!(unix_time([1980, 1, 1], [0, 0, 0]), 315_532_800);
    }

    #[test]
    fn entry_points() {
        let text = "[gui_scripts]\nx = y:z\n[console_scripts]\nf2py = numpy.f2py:main [extra]\n\
                    bad\n[other]\na = b:c\n";
        assert_eq!(console_scripts(text), [("f2py", "numpy.f2py", "main")]);
    }

    fn debian_python() -> (tempfile::TempDir, Python) {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("usr/bin");
        fs::create_dir_all(&bin).unwrap();
        fs::write(bin.join("python3.11"), "").unwrap();
        let python = python::find(&Tree::new(dir.path())).unwrap();
        (dir, python)
    }

    #[test]
    fn schemes() {
        let (_dir, python) = debian_python();
        let at = |name: &str| destination(Path::new(name), &python);
        let lib = "/usr/local/lib/python3.11/dist-packages";
        assert_eq!(at("a/b.py").unwrap(), Path::new(lib).join("a/b.py"));
        assert_eq!(
            at("a-1.data/purelib/c.py").unwrap(),
            Path::new(lib).join("c.py")
        );
        assert_eq!(
            at("a-1.data/scripts/s").unwrap(),
            Path::new("/usr/local/bin/s")
        );
        assert_eq!(
            at("a-1.data/data/share/x").unwrap(),
            Path::new("/usr/local/share/x")
        );
        assert!(at("../x").is_err());
        assert!(at("/x").is_err());
    }

    #[test]
    fn interpreters() {
        let (_dir, python) = debian_python();
        let new = with_interpreter(b"#!python\nx".to_vec(), &python);
        assert_eq!(new, b"#!/usr/bin/python3.11\nx");
        assert_eq!(
            with_interpreter(b"#!/bin/sh\n".to_vec(), &python),
            b"#!/bin/sh\n"
        );
    }
}
