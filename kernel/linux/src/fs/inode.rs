//! What a file system whose files are elsewhere (on the host, on a disk) does for its nodes.
//!
//! A node has in memory what is known of its file: attributes, pages of its data, and of a directory the names that
//! have been looked up. What is asked for and not known, and every change, goes through this trait.
use super::{
    DirEntry,
    tree::{Kind, Node},
};
use abi::Errno;
use alloc::{sync::Arc, vec::Vec};
use core::any::Any;
use linux_raw_sys::general as linux;
use machine::mm::{PAGE, frame::Frame};

/// What keeps a file open where it is.
pub type Handle = Arc<dyn Any + Send + Sync>;

/// New values of attributes; `None` leaves one as it is.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are stat(2)'s")]
pub struct Changes {
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub atime_ns: Option<u64>,
    pub mtime_ns: Option<u64>,
}

impl Changes {
    /// What inotify(7) calls them.
    pub fn event(&self) -> u32 {
        let attributes = self.mode.is_some() || self.uid.is_some() || self.gid.is_some();
        match (self.atime_ns, self.mtime_ns) {
            (Some(_), None) if !attributes => linux::IN_ACCESS,
            (None, Some(_)) if !attributes => linux::IN_MODIFY,
            _ => linux::IN_ATTRIB,
        }
    }
}

/// A part of a file that is in one piece on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where it is in the file.
    pub logical: u64,
    /// Where it is on the disk.
    pub physical: u64,
    /// Its length in bytes.
    pub len: u64,
    /// Set aside only: it reads as zeros.
    pub unwritten: bool,
}

/// A file that is elsewhere. What makes no sense for its type is never called.
#[doc(alias = "inode_operations")]
pub trait InodeOperations: Any + Send + Sync {
    /// For how many nanoseconds a name that was looked up, or was not there, is trusted.
    fn patience(&self) -> u64;
    /// What `name` in `directory`, which is this file's node, leads to.
    fn lookup(&self, directory: &Arc<Node>, name: &[u8]) -> Result<Option<Arc<Node>>, Errno>;
    /// The entries, without `.` and `..`.
    fn list(&self) -> Result<Vec<DirEntry>, Errno>;
    /// Makes a file of full mode `mode` for an owner and a group, which it need not keep; of its kind only a symbolic
    /// link's text counts.
    fn create(
        &self,
        name: &[u8],
        mode: u32,
        owner: (u32, u32),
        kind: &Kind,
    ) -> Result<Arc<Node>, Errno>;
    /// Gives `file` the name.
    fn link(&self, name: &[u8], file: &Node) -> Result<(), Errno>;
    /// Takes the name of `file` away.
    fn remove(&self, name: &[u8], file: &Node) -> Result<(), Errno>;
    /// Moves a name to another directory of the file system, or this one, where `other` may have it, with
    /// renameat2(2)'s flags; `EINVAL` for one that there is not.
    fn rename(
        &self,
        name: &[u8],
        to: &Node,
        to_name: &[u8],
        other: Option<&Node>,
        flags: u32,
    ) -> Result<(), Errno>;
    /// Makes a regular file of full mode `mode` that has no name, and may be given one (`O_TMPFILE`).
    fn create_unnamed(&self, mode: u32, owner: (u32, u32)) -> Result<Arc<Node>, Errno> {
        let _ = (mode, owner);
        Err(Errno::EOPNOTSUPP)
    }
    /// Brings what the node says of the file up to date, if it has been trusted for long enough or `now`.
    fn refresh(&self, node: &Node, now: bool) -> Result<(), Errno>;
    /// Something has changed: what the node says is not to be trusted any longer.
    fn expire(&self);
    /// The node's file was changed by a call: its status, and its data if `modified`.
    fn touch(&self, node: &Node, modified: bool) {
        let _ = (node, modified);
        self.expire();
    }
    /// Whether it has no name any more: when nobody has it open, nobody will read it.
    fn is_unlinked(&self) -> bool {
        false
    }
    /// Whether the name it was reached by is gone, so that another has to be looked up anew.
    fn is_lost(&self) -> bool {
        false
    }
    /// Whether it is decided where the file is who may do what with it, and not by its attributes.
    fn decides_access(&self) -> bool {
        false
    }
    /// Changes attributes.
    fn change(&self, node: &Node, changes: &Changes) -> Result<(), Errno>;
    /// Opens the file with open(2)'s flags.
    fn open(&self, flags: u32) -> Result<Handle, Errno>;
    /// A handle was just dropped.
    fn closed(&self, node: &Node);
    /// Reads from the file, which is open; fewer bytes only at its end.
    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<usize, Errno>;
    /// Fills frames that nobody else has from `offset` on, a multiple of the page size; with zeros past the end.
    fn read_frames(&self, offset: u64, frames: &[Frame]) -> Result<(), Errno> {
        copy_to_frames(frames, |bytes| self.read(offset, bytes))
    }
    /// Writes to the file, which is open.
    fn write(&self, offset: u64, buf: &[u8]) -> Result<usize, Errno>;
    /// Whether what is written may be kept in memory for a while.
    fn keeps_back(&self) -> bool {
        false
    }
    /// Sets room aside where the file is for so many more pages that are kept in memory; whether there is.
    fn set_room_aside(&self, pages: u64) -> bool {
        let _ = pages;
        false
    }
    /// So many of these are written, or gone.
    fn give_room_back(&self, pages: u64) {
        let _ = pages;
    }
    /// What was kept in memory has been written.
    fn written_back(&self) -> Result<(), Errno> {
        Ok(())
    }
    /// Gives the file another size.
    fn resize(&self, size: u64) -> Result<(), Errno>;
    /// fallocate(2) with its flags, of which there is a combination.
    fn allocate(&self, mode: u32, offset: u64, len: u64) -> Result<(), Errno> {
        let _ = (mode, offset, len);
        Err(Errno::EOPNOTSUPP)
    }
    /// Where the bytes from `from` on, `len` of them, are on the disk, in order; `None` if nobody knows.
    fn extents(&self, from: u64, len: u64) -> Result<Option<Vec<Extent>>, Errno> {
        let _ = (from, len);
        Ok(None)
    }
    /// The value of an extended attribute; `ENODATA`.
    fn xattr(&self, name: &[u8]) -> Result<Vec<u8>, Errno>;
    /// The names of all of them.
    fn xattr_names(&self) -> Result<Vec<Vec<u8>>, Errno>;
    /// Sets one, with setxattr(2)'s flags.
    fn set_xattr(&self, name: &[u8], value: &[u8], flags: u32) -> Result<(), Errno>;
    /// Takes one away; `ENODATA`.
    fn remove_xattr(&self, name: &[u8]) -> Result<(), Errno>;
    /// Has what was written on stable storage.
    fn sync(&self, data_only: bool) -> Result<(), Errno>;
}

/// The operations as a concrete type.
pub fn downcast<T: InodeOperations>(node: &Node) -> Option<&T> {
    let operations: &dyn Any = &**node.operations.as_ref()?;
    operations.downcast_ref()
}

/// Fills frames by way of memory that `read` fills from the beginning.
pub fn copy_to_frames(
    frames: &[Frame],
    read: impl FnOnce(&mut [u8]) -> Result<usize, Errno>,
) -> Result<(), Errno> {
    let mut bytes = Vec::new();
    let len = frames.len() * PAGE;
    bytes.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
    bytes.resize(len, 0);
    read(&mut bytes)?;
    for (frame, bytes) in frames.iter().zip(bytes.chunks(PAGE)) {
        frame.write(0, bytes);
    }
    Ok(())
}
