//! The root: an image, and what is written over it in memory.
use super::{
    block_cache::Cached,
    erofs::Erofs,
    file_system::{FileSystem, Statistics},
    mount,
    tree::{Kind, Node, dev},
};
use abi::Errno;
use alloc::{boxed::Box, format, string::String, sync::Arc};
use linux_raw_sys::general::OVERLAYFS_SUPER_MAGIC;
use machine::drivers::{self, RootDevice};

static IMAGE: spin::Once<Erofs<'static>> = spin::Once::new();

/// The mounted image.
pub fn filesystem() -> Option<&'static Erofs<'static>> {
    IMAGE.get()
}

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
        let totals = filesystem().map_or((0, 0), |image| image.totals);
        Ok(Statistics::of_memory(OVERLAYFS_SUPER_MAGIC, totals))
    }
}

/// Mounts the image on `device` as the root.
fn mount(device: &'static dyn RootDevice) -> Result<(), Errno> {
    let device = if device.direct(0).is_some() {
        device
    } else {
        Box::leak(Box::new(Cached::new(device)))
    };
    let image = Erofs::mount(device)?;
    let inode = image.inode(image.root())?;
    let image = IMAGE.call_once(|| image);
    let root = Node::of_image(image, inode.nid, None)?;
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
