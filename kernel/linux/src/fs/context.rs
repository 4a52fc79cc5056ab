//! What a process' paths and new files go by: the working directory and the mask of modes.
use super::mount::Path;
use abi::Errno;
use core::sync::atomic::{AtomicU32, Ordering};
use machine::sync::SpinLock;

/// Working directory and umask.
#[doc(alias = "fs_struct")]
pub struct FsContext {
    cwd: SpinLock<Path>,
    umask: AtomicU32,
}

impl FsContext {
    /// Starts in `cwd`, with the usual mask.
    pub fn new(cwd: Path) -> Self {
        Self {
            cwd: SpinLock::new(cwd),
            umask: AtomicU32::new(0o022),
        }
    }

    /// The same for another process.
    pub fn copy(&self) -> Self {
        Self {
            cwd: SpinLock::new(self.cwd()),
            umask: AtomicU32::new(self.umask()),
        }
    }

    /// The working directory.
    pub fn cwd(&self) -> Path {
        self.cwd.lock().clone()
    }

    /// Changes the working directory; `ENOTDIR`.
    pub fn set_cwd(&self, path: Path) -> Result<(), Errno> {
        if !path.node.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        let old = core::mem::replace(&mut *self.cwd.lock(), path);
        // Not under the lock: it may be the last reference.
        drop(old);
        Ok(())
    }

    /// Bits that new files do not get.
    pub fn umask(&self) -> u32 {
        self.umask.load(Ordering::Relaxed)
    }

    /// umask(2): sets the mask, returns the old one.
    pub fn set_umask(&self, mask: u32) -> u32 {
        self.umask.swap(mask & 0o777, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::tree::{Kind, Node, dev};
    use alloc::sync::Arc;

    #[test]
    fn only_a_directory_can_be_worked_in() {
        let node = |kind| Path::detached(Node::new(dev::ROOT, 0, kind));
        let (first, second) = (node(Kind::directory()), node(Kind::directory()));
        let context = FsContext::new(first.clone());
        let link = node(Kind::Symlink(b"x".as_slice().into()));
        assert_eq!(context.set_cwd(link), Err(Errno::ENOTDIR));
        assert!(context.cwd().is(&first));
        context.set_cwd(second.clone()).unwrap();
        assert!(context.cwd().is(&second));
        assert_eq!(Arc::strong_count(&first.node), 1);
    }

    #[test]
    fn umask_has_permissions_only() {
        let context = FsContext::new(Path::detached(Node::new(dev::ROOT, 0, Kind::directory())));
        assert_eq!(context.set_umask(0o7077), 0o022);
        assert_eq!(context.umask(), 0o077);
    }
}
