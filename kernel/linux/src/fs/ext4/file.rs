//! A file of a volume: what its node does.
use super::{
    Mounted, Shared, UNNAMED, Unnamed,
    device::{errno, timestamp},
};
use crate::fs::{
    Content, DirEntry,
    inode::{self, Changes, Extent, Handle, InodeOperations},
    pipe,
    tree::{Attributes, Kind, Node},
};
use abi::Errno;
use alloc::{sync::Arc, vec, vec::Vec};
use core::sync::atomic::{AtomicBool, Ordering};
use linux_raw_sys::general as linux;
use rsext4::{
    DeviceNumber, DirectoryCursor, DirectoryEntryType, ErrorContext, Ext4Error, Ext4Result,
    FileExtentState, FileExtentTarget, FileName, FilePermissions, InodeInfo, InodeMetadataUpdate,
    InodeNumber, MutationContext, PreallocationOptions, RangeOperation, RenameOptions,
    SpecialInodeKind, UnlinkOutcome, XattrName, XattrNamespace, XattrSetMode, ZeroRangeOptions,
};

/// Entries of a directory read at a time.
const ENTRIES: usize = 256;
/// Zeros written at a time.
const ZEROS: u16 = 1 << 15;
const SECOND: u64 = 1_000_000_000;

/// What a node of a volume does.
pub(super) struct File {
    shared: Arc<Shared>,
    number: InodeNumber,
    /// The node's attributes are not the inode's.
    stale: AtomicBool,
    /// It has no name any more: it is freed with the node.
    orphan: AtomicBool,
}

impl Drop for File {
    fn drop(&mut self) {
        if self.orphan.load(Ordering::Relaxed) {
            let mut orphans = self.shared.orphans.lock();
            // At the end of the machine it has been freed already.
            if let Some(name) = orphans.open.remove(&self.number) {
                orphans.closed.push((self.number, name));
            }
        }
    }
}

fn name(bytes: &[u8]) -> Result<FileName<'_>, Ext4Error> {
    FileName::new(bytes)
}

/// A time of which the inode tells the seconds, and the node may know more.
fn finer(known_ns: u64, seconds: u32) -> u64 {
    let seconds = u64::from(seconds);
    if known_ns / SECOND == seconds {
        known_ns
    } else {
        seconds * SECOND
    }
}

fn attributes(info: &InodeInfo, known: &Attributes) -> Attributes {
    Attributes {
        mode: info.mode.into(),
        uid: info.uid,
        gid: info.gid,
        nlink: info.links.into(),
        mtime_ns: finer(known.mtime_ns, info.mtime),
        ctime_ns: finer(known.ctime_ns, info.ctime),
        atime_ns: finer(known.atime_ns, info.atime),
        btime_ns: Some(u64::from(info.btime) * SECOND),
        blocks: Some(info.blocks),
        flags: Some(info.flags.bits()),
    }
}

/// Namespaces of extended attributes.
const SPACES: [(&[u8], XattrNamespace); 3] = [
    (b"user.", XattrNamespace::User),
    (b"trusted.", XattrNamespace::Trusted),
    (b"security.", XattrNamespace::Security),
];

/// An attribute's name as the disk has it.
fn namespace(name: &[u8]) -> Result<(XattrNamespace, &[u8]), Errno> {
    let found = SPACES
        .iter()
        .find_map(|(prefix, space)| Some((*space, name.strip_prefix(*prefix)?)));
    found.ok_or(Errno::EOPNOTSUPP)
}

/// What it means for an attribute that there is none.
fn no_data(error: Errno) -> Errno {
    match error {
        Errno::ENOENT => Errno::ENODATA,
        other => other,
    }
}

/// Removes from a new inode the extended attributes of the file that had it before, which the crate leaves.
fn forget_xattrs(fs: &mut Mounted, inode: InodeNumber) -> Ext4Result<()> {
    for old in fs.list_xattrs(inode)? {
        fs.remove_xattr(inode, old.namespace, &old.name)?;
    }
    Ok(())
}

/// Whether a hole would part an extent in two for which its node of the tree has no room: the crate makes none.
fn is_full_node(error: Ext4Error) -> bool {
    let op = "extent:node_capacity";
    error.context() == Some(ErrorContext::Operation { op })
}

/// Writes zeros where a range has data, which is as good as a hole to who reads.
fn write_zeros(fs: &mut Mounted, number: InodeNumber, start: u64, len: u64) -> Ext4Result<()> {
    let end = start.saturating_add(len).min(fs.inode(number)?.size);
    if start >= end {
        return Ok(());
    }
    let map = fs.inode_extents(
        number,
        start,
        end - start,
        FileExtentTarget::Data,
        usize::MAX,
    )?;
    let zeros = vec![0; usize::from(ZEROS)];
    for extent in map.extents {
        let mut at = start.max(extent.logical_start);
        let end = end.min(extent.logical_start + extent.length);
        while at < end && extent.state != FileExtentState::Unwritten {
            let next = end.min(at + u64::from(ZEROS));
            let part = usize::try_from(next - at).map_err(|_| Ext4Error::overflow())?;
            fs.write_inode(number, at, &zeros[..part])?;
            at = next;
        }
    }
    Ok(())
}

/// What fallocate(2)'s flags say.
fn range_operation(mode: u32) -> Result<RangeOperation, Errno> {
    let keep_size = mode & linux::FALLOC_FL_KEEP_SIZE != 0;
    Ok(match mode & !linux::FALLOC_FL_KEEP_SIZE {
        0 => RangeOperation::Allocate(PreallocationOptions { keep_size }),
        linux::FALLOC_FL_PUNCH_HOLE => RangeOperation::PunchHole,
        linux::FALLOC_FL_ZERO_RANGE => RangeOperation::Zero(ZeroRangeOptions { keep_size }),
        linux::FALLOC_FL_COLLAPSE_RANGE => RangeOperation::Collapse,
        linux::FALLOC_FL_INSERT_RANGE => RangeOperation::Insert,
        _ => return Err(Errno::EOPNOTSUPP),
    })
}

impl File {
    /// A node for an inode.
    pub(super) fn node(shared: &Arc<Shared>, info: &InodeInfo) -> Result<Arc<Node>, Errno> {
        let file = Arc::new(Self {
            shared: shared.clone(),
            number: info.number,
            stale: AtomicBool::new(false),
            orphan: AtomicBool::new(false),
        });
        let kind = match info.file_type() {
            DirectoryEntryType::Directory => Kind::directory(),
            DirectoryEntryType::RegularFile => {
                Kind::Regular(Content::stored(file.clone(), info.size))
            }
            DirectoryEntryType::Symlink => {
                let len = usize::try_from(info.size).map_err(|_| Errno::EUCLEAN)?;
                if len >= crate::fs::path::MAX_PATH {
                    return Err(Errno::EUCLEAN);
                }
                let mut target = vec![0; len];
                shared.with(|fs| fs.read_inode(info.number, 0, &mut target))?;
                Kind::Symlink(target.into_boxed_slice())
            }
            DirectoryEntryType::Fifo => pipe::fifo(),
            _ => Kind::Special(0),
        };
        let attributes = attributes(info, &Attributes::default());
        Ok(Node::stored(
            shared.dev,
            info.number.as_u64(),
            attributes,
            kind,
            Some(file),
        ))
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

impl InodeOperations for File {
    fn patience(&self) -> u64 {
        // Nobody else changes the volume.
        u64::MAX
    }

    fn lookup(&self, _: &Arc<Node>, child: &[u8]) -> Result<Option<Arc<Node>>, Errno> {
        let found = self.shared.with(|fs| match child {
            UNNAMED if self.number == fs.root_inode() => Ok(None),
            _ => fs.lookup_child(self.number, name(child)?),
        })?;
        found.map(|info| self.shared.node(&info)).transpose()
    }

    fn list(&self) -> Result<Vec<DirEntry>, Errno> {
        let is_root = self.shared.with(|fs| Ok(fs.root_inode() == self.number))?;
        let mut entries = Vec::new();
        let mut cursor = DirectoryCursor::Start;
        loop {
            let part = self
                .shared
                .with(|fs| fs.read_directory(self.number, cursor, ENTRIES))?;
            let Some(last) = part.last() else {
                return Ok(entries);
            };
            cursor = last.next_cursor;
            let seen = part
                .into_iter()
                .filter(|entry| entry.name != b"." && entry.name != b"..")
                .filter(|entry| !is_root || entry.name != UNNAMED);
            entries.extend(seen.map(|entry| {
                let kind = match entry.file_type {
                    DirectoryEntryType::Unknown => linux::DT_UNKNOWN,
                    DirectoryEntryType::RegularFile => linux::DT_REG,
                    DirectoryEntryType::Directory => linux::DT_DIR,
                    DirectoryEntryType::CharacterDevice => linux::DT_CHR,
                    DirectoryEntryType::BlockDevice => linux::DT_BLK,
                    DirectoryEntryType::Fifo => linux::DT_FIFO,
                    DirectoryEntryType::Socket => linux::DT_SOCK,
                    DirectoryEntryType::Symlink => linux::DT_LNK,
                };
                DirEntry {
                    name: entry.name.into_boxed_slice(),
                    ino: entry.inode.as_u64(),
                    kind: kind as u8,
                }
            }));
        }
    }

    fn create(
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
                Kind::Fifo(_) => {
                    let kind = SpecialInodeKind::Fifo;
                    fs.create_special_inode(context, parent, child, permissions, kind)
                }
                _ => Err(Ext4Error::permission_denied()),
            }?;
            forget_xattrs(fs, info.number)?;
            Ok(info)
        })?;
        self.expire();
        self.shared.node(&info)
    }

    fn create_unnamed(&self, mode: u32, (uid, gid): (u32, u32)) -> Result<Arc<Node>, Errno> {
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

    fn link(&self, child: &[u8], file: &Node) -> Result<(), Errno> {
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

    fn remove(&self, child: &[u8], file: &Node) -> Result<(), Errno> {
        let outcome = self.shared.with(|fs| {
            if file.is_directory() {
                fs.remove_empty_directory(self.number, name(child)?)
            } else {
                fs.unlink(self.number, name(child)?)
            }
        })?;
        self.lost(outcome, file);
        Ok(())
    }

    fn rename(
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

    fn refresh(&self, node: &Node, _now: bool) -> Result<(), Errno> {
        if self.stale.swap(false, Ordering::Relaxed) {
            let info = self.shared.with(|fs| fs.inode(self.number))?;
            let mut known = node.attributes.lock();
            *known = attributes(&info, &known);
            if self.orphan.load(Ordering::Relaxed) {
                known.nlink = 0;
            }
        }
        Ok(())
    }

    fn expire(&self) {
        self.stale.store(true, Ordering::Relaxed);
    }

    fn change(&self, node: &Node, changes: &Changes) -> Result<(), Errno> {
        self.refresh(node, true)?;
        let known = *node.attributes.lock();
        let owner = (changes.uid.is_some() || changes.gid.is_some()).then_some((
            changes.uid.unwrap_or(known.uid),
            changes.gid.unwrap_or(known.gid),
        ));
        let bits = changes.mode.map(|mode| mode as u16 & 0o7777);
        let permissions = bits.map(FilePermissions::new).transpose().map_err(errno)?;
        let update = InodeMetadataUpdate {
            permissions,
            owner,
            atime: changes.atime_ns.map(timestamp),
            mtime: changes.mtime_ns.map(timestamp),
            ..InodeMetadataUpdate::default()
        };
        let info = self
            .shared
            .with(|fs| fs.update_inode_metadata(self.number, update))?;
        let mut attributes_now = node.attributes.lock();
        attributes_now.atime_ns = changes.atime_ns.unwrap_or(known.atime_ns);
        attributes_now.mtime_ns = changes.mtime_ns.unwrap_or(known.mtime_ns);
        *attributes_now = attributes(&info, &attributes_now);
        Ok(())
    }

    fn open(&self, _flags: u32) -> Result<Handle, Errno> {
        // An inode without a name stays as long as its node, which who has it open keeps.
        Ok(Arc::new(()))
    }

    fn closed(&self, _: &Node) {}

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<usize, Errno> {
        self.shared
            .with(|fs| fs.read_inode(self.number, offset, buf))
    }

    fn write(&self, offset: u64, buf: &[u8]) -> Result<usize, Errno> {
        self.shared.with(|fs| {
            self.shared.settle(fs, self.number, offset, buf.len())?;
            fs.write_inode(self.number, offset, buf)
        })?;
        self.expire();
        Ok(buf.len())
    }

    fn resize(&self, size: u64) -> Result<(), Errno> {
        self.shared
            .with_freeing(|fs| fs.truncate_inode(self.number, size))?;
        self.expire();
        Ok(())
    }

    fn allocate(&self, mode: u32, offset: u64, len: u64) -> Result<(), Errno> {
        let operation = range_operation(mode)?;
        self.shared.with(|fs| {
            // Blocks that others have had must not be this file's before it is known that they are not theirs.
            if self.shared.freed.load(Ordering::Relaxed) {
                self.shared.commit(fs)?;
            }
            if !matches!(operation, RangeOperation::Allocate(_)) {
                self.shared.freed.store(true, Ordering::Relaxed);
            }
            let done = fs.operate_inode_range(self.number, offset, len, operation);
            if !done.is_err_and(is_full_node) {
                return done;
            }
            match operation {
                RangeOperation::PunchHole => write_zeros(fs, self.number, offset, len),
                RangeOperation::Zero(ZeroRangeOptions { keep_size }) => {
                    write_zeros(fs, self.number, offset, len)?;
                    fs.preallocate_inode(
                        self.number,
                        offset,
                        len,
                        PreallocationOptions { keep_size },
                    )
                }
                _ => done,
            }
        })?;
        self.expire();
        Ok(())
    }

    fn extents(&self, from: u64, len: u64) -> Result<Option<Vec<Extent>>, Errno> {
        let target = FileExtentTarget::Data;
        let map = self
            .shared
            .with(|fs| fs.inode_extents(self.number, from, len, target, usize::MAX))?;
        let extents = map.extents.into_iter().map(|extent| Extent {
            logical: extent.logical_start,
            physical: extent.physical_start,
            len: extent.length,
            unwritten: extent.state == FileExtentState::Unwritten,
        });
        Ok(Some(extents.collect()))
    }

    fn xattr(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let (space, name) = namespace(name)?;
        let value = self
            .shared
            .with(|fs| fs.get_xattr(self.number, space, name));
        value.map_err(no_data)
    }

    fn xattr_names(&self) -> Result<Vec<Vec<u8>>, Errno> {
        let names = self.shared.with(|fs| fs.list_xattrs(self.number))?;
        let full = |name: &XattrName| {
            let space = SPACES.iter().find(|space| space.1 == name.namespace)?;
            Some([space.0, &name.name].concat())
        };
        Ok(names.iter().filter_map(full).collect())
    }

    fn set_xattr(&self, name: &[u8], value: &[u8], flags: u32) -> Result<(), Errno> {
        let (space, name) = namespace(name)?;
        let mode = match flags {
            linux::XATTR_CREATE => XattrSetMode::Create,
            linux::XATTR_REPLACE => XattrSetMode::Replace,
            _ => XattrSetMode::Upsert,
        };
        let set = self
            .shared
            .with(|fs| fs.set_xattr(self.number, space, name, value, mode));
        set.map_err(no_data)
    }

    fn remove_xattr(&self, name: &[u8]) -> Result<(), Errno> {
        let (space, name) = namespace(name)?;
        let removed = self
            .shared
            .with(|fs| fs.remove_xattr(self.number, space, name));
        removed.map_err(no_data)
    }

    fn sync(&self, _data_only: bool) -> Result<(), Errno> {
        self.shared.with(|fs| self.shared.commit(fs))
    }
}
