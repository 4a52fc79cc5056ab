//! What a process' paths and new files go by: the root, the working directory and the mask of modes.
use super::{mount::Path, path::Start};
use abi::Errno;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};
use machine::sync::SpinLock;

/// Root and working directory, and umask.
#[doc(alias = "fs_struct")]
pub struct FsContext {
    places: SpinLock<Places>,
    umask: AtomicU32,
}

#[derive(Clone)]
struct Places {
    root: Path,
    cwd: Path,
}

impl FsContext {
    /// Starts in `root`, with the usual mask.
    pub fn new(root: Path) -> Self {
        Self {
            places: SpinLock::new(Places {
                cwd: root.clone(),
                root,
            }),
            umask: AtomicU32::new(0o022),
        }
    }

    /// The same for another process.
    pub fn copy(&self) -> Self {
        Self {
            places: SpinLock::new(self.places.lock().clone()),
            umask: AtomicU32::new(self.umask()),
        }
    }

    /// Where its paths begin.
    pub fn start(&self) -> Start {
        let Places { root, cwd } = self.places.lock().clone();
        Start::new(root, cwd)
    }

    /// The root, which chroot(2) changes.
    pub fn root(&self) -> Path {
        self.places.lock().root.clone()
    }

    /// The working directory.
    pub fn cwd(&self) -> Path {
        self.places.lock().cwd.clone()
    }

    /// The path of the working directory, as getcwd(2) gives it.
    pub fn cwd_text(&self) -> Vec<u8> {
        let Start { root, at, .. } = self.start();
        match at.text_below(&root) {
            (text, true) => text,
            (text, false) => [b"(unreachable)", &text[..]].concat(),
        }
    }

    /// Changes the working directory; `ENOTDIR`.
    pub fn set_cwd(&self, path: Path) -> Result<(), Errno> {
        self.set(path, |places| &mut places.cwd)
    }

    /// Changes the root, chroot(2); `ENOTDIR`.
    pub fn set_root(&self, path: Path) -> Result<(), Errno> {
        self.set(path, |places| &mut places.root)
    }

    fn set(&self, path: Path, which: impl FnOnce(&mut Places) -> &mut Path) -> Result<(), Errno> {
        if !path.node.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        let old = core::mem::replace(which(&mut self.places.lock()), path);
        // Not under the lock: it may be the last reference.
        drop(old);
        Ok(())
    }

    /// Refers to no mount but the root of the namespace any more.
    pub fn leave(&self) {
        let Start { root, at: cwd, .. } = Start::root();
        let old = core::mem::replace(&mut *self.places.lock(), Places { root, cwd });
        // As above.
        drop(old);
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
        // What is left is the root.
        assert_eq!(Arc::strong_count(&first.node), 2);
    }

    #[test]
    fn umask_has_permissions_only() {
        let context = FsContext::new(Path::detached(Node::new(dev::ROOT, 0, Kind::directory())));
        assert_eq!(context.set_umask(0o7077), 0o022);
        assert_eq!(context.umask(), 0o077);
    }
}
