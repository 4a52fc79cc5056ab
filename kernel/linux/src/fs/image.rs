//! The root: an image, and what is written over it in memory.
use super::{
    DirEntry,
    block_cache::Cached,
    erofs::{self, Erofs, Inode},
    file_system::{FileSystem, Statistics},
    mount,
    page_cache::{self, Content},
    pipe,
    tree::{Attributes, Directory, Kind, Lower, Node, Place, dev},
};
use abi::Errno;
use alloc::{
    boxed::Box,
    collections::BTreeMap,
    format,
    string::String,
    sync::{Arc, Weak},
    vec::Vec,
};
use linux_raw_sys::general as linux;
use machine::{
    drivers::{self, RootDevice},
    sync::Mutex,
};

/// The image with its writable layer.
struct Root(Arc<Node>);

impl FileSystem for Root {
    fn name(&self) -> &'static str {
        "overlay"
    }
    fn dev(&self) -> u64 {
        dev::ROOT
    }
    fn root(&self) -> Arc<Node> {
        self.0.clone()
    }
    fn statistics(&self) -> Result<Statistics, Errno> {
        let totals = erofs::mounted().map_or((0, 0), |image| image.totals);
        let free = page_cache::available();
        Ok(Statistics::of_memory(
            linux::OVERLAYFS_SUPER_MAGIC,
            totals,
            free,
        ))
    }
}

/// The image, as the nodes of its directories know it.
struct Image {
    erofs: &'static Erofs<'static>,
    /// Nodes of files with several names.
    linked: Mutex<BTreeMap<u64, Weak<Node>>>,
}

/// A directory of the image.
struct ImageDirectory {
    image: Arc<Image>,
    inode: Inode,
}

impl Lower for ImageDirectory {
    fn entries(&self) -> Result<Vec<DirEntry>, Errno> {
        let mut entries = Vec::new();
        self.image.erofs.entries(&self.inode, |name, ino, kind| {
            let name = Box::from(name);
            entries.push(DirEntry { name, ino, kind });
        })?;
        Ok(entries)
    }

    fn node(&self, ino: u64, place: Place) -> Result<Arc<Node>, Errno> {
        self.image.node(ino, Some(place))
    }
}

impl Image {
    fn node(self: &Arc<Self>, nid: u64, place: Option<Place>) -> Result<Arc<Node>, Errno> {
        let inode = self.erofs.inode(nid)?;
        let several = inode.nlink > 1 && inode.mode & linux::S_IFMT != linux::S_IFDIR;
        let mut linked = self.linked.lock();
        if several && let Some(node) = linked.get(&nid).and_then(Weak::upgrade) {
            return Ok(node);
        }
        let attributes = Attributes {
            mode: inode.mode,
            uid: inode.uid,
            gid: inode.gid,
            nlink: inode.nlink,
            mtime_ns: inode.mtime_ns,
            ctime_ns: inode.mtime_ns,
            atime_ns: inode.mtime_ns,
            ..Attributes::default()
        };
        let kind = match inode.mode & linux::S_IFMT {
            linux::S_IFDIR => {
                let image = self.clone();
                let lower = Arc::new(ImageDirectory { image, inode });
                Kind::Directory(Directory::over(lower, place))
            }
            linux::S_IFREG => Kind::Regular(Content::on(inode)),
            linux::S_IFLNK => Kind::Symlink(self.erofs.link(&inode)?.into_boxed_slice()),
            linux::S_IFIFO => pipe::fifo(),
            linux::S_IFCHR | linux::S_IFBLK => Kind::Special(u64::from(inode.rdev)),
            linux::S_IFSOCK => Kind::Special(0),
            _ => return Err(Errno::EUCLEAN),
        };
        let node = Node::stored(dev::ROOT, nid, attributes, kind, None);
        if several {
            linked.insert(nid, Arc::downgrade(&node));
        }
        Ok(node)
    }
}

/// Mounts the image on `device` as the root.
fn mount(device: &'static dyn RootDevice) -> Result<(), Errno> {
    let device = if device.direct(0).is_some() {
        device
    } else {
        Box::leak(Box::new(Cached::new(device)))
    };
    let erofs = Erofs::mount(device)?;
    erofs.inode(erofs.root())?;
    let image = Arc::new(Image {
        erofs: erofs::set_mounted(erofs),
        linked: Mutex::new(BTreeMap::new()),
    });
    let root = image.node(image.erofs.root(), None)?;
    if !matches!(root.kind, Kind::Directory(_)) {
        return Err(Errno::EUCLEAN);
    }
    mount::set_root(Arc::new(Root(root)), b"/dev/root");
    Ok(())
}

/// Mounts the root device that the drivers found; the error is one clear line.
pub fn mount_root() -> Result<(), String> {
    let device = drivers::root().ok_or("there is no root device (virtio-pmem or virtio-blk)")?;
    mount(device).map_err(|error| match error {
        Errno::EINVAL => "the root device holds no EROFS image".into(),
        Errno::EOPNOTSUPP => {
            "the EROFS image uses features that are not supported (compression?)".into()
        }
        error => format!("the root image cannot be read: {}", error.text()),
    })
}
