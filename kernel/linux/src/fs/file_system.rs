//! What all file systems have in common: the trait that mounts and statfs(2) know them by, and those of the kernel's
//! own that are trees of made-up nodes (/proc, /sys, /dev).
use super::tree::{Kind, Node};
use abi::Errno;
use alloc::{string::String, sync::Arc};
use linux_raw_sys::general as linux;
use machine::mm::{PAGE, frame};

/// A file system.
#[doc(alias = "super_operations")]
pub trait FileSystem: Send + Sync {
    /// Its type, as in /proc/filesystems.
    fn name(&self) -> &'static str;
    /// Device number of its nodes.
    fn dev(&self) -> u64;
    /// Its root.
    fn root(&self) -> Arc<Node>;
    /// What statfs(2) tells.
    fn statistics(&self) -> Result<Statistics, Errno>;
    /// Options of its own in /proc/mounts, with a comma before each.
    fn options(&self) -> String {
        String::new()
    }
    /// Whether nothing in it can be changed, however it is mounted.
    fn is_read_only(&self) -> bool {
        false
    }
    /// Takes other options of its own (`MS_REMOUNT`).
    fn remount(&self, options: &str) -> Result<(), Errno> {
        let _ = options;
        Ok(())
    }
    /// Leaves everything as it is to stay: the machine ends, and whatever is open is no longer.
    fn finish(&self) -> Result<(), Errno> {
        self.sync()
    }
    /// Has everything written that is not where it is to stay. An error is the first there was.
    fn sync(&self) -> Result<(), Errno> {
        Ok(())
    }
}

/// What statfs(2) tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are statfs(2)'s")]
pub struct Statistics {
    pub magic: u32,
    pub block_size: u64,
    pub blocks: u64,
    pub blocks_free: u64,
    pub blocks_available: u64,
    pub files: u64,
    pub files_free: u64,
}

impl Statistics {
    /// Of a file system without data.
    pub fn none(magic: u32) -> Self {
        Self {
            magic,
            block_size: PAGE as u64,
            blocks: 0,
            blocks_free: 0,
            blocks_available: 0,
            files: 0,
            files_free: 0,
        }
    }

    /// Of one in memory, which `more` blocks and files were there without, and which may have so many frames.
    pub fn of_memory(magic: u32, more: (u64, u64), free: usize) -> Self {
        let free = free as u64;
        Self {
            magic,
            block_size: PAGE as u64,
            blocks: more.0 + free,
            blocks_free: free,
            blocks_available: free,
            files: more.1 + free,
            files_free: free,
        }
    }
}

/// What others than the file systems themselves add to the roots of /proc and /sys.
#[expect(missing_docs, reason = "each is where it is added")]
pub struct Additions {
    pub proc: fn(&Arc<Node>) -> Result<(), Errno>,
    pub sys: fn(&Arc<Node>) -> Result<(), Errno>,
}

/// A file system whose nodes the kernel makes up.
pub struct Pseudo {
    name: &'static str,
    dev: u64,
    magic: u32,
    root: Arc<Node>,
}

impl Pseudo {
    /// One with an empty root of this mode.
    pub fn new(name: &'static str, dev: u64, magic: u32, mode: u32) -> Self {
        let root = Node::new(dev, linux::S_IFDIR | mode, Kind::directory());
        Self::with_root(name, magic, root)
    }

    /// One whose root makes its entries up.
    pub fn with_root(name: &'static str, magic: u32, root: Arc<Node>) -> Self {
        Self {
            name,
            dev: root.dev,
            magic,
            root,
        }
    }
}

impl FileSystem for Pseudo {
    fn name(&self) -> &'static str {
        self.name
    }
    fn dev(&self) -> u64 {
        self.dev
    }
    fn root(&self) -> Arc<Node> {
        self.root.clone()
    }
    fn statistics(&self) -> Result<Statistics, Errno> {
        let mut statistics = Statistics::none(self.magic);
        if self.magic == linux::TMPFS_MAGIC {
            statistics = Statistics::of_memory(self.magic, (0, 0), frame::available());
            statistics.blocks = statistics.blocks_free;
        }
        Ok(statistics)
    }
}
