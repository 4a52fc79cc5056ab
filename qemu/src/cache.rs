//! The cache under `${XDG_CACHE_HOME:-~/.cache}/elfin`: downloads, resolved package lists, images
//! of `run --root`, the embedded kernel, what QEMU calls itself. Everything in it can be deleted at any time.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};

/// The cache directory.
pub(crate) struct Cache {
    root: PathBuf,
}

impl Cache {
    /// Opens the user's cache, creating it if need be.
    pub(crate) fn open() -> Result<Self> {
        let base = std::env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
            .context("neither XDG_CACHE_HOME nor HOME says where to keep the cache")?;
        let root = base.join("elfin");
        fs::create_dir_all(&root)
            .with_context(|| format!("cannot create the cache {}", root.display()))?;
        Ok(Self { root })
    }

    /// A cache in the directory `root`, which is there.
    #[cfg(test)]
    pub(crate) fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// A directory inside the cache, created if need be.
    pub(crate) fn dir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.root.join(name);
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(dir)
    }

    /// Waits for and takes the lock `name`; it is released when the file is dropped.
    pub(crate) fn lock(&self, name: &str) -> Result<File> {
        let path = self.dir("locks")?.join(name);
        let file = File::create(&path)
            .with_context(|| format!("cannot create the lock {}", path.display()))?;
        flock(&file, FlockOperation::LockExclusive)
            .with_context(|| format!("cannot lock {}", path.display()))?;
        Ok(file)
    }

    /// Keeps `content` in a file named after its hash; returns the file's path.
    pub(crate) fn keep(&self, dir: &str, suffix: &str, content: &[u8]) -> Result<PathBuf> {
        self.keep_as(dir, &format!("{}{suffix}", key([content])), content)
    }

    /// Keeps `content` in a file of a name that stands for it.
    pub(crate) fn keep_as(&self, dir: &str, name: &str, content: &[u8]) -> Result<PathBuf> {
        let path = self.dir(dir)?.join(name);
        let kept = fs::metadata(&path).is_ok_and(|meta| meta.len() == content.len() as u64);
        if !kept {
            write_atomically(&path, content)?;
        }
        Ok(path)
    }
}

/// A file name made of the hash of `parts`, each kept apart from the next.
pub(crate) fn key<T: AsRef<[u8]>>(parts: impl IntoIterator<Item = T>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        let part = part.as_ref();
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize()[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Writes a file so that others see either nothing (or the old content) or all of it.
pub(crate) fn write_atomically(path: &Path, content: &[u8]) -> Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let write = || -> Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(content)?;
        file.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_parts_apart() {
        assert_ne!(key(["ab", "c"]), key(["a", "bc"]));
        assert_eq!(key(["ab", "c"]), key(["ab", "c"]));
        assert_eq!(key([""]).len(), 32);
    }
}
