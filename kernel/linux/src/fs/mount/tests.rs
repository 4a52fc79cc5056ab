//! Walks across mounts, bind mounts, what is in use, what may not be changed.
use super::{namespace::*, *};
use crate::fs::{
    directory,
    path::{Last, Start, Target, walk},
    tmpfs::Tmpfs,
};

extern crate std;

/// The one tree's locks sleep, for which tests have no scheduler: one at a time.
fn begin() -> std::sync::MutexGuard<'static, ()> {
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ONE.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn target(path: &[u8]) -> Target {
    walk(&Start::root(), path, Last::Follow).unwrap()
}

fn top(path: &[u8]) -> Path {
    target(path).found().unwrap().clone()
}

fn make(path: &[u8]) {
    let Target { parent, name, .. } = target(path);
    let node = Node::new(parent.node.dev, linux::S_IFDIR | 0o755, Kind::directory());
    directory::add(&parent.node, &name, node).unwrap();
}

fn text(path: &[u8]) -> Vec<u8> {
    target(path).found().unwrap().text()
}

fn tmpfs() -> Arc<dyn FileSystem> {
    Arc::new(Tmpfs::new(None))
}

#[test]
fn paths_cross_mounts_both_ways() {
    let _one = begin();
    make(b"/cross");
    let before = target(b"/cross");
    mount(tmpfs(), b"none", 0, &before).unwrap();
    make(b"/cross/in");
    assert_eq!(text(b"/cross/in"), b"/cross/in");
    assert_eq!(text(b"/cross/in/.."), b"/cross");
    assert_eq!(text(b"/cross/.."), b"/");
    let (outer, inner) = (before.found().unwrap(), target(b"/cross"));
    assert_ne!(outer.node.dev, inner.found().unwrap().node.dev);
    // What is covered stays reachable by those that had it, and cannot go.
    assert_eq!(directory::rmdir(&before), Err(Errno::EBUSY));
    drop(inner);
    unmount(top(b"/cross"), false).unwrap();
    assert_eq!(directory::rmdir(&before), Ok(()));
}

#[test]
fn what_is_in_use_is_not_unmounted() {
    let _one = begin();
    make(b"/busy");
    mount(tmpfs(), b"none", 0, &target(b"/busy")).unwrap();
    make(b"/busy/held");
    let held = target(b"/busy/held");
    assert_eq!(unmount(top(b"/busy"), false), Err(Errno::EBUSY));
    drop(held);
    assert_eq!(unmount(top(b"/busy"), false), Ok(()));
    assert_eq!(unmount(top(b"/busy"), false), Err(Errno::EINVAL));
}

#[test]
fn a_bound_directory_has_two_paths() {
    let _one = begin();
    for path in [&b"/one"[..], b"/one/sub", b"/two"] {
        make(path);
    }
    mount(tmpfs(), b"none", 0, &target(b"/one/sub")).unwrap();
    make(b"/one/sub/leaf");
    bind(&target(b"/one"), &target(b"/two"), true).unwrap();
    assert_eq!(text(b"/two/sub/leaf"), b"/two/sub/leaf");
    assert_eq!(text(b"/two/sub/leaf/../.."), b"/two");
    assert_eq!(text(b"/one/sub/leaf"), b"/one/sub/leaf");
    unmount(top(b"/two"), true).unwrap();
    assert_eq!(target(b"/two/sub").node.map(|_| ()), None);
    assert_eq!(text(b"/one/sub/leaf"), b"/one/sub/leaf");
}

#[test]
fn nothing_is_made_where_only_reading_is_allowed() {
    let _one = begin();
    make(b"/ro");
    mount(tmpfs(), b"none", linux::MS_RDONLY, &target(b"/ro")).unwrap();
    let name = target(b"/ro/name");
    let mode = linux::S_IFDIR | 0o755;
    let create = || directory::create(&name, mode, Kind::directory()).map(|_| ());
    assert_eq!(create(), Err(Errno::EROFS));
    name.parent.mount.set_flags(0);
    // Not made: there is no thread here whose it would be.
    assert_eq!(name.parent.mount.check_writable(), Ok(()));
}
