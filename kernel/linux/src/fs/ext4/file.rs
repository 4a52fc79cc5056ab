//! A file of a volume: what its node does. [`super::names`] has what is done with its names.
use super::{
    Shared, UNNAMED,
    device::{errno, timestamp},
    range,
};
use crate::fs::{
    Content, DirEntry,
    inode::{Changes, Extent, Handle, InodeOperations},
    numbers, pipe,
    tree::{Attributes, Kind, Node},
};
use abi::Errno;
use alloc::{sync::Arc, vec, vec::Vec};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use machine::{mm::frame::Frame, sync::SpinLock, time};
use rsext4::{
    DeviceNumber, DirectoryEntryType, FileExtentState, FileExtentTarget, FileName, FilePermissions,
    InodeInfo, InodeMetadataUpdate, InodeNumber,
};

const SECOND: u64 = 1_000_000_000;

/// What a node of a volume does.
pub(super) struct File {
    pub(super) shared: Arc<Shared>,
    pub(super) number: InodeNumber,
    /// The node's attributes are not the inode's.
    pub(super) stale: AtomicBool,
    /// It has no name any more: it is freed with the node.
    pub(super) orphan: AtomicBool,
    /// When its data were last written by a call, in nanoseconds, if they have been: the inode may say that it was when
    /// they came to the disk.
    modified_ns: AtomicU64,
    /// The inode does.
    misdated: AtomicBool,
    /// Where its data are, if that is known.
    pub(super) extents: SpinLock<Option<Arc<[Extent]>>>,
    /// Until this commit the disk may lack some of its data, which the crate has.
    behind_until: AtomicU64,
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

/// A time of which the inode tells the seconds, and the node may know more.
fn finer(known_ns: u64, seconds: u32) -> u64 {
    let seconds = u64::from(seconds);
    if known_ns / SECOND == seconds {
        known_ns
    } else {
        seconds * SECOND
    }
}

/// What an inode tells, and the node knows better.
pub(super) fn attributes(info: &InodeInfo, known: &Attributes) -> Attributes {
    Attributes {
        mode: info.mode.into(),
        uid: info.uid,
        gid: info.gid,
        nlink: info.links.into(),
        mtime_ns: finer(known.mtime_ns, info.mtime),
        ctime_ns: finer(known.ctime_ns, info.ctime),
        atime_ns: finer(known.atime_ns, info.atime),
        btime_ns: Some(finer(known.btime_ns.unwrap_or(0), info.btime)),
        blocks: Some(info.blocks),
        flags: Some(info.flags.bits()),
    }
}

impl File {
    /// A node for an inode.
    pub(super) fn node(shared: &Arc<Shared>, info: &InodeInfo) -> Result<Arc<Node>, Errno> {
        let file = Arc::new(Self {
            shared: shared.clone(),
            number: info.number,
            stale: AtomicBool::new(false),
            orphan: AtomicBool::new(false),
            modified_ns: AtomicU64::new(0),
            misdated: AtomicBool::new(false),
            extents: SpinLock::new(None),
            behind_until: AtomicU64::new(shared.behind_until.load(Ordering::Relaxed)),
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
            _ => {
                let number = info.device_number.unwrap_or(DeviceNumber::ZERO);
                Kind::Special(numbers::device(number.major(), number.minor()))
            }
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

    /// Its data are, or will be, elsewhere. Until the next commit the crate may have some of them in its cache and the
    /// disk not: parts of blocks, and whole ones that it had read before.
    fn data_moved(&self) {
        *self.extents.lock() = None;
        let next = self.shared.commits.load(Ordering::Relaxed) + 1;
        self.behind_until.store(next, Ordering::Relaxed);
        self.shared.behind_until.store(next, Ordering::Relaxed);
    }

    /// Whether the crate has data of it that the disk lacks.
    pub(super) fn is_behind(&self) -> bool {
        let commits = self.shared.commits.load(Ordering::Relaxed);
        self.behind_until.load(Ordering::Relaxed) > commits
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
            _ => fs.lookup_child(self.number, FileName::new(child)?),
        })?;
        found.map(|info| self.shared.node(&info)).transpose()
    }

    fn list(&self) -> Result<Vec<DirEntry>, Errno> {
        self.shared.list(self.number)
    }

    fn create(
        &self,
        child: &[u8],
        mode: u32,
        owner: (u32, u32),
        kind: &Kind,
    ) -> Result<Arc<Node>, Errno> {
        self.make(child, mode, owner, kind)
    }

    fn create_unnamed(&self, mode: u32, owner: (u32, u32)) -> Result<Arc<Node>, Errno> {
        self.make_unnamed(mode, owner)
    }

    fn link(&self, child: &[u8], file: &Node) -> Result<(), Errno> {
        self.add_name(child, file)
    }

    fn remove(&self, child: &[u8], file: &Node) -> Result<(), Errno> {
        self.take_name(child, file)
    }

    fn rename(
        &self,
        child: &[u8],
        to: &Node,
        to_name: &[u8],
        replaced: Option<&Node>,
        flags: u32,
    ) -> Result<(), Errno> {
        self.change_name(child, to, to_name, replaced, flags)
    }

    fn refresh(&self, node: &Node, _now: bool) -> Result<(), Errno> {
        if self.stale.swap(false, Ordering::Relaxed) {
            let info = self.shared.with(|fs| fs.inode(self.number))?;
            let mut known = node.attributes.lock();
            *known = attributes(&info, &known);
            if self.orphan.load(Ordering::Relaxed) {
                known.nlink = 0;
            }
            let modified = self.modified_ns.load(Ordering::Relaxed);
            if modified != 0 {
                known.mtime_ns = modified;
                known.ctime_ns = known.ctime_ns.max(modified);
            }
        }
        Ok(())
    }

    fn touch(&self, node: &Node, modified: bool) {
        let is_regular = matches!(node.kind, Kind::Regular(_));
        let mut attributes = node.attributes.lock();
        if !modified || !is_regular {
            drop(attributes);
            return self.expire();
        }
        let now = time::realtime_ns();
        attributes.mtime_ns = now;
        attributes.ctime_ns = now;
        self.modified_ns.store(now, Ordering::Relaxed);
        self.misdated.store(true, Ordering::Relaxed);
    }

    fn is_unlinked(&self) -> bool {
        self.orphan.load(Ordering::Relaxed)
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
        let bits_of = |mode: u32| u16::try_from(mode & 0o7777).unwrap_or(0);
        let bits = changes.mode.map(bits_of);
        let permissions = bits.map(FilePermissions::new).transpose().map_err(errno)?;
        let update = InodeMetadataUpdate {
            permissions,
            owner,
            atime: changes.atime_ns.map(timestamp),
            mtime: changes.mtime_ns.map(timestamp),
            ..InodeMetadataUpdate::default()
        };
        let wanted = bits.unwrap_or(bits_of(known.mode));
        let info = self.shared.with(|fs| {
            let info = fs.update_inode_metadata(self.number, update)?;
            if info.mode & 0o7777 == wanted {
                return Ok(info);
            }
            // The crate has taken bits away with the owner, whoever changes that.
            let again = InodeMetadataUpdate {
                permissions: Some(FilePermissions::new(wanted)?),
                ..InodeMetadataUpdate::default()
            };
            fs.update_inode_metadata(self.number, again)
        })?;
        if let Some(modified) = changes.mtime_ns
            && self.modified_ns.load(Ordering::Relaxed) != 0
        {
            self.modified_ns.store(modified, Ordering::Relaxed);
        }
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
            let written = fs.write_inode(self.number, offset, buf);
            self.data_moved();
            written
        })?;
        Ok(buf.len())
    }

    fn keeps_back(&self) -> bool {
        true
    }

    fn set_room_aside(&self, pages: u64) -> bool {
        self.shared.room.promise(pages)
    }

    fn give_room_back(&self, pages: u64) {
        self.shared.room.give_back(pages);
    }

    fn written_back(&self) -> Result<(), Errno> {
        let node = self.shared.known(self.number);
        let mode = node
            .as_ref()
            .map(|node| node.attributes.lock().mode & 0o7777);
        let info = self.shared.with(|fs| {
            let info = fs.inode(self.number)?;
            // The crate takes set-user-ID bits away, whoever has written.
            let lost = mode.filter(|&mode| mode & !u32::from(info.mode) != 0);
            let bits = lost.and_then(|mode| u16::try_from(mode).ok());
            let modified = self.modified_ns.load(Ordering::Relaxed);
            let misdated = self.misdated.swap(false, Ordering::Relaxed);
            // No more than the seconds is told of what the inode says.
            let is_dated = !misdated || modified / SECOND == u64::from(info.mtime);
            if is_dated && bits.is_none() {
                return Ok(info);
            }
            let update = InodeMetadataUpdate {
                mtime: (!is_dated).then(|| timestamp(modified)),
                permissions: bits.map(FilePermissions::new).transpose()?,
                ..InodeMetadataUpdate::default()
            };
            fs.update_inode_metadata(self.number, update)
        })?;
        if let Some(node) = node {
            node.attributes.lock().blocks = Some(info.blocks);
        }
        Ok(())
    }

    fn resize(&self, size: u64) -> Result<(), Errno> {
        self.shared.with_freeing(|fs| {
            let cut = range::truncate(fs, self.number, size);
            self.data_moved();
            cut
        })?;
        self.expire();
        Ok(())
    }

    fn allocate(&self, mode: u32, offset: u64, len: u64) -> Result<(), Errno> {
        let operation = range::operation(mode)?;
        self.shared.with(|fs| {
            let done = range::operate(fs, &self.shared, self.number, (offset, len), operation);
            // After what it may have committed first.
            self.data_moved();
            done
        })?;
        self.expire();
        Ok(())
    }

    fn read_frames(&self, offset: u64, frames: &[Frame]) -> Result<(), Errno> {
        self.read_to(offset, frames)
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
        self.shared.xattr(self.number, name)
    }

    fn xattr_names(&self) -> Result<Vec<Vec<u8>>, Errno> {
        self.shared.xattr_names(self.number)
    }

    fn set_xattr(&self, name: &[u8], value: &[u8], flags: u32) -> Result<(), Errno> {
        self.shared.set_xattr(self.number, name, value, flags)
    }

    fn remove_xattr(&self, name: &[u8]) -> Result<(), Errno> {
        self.shared.remove_xattr(self.number, name)
    }

    fn sync(&self, _data_only: bool) -> Result<(), Errno> {
        self.shared.with(|fs| self.shared.commit(fs))
    }
}
