//! A root tree under construction in a host directory: paths in it are resolved as the guest will
//! resolve them, so that an absolute symbolic link in a package never leads out into the host.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use filetime::FileTime;
use walkdir::WalkDir;

/// Links followed in one path before it counts as a loop; Linux's own limit.
const MAX_LINKS: u32 = 40;

/// Directories that a merged-/usr system has in its root as links.
const MERGED: [(&str, &str); 4] = [
    ("bin", "usr/bin"),
    ("sbin", "usr/sbin"),
    ("lib", "usr/lib"),
    ("lib64", "usr/lib64"),
];

/// Directories that exist in every root, with their modes.
pub(crate) const PLACES: [(&str, u32); 12] = [
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("mnt", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("var", 0o755),
    ("var/tmp", 0o1777),
];

/// A directory on the host that holds a guest's root.
pub(crate) struct Tree {
    root: PathBuf,
}

impl Tree {
    /// Looks at `root` as a guest's root.
    pub(crate) fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The host's name of the root.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The merged-/usr links and empty directories under everything else.
    pub(crate) fn skeleton(&self) -> Result<()> {
        for (link, target) in MERGED {
            fs::create_dir_all(self.root.join(target))?;
            self.add_link(Path::new(link), Path::new(target), FileTime::zero())?;
        }
        self.add_places()
    }

    /// Adds those of [`PLACES`] that are missing.
    pub(crate) fn add_places(&self) -> Result<()> {
        for (place, mode) in PLACES {
            let dir = self.place(Path::new(place))?;
            if fs::symlink_metadata(&dir).is_err() {
                fs::create_dir_all(&dir)?;
                fs::set_permissions(&dir, Permissions::from_mode(mode))?;
            }
        }
        Ok(())
    }

    /// The host path of the guest path `path` with all links but a last one followed, and the
    /// directories leading to it created.
    pub(crate) fn place(&self, path: &Path) -> Result<PathBuf> {
        let host = self.walk(path, false)?;
        if let Some(parent) = host.parent() {
            fs::create_dir_all(parent)
                .with_context(|| format!("cannot create {}", parent.display()))?;
        }
        Ok(host)
    }

    /// The host path of what the guest path `path` leads to, if it exists.
    pub(crate) fn resolve(&self, path: &Path) -> Option<PathBuf> {
        let host = self.walk(path, true).ok()?;
        fs::symlink_metadata(&host).is_ok().then_some(host)
    }

    /// The guest's name of a host path inside the tree.
    pub(crate) fn guest_name(&self, host: &Path) -> PathBuf {
        Path::new("/").join(host.strip_prefix(&self.root).unwrap_or(host))
    }

    fn walk(&self, path: &Path, follow_last: bool) -> Result<PathBuf> {
        let mut links = 0;
        let mut host = self.root.clone();
        let mut rest: Vec<OsString> = names(path);
        rest.reverse();
        while let Some(name) = rest.pop() {
            if name == ".." {
                if host != self.root {
                    host.pop();
                }
                continue;
            }
            host.push(&name);
            if rest.is_empty() && !follow_last {
                break;
            }
            let Ok(target) = fs::read_link(&host) else {
                continue;
            };
            links += 1;
            if links > MAX_LINKS {
                bail!("too many symbolic links in {}", path.display());
            }
            if target.is_absolute() {
                host = self.root.clone();
            } else {
                host.pop();
            }
            rest.extend(names(&target).into_iter().rev());
        }
        Ok(host)
    }

    /// Makes way at the host path `host` for something that is not a directory.
    pub(crate) fn clear(&self, host: &Path) -> Result<()> {
        match fs::symlink_metadata(host) {
            Ok(meta) if meta.is_dir() => fs::remove_dir_all(host),
            Ok(_) => fs::remove_file(host),
            Err(_) => Ok(()),
        }
        .with_context(|| format!("cannot replace {}", host.display()))
    }

    /// Creates the directory `path`, or keeps what leads to one already.
    pub(crate) fn add_dir(&self, path: &Path, mode: u32) -> Result<()> {
        let host = self.place(path)?;
        let meta = self
            .resolve(path)
            .and_then(|host| fs::symlink_metadata(host).ok());
        if !meta.is_some_and(|meta| meta.is_dir()) {
            self.clear(&host)?;
            fs::create_dir_all(&host)?;
        }
        // The owner must be able to go on writing below it.
        if let Some(host) = self.resolve(path) {
            fs::set_permissions(&host, Permissions::from_mode(mode & 0o7777 | 0o700))?;
        }
        Ok(())
    }

    /// Creates the symbolic link `path`.
    pub(crate) fn add_link(&self, path: &Path, target: &Path, time: FileTime) -> Result<()> {
        let host = self.place(path)?;
        self.clear(&host)?;
        symlink(target, &host).with_context(|| format!("cannot create {}", host.display()))?;
        filetime::set_symlink_file_times(&host, time, time)?;
        Ok(())
    }

    /// Creates the regular file `path` out of what `content` yields.
    pub(crate) fn add_file(
        &self,
        path: &Path,
        content: &mut dyn std::io::Read,
        mode: u32,
        time: FileTime,
    ) -> Result<()> {
        let host = self.place(path)?;
        let write = || -> Result<()> {
            self.clear(&host)?;
            let mut file = fs::File::create(&host)?;
            std::io::copy(content, &mut file)?;
            file.set_permissions(Permissions::from_mode(mode & 0o7777 | 0o400))?;
            filetime::set_file_handle_times(&file, Some(time), Some(time))?;
            Ok(())
        };
        let mut write = write;
        write().with_context(|| format!("cannot write {}", self.guest_name(&host).display()))
    }

    /// Puts the directory tree `source` of the host at the guest path `at`.
    pub(crate) fn add_tree(&self, source: &Path, at: &Path) -> Result<()> {
        let meta = fs::metadata(source)
            .with_context(|| format!("cannot read the directory {}", source.display()))?;
        if !meta.is_dir() {
            bail!("{} is not a directory", source.display());
        }
        for entry in WalkDir::new(source).sort_by_file_name() {
            let entry = entry.with_context(|| format!("cannot read {}", source.display()))?;
            let path = at.join(entry.path().strip_prefix(source)?);
            let meta = entry.metadata()?;
            let time = FileTime::from_last_modification_time(&meta);
            let mode = meta.permissions().mode();
            let kind = if entry.depth() == 0 {
                meta.file_type()
            } else {
                entry.file_type()
            };
            if kind.is_dir() || entry.depth() == 0 {
                self.add_dir(&path, mode)?;
            } else if kind.is_symlink() {
                self.add_link(&path, &fs::read_link(entry.path())?, time)?;
            } else if kind.is_file() {
                let mut file = fs::File::open(entry.path())
                    .with_context(|| format!("cannot read {}", entry.path().display()))?;
                self.add_file(&path, &mut file, mode, time)?;
            }
            // Devices and sockets of the host mean nothing in the guest.
        }
        Ok(())
    }
}

/// The names in a path, without root and `.`; `..` is kept.
fn names(path: &Path) -> Vec<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_inside() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::new(dir.path());
        tree.skeleton().unwrap();
        let time = FileTime::from_unix_time(1_000_000, 0);
        tree.add_file(Path::new("/lib/x"), &mut &b"x"[..], 0o644, time)
            .unwrap();
        tree.add_link(
            Path::new("/etc/out"),
            Path::new("/lib/../../../lib/x"),
            time,
        )
        .unwrap();
        let x = dir.path().join("usr/lib/x");
        assert!(x.exists());
        assert_eq!(tree.resolve(Path::new("/etc/out")), Some(x.clone()));
        assert_eq!(tree.guest_name(&x), Path::new("/usr/lib/x"));
        assert_eq!(tree.resolve(Path::new("/etc/none")), None);
        tree.add_link(Path::new("/etc/loop"), Path::new("loop"), time)
            .unwrap();
        assert_eq!(tree.resolve(Path::new("/etc/loop")), None);
    }

    #[test]
    fn trees_go_on_top_and_keep_times() {
        let source = tempfile::tempdir().unwrap();
        fs::create_dir(source.path().join("bin")).unwrap();
        fs::write(source.path().join("bin/p"), "p").unwrap();
        let time = FileTime::from_unix_time(1_234_567, 0);
        filetime::set_file_mtime(source.path().join("bin/p"), time).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::new(dir.path());
        tree.skeleton().unwrap();
        tree.add_tree(source.path(), Path::new("/")).unwrap();
        let meta = fs::metadata(dir.path().join("usr/bin/p")).unwrap();
        assert_eq!(FileTime::from_last_modification_time(&meta), time);
        assert!(dir.path().join("bin").is_symlink());
        tree.add_tree(source.path(), Path::new("/opt/app")).unwrap();
        assert!(dir.path().join("opt/app/bin/p").exists());
        assert!(
            tree.add_tree(&source.path().join("bin/p"), Path::new("/"))
                .is_err()
        );
    }
}
