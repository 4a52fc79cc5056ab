//! Changing what is mounted where: mount(2), umount2(2).
use super::{Mount, NAMESPACE, Path, Point, all, joined};
use crate::fs::{file_system::FileSystem, notify, path::Target, write_back};
use abi::Errno;
use alloc::{sync::Arc, vec::Vec};

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
            notify::notify_unmounted(dev);
        }
    }
    drop(gone);
    Ok(())
}
