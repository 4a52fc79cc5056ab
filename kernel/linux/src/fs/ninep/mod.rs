//! Directories of the host by 9P2000.L over virtio: `elfin run -v HOST:GUEST`. [`file`] has what is done with a file,
//! [`client`] the requests, [`message`] their bytes.
//!
//! Everything that is written is with the host's kernel when write(2) returns. What is read is kept in the page cache,
//! and trusted for a second or, mounted with `cached`, for good; opening a file asks the host anew. Locks are the
//! guest's own: those of the host or another guest are not seen.
mod client;
mod file;
mod message;

use super::{
    file_system::{FileSystem, Statistics},
    numbers,
    tree::Node,
};
use abi::Errno;
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    sync::{Arc, Weak},
    vec::Vec,
};
use client::{Client, Fid};
use core::sync::atomic::{AtomicU64, Ordering};
use file::File;
use machine::{
    drivers::{self, ninep},
    sync::{Mutex, SpinLock},
};

/// For how long what the host has said is trusted.
const PATIENCE: u64 = 1_000_000_000;
/// How names begin under which open files stay that were removed; nobody sees them.
const UNLINKED: &[u8] = b".elfin-unlinked-";

/// How a directory of the host is mounted.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Options {
    /// Nothing can be changed.
    pub read_only: bool,
    /// What was read once is trusted for good.
    pub cached: bool,
    /// Whose files are shown as those of the user that the machine's first program starts as.
    pub owner: Option<(u32, u32)>,
    /// That user and its group.
    pub user: (u32, u32),
    /// The one file of the directory that is mounted.
    pub file: Option<Vec<u8>>,
}

impl Options {
    /// Parses those that `elfin run` gives; `EINVAL`.
    pub fn parse(text: &str) -> Result<Self, Errno> {
        let mut options = Self::default();
        let number = |text: &str| text.parse().map_err(|_| Errno::EINVAL);
        for option in text.split(',').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                None if option == "ro" => options.read_only = true,
                None if option == "cached" => options.cached = true,
                Some(("owner", ids)) => {
                    let (uid, gid) = ids.split_once('.').ok_or(Errno::EINVAL)?;
                    options.owner = Some((number(uid)?, number(gid)?));
                }
                Some(("file", name)) => options.file = Some(unhex(name).ok_or(Errno::EINVAL)?),
                _ => return Err(Errno::EINVAL),
            }
        }
        Ok(options)
    }
}

/// The bytes that pairs of hexadecimal digits stand for.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(core::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

/// A directory of the host.
pub struct NineP {
    shared: Arc<Shared>,
    root: Arc<Node>,
}

/// What all its files have in common.
struct Shared {
    dev: u64,
    options: Options,
    client: Arc<Client>,
    /// The root, where removed files stay as long as they are open.
    top: Fid,
    /// The nodes there are, by what the server tells files apart by.
    nodes: Mutex<BTreeMap<u64, Weak<Node>>>,
    /// Files that nobody has open any more, to be removed.
    removals: SpinLock<Vec<Vec<u8>>>,
    /// The names of all that were removed while they were open, and that are there still.
    unlinked: Mutex<BTreeSet<Vec<u8>>>,
    /// Makes names of removed files differ, from those of other guests, too.
    next_name: AtomicU64,
}

impl NineP {
    /// The directory that the host has under `tag`.
    pub fn mount(tag: &str, options: Options) -> Result<Self, Errno> {
        let server = ninep::find(tag.as_bytes()).ok_or(Errno::ENODEV)?;
        let (client, top) = Client::attach(server)?;
        let shared = Arc::new(Shared {
            dev: numbers::next_dev(),
            options,
            client,
            top,
            nodes: Mutex::new(BTreeMap::new()),
            removals: SpinLock::new(Vec::new()),
            unlinked: Mutex::new(BTreeSet::new()),
            next_name: AtomicU64::new(drivers::random::number()),
        });
        let (fid, qid) = shared.top.walk(shared.options.file.as_deref())?;
        let root = match qid {
            Some(qid) => shared.node(fid, qid.path)?,
            None => {
                let path = fid.attributes()?.qid.path;
                shared.node(fid, path)?
            }
        };
        Ok(Self { shared, root })
    }
}

impl Shared {
    /// The node of a file.
    fn node(self: &Arc<Self>, fid: Fid, path: u64) -> Result<Arc<Node>, Errno> {
        let known = self.nodes.lock().get(&path).and_then(Weak::upgrade);
        if let Some(node) = known
            && let Some(file) = super::inode::downcast::<File>(&node)
        {
            // The name that the old fid stands for may be gone.
            file.set_fid(fid);
            if file.ask(&node)? {
                return Ok(node);
            }
            // The number is another file's by now.
            return self.remember(File::node(self, file.another_fid()?)?, path);
        }
        self.remember(File::node(self, fid)?, path)
    }

    fn remember(&self, node: Arc<Node>, path: u64) -> Result<Arc<Node>, Errno> {
        let mut nodes = self.nodes.lock();
        if nodes.len() >= 64 && nodes.len().is_power_of_two() {
            nodes.retain(|_, node| node.strong_count() > 0);
        }
        nodes.insert(path, Arc::downgrade(&node));
        Ok(node)
    }

    /// A name that no other file has.
    fn fresh_name(&self) -> Vec<u8> {
        let number = self.next_name.fetch_add(1, Ordering::Relaxed);
        let name = [UNLINKED, format!("{number:016x}").as_bytes()].concat();
        self.unlinked.lock().insert(name.clone());
        name
    }

    /// Removes what was removed while it was open and no longer is.
    fn remove_closed(&self) {
        let names = core::mem::take(&mut *self.removals.lock());
        for name in names {
            if !self.unlinked.lock().remove(&name) {
                continue;
            }
            if let Err(error) = self.top.unlink(&name, 0) {
                let name = String::from_utf8_lossy(&name);
                log::warn!("{name} stays in a directory of the host: {}", error.text());
            }
        }
    }
}

impl FileSystem for NineP {
    fn name(&self) -> &'static str {
        "9p"
    }
    fn dev(&self) -> u64 {
        self.shared.dev
    }
    fn root(&self) -> Arc<Node> {
        self.root.clone()
    }
    fn statistics(&self) -> Result<Statistics, Errno> {
        self.shared.top.statistics()
    }
    fn options(&self) -> String {
        let cache = if self.shared.options.cached {
            "loose"
        } else {
            "fscache"
        };
        format!(",trans=virtio,version=9p2000.L,cache={cache}")
    }
    fn is_read_only(&self) -> bool {
        self.shared.options.read_only
    }
    fn finish(&self) -> Result<(), Errno> {
        let names = self.shared.unlinked.lock().iter().cloned().collect();
        *self.shared.removals.lock() = names;
        self.sync()
    }
    fn sync(&self) -> Result<(), Errno> {
        self.shared.remove_closed();
        self.shared.client.clunk_dropped();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options() {
        let options = Options::parse("ro,owner=1000.100,file=612c62").unwrap();
        assert!(options.read_only && !options.cached);
        assert_eq!(options.owner, Some((1000, 100)));
        assert_eq!(options.file.as_deref(), Some(&b"a,b"[..]));
        assert_eq!(Options::parse("file=6g"), Err(Errno::EINVAL));
        assert_eq!(Options::parse("owner=1"), Err(Errno::EINVAL));
    }
}
