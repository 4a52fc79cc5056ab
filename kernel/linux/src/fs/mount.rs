//! Mounts: which file systems are where in the namespace, and nodes as they are seen through a mount.
//!
//! A [`Path`] is a node with the mount it was reached by; `..` and the working directory's name go by it, since with
//! bind mounts a node has several places. Every mount is in one table, and a node that something is mounted on says so
//! itself, so that walks ask the table nothing else. Propagation between mounts is left out: there is one namespace.
use super::{
    file_system::FileSystem,
    inotify,
    path::Target,
    tmpfs::Tmpfs,
    tree::{self, Kind, Node},
    write_back,
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
    next_dev: AtomicU32,
}

static NAMESPACE: Namespace = Namespace {
    root: spin::Once::new(),
    mounts: Mutex::new(Vec::new()),
    nowhere: spin::Once::new(),
    next_id: AtomicU32::new(1),
    next_dev: AtomicU32::new(0x20),
};

/// A fresh number for a file system without a device (major 0).
pub fn next_dev() -> u64 {
    let minor = NAMESPACE.next_dev.fetch_add(1, Ordering::Relaxed);
    u64::from(minor & 0xff | (minor & !0xff) << 12)
}

/// The root of the namespace; an empty file system if nothing was mounted.
pub fn root() -> &'static Path {
    NAMESPACE
        .root
        .call_once(|| root_of(Arc::new(Tmpfs::new(None)), b"none"))
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
            let fs: Arc<dyn FileSystem> = Arc::new(Tmpfs::anonymous());
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

/// Puts a mount where `target` leads. `ENOTDIR`, `EISDIR` if a directory were to cover a file or the other way.
fn attach(mount: Arc<Mount>, target: &Target) -> Result<(), Errno> {
    let on = target.found()?;
    if mount.root.is_directory() != on.node.is_directory() {
        return Err(Errno::ENOTDIR);
    }
    *mount.point.lock() = Some(Point {
        on: on.clone(),
        parent: target.parent.clone(),
        name: target.name.clone(),
    });
    on.node.set_mount_point(true);
    NAMESPACE.mounts.lock().push(mount);
    Ok(())
}

/// Mounts a file system where `target` leads.
pub fn mount(
    fs: Arc<dyn FileSystem>,
    source: &[u8],
    flags: u32,
    target: &Target,
) -> Result<(), Errno> {
    let root = fs.root();
    attach(Mount::new(fs, root, b"/".to_vec(), source, flags), target)
}

/// Makes what `from` leads to appear where `target` leads, too (`MS_BIND`), and the mounts below it if `recursive`.
pub fn bind(from: &Target, target: &Target, recursive: bool) -> Result<(), Errno> {
    let what = from.found()?;
    let copy = |path: &Path, subtree: Vec<u8>| {
        let Path { mount, node } = path;
        Mount::new(
            mount.fs.clone(),
            node.clone(),
            subtree,
            &mount.source,
            mount.flags(),
        )
    };
    let subtree = if what.node.is_directory() {
        what.node.path_in_file_system()
    } else {
        joined(from.parent.node.path_in_file_system(), &from.name)
    };
    let below = if recursive { below(what) } else { Vec::new() };
    let bound = copy(what, subtree);
    attach(bound.clone(), target)?;
    // A mount that lies in one of those that were copied comes into the copy.
    let mut copies = alloc::vec![(what.mount.clone(), bound)];
    for mount in below {
        let Some(mut point) = mount.point() else {
            continue;
        };
        let into = |path: &mut Path| {
            let is_old = |(old, _): &&(Arc<Mount>, _)| Arc::ptr_eq(old, &path.mount);
            if let Some((_, new)) = copies.iter().find(is_old) {
                path.mount = new.clone();
            }
        };
        into(&mut point.on);
        into(&mut point.parent);
        let node = mount.root.clone();
        let seen = Path {
            mount: mount.clone(),
            node,
        };
        let new = copy(&seen, mount.subtree.clone());
        point.on.node.set_mount_point(true);
        *new.point.lock() = Some(point);
        NAMESPACE.mounts.lock().push(new.clone());
        copies.push((mount, new));
    }
    Ok(())
}

/// The mounts at and below a path, upper ones first.
fn below(path: &Path) -> Vec<Arc<Mount>> {
    let is_below = |mount: &Arc<Mount>| {
        let mut at = mount.point().map(|point| point.on);
        while let Some(on) = at {
            let mut node = on.node.clone();
            while Arc::ptr_eq(&on.mount, &path.mount) {
                if Arc::ptr_eq(&node, &path.node) {
                    return true;
                }
                match node.parent() {
                    Ok(parent) if !Arc::ptr_eq(&parent, &node) => node = parent,
                    _ => break,
                }
            }
            at = on.mount.point().map(|point| point.on);
        }
        false
    };
    all().into_iter().filter(is_below).collect()
}

/// Takes away the mount that `path` is the root of: `EINVAL` if it is none, `EBUSY` if it is in use, unless `lazily`.
/// The path must be the caller's only reference to the mount.
pub fn unmount(path: Path, lazily: bool) -> Result<(), Errno> {
    if !path.is_mount_root() || path.mount.point().is_none() {
        return Err(Errno::EINVAL);
    }
    let Path { mount, node } = path;
    drop(node);
    write_back::all()?;
    mount.fs.sync()?;
    let inner = |other: &Arc<Mount>| {
        let point = other.point.lock();
        point
            .as_ref()
            .is_some_and(|point| Arc::ptr_eq(&point.on.mount, &mount))
    };
    let mut mounts = NAMESPACE.mounts.lock();
    // The table's reference and the one here.
    if !lazily && (mounts.iter().any(inner) || Arc::strong_count(&mount) > 2) {
        return Err(Errno::EBUSY);
    }
    let mut gone = Vec::new();
    let mut going = alloc::vec![mount.clone()];
    while let Some(one) = going.pop() {
        let is_in = |other: &Arc<Mount>| {
            let point = other.point.lock();
            point
                .as_ref()
                .is_some_and(|point| Arc::ptr_eq(&point.on.mount, &one))
        };
        going.extend(mounts.iter().filter(|other| is_in(other)).cloned());
        gone.extend(mounts.extract_if(.., |other| Arc::ptr_eq(other, &one)));
        let point = one.point.lock().take();
        if let Some(Point { on, .. }) = &point {
            on.node.set_mount_point(false);
        }
        drop(mounts);
        drop(point);
        mounts = NAMESPACE.mounts.lock();
    }
    let left: Vec<_> = mounts.iter().map(|mount| mount.fs.dev()).collect();
    drop(mounts);
    for dev in gone.iter().map(|mount| mount.fs.dev()) {
        if !left.contains(&dev) {
            inotify::notify_unmounted(dev);
        }
    }
    drop(gone);
    Ok(())
}

/// Has every file system write what it keeps back; the first error.
pub fn sync() -> Result<(), Errno> {
    let mut result = write_back::all();
    for mount in all() {
        result = result.and(mount.fs.sync());
    }
    result
}

/// The same when the machine ends.
pub fn finish() -> Result<(), Errno> {
    let mut result = write_back::all();
    for mount in all() {
        result = result.and(mount.fs.finish());
    }
    result
}

#[cfg(test)]
mod tests;
