//! Files: the VFS, EROFS root with a writable in-memory layer, special file systems, descriptors.
use crate::{mm::space::PageSource, sync::WaitQueue, syscall::Errno};
use alloc::{string::String, sync::Arc, vec::Vec};

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
pub trait File: Send + Sync {
    /// Reads at `offset` (ignored by streams); blocks unless `nonblock`. 0 at the end.
    fn read(&self, offset: u64, buf: &mut [u8], nonblock: bool) -> Result<usize, Errno> {
        let _ = (offset, buf, nonblock);
        Err(Errno::EINVAL)
    }
    /// Writes.
    fn write(&self, offset: u64, buf: &[u8], nonblock: bool) -> Result<usize, Errno> {
        let _ = (offset, buf, nonblock);
        Err(Errno::EINVAL)
    }
    /// Events ready now.
    fn poll(&self) -> Poll {
        Poll::IN | Poll::OUT
    }
    /// The queue that is woken when [`File::poll`] may have changed; `None`: always ready.
    fn poll_queue(&self) -> Option<&WaitQueue> {
        None
    }
    /// For mmap.
    fn page_source(&self) -> Option<Arc<dyn PageSource>> {
        None
    }
    /// What stat(2) tells.
    fn metadata(&self) -> Result<Metadata, Errno>;
    /// ioctl(2).
    fn ioctl(&self, request: u32, arg: usize) -> Result<usize, Errno> {
        let _ = (request, arg);
        Err(Errno::ENOTTY)
    }
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
}

/// Opens a file for reading by path, relative ones from the program's working directory (for exec and the loader).
pub fn open_read(path: &[u8]) -> Result<Arc<dyn File>, Errno> {
    let _ = path;
    unimplemented!()
}
/// Mounts everything and opens descriptors 0, 1, 2. Called once, on a kernel thread, after the drivers are up. The error is one clear line.
pub fn init() -> Result<(), String> {
    unimplemented!()
}
/// Puts a file in the lowest free descriptor (timerfd, signalfd, …).
pub fn install(file: Arc<dyn File>, cloexec: bool, nonblock: bool) -> Result<usize, Errno> {
    let _ = (file, cloexec, nonblock);
    unimplemented!()
}
/// Writes to the program's standard error, past the descriptor table (trace, backtrace, loader messages).
pub fn write_stderr(text: &[u8]) {
    let _ = text;
    unimplemented!()
}
/// Waits until console output has been consumed by the host. Called before the machine ends.
pub fn flush_console() {
    unimplemented!()
}
/// The path that /proc/self/exe names; set by exec.
pub fn set_exe(path: Vec<u8>) {
    let _ = path;
    unimplemented!()
}
