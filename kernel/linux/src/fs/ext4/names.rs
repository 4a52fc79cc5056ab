//! The names in a volume's directories: making files, linking, removing and renaming them.
use super::{
    Mounted, Unnamed,
    file::{File, attributes},
    xattr::forget_xattrs,
};
use crate::fs::{
    inode::{self, InodeOperations},
    numbers,
    tree::{Attributes, Kind, Node},
};
use abi::Errno;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use linux_raw_sys::general as linux;
use machine::time;
use rsext4::{
    DeviceNumber, Ext4Error, FileName, FilePermissions, InodeMetadataUpdate, MutationContext,
    RenameOptions, SpecialInodeKind, UnlinkOutcome,
};

/// A name as the crate has it.
fn name(bytes: &[u8]) -> Result<FileName<'_>, Ext4Error> {
    FileName::new(bytes)
}

/// What an inode without data is, by its mode and what it is to be.
fn special(mode: u32, kind: &Kind) -> Result<SpecialInodeKind, Ext4Error> {
    let rdev = match kind {
        Kind::Special(rdev) => *rdev,
        _ => 0,
    };
    let number = DeviceNumber::new(numbers::major(rdev), numbers::minor(rdev));
    Ok(match mode & linux::S_IFMT {
        linux::S_IFIFO => SpecialInodeKind::Fifo,
        linux::S_IFSOCK => SpecialInodeKind::Socket,
        linux::S_IFCHR => SpecialInodeKind::CharacterDevice(number?),
        linux::S_IFBLK => SpecialInodeKind::BlockDevice(number?),
        _ => return Err(Ext4Error::permission_denied()),
    })
}

/// Takes the number of a device, which is to lose its last name, away: the crate would take it for where data are, and
/// not free the inode.
fn clear_number(fs: &mut Mounted, node: &Node) -> Result<(), Ext4Error> {
    let is_device = matches!(node.kind, Kind::Special(rdev) if rdev != 0);
    let device = inode::downcast::<File>(node).filter(|_| is_device);
    let Some(device) = device.filter(|_| node.attributes.lock().nlink == 1) else {
        return Ok(());
    };
    let update = InodeMetadataUpdate {
        device_number: Some(DeviceNumber::ZERO),
        ..InodeMetadataUpdate::default()
    };
    fs.update_inode_metadata(device.number, update).map(|_| ())
}

impl File {
    /// Makes a file called `child`.
    pub(super) fn make(
        &self,
        child: &[u8],
        mode: u32,
        (uid, gid): (u32, u32),
        kind: &Kind,
    ) -> Result<Arc<Node>, Errno> {
        let context = MutationContext::new(uid, gid, 0, 0);
        let bits = u16::try_from(mode & 0o7777).map_err(|_| Errno::EINVAL)?;
        let info = self.shared.with(|fs| {
            let (child, permissions) = (name(child)?, FilePermissions::new(bits)?);
            let parent = self.number;
            let info = match kind {
                Kind::Regular(_) => fs.create_regular_file(context, parent, child, permissions),
                Kind::Directory(_) => fs.create_directory(context, parent, child, permissions),
                Kind::Symlink(target) => fs.create_symlink(context, parent, child, target),
                _ => {
                    let kind = special(mode, kind)?;
                    fs.create_special_inode(context, parent, child, permissions, kind)
                }
            }?;
            forget_xattrs(fs, info.number)?;
            Ok(info)
        })?;
        self.expire();
        let node = self.shared.node(&info)?;
        // Of what the inode tells of its times the parts of seconds are not known.
        let now = time::realtime_ns();
        let made = Attributes {
            mtime_ns: now,
            ctime_ns: now,
            atime_ns: now,
            btime_ns: Some(now),
            ..Attributes::default()
        };
        *node.attributes.lock() = attributes(&info, &made);
        Ok(node)
    }

    /// Makes a file without a name.
    pub(super) fn make_unnamed(
        &self,
        mode: u32,
        (uid, gid): (u32, u32),
    ) -> Result<Arc<Node>, Errno> {
        let context = MutationContext::new(uid, gid, 0, 0);
        let bits = u16::try_from(mode & 0o7777).map_err(|_| Errno::EINVAL)?;
        let mut orphans = self.shared.orphans.lock();
        orphans.count += 1;
        let mut hidden = Unnamed([0; 16]);
        let text = alloc::format!("{:016x}", orphans.count);
        hidden.0.copy_from_slice(text.as_bytes());
        drop(orphans);
        let info = self.shared.with(|fs| {
            let directory = self.shared.unnamed_directory(fs)?;
            let permissions = FilePermissions::new(bits)?;
            let info = fs.create_regular_file(context, directory, name(&hidden.0)?, permissions)?;
            forget_xattrs(fs, info.number)?;
            Ok(info)
        })?;
        let node = self.shared.node(&info)?;
        let file = inode::downcast::<Self>(&node).ok_or(Errno::EIO)?;
        file.orphan.store(true, Ordering::Relaxed);
        let mut orphans = self.shared.orphans.lock();
        orphans.open.insert(info.number, Some(hidden));
        drop(orphans);
        node.attributes.lock().nlink = 0;
        Ok(node)
    }

    /// Gives `file` a further name, or the first.
    pub(super) fn add_name(&self, child: &[u8], file: &Node) -> Result<(), Errno> {
        let other = inode::downcast::<Self>(file).ok_or(Errno::EXDEV)?;
        let orphans = self.shared.orphans.lock();
        let hidden = orphans.open.get(&other.number).copied().flatten();
        drop(orphans);
        self.shared.with(|fs| {
            let Some(hidden) = hidden else {
                fs.hard_link(other.number, self.number, name(child)?)?;
                return Ok(());
            };
            let (directory, to) = (self.shared.unnamed_directory(fs)?, self.number);
            let (from, options) = (name(&hidden.0)?, RenameOptions::NO_REPLACE);
            let _ = fs.rename(directory, from, to, name(child)?, options)?;
            Ok(())
        })?;
        if hidden.is_some() {
            other.orphan.store(false, Ordering::Relaxed);
            self.shared.orphans.lock().open.remove(&other.number);
        }
        other.expire();
        Ok(())
    }

    /// Takes the name of `file` away.
    pub(super) fn take_name(&self, child: &[u8], file: &Node) -> Result<(), Errno> {
        let outcome = self.shared.with(|fs| {
            if file.is_directory() {
                fs.remove_empty_directory(self.number, name(child)?)
            } else {
                clear_number(fs, file)?;
                fs.unlink(self.number, name(child)?)
            }
        })?;
        self.lost(outcome, file);
        Ok(())
    }

    /// rename(2), with its flags.
    pub(super) fn change_name(
        &self,
        child: &[u8],
        to: &Node,
        to_name: &[u8],
        replaced: Option<&Node>,
        flags: u32,
    ) -> Result<(), Errno> {
        let to = inode::downcast::<Self>(to).ok_or(Errno::EXDEV)?;
        let options = match flags & !linux::RENAME_WHITEOUT {
            linux::RENAME_NOREPLACE => RenameOptions::NO_REPLACE,
            linux::RENAME_EXCHANGE => RenameOptions::EXCHANGE,
            _ => RenameOptions::REPLACE,
        };
        let outcome = self.shared.with(|fs| {
            let (from, into) = (name(child)?, name(to_name)?);
            if let Some(replaced) = replaced.filter(|_| options == RenameOptions::REPLACE) {
                clear_number(fs, replaced)?;
            }
            let outcome = fs.rename(self.number, from, to.number, into, options)?;
            if flags & linux::RENAME_WHITEOUT != 0 {
                // The crate has no whiteouts of its own.
                let (context, permissions) =
                    (MutationContext::new(0, 0, 0, 0), FilePermissions::new(0)?);
                let nothing = SpecialInodeKind::CharacterDevice(DeviceNumber::ZERO);
                fs.create_special_inode(context, self.number, from, permissions, nothing)?;
            }
            Ok(outcome)
        })?;
        to.expire();
        if let (Some(outcome), Some(node)) = (outcome.replaced, replaced) {
            self.lost(outcome, node);
        }
        Ok(())
    }

    /// A file has lost a name.
    fn lost(&self, outcome: UnlinkOutcome, node: &Node) {
        if let Some(file) = inode::downcast::<Self>(node) {
            file.stale.store(true, Ordering::Relaxed);
            if outcome.requires_reap() {
                file.orphan.store(true, Ordering::Relaxed);
                self.shared.orphans.lock().open.insert(file.number, None);
            }
        }
    }
}
