//! tmpfs(5): files in memory alone, with a limit to what their data may take.
use super::{
    file_system::{FileSystem, Statistics},
    numbers, page_cache,
    quota::Quota,
    tree::{Directory, Kind, Node},
};
use abi::Errno;
use alloc::{format, string::String, sync::Arc};
use linux_raw_sys::general as linux;
use machine::mm::{PAGE, frame};

/// What `mount -o` says of a tmpfs.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Limit in bytes.
    pub size: Option<u64>,
    /// Permissions of the root.
    pub mode: Option<u32>,
    /// Owner of the root.
    pub uid: u32,
    /// Group of the root.
    pub gid: u32,
}

const BLOCK: u64 = PAGE as u64;

/// Pages of memory there are.
fn memory() -> u64 {
    frame::counts().0 as u64
}

/// A number of bytes with a suffix, or a share of memory in per cent.
fn size(text: &str) -> Option<u64> {
    if let Some(share) = text.strip_suffix('%') {
        let share: u64 = share.parse().ok()?;
        return Some(memory() * BLOCK / 100 * share);
    }
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

impl Options {
    /// Parses them; `EINVAL` for those that tmpfs does not have.
    pub fn parse(text: &str) -> Result<Self, Errno> {
        let mut options = Self::default();
        for option in text.split(',').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let number = || value.parse().map_err(|_| Errno::EINVAL);
            match name {
                "size" => options.size = Some(size(value).ok_or(Errno::EINVAL)?),
                "nr_blocks" => {
                    let blocks = size(value).and_then(|blocks| blocks.checked_mul(BLOCK));
                    options.size = Some(blocks.ok_or(Errno::EINVAL)?);
                }
                "mode" => {
                    let mode = u32::from_str_radix(value, 8).map_err(|_| Errno::EINVAL)?;
                    options.mode = Some(mode & 0o7777);
                }
                "uid" => options.uid = number()?,
                "gid" => options.gid = number()?,
                // Inodes are not counted, pages neither large nor on other nodes.
                "nr_inodes" | "huge" | "mpol" | "inode32" | "inode64" => (),
                _ => return Err(Errno::EINVAL),
            }
        }
        Ok(options)
    }

    fn pages(&self) -> Option<u64> {
        // 0: without limit.
        let size = self.size.filter(|&size| size != 0)?;
        Some(size.div_ceil(BLOCK))
    }
}

/// The file system.
pub struct Tmpfs {
    dev: u64,
    root: Arc<Node>,
    quota: Arc<Quota>,
}

impl Tmpfs {
    /// An empty one that may take so many pages, or half of memory.
    pub fn new(pages: Option<u64>) -> Self {
        Self::with_number(numbers::next_dev(), pages)
    }

    /// As `mount -o` wants it.
    pub fn with_options(options: &Options) -> Self {
        let pages = match options.size {
            Some(0) => Some(u64::MAX),
            _ => options.pages(),
        };
        let fs = Self::new(pages);
        let mut attributes = fs.root.attributes.lock();
        attributes.mode = linux::S_IFDIR | options.mode.unwrap_or(0o1777);
        (attributes.uid, attributes.gid) = (options.uid, options.gid);
        drop(attributes);
        fs
    }

    /// One with a device number of its own, and a limit in pages: half of memory if there is none.
    pub fn with_number(dev: u64, pages: Option<u64>) -> Self {
        let pages = pages.unwrap_or_else(|| memory() / 2);
        let quota = Arc::new(Quota::new(pages));
        let root = Kind::Directory(Directory::new(Some(quota.clone())));
        Self {
            dev,
            root: Node::new(dev, linux::S_IFDIR | 0o1777, root),
            quota,
        }
    }

    /// Gives it another limit; `EINVAL` if it takes more already.
    pub fn resize(&self, options: &Options) -> Result<(), Errno> {
        let Some(pages) = options.pages() else {
            return Ok(());
        };
        self.quota.set_limit(pages)
    }
}

impl FileSystem for Tmpfs {
    fn name(&self) -> &'static str {
        "tmpfs"
    }
    fn dev(&self) -> u64 {
        self.dev
    }
    fn root(&self) -> Arc<Node> {
        self.root.clone()
    }
    fn statistics(&self) -> Result<Statistics, Errno> {
        let there = page_cache::available();
        let free = (there as u64).min(self.quota.left());
        let limit = self.quota.limit();
        let mut statistics = Statistics::of_memory(linux::TMPFS_MAGIC, (0, 0), there);
        statistics.blocks = if limit == u64::MAX { 0 } else { limit };
        (statistics.blocks_free, statistics.blocks_available) = (free, free);
        Ok(statistics)
    }
    fn options(&self) -> String {
        let mut text = match self.quota.limit() {
            u64::MAX => String::new(),
            limit => format!(",size={}k", limit.saturating_mul(BLOCK / 1024)),
        };
        let mode = self.root.attributes.lock().mode & 0o7777;
        if mode != 0o1777 {
            text += &format!(",mode={mode:o}");
        }
        text
    }
    fn remount(&self, options: &str) -> Result<(), Errno> {
        self.resize(&Options::parse(options)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options() {
        let options = Options::parse("size=64k,mode=700,uid=3,nr_inodes=9").unwrap();
        assert_eq!((options.pages(), options.mode), (Some(16), Some(0o700)));
        assert_eq!((options.uid, options.gid), (3, 0));
        assert_eq!(Options::parse("size=1q"), Err(Errno::EINVAL));
        assert_eq!(Options::parse("data=journal"), Err(Errno::EINVAL));
        assert_eq!(Options::parse(""), Ok(Options::default()));
    }
}
