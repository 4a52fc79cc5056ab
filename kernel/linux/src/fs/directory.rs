//! Changing the tree: create, link, unlink, rename. One lock serialises all of it; lookups only take the lock of the
//! directory they look into, and see either the old or the new entry.
use super::{
    Content, forget,
    mount::Path,
    notify, page_cache,
    path::Target,
    permission::{self, Access},
    tree::{Directory, Entry, Kind, Node},
    write_back,
};
use crate::credentials;
use abi::Errno;
use alloc::{boxed::Box, sync::Arc};
use linux_raw_sys::general as linux;
use machine::{mm::frame, sync::Mutex};

static CHANGES: Mutex<()> = Mutex::new(());

/// Names and nodes take kernel memory: no more of them when it is nearly gone. Those of files that are elsewhere can be
/// forgotten, and are not the reason for that.
fn check_space(parent: &Node) -> Result<(), Errno> {
    if page_cache::has_room() {
        return Ok(());
    }
    if parent.operations.is_none() {
        return Err(Errno::ENOSPC);
    }
    forget::unused();
    let is_room = frame::available() > 0 || write_back::make_room();
    is_room.then_some(()).ok_or(Errno::ENOMEM)
}

/// Puts `node` into a directory under `name`; whatever was there is returned.
fn enter(parent: &Arc<Node>, name: &[u8], node: Arc<Node>) -> Result<Option<Entry>, Errno> {
    let directory = parent.directory()?;
    let mut entries = directory.entries.lock();
    if entries.removed {
        return Err(Errno::ENOENT);
    }
    entries.load()?;
    if let Some(place) = node.place() {
        *place.lock() = Some((Arc::downgrade(parent), Arc::from(name)));
    }
    let old = entries.names.insert(Box::from(name), Entry::Node(node));
    drop(entries);
    parent.touch(true);
    Ok(old)
}

fn take_out(parent: &Arc<Node>, name: &[u8]) -> Result<(), Errno> {
    let old = parent.directory()?.entries.lock().names.remove(name);
    drop(old);
    parent.touch(true);
    Ok(())
}

/// What a name in a directory whose files are elsewhere has come to lead to.
fn know(parent: &Arc<Node>, name: &[u8], node: Option<Arc<Node>>) -> Result<(), Errno> {
    if let Some(operations) = &parent.operations {
        let mut entries = parent.directory()?.entries.lock();
        parent.remember(&**operations, &mut entries, name, node);
        operations.expire();
    }
    Ok(())
}

/// A name in such a directory is to be looked up anew.
fn forget(parent: &Node, name: &[u8]) -> Result<(), Errno> {
    if let Some(operations) = &parent.operations {
        parent.directory()?.entries.lock().names.remove(name);
        operations.expire();
    }
    Ok(())
}

/// Creates a node of full mode `mode` in a directory, without a path (boot).
pub fn add(parent: &Arc<Node>, name: &[u8], node: Arc<Node>) -> Result<Arc<Node>, Errno> {
    if node.is_directory() {
        parent.attributes.lock().nlink += 1;
    }
    enter(parent, name, node.clone())?;
    Ok(node)
}

/// Creates a node where `target` points; `EEXIST` if there is one by now.
pub fn create(target: &Target, mode: u32, kind: Kind) -> Result<Arc<Node>, Errno> {
    if target.node.is_some() || target.name.is_empty() {
        return Err(Errno::EEXIST);
    }
    let directory = mode & linux::S_IFMT == linux::S_IFDIR;
    if target.must_be_directory && !directory {
        return Err(Errno::ENOENT);
    }
    target.parent.mount.check_writable()?;
    check_space(&target.parent.node)?;
    let _changes = CHANGES.lock();
    let parent = &target.parent.node;
    // A directory that was removed has no children, so this check comes before the look for one.
    if parent.directory()?.entries.lock().removed {
        return Err(Errno::ENOENT);
    }
    if parent.child(&target.name)?.is_some() {
        return Err(Errno::EEXIST);
    }
    permission::check_create(parent)?;
    let mode = allowed(parent, mode);
    if let Some(operations) = &parent.operations {
        let (owner, mode) = made_in(parent, mode);
        let node = operations.create(&target.name, mode, owner, &kind)?;
        know(parent, &target.name, Some(node.clone()))?;
        notify::notify_entry(parent, &target.name, &node, linux::IN_CREATE);
        return Ok(node);
    }
    let node = add(parent, &target.name, Node::made_in(parent, mode, kind))?;
    notify::notify_entry(parent, &target.name, &node, linux::IN_CREATE);
    Ok(node)
}

/// The mode of what the calling thread makes in a directory: without the set-group-ID bit of a program that would run
/// for a group that the directory hands down and the thread is not in.
#[doc(alias = "mode_strip_sgid")]
fn allowed(parent: &Node, mode: u32) -> u32 {
    let above = *parent.attributes.lock();
    let program = linux::S_ISGID | linux::S_IXGRP;
    let is_directory = mode & linux::S_IFMT == linux::S_IFDIR;
    if is_directory || mode & program != program || above.mode & linux::S_ISGID == 0 {
        return mode;
    }
    let maker = credentials::current();
    match maker.is_in_group(above.gid) || maker.capable(linux::CAP_FSETID) {
        true => mode,
        false => mode & !linux::S_ISGID,
    }
}

/// Whose what the calling thread makes in a directory is, and its mode.
fn made_in(parent: &Node, mode: u32) -> ((u32, u32), u32) {
    let maker = credentials::current();
    let above = *parent.attributes.lock();
    let (uid, gid) = (maker.user.filesystem, maker.group.filesystem);
    if above.mode & linux::S_ISGID == 0 {
        return ((uid, gid), mode);
    }
    let directory = mode & linux::S_IFMT == linux::S_IFDIR;
    let handed_down = if directory { linux::S_ISGID } else { 0 };
    ((uid, above.gid), mode | handed_down)
}

/// Makes a file that has no name (`O_TMPFILE`) in the file system of a directory.
pub(super) fn create_unnamed(parent: &Arc<Node>, mode: u32) -> Result<Arc<Node>, Errno> {
    let mode = allowed(parent, mode);
    if let Some(operations) = &parent.operations {
        let (owner, mode) = made_in(parent, mode);
        return operations.create_unnamed(mode, owner);
    }
    let node = Node::made_in(parent, mode, Kind::Regular(Content::empty()));
    node.attributes.lock().nlink = 0;
    Ok(node)
}

/// link(2).
pub fn link(from: &Path, target: &Target) -> Result<(), Errno> {
    let node = &from.node;
    if target.node.is_some() || target.name.is_empty() {
        return Err(Errno::EEXIST);
    }
    if node.is_directory() {
        return Err(Errno::EPERM);
    }
    if target.must_be_directory {
        return Err(Errno::ENOENT);
    }
    target.parent.mount.check_writable()?;
    if !Arc::ptr_eq(&from.mount, &target.parent.mount) || node.dev != target.parent.node.dev {
        return Err(Errno::EXDEV);
    }
    check_space(&target.parent.node)?;
    let _changes = CHANGES.lock();
    let parent = &target.parent.node;
    if parent.child(&target.name)?.is_some() {
        return Err(Errno::EEXIST);
    }
    permission::check_create(parent)?;
    if let Some(operations) = &parent.operations {
        operations.link(&target.name, node)?;
        node.touch(false);
        write_back::names_changed(node);
        know(parent, &target.name, Some(node.clone()))?;
    } else {
        enter(parent, &target.name, node.clone())?;
        node.attributes.lock().nlink += 1;
        node.touch(false);
    }
    notify::notify_node(node, linux::IN_ATTRIB);
    notify::notify_entry(parent, &target.name, node, linux::IN_CREATE);
    Ok(())
}

/// What `target` leads to now, under the lock.
fn present(target: &Target) -> Result<Arc<Node>, Errno> {
    let node = target.parent.node.child(&target.name)?;
    node.ok_or(Errno::ENOENT)
}

/// Marks an empty directory as removed; `ENOTEMPTY`.
fn retire(directory: &Directory) -> Result<(), Errno> {
    let mut entries = directory.entries.lock();
    entries.load()?;
    if !entries.names.is_empty() {
        return Err(Errno::ENOTEMPTY);
    }
    entries.removed = true;
    Ok(())
}

/// A directory has lost a subdirectory.
fn lower_links(directory: &Node) {
    let mut attributes = directory.attributes.lock();
    attributes.nlink = attributes.nlink.saturating_sub(1);
}

fn lose_name(node: &Node) {
    let mut attributes = node.attributes.lock();
    attributes.nlink = if node.is_directory() {
        0
    } else {
        attributes.nlink.saturating_sub(1)
    };
    drop(attributes);
    node.touch(false);
}

/// unlink(2).
pub fn unlink(target: &Target) -> Result<(), Errno> {
    if target.name.is_empty() {
        return Err(Errno::EISDIR);
    }
    target.parent.mount.check_writable()?;
    let _changes = CHANGES.lock();
    let node = present(target)?;
    permission::check_remove(&target.parent.node, &node)?;
    if node.is_directory() {
        return Err(Errno::EISDIR);
    }
    if target.must_be_directory {
        return Err(Errno::ENOTDIR);
    }
    target.parent.node.directory()?;
    if node.is_mount_point() {
        return Err(Errno::EBUSY);
    }
    if let Some(operations) = &target.parent.node.operations {
        operations.remove(&target.name, &node)?;
        node.touch(false);
        write_back::names_changed(&node);
        know(&target.parent.node, &target.name, None)?;
    } else {
        take_out(&target.parent.node, &target.name)?;
        lose_name(&node);
    }
    notify::notify_node(&node, linux::IN_ATTRIB);
    notify_removed(target, &node);
    Ok(())
}

/// rmdir(2).
pub fn rmdir(target: &Target) -> Result<(), Errno> {
    if target.name.is_empty() {
        return Err(target.nameless);
    }
    target.parent.mount.check_writable()?;
    let _changes = CHANGES.lock();
    let node = present(target)?;
    permission::check_remove(&target.parent.node, &node)?;
    if !node.is_directory() {
        return Err(Errno::ENOTDIR);
    }
    if node.is_mount_point() {
        return Err(Errno::EBUSY);
    }
    if let Some(operations) = &target.parent.node.operations {
        operations.remove(&target.name, &node)?;
        node.directory()?.entries.lock().removed = true;
        know(&target.parent.node, &target.name, None)?;
    } else {
        retire(node.directory()?)?;
        take_out(&target.parent.node, &target.name)?;
        lower_links(&target.parent.node);
        lose_name(&node);
    }
    notify_removed(target, &node);
    Ok(())
}

/// In Linux' order: what has no name any more is gone before its directory has lost it.
fn notify_removed(target: &Target, node: &Node) {
    notify::notify_unlinked(node);
    notify::notify_entry(&target.parent.node, &target.name, node, linux::IN_DELETE);
}

/// Tells that `node`, in the place of `old`, has another name.
fn notify_renamed(from: &Target, to: &Target, node: &Node, old: Option<&Node>) {
    let [from, to] = [from, to].map(|place| (&*place.parent.node, &*place.name));
    notify::notify_move(from, to, node);
    if let Some(old) = old {
        notify::notify_node(old, linux::IN_ATTRIB);
    }
    notify::notify_node(node, linux::IN_MOVE_SELF);
    if let Some(old) = old {
        notify::notify_unlinked(old);
    }
}

/// renameat2(2)
pub fn rename(from: &Target, to: &Target, flags: u32) -> Result<(), Errno> {
    let keeps = linux::RENAME_NOREPLACE | linux::RENAME_WHITEOUT;
    let (exchange, whiteout) = (
        flags & linux::RENAME_EXCHANGE != 0,
        flags & linux::RENAME_WHITEOUT != 0,
    );
    if flags & !(keeps | linux::RENAME_EXCHANGE) != 0 || exchange && flags & keeps != 0 {
        return Err(Errno::EINVAL);
    }
    if from.name.is_empty() || to.name.is_empty() {
        return Err(Errno::EBUSY);
    }
    if !Arc::ptr_eq(&from.parent.mount, &to.parent.mount) {
        return Err(Errno::EXDEV);
    }
    from.parent.mount.check_writable()?;
    if let (Some(moved), Some(_)) = (&from.node, &to.node)
        && let Kind::Regular(content) = &moved.node.kind
    {
        // Else a crash could leave the name with neither what it had nor what it gets. A failure is remembered.
        let _ = content.write_back();
    }
    let _changes = CHANGES.lock();
    let node = present(from)?;
    let (parent, to_parent) = (&from.parent.node, &to.parent.node);
    let old = to_parent.child(&to.name)?;
    if old.is_some() && flags & linux::RENAME_NOREPLACE != 0 {
        return Err(Errno::EEXIST);
    }
    if (from.must_be_directory || to.must_be_directory) && !node.is_directory() {
        return Err(Errno::ENOTDIR);
    }
    if node.is_mount_point() || old.as_ref().is_some_and(|old| old.is_mount_point()) {
        return Err(Errno::EBUSY);
    }
    parent.directory()?;
    if to_parent.directory()?.entries.lock().removed {
        return Err(Errno::ENOENT);
    }
    check_cycle(&node, to_parent)?;
    check_move(from, &node, to, old.as_ref(), exchange)?;
    if old.as_ref().is_some_and(|old| Arc::ptr_eq(old, &node)) {
        return Ok(());
    }
    let operations = parent.operations.as_ref();
    if exchange {
        let old = old.ok_or(Errno::ENOENT)?;
        check_cycle(&old, parent)?;
        if let Some(operations) = operations {
            operations.rename(&from.name, to_parent, &to.name, Some(&old), flags)?;
            know(parent, &from.name, Some(old.clone()))?;
            know(to_parent, &to.name, Some(node.clone()))?;
        } else {
            enter(to_parent, &to.name, node.clone())?;
            enter(parent, &from.name, old.clone())?;
            if node.is_directory() != old.is_directory() {
                let (loser, winner) = match node.is_directory() {
                    true => (parent, to_parent),
                    false => (to_parent, parent),
                };
                lower_links(loser);
                winner.attributes.lock().nlink += 1;
            }
        }
        node.touch(false);
        old.touch(false);
        notify_renamed(from, to, &node, None);
        notify_renamed(to, from, &old, None);
        return Ok(());
    }
    if let Some(old) = &old {
        match (node.is_directory(), old.is_directory()) {
            (true, false) => return Err(Errno::ENOTDIR),
            (false, true) => return Err(Errno::EISDIR),
            (true, true) if operations.is_some() => (),
            (true, true) => {
                retire(old.directory()?)?;
                lower_links(to_parent);
            }
            (false, false) => (),
        }
    }
    if let Some(operations) = operations {
        operations.rename(&from.name, to_parent, &to.name, old.as_deref(), flags)?;
        if whiteout {
            forget(parent, &from.name)?;
        } else {
            know(parent, &from.name, None)?;
        }
        node.touch(false);
        if let Some(old) = &old {
            old.touch(false);
            write_back::names_changed(old);
        }
        know(to_parent, &to.name, Some(node.clone()))?;
        notify_renamed(from, to, &node, old.as_deref());
        return Ok(());
    }
    let directory = node.is_directory();
    enter(to_parent, &to.name, node.clone())?;
    if whiteout {
        let nothing = Node::made_in(parent, linux::S_IFCHR, Kind::Special(0));
        enter(parent, &from.name, nothing)?;
    } else {
        take_out(parent, &from.name)?;
    }
    if directory && !Arc::ptr_eq(parent, to_parent) {
        lower_links(parent);
        to_parent.attributes.lock().nlink += 1;
    }
    node.touch(false);
    if let Some(old) = &old {
        lose_name(old);
    }
    notify_renamed(from, to, &node, old.as_deref());
    Ok(())
}

/// Whether the calling thread may give `node` another name, and take it from `old`: `EACCES`, `EPERM`.
fn check_move(
    from: &Target,
    node: &Arc<Node>,
    to: &Target,
    old: Option<&Arc<Node>>,
    exchange: bool,
) -> Result<(), Errno> {
    let (parent, to_parent) = (&from.parent.node, &to.parent.node);
    if old.is_some_and(|old| Arc::ptr_eq(old, node)) {
        return Ok(());
    }
    permission::check_remove(parent, node)?;
    match old {
        Some(old) => permission::check_remove(to_parent, old)?,
        None => permission::check_create(to_parent)?,
    }
    if Arc::ptr_eq(parent, to_parent) {
        return Ok(());
    }
    // A directory that moves has another `..`.
    let moves = [Some(node), old.filter(|_| exchange)];
    moves
        .into_iter()
        .flatten()
        .filter(|moved| moved.is_directory())
        .try_for_each(|directory| permission::check(directory, Access::WRITE))
}

/// `EINVAL` when `node` is `directory` or above it.
fn check_cycle(node: &Arc<Node>, directory: &Arc<Node>) -> Result<(), Errno> {
    let mut at = directory.clone();
    loop {
        if Arc::ptr_eq(&at, node) {
            return Err(Errno::EINVAL);
        }
        let parent = at.parent()?;
        if Arc::ptr_eq(&parent, &at) {
            return Ok(());
        }
        at = parent;
    }
}
