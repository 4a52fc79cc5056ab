//! The nodes of the namespace: what a name leads to, its attributes, and the lookup of one name in a directory.
//!
//! Directories of the image are read on first use into a map of names, so that a failed lookup costs one search; their
//! nodes are made when first looked up and stay. Nodes made by the program live in memory only. Changing the tree is
//! in `directory.rs`, walking it in `path.rs`.
use super::{
    DirEntry, File, Metadata,
    inode::{Changes, InodeOperations},
    mount::Path,
    numbers::next_ino,
    page_cache::Content,
    quota::Quota,
};
use crate::credentials;
use abi::Errno;
use alloc::{
    boxed::Box,
    collections::BTreeMap,
    sync::{Arc, Weak},
    vec::Vec,
};
use core::any::Any;
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use linux_raw_sys::general as linux;
use machine::{
    sync::{Mutex, SpinLock},
    time::{self, Instant},
};

pub use super::numbers as dev;

/// Names of a directory that lead nowhere are forgotten when there are so many, and more than others.
const MOST_ABSENT: usize = 4096;
/// 512-byte blocks of a page.
const BLOCKS_OF_PAGE: u64 = 8;

/// A file, directory, link or device.
pub struct Node {
    /// Inode number.
    pub ino: u64,
    /// Device number of its file system.
    pub dev: u64,
    /// What chmod, chown, utimensat and link change.
    pub attributes: SpinLock<Attributes>,
    /// What it is.
    pub kind: Kind,
    /// How many mounts cover it.
    mounts: AtomicU32,
    /// Its extended attributes, if they are in memory.
    pub(super) xattrs: SpinLock<Option<Box<Xattrs>>>,
    /// What its file can do, if that is elsewhere.
    pub operations: Option<Arc<dyn InodeOperations>>,
    /// How many have it open to write to it; below zero, how many run it.
    #[doc(alias = "i_writecount")]
    pub(super) write_count: AtomicI32,
}

/// Extended attributes by their names.
type Xattrs = BTreeMap<Box<[u8]>, Box<[u8]>>;

/// What can change about a node besides its data.
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "the fields are stat(2)'s")]
pub struct Attributes {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub nlink: u32,
    pub mtime_ns: u64,
    pub ctime_ns: u64,
    pub atime_ns: u64,
    /// When the file was made; `None` if its file system does not know.
    pub btime_ns: Option<u64>,
    /// 512-byte blocks that it takes where it is, if it is elsewhere.
    pub blocks: Option<u64>,
    /// chattr(1)'s (`FS_*_FL`), if its file system has them.
    pub flags: Option<u32>,
}

/// What a node is.
pub enum Kind {
    /// A directory.
    Directory(Directory),
    /// A directory whose entries are made up when asked for (/proc/self/fd).
    Listing(Box<dyn Listing>, SpinLock<Option<Place>>),
    /// A file with data.
    Regular(Arc<Content>),
    /// A symbolic link.
    Symlink(Box<[u8]>),
    /// A symbolic link whose target is made up when asked for (/proc/self/exe).
    Magic(Box<dyn Fn() -> Result<Jump, Errno> + Send + Sync>),
    /// A file whose text is made when it is opened.
    Generated(Box<dyn Generated>),
    /// A character device.
    Device(Box<dyn SpecialFile>),
    /// A named pipe.
    Fifo(Box<dyn SpecialFile>),
    /// An open file without a name, reached through /proc/self/fd.
    Anonymous(Arc<dyn File>),
    /// A device or socket that cannot be opened.
    Special(u64),
}

/// Where a magic link leads.
pub struct Jump {
    /// What readlink(2) tells.
    pub text: Vec<u8>,
    /// The node, if not that of the text.
    pub node: Option<Path>,
}

/// What a node stands for that has no data of its own: a device, a named pipe.
pub trait SpecialFile: Send + Sync {
    /// A device's number, as stat(2) tells it.
    fn rdev(&self) -> u64 {
        0
    }
    /// Opens it by a node, with open(2)'s flags.
    fn open(&self, node: &Arc<Node>, path: Vec<u8>, flags: u32) -> Result<Arc<dyn File>, Errno>;
}

/// A file whose text is made up of what there is now.
pub trait Generated: Send + Sync {
    /// The text.
    fn text(&self) -> Vec<u8>;
    /// What a write does; `EINVAL` if it can only be read.
    fn write(&self, text: &[u8]) -> Result<(), Errno>;
}

/// A directory made up of what there is now.
pub trait Listing: Send + Sync {
    /// Names and types.
    fn list(&self) -> Vec<(Vec<u8>, u8)>;
    /// The node of a name in `directory`, which has this listing.
    fn child(&self, directory: &Arc<Node>, name: &[u8]) -> Option<Arc<Node>>;
    /// The process whose directory in /proc it is: to pidfd_send_signal(2), a descriptor of it is one of that.
    fn process(&self) -> Option<Weak<dyn Any + Send + Sync>> {
        None
    }
}

/// What a directory has below what is written over it.
pub trait Lower: Send + Sync {
    /// Names, types and inode numbers.
    fn entries(&self) -> Result<Vec<DirEntry>, Errno>;
    /// The node of an inode, as the name at `place` leads to it.
    fn node(&self, ino: u64, place: Place) -> Result<Arc<Node>, Errno>;
}

/// A directory's parent and its name there.
pub(super) type Place = (Weak<Node>, Arc<[u8]>);

/// The absolute path of names from the innermost outwards.
pub(super) fn absolute(names: &[Arc<[u8]>]) -> Vec<u8> {
    if names.is_empty() {
        return b"/".to_vec();
    }
    // Whoever asks for a file's path adds its name.
    const NAME: usize = 64;
    let len = names.iter().map(|name| 1 + name.len()).sum::<usize>();
    let mut path = Vec::with_capacity(len + NAME);
    for name in names.iter().rev() {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    path
}

/// A directory with its entries.
pub struct Directory {
    pub(super) entries: Mutex<Entries>,
    /// Parent and name there; `None` for the root.
    pub(super) place: SpinLock<Option<Place>>,
    /// What limits the data of files in it.
    quota: Option<Arc<Quota>>,
}

impl Directory {
    /// Whether it has no name any more.
    #[doc(alias = "IS_DEADDIR")]
    pub fn is_removed(&self) -> bool {
        self.entries.lock().removed
    }

    /// One over what is there already.
    pub(super) fn over(lower: Arc<dyn Lower>, place: Option<Place>) -> Self {
        Self {
            entries: Mutex::new(Entries {
                lower: Some(lower),
                unread: true,
                ..Entries::default()
            }),
            place: SpinLock::new(place),
            quota: None,
        }
    }

    /// An empty one.
    pub(super) fn new(quota: Option<Arc<Quota>>) -> Self {
        Self {
            entries: Mutex::new(Entries::default()),
            place: SpinLock::new(None),
            quota,
        }
    }
}

#[derive(Default)]
pub(super) struct Entries {
    pub(super) names: BTreeMap<Box<[u8]>, Entry>,
    /// What is below those written here.
    lower: Option<Arc<dyn Lower>>,
    /// Its names are not among these yet.
    unread: bool,
    /// Removed: nothing can be made in it.
    pub(super) removed: bool,
    /// Names among them that lead nowhere, at most.
    pub(super) absent: usize,
}

pub(super) enum Entry {
    /// Of what is below, not looked up yet: its inode number and type.
    Lazy { nid: u64, kind: u8 },
    /// A node.
    Node(Arc<Node>),
    /// What a file elsewhere was, and until when that is trusted.
    Known(Option<Arc<Node>>, Instant),
}

impl Kind {
    /// A directory whose entries are made up.
    pub fn listing(listing: impl Listing + 'static) -> Self {
        Self::Listing(Box::new(listing), SpinLock::new(None))
    }

    /// An empty directory.
    pub fn directory() -> Self {
        Self::Directory(Directory::new(None))
    }
}

impl Node {
    /// A new node with full mode (type and permissions), owned by root, dated now.
    pub fn new(dev: u64, mode: u32, kind: Kind) -> Arc<Self> {
        let now = time::realtime_ns();
        let nlink = if matches!(kind, Kind::Directory(_) | Kind::Listing(..)) {
            2
        } else {
            1
        };
        Arc::new(Self {
            ino: next_ino(),
            dev,
            attributes: SpinLock::new(Attributes {
                mode,
                uid: 0,
                gid: 0,
                nlink,
                mtime_ns: now,
                ctime_ns: now,
                atime_ns: now,
                btime_ns: Some(now),
                ..Attributes::default()
            }),
            kind,
            mounts: AtomicU32::new(0),
            xattrs: SpinLock::new(None),
            operations: None,
            write_count: AtomicI32::new(0),
        })
    }

    /// A new node as the calling thread makes it, owned by its user and group.
    pub fn made(dev: u64, mode: u32, kind: Kind) -> Arc<Self> {
        let node = Self::new(dev, mode, kind);
        let maker = credentials::current();
        let mut attributes = node.attributes.lock();
        attributes.uid = maker.user.filesystem;
        attributes.gid = maker.group.filesystem;
        drop(attributes);
        node
    }

    /// The same for one in `directory`, whose set-group-ID bit hands down its group, and itself to directories.
    pub(super) fn made_in(directory: &Self, mode: u32, mut kind: Kind) -> Arc<Self> {
        if let Kind::Directory(Directory {
            quota: Some(quota), ..
        }) = &directory.kind
        {
            match &mut kind {
                Kind::Directory(new) => new.quota = Some(quota.clone()),
                Kind::Regular(content) => content.charge_to(quota),
                _ => (),
            }
        }
        let node = Self::made(directory.dev, mode, kind);
        let Attributes { mode, gid, .. } = *directory.attributes.lock();
        if mode & linux::S_ISGID != 0 {
            let mut attributes = node.attributes.lock();
            attributes.gid = gid;
            if node.is_directory() {
                attributes.mode |= linux::S_ISGID;
            }
        }
        node
    }

    /// A node for a file that there was before it; if it is elsewhere, with what that can do.
    pub(super) fn stored(
        dev: u64,
        ino: u64,
        attributes: Attributes,
        kind: Kind,
        operations: Option<Arc<dyn InodeOperations>>,
    ) -> Arc<Self> {
        if operations.is_some() {
            dev::stored();
        }
        Arc::new(Self {
            ino,
            dev,
            attributes: SpinLock::new(attributes),
            kind,
            mounts: AtomicU32::new(0),
            xattrs: SpinLock::new(None),
            operations,
            write_count: AtomicI32::new(0),
        })
    }

    /// Remembers what a name in a directory whose file is elsewhere leads to.
    pub(super) fn remember(
        self: &Arc<Self>,
        operations: &dyn InodeOperations,
        entries: &mut Entries,
        name: &[u8],
        node: Option<Arc<Self>>,
    ) {
        if let Some(place) = node.as_ref().and_then(|node| node.place()) {
            *place.lock() = Some((Arc::downgrade(self), Arc::from(name)));
        }
        let until = Instant(Instant::now().0.saturating_add(operations.patience()));
        entries.absent += usize::from(node.is_none());
        if entries.absent > MOST_ABSENT.max(entries.names.len() / 2) {
            let leads = |entry: &Entry| !matches!(entry, Entry::Known(None, _));
            entries.names.retain(|_, entry| leads(entry));
            entries.absent = 0;
        }
        let name = Box::from(name);
        entries.names.insert(name, Entry::Known(node, until));
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory(_) | Kind::Listing(..))
    }

    /// The directory that can be changed; `EPERM` for one that is made up, `ENOTDIR` for another node.
    pub(super) fn directory(&self) -> Result<&Directory, Errno> {
        match &self.kind {
            Kind::Directory(directory) => Ok(directory),
            Kind::Listing(..) => Err(Errno::EPERM),
            _ => Err(Errno::ENOTDIR),
        }
    }

    /// The node that `name` (neither `.` nor `..`) leads to.
    pub fn child(self: &Arc<Self>, name: &[u8]) -> Result<Option<Arc<Self>>, Errno> {
        let directory = match &self.kind {
            Kind::Directory(directory) => directory,
            Kind::Listing(listing, _) => return Ok(listing.child(self, name)),
            _ => return Err(Errno::ENOTDIR),
        };
        let mut entries = directory.entries.lock();
        if let Some(operations) = &self.operations {
            if let Some(Entry::Known(node, until)) = entries.names.get(name)
                && Instant::now() < *until
                && !node.as_ref().is_some_and(|node| node.is_lost())
            {
                return Ok(node.clone());
            }
            let node = operations.lookup(self, name)?;
            self.remember(&**operations, &mut entries, name, node.clone());
            return Ok(node);
        }
        entries.load()?;
        let Some(entry) = entries.names.get(name) else {
            return Ok(None);
        };
        let nid = match entry {
            Entry::Node(node) => return Ok(Some(node.clone())),
            Entry::Known(node, _) => return Ok(node.clone()),
            Entry::Lazy { nid, .. } => *nid,
        };
        let lower = entries.lower.clone().ok_or(Errno::EIO)?;
        let place = (Arc::downgrade(self), Arc::from(name));
        let node = lower.node(nid, place)?;
        entries
            .names
            .insert(Box::from(name), Entry::Node(node.clone()));
        Ok(Some(node))
    }

    /// Where a directory is.
    pub(super) fn place(&self) -> Option<&SpinLock<Option<Place>>> {
        match &self.kind {
            Kind::Directory(directory) => Some(&directory.place),
            Kind::Listing(_, place) => Some(place),
            _ => None,
        }
    }

    /// The directory that `..` leads to; the node itself for the root.
    pub fn parent(self: &Arc<Self>) -> Result<Arc<Self>, Errno> {
        match &*self.place().ok_or(Errno::ENOTDIR)?.lock() {
            Some((parent, _)) => parent.upgrade().ok_or(Errno::ENOENT),
            None => Ok(self.clone()),
        }
    }

    fn is_lost(&self) -> bool {
        self.operations.as_ref().is_some_and(|it| it.is_lost())
    }

    /// Whether something is mounted on it.
    pub(super) fn is_mount_point(&self) -> bool {
        self.mounts.load(Ordering::Acquire) != 0
    }

    /// One mount more, or less, covers it.
    pub(super) fn set_mount_point(&self, more: bool) {
        if more {
            self.mounts.fetch_add(1, Ordering::Release);
        } else {
            self.mounts.fetch_sub(1, Ordering::Release);
        }
    }

    /// Path of a directory from the root of its file system.
    pub(super) fn path_in_file_system(self: &Arc<Self>) -> Vec<u8> {
        let mut parts = Vec::new();
        let mut node = self.clone();
        while let Some(place) = node.place() {
            let Some((parent, name)) = place.lock().clone() else {
                break;
            };
            parts.push(name);
            match parent.upgrade() {
                Some(parent) => node = parent,
                None => break,
            }
        }
        absolute(&parts)
    }

    /// The entries, without `.` and `..`.
    pub fn list(&self) -> Result<Vec<DirEntry>, Errno> {
        match &self.kind {
            Kind::Listing(listing, _) => Ok(listing
                .list()
                .into_iter()
                .map(|(name, kind)| DirEntry {
                    name: name.into_boxed_slice(),
                    ino: 1,
                    kind,
                })
                .collect()),
            _ => {
                let mut entries = self.directory()?.entries.lock();
                if let Some(operations) = &self.operations {
                    drop(entries);
                    return operations.list();
                }
                entries.load()?;
                Ok(entries
                    .names
                    .iter()
                    .filter_map(|(name, entry)| {
                        let (ino, kind) = match entry {
                            Entry::Lazy { nid, kind } => (*nid, *kind),
                            Entry::Node(node) => (node.ino, node.directory_type()),
                            Entry::Known(..) => return None,
                        };
                        Some(DirEntry {
                            name: name.clone(),
                            ino,
                            kind,
                        })
                    })
                    .collect())
            }
        }
    }

    /// `DT_*` of the node.
    fn directory_type(&self) -> u8 {
        ((self.attributes.lock().mode & linux::S_IFMT) >> 12) as u8
    }

    /// What stat(2) tells.
    pub fn metadata(&self) -> Result<Metadata, Errno> {
        if let Kind::Anonymous(file) = &self.kind {
            return file.metadata();
        }
        if let Some(operations) = &self.operations {
            operations.refresh(self, false)?;
        }
        let attributes = *self.attributes.lock();
        let blocks = || attributes.blocks;
        let (size, blocks) = match &self.kind {
            Kind::Regular(content) => {
                let kept = |blocks| blocks + content.pages_with_room() * BLOCKS_OF_PAGE;
                let blocks = blocks().map_or_else(|| content.blocks(), kept);
                (content.size(), blocks)
            }
            Kind::Symlink(target) => (target.len() as u64, blocks().unwrap_or(0)),
            Kind::Directory(directory) => match blocks() {
                Some(blocks) => (blocks * 512, blocks),
                None => (directory.entries.lock().names.len() as u64 * 32, 0),
            },
            _ => (0, 0),
        };
        let rdev = match &self.kind {
            Kind::Device(device) => device.rdev(),
            Kind::Special(rdev) => *rdev,
            _ => 0,
        };
        Ok(Metadata {
            dev: self.dev,
            ino: self.ino,
            mode: attributes.mode,
            nlink: attributes.nlink,
            uid: attributes.uid,
            gid: attributes.gid,
            rdev,
            size,
            mtime_ns: attributes.mtime_ns,
            ctime_ns: attributes.ctime_ns,
            atime_ns: attributes.atime_ns,
            btime_ns: attributes.btime_ns,
            blocks,
            flags: attributes.flags,
        })
    }

    /// Changes attributes but the size, and dates the node.
    pub fn change(&self, changes: &Changes) -> Result<(), Errno> {
        if let Some(operations) = &self.operations {
            operations.change(self, changes)?;
            return Ok(());
        }
        let mut attributes = self.attributes.lock();
        let kind = attributes.mode & linux::S_IFMT;
        attributes.mode = changes.mode.map_or(attributes.mode, |mode| kind | mode);
        attributes.uid = changes.uid.unwrap_or(attributes.uid);
        attributes.gid = changes.gid.unwrap_or(attributes.gid);
        attributes.atime_ns = changes.atime_ns.unwrap_or(attributes.atime_ns);
        attributes.mtime_ns = changes.mtime_ns.unwrap_or(attributes.mtime_ns);
        attributes.ctime_ns = time::realtime_ns();
        drop(attributes);
        Ok(())
    }

    /// Dates the node: its status, and its data if `modified`.
    pub fn touch(&self, modified: bool) {
        if let Some(operations) = &self.operations {
            return operations.touch(self, modified);
        }
        let now = time::realtime_ns();
        let mut attributes = self.attributes.lock();
        attributes.ctime_ns = now;
        if modified {
            attributes.mtime_ns = now;
        }
    }
}

impl Entries {
    /// Reads the names that are below if that has not been done.
    pub(super) fn load(&mut self) -> Result<(), Errno> {
        if !self.unread {
            return Ok(());
        }
        if let Some(lower) = &self.lower {
            self.names = lower
                .entries()?
                .into_iter()
                .map(|one| {
                    let (nid, kind) = (one.ino, one.kind);
                    (one.name, Entry::Lazy { nid, kind })
                })
                .collect();
        }
        self.unread = false;
        Ok(())
    }
}
