//! Mounts: which file systems are where in the namespace, and nodes as they are seen through a mount.
//!
//! A [`Path`] is a node with the mount it was reached by; `..` and the working directory's name go by it, since with
//! bind mounts a node has several places. Every mount is in one table, and a node that something is mounted on says so
//! itself, so that walks ask the table nothing else. Propagation between mounts is left out: there is one namespace.
pub mod namespace;

use super::{
    file_system::{FileSystem, Pseudo},
    tree::{self, Kind, Node, dev},
};
use abi::Errno;
use alloc::{sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicU32, Ordering};
use linux_raw_sys::general as linux;
use machine::sync::{Mutex, SpinLock};

/// Flags that a mount has, as mount(2) gives them.
const FLAGS: u32 = linux::MS_RDONLY
    | linux::MS_NOSUID
    | linux::MS_NODEV
    | linux::MS_NOEXEC
    | linux::MS_NOATIME
    | linux::MS_NODIRATIME
    | linux::MS_RELATIME;

/// A file system, or a part of one, in the namespace.
pub struct Mount {
    /// Number in /proc/self/mountinfo.
    pub id: u32,
    /// The file system.
    pub fs: Arc<dyn FileSystem>,
    /// What of it is seen at the mount's place.
    root: Arc<Node>,
    /// The path of `root` in the file system, when it was mounted.
    subtree: Vec<u8>,
    /// What /proc/mounts shows as the device.
    source: Vec<u8>,
    flags: AtomicU32,
    /// `None` for the root of the namespace, and once it is unmounted.
    point: SpinLock<Option<Point>>,
}

/// Where a mount is.
#[derive(Clone)]
struct Point {
    /// What it covers.
    on: Path,
    /// The directory with the name of what it covers, and the name: files do not know theirs.
    parent: Path,
    name: Vec<u8>,
}

/// A node as it is seen through a mount.
#[derive(Clone)]
pub struct Path {
    /// The mount.
    pub mount: Arc<Mount>,
    /// The node.
    pub node: Arc<Node>,
}

/// All there is.
#[doc(alias = "mnt_namespace")]
struct Namespace {
    root: spin::Once<Path>,
    mounts: Mutex<Vec<Arc<Mount>>>,
    /// The mount of what is in no directory.
    nowhere: spin::Once<Arc<Mount>>,
    next_id: AtomicU32,
}

static NAMESPACE: Namespace = Namespace {
    root: spin::Once::new(),
    mounts: Mutex::new(Vec::new()),
    nowhere: spin::Once::new(),
    next_id: AtomicU32::new(1),
};

/// The root of the namespace; an empty file system if nothing was mounted.
pub fn root() -> &'static Path {
    NAMESPACE
        .root
        .call_once(|| root_of(memory(dev::ROOT), b"none"))
}

/// An empty file system without a place.
fn memory(dev: u64) -> Arc<dyn FileSystem> {
    Arc::new(Pseudo::new("tmpfs", dev, linux::TMPFS_MAGIC, 0o777))
}

/// Makes `fs` the root of the namespace, once.
pub(super) fn set_root(fs: Arc<dyn FileSystem>, source: &[u8]) {
    NAMESPACE.root.call_once(|| root_of(fs, source));
}

fn root_of(fs: Arc<dyn FileSystem>, source: &[u8]) -> Path {
    let node = fs.root();
    let mount = Mount::new(fs, node.clone(), b"/".to_vec(), source, linux::MS_RELATIME);
    NAMESPACE.mounts.lock().push(mount.clone());
    Path { mount, node }
}

/// All mounts, those first that were mounted first.
pub(super) fn all() -> Vec<Arc<Mount>> {
    NAMESPACE.mounts.lock().clone()
}

/// The mounted file system with a device number.
pub fn file_system(dev: u64) -> Option<Arc<dyn FileSystem>> {
    let of_dev = |mount: &&Arc<Mount>| mount.fs.dev() == dev;
    let mount = NAMESPACE.mounts.lock().iter().find(of_dev).cloned();
    mount.map(|mount| mount.fs.clone())
}

impl Mount {
    fn new(
        fs: Arc<dyn FileSystem>,
        root: Arc<Node>,
        subtree: Vec<u8>,
        source: &[u8],
        flags: u32,
    ) -> Arc<Self> {
        Arc::new(Self {
            id: NAMESPACE.next_id.fetch_add(1, Ordering::Relaxed),
            fs,
            root,
            subtree,
            source: source.to_vec(),
            flags: AtomicU32::new(flags & FLAGS),
            point: SpinLock::new(None),
        })
    }

    /// Its flags (`MS_RDONLY`, …).
    pub fn flags(&self) -> u32 {
        self.flags.load(Ordering::Relaxed)
    }

    /// Sets the flags that mount(2) gives with `MS_REMOUNT`.
    pub fn set_flags(&self, flags: u32) {
        self.flags.store(flags & FLAGS, Ordering::Relaxed);
    }

    /// `EROFS` if nothing on it may be changed.
    pub fn check_writable(&self) -> Result<(), Errno> {
        if self.flags() & linux::MS_RDONLY != 0 || self.fs.is_read_only() {
            return Err(Errno::EROFS);
        }
        Ok(())
    }

    /// Whether its files may be executed.
    pub fn executable(&self) -> bool {
        self.flags() & linux::MS_NOEXEC == 0
    }

    /// Whether its devices can be opened.
    #[doc(alias = "may_open_dev")]
    pub(super) fn opens_devices(&self) -> bool {
        self.flags() & linux::MS_NODEV == 0
    }

    /// Whether its files can give who runs them other rights.
    #[doc(alias = "mnt_may_suid")]
    pub fn gives_privileges(&self) -> bool {
        self.flags() & linux::MS_NOSUID == 0
    }

    fn point(&self) -> Option<Point> {
        self.point.lock().clone()
    }

    /// Its place, source, part of the file system and the number of the mount it lies in, for /proc.
    pub(super) fn describe(&self) -> (Vec<u8>, &[u8], &[u8], u32) {
        let (place, parent) = match self.point() {
            None => (b"/".to_vec(), 1),
            Some(point) => {
                let id = point.on.mount.id;
                if point.on.node.is_directory() {
                    (point.on.text(), id)
                } else {
                    (joined(point.parent.text(), &point.name), id)
                }
            }
        };
        (place, &self.source, &self.subtree, parent)
    }
}

/// The path of `name` in the directory with the path `directory`.
pub(super) fn joined(mut directory: Vec<u8>, name: &[u8]) -> Vec<u8> {
    if !directory.ends_with(b"/") {
        directory.push(b'/');
    }
    directory.extend_from_slice(name);
    directory
}

impl Path {
    /// A node that no path leads to.
    pub fn detached(node: Arc<Node>) -> Self {
        let mount = NAMESPACE.nowhere.call_once(|| {
            let fs = memory(dev::ANONYMOUS);
            let root = fs.root();
            Mount::new(fs, root, Vec::new(), b"none", 0)
        });
        Self {
            mount: mount.clone(),
            node,
        }
    }

    /// Whether both are the same place.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.mount, &other.mount) && Arc::ptr_eq(&self.node, &other.node)
    }

    /// Whether something is mounted there.
    pub fn is_mount_root(&self) -> bool {
        Arc::ptr_eq(&self.node, &self.mount.root)
    }

    /// What is mounted there on top, or the path itself.
    fn top(mut self) -> Self {
        while self.node.is_mount_point()
            && let Some(mount) = mounted_on(&self)
        {
            let node = mount.root.clone();
            self = Self { mount, node };
        }
        self
    }

    /// What `name` (neither `.` nor `..`) leads to.
    pub fn child(&self, name: &[u8]) -> Result<Option<Self>, Errno> {
        Ok(self.node.child(name)?.map(|node| {
            let mount = self.mount.clone();
            Self { mount, node }.top()
        }))
    }

    /// The path itself, out of the mounts whose root it is.
    fn covered(&self) -> Self {
        let mut at = self.clone();
        while at.is_mount_root()
            && let Some(point) = at.mount.point()
        {
            at = point.on;
        }
        at
    }

    /// What `..` leads to; the path itself for the root.
    pub fn parent(&self) -> Result<Self, Errno> {
        let Self { mount, node } = self.covered();
        if Arc::ptr_eq(&node, &mount.root) {
            return Ok(Self { mount, node });
        }
        let node = node.parent()?;
        Ok(Self { mount, node }.top())
    }

    /// Absolute path of a directory, with ` (deleted)` after that of a removed one.
    pub fn text(&self) -> Vec<u8> {
        self.text_below(root()).0
    }

    /// The same for who has the root `root`, and whether the directory is below that; if not, it is the absolute one.
    pub fn text_below(&self, root: &Self) -> (Vec<u8>, bool) {
        let mut parts = Vec::new();
        let mut deleted = false;
        let mut below = false;
        let mut at = self.clone();
        loop {
            if at.is(root) {
                below = true;
                break;
            }
            at = at.covered();
            if at.is_mount_root() {
                below = at.is(root);
                break;
            }
            let Some(place) = at.node.place() else {
                break;
            };
            if let Kind::Directory(directory) = &at.node.kind {
                deleted |= directory.entries.lock().removed;
            }
            let Some((parent, name)) = place.lock().clone() else {
                break;
            };
            parts.push(name);
            match parent.upgrade() {
                Some(parent) => at.node = parent,
                None => break,
            }
        }
        let mut path = tree::absolute(&parts);
        if deleted {
            path.extend_from_slice(b" (deleted)");
        }
        (path, below)
    }
}

fn mounted_on(path: &Path) -> Option<Arc<Mount>> {
    let mounts = NAMESPACE.mounts.lock();
    let is_there = |mount: &&Arc<Mount>| {
        let point = mount.point.lock();
        point.as_ref().is_some_and(|point| point.on.is(path))
    };
    mounts.iter().find(is_there).cloned()
}

#[cfg(test)]
mod tests;
