//! Compiling Python modules: without it, every boot would compile what it imports. Debian's packages do that for their
//! own modules when they are installed; wheels and directories bring theirs as they are.

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;

use anyhow::{Context, Result, bail};

use super::python::{self, Python};
use crate::progress::Progress;
use crate::tree::Tree;

/// Run by the image's Python.
const SCRIPT: &str = include_str!("compile.py");
/// Modules that are named in a warning.
const NAMED: usize = 3;
/// The system's directories: a directory placed at `/` may have them, but it is not from there that its own modules are
/// imported.
const SYSTEM: [&str; 7] = ["/bin", "/etc", "/lib", "/lib64", "/sbin", "/usr", "/var"];
/// Where Python itself has modules that are wrong on purpose.
const WRONG: [&str; 2] = ["/test/", "/lib2to3/tests/data/"];

/// A module to compile.
struct Module {
    /// Host path of the source, with all links followed.
    source: PathBuf,
    /// Host path of the name by which it is imported.
    place: PathBuf,
    /// That name in the image.
    name: PathBuf,
}

/// Compiles the modules of all the tree's Pythons, and those at and below the guest paths `places`; says what stays
/// uncompiled.
pub(super) fn compile(tree: &Tree, places: &[PathBuf], progress: &Progress) -> Result<()> {
    for python in python::all(tree) {
        progress.step(format!("compiling Python {} modules", python.version));
        let mut modules = Vec::new();
        let mut seen = HashSet::new();
        for dir in python.libraries() {
            collect(tree, &dir, &mut seen, &mut modules)?;
        }
        seen.extend(SYSTEM.iter().filter_map(|dir| tree.resolve(Path::new(dir))));
        for dir in places {
            collect(tree, dir, &mut seen, &mut modules)?;
        }
        match run(tree, &python, &modules) {
            Ok(failures) => report(progress, &python, &failures),
            Err(error) => progress.warn(format!(
                "{} modules of Python {} stay uncompiled: {error:#}",
                modules.len(),
                python.version
            )),
        }
    }
    Ok(())
}

/// Finds the modules at and below the guest path `dir`, once each, through links as imports go.
fn collect(
    tree: &Tree,
    dir: &Path,
    seen: &mut HashSet<PathBuf>,
    modules: &mut Vec<Module>,
) -> Result<()> {
    let Some(host) = tree.resolve(dir).filter(|host| host.is_dir()) else {
        return Ok(());
    };
    if !seen.insert(host.clone()) {
        return Ok(());
    }
    let mut entries: Vec<_> = fs::read_dir(&host)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = dir.join(entry.file_name());
        let Some(source) = tree.resolve(&name) else {
            continue;
        };
        if source.is_dir() {
            collect(tree, &name, seen, modules)?;
        } else if name.extension().is_some_and(|end| end == "py") && source.is_file() {
            modules.push(Module {
                source,
                place: entry.path(),
                name,
            });
        }
    }
    Ok(())
}

/// Compiles the modules, by as many processes as there are CPUs; returns what failed, as `PATH: REASON`.
fn run(tree: &Tree, python: &Python, modules: &[Module]) -> Result<Vec<String>> {
    let count = thread::available_parallelism().map_or(1, usize::from);
    let share = modules.len().div_ceil(count).max(1);
    let failures: Vec<Vec<String>> = thread::scope(|scope| {
        let parts: Vec<_> = modules
            .chunks(share)
            .map(|part| scope.spawn(|| run_one(tree, python, part)))
            .collect();
        let ends = parts.into_iter().map(|part| part.join());
        ends.map(|end| end.unwrap_or_else(|_| bail!("a thread failed")))
            .collect::<Result<_>>()
    })?;
    Ok(failures.concat())
}

fn run_one(tree: &Tree, python: &Python, modules: &[Module]) -> Result<Vec<String>> {
    let mut command = python.command(tree).with_context(|| {
        format!(
            "the image has no dynamic linker for {}",
            python.program().display()
        )
    })?;
    let mut child = command
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("it cannot be run on this machine")?;
    let mut records = Vec::new();
    for module in modules {
        for path in [&module.source, &module.place, &module.name] {
            records.extend_from_slice(path.as_os_str().as_bytes());
            records.push(0);
        }
    }
    let input = child
        .stdin
        .take()
        .map(|mut stdin| thread::spawn(move || stdin.write_all(&records)));
    let output = child.wait_with_output()?;
    // If it could not be written, the process has ended early and says why.
    let _ = input.map(thread::JoinHandle::join);
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{}: {}",
            output.status,
            text.trim().lines().last().unwrap_or_default()
        );
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().map(str::to_owned).collect())
}

fn report(progress: &Progress, python: &Python, failures: &[String]) {
    let [own, ..] = python.libraries();
    let wrong = WRONG.map(|part| format!("{}{part}", own.display()));
    let meant = |failure: &&String| !wrong.iter().any(|part| failure.starts_with(part));
    let failures: Vec<&String> = failures.iter().filter(meant).collect();
    if failures.is_empty() {
        return;
    }
    let named: Vec<&str> = failures
        .iter()
        .take(NAMED)
        .map(|text| text.as_str())
        .collect();
    let rest = failures.len() - named.len();
    let more = if rest == 0 {
        String::new()
    } else {
        format!(", and {rest} more")
    };
    progress.warn(format!(
        "Python modules stay uncompiled: {}{more}",
        named.join(", ")
    ));
}

#[cfg(test)]
mod tests {
    use super::*;
    use filetime::FileTime;

    #[test]
    fn modules_are_found_through_links_of_the_image() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::new(dir.path());
        let time = FileTime::zero();
        let add = |path: &str| {
            let added = tree.add_file(Path::new(path), &mut &b""[..], 0o644, time);
            added.unwrap();
        };
        let link = |path: &str, to: &str| {
            let added = tree.add_link(Path::new(path), Path::new(to), time);
            added.unwrap();
        };
        add("/etc/python/sitecustomize.py");
        add("/usr/share/package/module.py");
        link(
            "/usr/lib/python/sitecustomize.py",
            "/etc/python/sitecustomize.py",
        );
        link("/usr/lib/python/package", "/usr/share/package");
        link("/usr/lib/python/loop", "/usr/lib/python");
        link("/usr/lib/python/none.py", "/etc/none.py");
        let mut modules = Vec::new();
        collect(
            &tree,
            Path::new("/usr/lib/python"),
            &mut HashSet::new(),
            &mut modules,
        )
        .unwrap();
        let found: Vec<_> = modules
            .iter()
            .map(|module| {
                let [source, place] =
                    [&module.source, &module.place].map(|host| tree.guest_name(host));
                (module.name.to_str().unwrap(), source, place)
            })
            .collect();
        assert_eq!(
            found,
            [
                (
                    "/usr/lib/python/package/module.py",
                    "/usr/share/package/module.py".into(),
                    "/usr/share/package/module.py".into()
                ),
                (
                    "/usr/lib/python/sitecustomize.py",
                    "/etc/python/sitecustomize.py".into(),
                    "/usr/lib/python/sitecustomize.py".into()
                ),
            ]
        );
    }
}
