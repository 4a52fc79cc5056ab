//! The image's own Python, run on the host through the image's own dynamic linker: whatever
//! version the image has, the byte code (and pip's choice of wheels) fits it exactly.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::library;
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
    all(tree).into_iter().next()
}

/// One Python for each prefix that has any, in the order of `PATH`.
pub(super) fn all(tree: &Tree) -> Vec<Python> {
    let found = ["/usr/local", "/usr"].into_iter().filter_map(|prefix| {
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
    });
    found.collect()
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

    /// Directories of its own modules and of installed ones.
    pub(super) fn libraries(&self) -> [PathBuf; 3] {
        let lib = Path::new(self.prefix).join("lib");
        [
            lib.join(format!("python{}", self.version)),
            lib.join("python3/dist-packages"),
            self.packages(),
        ]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(version("python3.11"), Some((3, 11)));
        assert_eq!(version("python3"), None);
        assert_eq!(version("python3.11-config"), None);
    }
}
