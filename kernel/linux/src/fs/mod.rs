//! Files: the VFS, EROFS root with a writable in-memory layer, special file systems, descriptors.
//!
//! A path leads through the tree (`path.rs`, `tree.rs`) to a node; opening a node gives a [`File`]; an [`OpenFile`] is
//! a file with position and flags, which the descriptor table names. Pipes, epoll and the like, and sockets (`net/`),
//! are files without a node.
pub mod aio;
pub mod block_cache;
pub mod context;
pub mod descriptor;
pub mod device;
pub mod directory;
pub mod disks;
pub mod epoll;
pub mod erofs;
pub mod event;
pub mod ext4;
mod fiemap;
pub mod file_system;
mod forget;
pub mod generated;
pub mod image;
pub mod inode;
pub mod locks;
pub mod mount;
pub mod mqueue;
pub mod ninep;
pub mod notify;
pub mod numbers;
pub mod open;
pub mod page_cache;
pub mod path;
pub mod permission;
pub mod pidfd;
pub mod pipe;
pub mod privileges;
pub mod procfs;
pub mod quota;
pub mod signal_driven;
pub mod signalfd;
pub mod sysfs;
pub mod tmpfs;
pub mod tree;
pub mod write_access;
pub mod write_back;
pub mod xattr;

use abi::Errno;
use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};
use core::{
    any::Any,
    sync::atomic::{AtomicU64, Ordering},
};
use machine::{
    mm::space::{Page, PageSource},
    sched::Tid,
    sync::WaitQueue,
};
pub use open::OpenFile;
pub use page_cache::Content;
use permission::Access;
use smallvec::SmallVec;

bitflags::bitflags! {
    /// poll(2) events.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Poll: u32 {
        /// POLLIN
        const IN = 1;
        /// POLLPRI
        const PRI = 2;
        /// POLLOUT
        const OUT = 4;
        /// POLLERR
        const ERR = 8;
        /// POLLHUP
        const HUP = 0x10;
        /// POLLRDHUP
        const RDHUP = 0x2000;
    }
}

/// What an open file can do. Offsets, flags and the lock on the offset live in the open file description.
pub trait File: Any + Send + Sync {
    /// Reads at `offset` (ignored by streams); blocks unless `nonblock`. 0 at the end.
    fn read(&self, offset: u64, buf: &mut [u8], nonblock: bool) -> Result<usize, Errno> {
        let _ = (offset, buf, nonblock);
        Err(Errno::EINVAL)
    }
    /// Takes back what a stream has read last and could not be handed on: whether it does. Else it is lost.
    fn unread(&self, bytes: &[u8]) -> bool {
        let _ = bytes;
        false
    }
    /// Puts into `pages` those that hold `len` bytes from `offset` on, as far as they are in memory, so that they can
    /// be read without a copy in between.
    fn cached(&self, offset: u64, len: usize, pages: &mut Pages) -> Cached {
        let _ = (offset, len, pages);
        Cached::No
    }
    /// Writes.
    fn write(&self, offset: u64, buf: &[u8], nonblock: bool) -> Result<usize, Errno> {
        let _ = (offset, buf, nonblock);
        Err(Errno::EINVAL)
    }
    /// Writes at the end (`O_APPEND`, seekable files): bytes written and the position after them.
    fn append(&self, buf: &[u8]) -> Result<(usize, u64), Errno> {
        let _ = buf;
        Err(Errno::EINVAL)
    }
    /// Whether it has positions.
    fn seekable(&self) -> bool {
        false
    }
    /// Where lseek(2) can go.
    fn seek(&self) -> Seek {
        if self.seekable() {
            Seek::Anywhere
        } else {
            Seek::Never
        }
    }
    /// Events ready now.
    fn poll(&self) -> Poll {
        Poll::IN | Poll::OUT
    }
    /// The queue that is woken when [`File::poll`] may have changed; `None`: always ready.
    fn poll_queue(&self) -> Option<&WaitQueue> {
        None
    }
    /// How often it has become readable and writable, for edge-triggered epoll; constant if only changes of
    /// [`File::poll`] count.
    fn edges(&self) -> [u64; 2] {
        [0; 2]
    }
    /// Whether its owner can be sent a signal at each edge (`O_ASYNC`).
    #[doc(alias = "fasync")]
    fn drives_signals(&self) -> bool {
        false
    }
    /// Somebody may own it, and be told of urgent data.
    fn owned(&self, owner: &Arc<dyn signal_driven::Owner>) {
        let _ = owner;
    }
    /// Of a terminal: the group in the foreground, 0 for none. It is sent the signals, or the caller without one,
    /// unless somebody was named.
    fn foreground(&self) -> Option<Tid> {
        None
    }
    /// For mmap, of a file opened for writing or not.
    fn page_source(&self, writable: bool) -> Option<Arc<dyn PageSource>> {
        let _ = writable;
        None
    }
    /// What stat(2) tells.
    fn metadata(&self) -> Result<Metadata, Errno>;
    /// ioctl(2).
    fn ioctl(&self, request: u32, arg: usize) -> Result<usize, Errno> {
        let _ = (request, arg);
        Err(Errno::ENOTTY)
    }
    /// A process has closed a descriptor of it.
    fn flush(&self) {}
    /// The open file description is gone (others may still wait on the file's queue).
    fn release(&self) {}
    /// Has what was written where it is to stay.
    fn sync(&self, data_only: bool) -> Result<(), Errno> {
        let _ = data_only;
        Ok(())
    }
    /// Has what was written where the file is, which may not be for good.
    fn write_out(&self) -> Result<(), Errno> {
        Ok(())
    }
    /// Opened again through /proc/self/fd.
    fn reopen(&self, flags: u32) -> Result<Arc<dyn File>, Errno> {
        let _ = flags;
        Err(Errno::ENXIO)
    }
    /// The node that was opened.
    fn node(&self) -> Option<&Arc<tree::Node>> {
        None
    }
    /// The node and the mount it was opened through.
    fn path(&self) -> Option<&mount::Path> {
        None
    }
    /// What the link in /proc/self/fd says.
    fn link_text(&self) -> Vec<u8> {
        b"anon_inode:[file]".to_vec()
    }
    /// What /proc/self/fdinfo says of it besides what it says of all: whole lines.
    #[doc(alias = "show_fdinfo")]
    fn details(&self) -> String {
        String::new()
    }
    /// The entries of a directory, taken anew if `restart`.
    fn listing(&self, restart: bool) -> Result<Arc<[DirEntry]>, Errno> {
        let _ = restart;
        Err(Errno::ENOTDIR)
    }
}

/// What lseek(2) does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seek {
    /// It fails.
    Never,
    /// It says 0, whatever is wanted.
    #[doc(alias = "noop_llseek")]
    Nowhere,
    /// It knows no end: the text is made when it is read.
    #[doc(alias = "seq_lseek")]
    NotFromEnd,
    /// What the manual page says.
    Anywhere,
}

/// Pages of a file, one after the other.
pub type Pages = SmallVec<[Page; 16]>;

/// What of a file is in memory ([`File::cached`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cached {
    /// So many bytes.
    Bytes(usize),
    /// The file has ended.
    End,
    /// Nothing that could be used: [`File::read`] knows.
    No,
}

/// How often a file has become readable and writable, be it so already: what [`File::edges`] tells.
#[derive(Default)]
pub struct Edges([AtomicU64; 2]);

impl Edges {
    /// None so far.
    pub const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; 2])
    }
    /// There is more to read.
    pub fn readable(&self) {
        self.0[0].fetch_add(1, Ordering::Relaxed);
    }
    /// There is more room to write.
    pub fn writable(&self) {
        self.0[1].fetch_add(1, Ordering::Relaxed);
    }
    /// As [`File::edges`].
    pub fn counts(&self) -> [u64; 2] {
        [0, 1].map(|which: usize| self.0[which].load(Ordering::Relaxed))
    }
}

/// The file as a concrete type.
pub fn downcast<T: File>(file: &dyn File) -> Option<&T> {
    (file as &dyn Any).downcast_ref()
}

/// An entry of a directory.
#[derive(Clone, Debug)]
pub struct DirEntry {
    /// Its name.
    pub name: Box<[u8]>,
    /// Inode number.
    pub ino: u64,
    /// `DT_*`.
    pub kind: u8,
}

/// What stat(2) tells.
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "the fields are stat(2)'s")]
pub struct Metadata {
    pub dev: u64,
    pub ino: u64,
    pub mode: u32,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub rdev: u64,
    pub size: u64,
    /// Nanoseconds since 1970.
    pub mtime_ns: u64,
    pub ctime_ns: u64,
    pub atime_ns: u64,
    pub btime_ns: Option<u64>,
    /// Of 512 bytes each.
    pub blocks: u64,
    /// chattr(1)'s.
    pub flags: Option<u32>,
}

impl Metadata {
    /// What stat(2) tells of a file without a node.
    pub fn anonymous(ino: u64, mode: u32) -> Self {
        Self {
            dev: tree::dev::ANONYMOUS,
            ino,
            mode,
            nlink: 1,
            ..Self::default()
        }
    }
}

/// Opens a file for the loader to read by path, relative ones from `start`.
pub fn open_read(start: &path::Start, path: &[u8]) -> Result<Arc<dyn File>, Errno> {
    open::open_for(start, path, Access::READ)
}

/// Opens a file to be executed, which the caller need not be able to read; a directory is `EACCES`.
pub fn open_exec(start: &path::Start, path: &[u8]) -> Result<Arc<dyn File>, Errno> {
    open::open_for(start, path, Access::EXECUTE).map_err(|error| match error {
        Errno::EISDIR => Errno::EACCES,
        other => other,
    })
}

/// Fills `buf` from `offset` on; `EINVAL` when the file ends before.
pub fn read_exact(file: &dyn File, offset: u64, buf: &mut [u8]) -> Result<(), Errno> {
    let mut done = 0;
    while done < buf.len() {
        match file.read(offset + done as u64, &mut buf[done..], false)? {
            0 => return Err(Errno::EINVAL),
            read => done += read,
        }
    }
    Ok(())
}

/// The absolute path of what is at `path`, relative ones from `start`, symbolic links followed.
pub fn resolve(start: &path::Start, path: &[u8]) -> Result<Vec<u8>, Errno> {
    let target = path::walk(start, path, path::Last::Follow)?;
    target.found()?;
    Ok(target.path_below(&start.root))
}
