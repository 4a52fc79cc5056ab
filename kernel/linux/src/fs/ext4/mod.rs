//! Volumes: ext4 on a disk, by the rsext4 crate: `elfin run -v NAME:GUEST`. [`file`] has what is done with a file,
//! [`names`] with its names, [`device`] what the crate asks for.
//!
//! The crate's file system is one value behind one lock. What is written is in the page cache when write(2) returns,
//! with room set aside for it ([`room`]), and on the disk when fsync(2) does, after half a minute, and at the end.
mod device;
mod file;
mod inodes;
mod list;
mod names;
mod range;
mod read;
mod room;
mod trim;
mod xattr;

use super::{
    disks::{self, Named},
    file_system::{FileSystem, Statistics},
    tree::Node,
};
use abi::Errno;
use alloc::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    vec::Vec,
};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use device::{Now, Random, Volume, errno};
use file::File;
use linux_raw_sys::general::EXT4_SUPER_MAGIC;
use machine::sync::{Mutex, SpinLock};
use room::Room;
use rsext4::{
    DirectoryCursor, DirectoryEntryType, Ext4Error, Ext4Result, FileExtentState, FileExtentTarget,
    FileName, FilePermissions, InodeInfo, InodeNumber, MountOptions, MountServices,
    MountedServices, MutationContext, NoopObserver,
};

/// Extents of a file that are looked at when it is written to; more of them in one write cost a commit.
const EXTENTS: usize = 64;
/// Names read at a time of what a crash has left.
const LEFT: usize = 64;

/// So many bytes given up are worth to be given back to the host at the end.
const WORTH: u64 = 4 << 20;

type Mounted = rsext4::Ext4<Volume, MountedServices<Random, NoopObserver>>;

/// A volume.
pub struct Ext4 {
    shared: Arc<Shared>,
    root: Arc<Node>,
    read_only: bool,
}

/// What all its files have in common.
struct Shared {
    dev: u64,
    fs: Mutex<Mounted>,
    /// The nodes there are, by inode number.
    nodes: Mutex<BTreeMap<u32, Weak<Node>>>,
    /// Inodes without a name.
    orphans: SpinLock<Orphans>,
    /// The directory that those are in which never had a name of their own, once there is one.
    unnamed: SpinLock<Option<InodeNumber>>,
    /// Blocks have been freed since the last commit.
    freed: AtomicBool,
    disk: Volume,
    room: Room,
    block_size: u64,
    /// Bytes that files have given up since the volume was mounted.
    freed_bytes: AtomicU64,
    /// Of so many commits has the disk everything.
    commits: AtomicU64,
    /// As a file's, of all files: of those that have no node any more, too.
    behind_until: AtomicU64,
}

/// Inodes without a name. Those of `O_TMPFILE` have one that nobody sees, as the crate gives none to inodes that have
/// been without; what a crash leaves of them is removed at the next mount.
#[derive(Default)]
struct Orphans {
    /// Those that have nodes, and their names in the directory for them.
    open: BTreeMap<InodeNumber, Option<Unnamed>>,
    /// Those whose nodes are gone, to be freed.
    closed: Vec<(InodeNumber, Option<Unnamed>)>,
    /// How many there were that never had a name of their own.
    count: u64,
}

/// The name of an inode that nobody sees.
#[derive(Clone, Copy)]
struct Unnamed([u8; 16]);

/// The directory they are in.
const UNNAMED: &[u8] = b".elfin-unnamed";

impl Ext4 {
    /// Mounts the volume on the disk called `name`, once its journal is replayed.
    pub fn mount(name: &str, read_only: bool) -> Result<Self, Errno> {
        let Named { disk, dev, .. } = disks::find(name.as_bytes()).ok_or(Errno::ENODEV)?;
        let services = MountServices::new(Now, Random, NoopObserver);
        let disk = Volume::new(disk);
        let fs = if read_only {
            let options = MountOptions {
                readonly: true,
                ..MountOptions::read_write()
            };
            Mounted::mount(disk.again(), services, options)
        } else {
            Mounted::mount_with_readonly_fallback(disk.again(), services)
        };
        let fs = fs.map_err(|error| {
            log::error!("volume {name}: {error}");
            errno(error)
        })?;
        // Not before: what a power cut has left in halves is whole once the journal is replayed.
        disk.check_inodes()?;
        let read_only = fs.options().readonly;
        let root = fs.root_inode();
        let statistics = fs.statfs();
        let shared = Arc::new(Shared {
            dev,
            fs: Mutex::new(fs),
            nodes: Mutex::new(BTreeMap::new()),
            orphans: SpinLock::new(Orphans::default()),
            unnamed: SpinLock::new(None),
            freed: AtomicBool::new(false),
            disk,
            room: Room::new(statistics.block_size, statistics.free_blocks),
            block_size: statistics.block_size,
            freed_bytes: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            behind_until: AtomicU64::new(0),
        });
        let info = shared.with(|fs| fs.inode(root))?;
        if !read_only {
            shared.with(|fs| shared.remove_unnamed(fs))?;
        }
        let root = shared.node(&info)?;
        Ok(Self {
            shared,
            root,
            read_only,
        })
    }
}

impl Shared {
    /// Calls `f` with the file system.
    fn with<R>(&self, f: impl FnOnce(&mut Mounted) -> Ext4Result<R>) -> Result<R, Errno> {
        let mut fs = self.fs.lock();
        let before = fs.statfs().free_blocks;
        let orphans = core::mem::take(&mut self.orphans.lock().closed);
        for (inode, name) in orphans {
            if let Err(error) = self.free(&mut fs, inode, name) {
                log::warn!("inode {} is not freed: {error}", inode.raw());
            }
        }
        let result = f(&mut fs);
        let free = fs.statfs().free_blocks;
        let freed = free.saturating_sub(before) * self.block_size;
        self.freed_bytes.fetch_add(freed, Ordering::Relaxed);
        self.room.set_free(free);
        result.map_err(errno)
    }

    fn free(&self, fs: &mut Mounted, inode: InodeNumber, name: Option<Unnamed>) -> Ext4Result<()> {
        self.freed.store(true, Ordering::Relaxed);
        if let Some(name) = name {
            let directory = self.unnamed_directory(fs)?;
            let _ = fs.unlink(directory, FileName::new(&name.0)?)?;
        }
        reap(fs, inode)
    }

    /// The directory of what has no name that anybody sees.
    fn unnamed_directory(&self, fs: &mut Mounted) -> Ext4Result<InodeNumber> {
        if let Some(known) = *self.unnamed.lock() {
            return Ok(known);
        }
        let (root, name) = (fs.root_inode(), FileName::new(UNNAMED)?);
        let directory = match fs.lookup_child(root, name)? {
            Some(there) => there.number,
            None => {
                let root_only = (
                    MutationContext::new(0, 0, 0, 0),
                    FilePermissions::new(0o700)?,
                );
                let made = fs.create_directory(root_only.0, root, name, root_only.1)?;
                made.number
            }
        };
        *self.unnamed.lock() = Some(directory);
        Ok(directory)
    }

    /// Frees what a crash has left without a name.
    fn remove_unnamed(&self, fs: &mut Mounted) -> Ext4Result<()> {
        let found = fs.lookup_child(fs.root_inode(), FileName::new(UNNAMED)?)?;
        let Some(directory) = found.filter(InodeInfo::is_directory) else {
            return Ok(());
        };
        loop {
            let mut left = fs.read_directory(directory.number, DirectoryCursor::Start, LEFT)?;
            left.retain(|entry| entry.name != b"." && entry.name != b"..");
            if left.is_empty() {
                return Ok(());
            }
            for entry in left {
                let gone = fs.unlink(directory.number, FileName::new(&entry.name)?)?;
                if gone.requires_reap() {
                    reap(fs, gone.inode)?;
                }
            }
        }
    }

    /// The same for what frees blocks.
    fn with_freeing<R>(&self, f: impl FnOnce(&mut Mounted) -> Ext4Result<R>) -> Result<R, Errno> {
        self.with(|fs| {
            self.freed.store(true, Ordering::Relaxed);
            f(fs)
        })
    }

    /// Has everything on the disk.
    fn commit(&self, fs: &mut Mounted) -> Ext4Result<()> {
        fs.sync()?;
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.freed.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Before data are written to blocks that may be new: has it on the disk that they were freed. Until then the file
    /// that had them has them there, and would have the new data after a crash.
    fn settle(&self, fs: &mut Mounted, file: InodeNumber, at: u64, len: usize) -> Ext4Result<()> {
        let len = u64::try_from(len).map_err(|_| Ext4Error::overflow())?;
        if len == 0 || !self.freed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let end = at.saturating_add(len);
        let map = fs.inode_extents(file, at, len, FileExtentTarget::Data, EXTENTS)?;
        let mut there = at;
        for extent in &map.extents {
            if extent.logical_start <= there {
                there = there.max(extent.logical_start.saturating_add(extent.length));
            }
        }
        if there < end {
            self.commit(fs)?;
        }
        Ok(())
    }

    /// The node of an inode, if there is one.
    fn known(&self, inode: InodeNumber) -> Option<Arc<Node>> {
        let nodes = self.nodes.lock();
        nodes.get(&inode.raw()).and_then(Weak::upgrade)
    }

    /// The node of a file.
    fn node(self: &Arc<Self>, info: &InodeInfo) -> Result<Arc<Node>, Errno> {
        let number = info.number.raw();
        let mut nodes = self.nodes.lock();
        if let Some(node) = nodes.get(&number).and_then(Weak::upgrade) {
            return Ok(node);
        }
        let node = File::node(self, info)?;
        if nodes.len() >= 64 && nodes.len().is_power_of_two() {
            nodes.retain(|_, node| node.strong_count() > 0);
        }
        nodes.insert(number, Arc::downgrade(&node));
        Ok(node)
    }
}

/// Frees an inode that has no name. The crate leaves blocks that are set aside only, but for files that are cut short,
/// and frees many blocks one by one.
fn reap(fs: &mut Mounted, number: InodeNumber) -> Ext4Result<()> {
    let inode = fs.inode(number)?;
    let is_regular = inode.file_type() == DirectoryEntryType::RegularFile;
    if is_regular && inode.blocks > 0 && !is_one_block(fs, &inode)? {
        if inode.size == 0 {
            fs.truncate_inode(number, 1)?;
        }
        range::truncate(fs, number, 0)?;
    }
    fs.reap_unlinked_inode(number)
}

/// Whether all the blocks that a file has are one with data.
fn is_one_block(fs: &mut Mounted, inode: &InodeInfo) -> Ext4Result<bool> {
    let block = fs.statfs().block_size;
    if inode.blocks.saturating_mul(512) != block || inode.size == 0 {
        return Ok(false);
    }
    let map = fs.inode_extents(inode.number, 0, inode.size, FileExtentTarget::Data, 1)?;
    let written = FileExtentState::Initialized;
    Ok(map.extents.iter().any(|extent| extent.state == written))
}

impl FileSystem for Ext4 {
    fn name(&self) -> &'static str {
        "ext4"
    }
    fn dev(&self) -> u64 {
        self.shared.dev
    }
    fn root(&self) -> Arc<Node> {
        self.root.clone()
    }
    fn statistics(&self) -> Result<Statistics, Errno> {
        let of = self.shared.with(|fs| Ok(fs.statfs()))?;
        let free = of.free_blocks.saturating_sub(self.shared.room.promised());
        Ok(Statistics {
            magic: EXT4_SUPER_MAGIC,
            block_size: of.block_size,
            blocks: of.total_blocks,
            blocks_free: free,
            blocks_available: free,
            files: of.total_inodes.into(),
            files_free: of.free_inodes.into(),
        })
    }
    fn is_read_only(&self) -> bool {
        self.read_only
    }
    fn sync(&self) -> Result<(), Errno> {
        self.shared.with(|fs| self.shared.commit(fs))
    }
    fn finish(&self) -> Result<(), Errno> {
        // Whoever has these open does nothing any more.
        let mut orphans = self.shared.orphans.lock();
        let open = core::mem::take(&mut orphans.open);
        orphans.closed.extend(open);
        drop(orphans);
        self.shared.with(Mounted::unmount)?;
        if self.shared.freed_bytes.load(Ordering::Relaxed) >= WORTH
            && let Err(error) = self.shared.disk.trim()
        {
            log::warn!("free blocks of a volume stay on the host: {}", error.text());
        }
        self.shared.disk.close()
    }
}
