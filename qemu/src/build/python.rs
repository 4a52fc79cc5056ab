//! The image's own Python, run on the host through the image's own dynamic linker: whatever
//! version the image has, the byte code (and pip's choice of wheels) fits it exactly.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use filetime::FileTime;
use walkdir::WalkDir;

use super::library;
use crate::progress::Progress;
use crate::tool;
use crate::tree::Tree;

/// A Python in the image.
pub(super) struct Python {
    /// `3.11` and the like.
    pub(super) version: String,
    /// Its prefix in the image: `/usr` or `/usr/local`.
    prefix: &'static str,
}

/// Finds the image's Python: what `python3` leads to, or else the newest there is.
pub(super) fn find(tree: &Tree) -> Option<Python> {
    ["/usr/local", "/usr"].into_iter().find_map(|prefix| {
        let bin = Path::new(prefix).join("bin");
        let default = tree.resolve(&bin.join("python3"));
        let others = fs::read_dir(tree.resolve(&bin)?).ok()?;
        default
            .iter()
            .filter_map(|path| version(path.file_name()?.to_str()?))
            .next()
            .or_else(|| {
                others
                    .filter_map(|entry| version(entry.ok()?.file_name().to_str()?))
                    .max()
            })
            .map(|(major, minor)| Python {
                version: format!("{major}.{minor}"),
                prefix,
            })
    })
}

fn version(name: &str) -> Option<(u32, u32)> {
    let (major, minor) = name.strip_prefix("python")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

impl Python {
    /// Where wheels go: Debian's Python looks into dist-packages, others into site-packages.
    pub(super) fn packages(&self) -> PathBuf {
        let dir = if self.prefix == "/usr" {
            "dist-packages"
        } else {
            "site-packages"
        };
        Path::new("/usr/local/lib")
            .join(format!("python{}", self.version))
            .join(dir)
    }

    /// The interpreter's path in the image.
    pub(super) fn program(&self) -> PathBuf {
        Path::new(self.prefix)
            .join("bin")
            .join(format!("python{}", self.version))
    }

    /// A command that runs this Python on the host, if the image has the dynamic linker for it.
    pub(super) fn command(&self, tree: &Tree) -> Option<Command> {
        let linker = tree.resolve(Path::new("/lib64/ld-linux-x86-64.so.2"))?;
        let program = tree.resolve(&self.program())?;
        let libraries: Vec<PathBuf> = library::system_dirs(tree)
            .iter()
            .filter_map(|dir| tree.resolve(dir))
            .collect();
        let mut command = Command::new(linker);
        command
            .arg("--library-path")
            .arg(std::env::join_paths(libraries).ok()?)
            .arg(program)
            .args(["-S", "-s"])
            .env_remove("LD_LIBRARY_PATH")
            .env_remove("LD_PRELOAD")
            .env_remove("PYTHONPATH")
            .env_remove("PYTHONSTARTUP")
            .env("PYTHONHOME", tree.root().join(&self.prefix[1..]))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONHASHSEED", "0");
        Some(command)
    }
}

/// Compiles all installed modules, as Debian's packages do when they are installed: without it,
/// every boot would compile what it imports.
pub(super) fn compile(tree: &Tree, progress: &Progress) -> Result<()> {
    let Some(python) = find(tree) else {
        return Ok(());
    };
    let lib = |rest: String| Path::new(python.prefix).join("lib").join(rest);
    let dirs: Vec<PathBuf> = [
        lib(format!("python{}", python.version)),
        lib("python3/dist-packages".to_owned()),
        python.packages(),
    ]
    .iter()
    .filter_map(|dir| tree.resolve(dir))
    .collect();
    progress.step(format!("compiling Python {} modules", python.version));
    let Some(mut command) = python.command(tree) else {
        progress.warn(format!(
            "Python modules stay uncompiled: the image has no dynamic linker for {}",
            python.program().display()
        ));
        return Ok(());
    };
    command
        .args(["-m", "compileall", "-qq", "-j", "0"])
        .args(["--invalidation-mode", "timestamp"])
        // Test data of lib2to3 and the like is wrong on purpose.
        .args([
            "-x",
            r"/(bad_coding|badsyntax|site-packages|lib2to3/tests/data)",
        ])
        .arg("-s")
        .arg(tree.root())
        .args(["-p", "/"])
        .args(&dirs);
    let result = tool::output(&mut command);
    let compiled = date_byte_code(&dirs)?;
    if let (Err(error), 0) = (result, compiled) {
        progress.warn(format!("Python modules stay uncompiled: {error:#}"));
    }
    Ok(())
}

/// Dates byte code like its source; returns how many files there are.
fn date_byte_code(dirs: &[PathBuf]) -> Result<usize> {
    let mut count = 0;
    for entry in dirs.iter().flat_map(WalkDir::new) {
        let entry = entry?;
        if let Some(source) = source_of(entry.path())
            && let Ok(meta) = fs::metadata(&source)
        {
            let time = FileTime::from_last_modification_time(&meta);
            filetime::set_file_mtime(entry.path(), time)?;
            count += 1;
        }
    }
    Ok(count)
}

/// `a/x.py` for `a/__pycache__/x.cpython-311.pyc`.
fn source_of(byte_code: &Path) -> Option<PathBuf> {
    let name = byte_code.file_name()?.to_str()?.strip_suffix(".pyc")?;
    let dir = byte_code.parent()?;
    if dir.file_name()? != "__pycache__" {
        return None;
    }
    let module = name.split_once(".cpython-")?.0;
    Some(dir.parent()?.join(format!("{module}.py")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(version("python3.11"), Some((3, 11)));
        assert_eq!(version("python3"), None);
        assert_eq!(version("python3.11-config"), None);
    }

    #[test]
    fn sources() {
        assert_eq!(
            source_of(Path::new("/a/__pycache__/x.cpython-311.pyc")),
            Some("/a/x.py".into())
        );
        assert_eq!(
            source_of(Path::new("/a/__pycache__/x.cpython-311.opt-1.pyc")),
            Some("/a/x.py".into())
        );
        assert_eq!(source_of(Path::new("/a/x.pyc")), None);
    }
}
