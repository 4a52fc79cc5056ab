//! Open file descriptions, and opening nodes.
use super::{
    Cached, DirEntry, File, Metadata, Poll,
    device::Memory,
    directory, fiemap,
    generated::Text,
    inode::Handle,
    locks::{self, Class, Owner},
    mount::Path,
    notify,
    page_cache::Content,
    path::{self, Last, Start, Target},
    permission::{self, Access},
    signal_driven::{self, SignalDriven},
    tree::{Kind, Node, SpecialFile},
    write_access::Share,
    write_back,
};
use abi::{Errno, SysResult};
use alloc::{string::String, sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use linux_raw_sys::general as linux;
use machine::{
    mm::space::{Page, PageSource},
    sync::{Mutex, SpinLock},
};

/// Flags that fcntl(F_SETFL) changes.
const SETTABLE: u32 = linux::O_APPEND | linux::O_NONBLOCK | linux::O_DIRECT | linux::O_NOATIME;

/// An open file description: what descriptors made by dup(2) share.
pub struct OpenFile {
    /// The file.
    pub file: Arc<dyn File>,
    /// File position; held over a read or write at it.
    pub offset: Mutex<u64>,
    flags: AtomicU32,
    /// Who is sent signals about it.
    pub signals: SignalDriven,
}

impl OpenFile {
    /// A description with open(2)'s flags.
    pub fn new(file: Arc<dyn File>, flags: u32) -> Arc<Self> {
        let flags = flags & !(linux::O_CREAT | linux::O_EXCL | linux::O_NOCTTY | linux::O_TRUNC);
        Arc::new(Self {
            file,
            offset: Mutex::new(0),
            flags: AtomicU32::new(flags & !(linux::O_CLOEXEC | linux::FASYNC)),
            signals: SignalDriven::default(),
        })
    }
    /// Writes all of `text`, waiting while there is no room.
    pub fn write_all(&self, mut text: &[u8]) -> Result<(), Errno> {
        if !self.writable() {
            return Err(Errno::EBADF);
        }
        let mut position = self.file.seekable().then(|| self.offset.lock());
        while !text.is_empty() {
            let count = match &mut position {
                None => self.file.write(0, text, false)?,
                Some(position) if self.flags() & linux::O_APPEND != 0 => {
                    let (count, end) = self.file.append(text)?;
                    **position = end;
                    count
                }
                Some(position) => {
                    let count = self.file.write(**position, text, false)?;
                    **position += u64::try_from(count).unwrap_or(0);
                    count
                }
            };
            text = &text[count..];
        }
        Ok(())
    }

    /// Access mode and status flags.
    pub fn flags(&self) -> u32 {
        self.flags.load(Ordering::Relaxed)
    }
    /// fcntl(F_SETFL), but for `O_ASYNC` ([`OpenFile::set_async`]).
    pub fn set_flags(&self, flags: u32) {
        let kept = self.flags() & !SETTABLE;
        self.flags.store(kept | flags & SETTABLE, Ordering::Relaxed);
    }
    /// Has its owner, which is this one, told when it has become readable or writable (`O_ASYNC`), by way of `fd`, or
    /// not any more (`None`). `ENOTTY` if the file tells of nothing.
    pub fn set_async(
        &self,
        owner: Option<Arc<dyn signal_driven::Owner>>,
        fd: i32,
    ) -> Result<(), Errno> {
        match owner {
            Some(owner) => {
                let directions = [self.readable(), self.writable()];
                self.signals.begin(&self.file, owner, fd, directions)?;
                self.flags.fetch_or(linux::FASYNC, Ordering::Relaxed);
            }
            None => {
                self.signals.end(&*self.file)?;
                self.flags.fetch_and(!linux::FASYNC, Ordering::Relaxed);
            }
        }
        Ok(())
    }
    /// Whether it may be read.
    pub fn readable(&self) -> bool {
        let flags = self.flags();
        flags & linux::O_ACCMODE != linux::O_WRONLY && flags & linux::O_PATH == 0
    }
    /// Whether it may be written.
    pub fn writable(&self) -> bool {
        let flags = self.flags();
        flags & linux::O_ACCMODE != linux::O_RDONLY && flags & linux::O_PATH == 0
    }
    /// Whether it does not block.
    pub fn nonblocking(&self) -> bool {
        self.flags() & linux::O_NONBLOCK != 0
    }

    /// After `len` bytes were written: tells who watches the file, and has them where they are to stay, if the file was
    /// opened with `O_SYNC` or `O_DSYNC`, or `flags`, pwritev2(2)'s, say so.
    pub fn written(&self, len: usize, flags: u32) -> SysResult {
        if len > 0 {
            self.notify(linux::IN_MODIFY);
        }
        let own = self.flags();
        let all = own & linux::O_SYNC == linux::O_SYNC || flags & linux::RWF_SYNC != 0;
        let data = own & linux::O_DSYNC != 0 || flags & linux::RWF_DSYNC != 0;
        if len > 0 && (all || data) {
            self.file.sync(!all)?;
        }
        Ok(len)
    }

    /// Who has its locks: all that use it.
    pub fn lock_owner(&self) -> Owner {
        Owner::Open(core::ptr::from_ref(self).addr())
    }

    /// Tells who watches its node.
    #[inline]
    pub fn notify(&self, event: u32) {
        if notify::is_active()
            && let Some(node) = self.file.node()
        {
            notify::notify(node, event);
        }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if self.flags() & linux::FASYNC != 0 {
            // That there were none is no error.
            let _ = self.signals.end(&*self.file);
        }
        let classes = [Class::Flock, Class::Record];
        locks::end(self.lock_owner(), &*self.file, &classes);
        self.file.release();
        if self.flags() & linux::O_PATH == 0 {
            let writes = self.flags() & linux::O_ACCMODE != linux::O_RDONLY;
            self.notify(if writes {
                linux::IN_CLOSE_WRITE
            } else {
                linux::IN_CLOSE_NOWRITE
            });
        }
        // Instances of epoll that watch it see that it is gone.
        if let Some(queue) = self.file.poll_queue() {
            queue.wake_all();
        }
    }
}

/// A regular file, directory or link (`O_PATH`) opened.
pub struct NodeFile {
    at: Path,
    path: Vec<u8>,
    /// What keeps it open where it is, if that is elsewhere.
    handle: SpinLock<Option<Handle>>,
    /// What it was opened for, if others are told.
    share: Option<Arc<Share>>,
    /// Of the failures to write its data those that were told already.
    #[doc(alias = "f_wb_err")]
    failures_seen: Arc<AtomicU64>,
    /// What getdents(2) goes through, taken when it starts.
    listing: Mutex<Option<Arc<[DirEntry]>>>,
}

impl NodeFile {
    /// The file behind a node; `path` is what /proc/self/fd shows.
    pub fn new(at: Path, path: Vec<u8>) -> Arc<Self> {
        Self::with(at, path, None, None)
    }
    fn with(at: Path, path: Vec<u8>, handle: Option<Handle>, share: Option<Share>) -> Arc<Self> {
        let failures = match &at.node.kind {
            Kind::Regular(content) => content.failures_told(),
            _ => 0,
        };
        Arc::new(Self {
            at,
            path,
            failures_seen: Arc::new(AtomicU64::new(failures)),
            handle: SpinLock::new(handle),
            share: share.map(Arc::new),
            listing: Mutex::new(None),
        })
    }
    fn content(&self) -> Result<&Content, Errno> {
        match &self.at.node.kind {
            Kind::Regular(content) => Ok(content),
            Kind::Directory(_) | Kind::Listing(..) => Err(Errno::EISDIR),
            _ => Err(Errno::EINVAL),
        }
    }
}

impl File for NodeFile {
    fn read(&self, offset: u64, buf: &mut [u8], _nonblock: bool) -> Result<usize, Errno> {
        self.content()?.read(offset, buf)
    }
    fn cached(&self, offset: u64, len: usize, pages: &mut super::Pages) -> Cached {
        match &self.at.node.kind {
            Kind::Regular(content) => content.cached(offset, len, pages),
            _ => Cached::No,
        }
    }
    fn write(&self, offset: u64, buf: &[u8], _nonblock: bool) -> Result<usize, Errno> {
        let len = self.content()?.write(offset, buf)?;
        write_back::wrote(&self.at.node);
        Ok(len)
    }
    fn append(&self, buf: &[u8]) -> Result<(usize, u64), Errno> {
        let end = self.content()?.append(buf)?;
        write_back::wrote(&self.at.node);
        Ok(end)
    }
    fn release(&self) {
        if let Kind::Regular(content) = &self.at.node.kind
            && content.is_replaced()
        {
            // Else there would be neither the old nor the new after a crash. A failure is remembered.
            let _ = content.write_back();
        }
        let handle = self.handle.lock().take();
        if let (Some(handle), Some(operations)) = (handle, &self.at.node.operations) {
            drop(handle);
            operations.closed(&self.at.node);
        }
    }
    fn sync(&self, data_only: bool) -> Result<(), Errno> {
        let Some(operations) = &self.at.node.operations else {
            return Ok(());
        };
        let Kind::Regular(content) = &self.at.node.kind else {
            return operations.sync(data_only);
        };
        // The error, if there is one, is remembered for everyone who has the file open.
        let _ = content.write_back();
        operations.sync(data_only)?;
        content.failure_since(&self.failures_seen)
    }
    fn write_out(&self) -> Result<(), Errno> {
        let Kind::Regular(content) = &self.at.node.kind else {
            return Ok(());
        };
        let _ = content.write_back();
        content.failure_since(&self.failures_seen)
    }
    fn ioctl(&self, request: u32, arg: usize) -> Result<usize, Errno> {
        fiemap::ioctl(&self.at.node, request, arg)
    }
    fn seekable(&self) -> bool {
        true
    }
    fn poll(&self) -> Poll {
        Poll::IN | Poll::OUT
    }
    fn page_source(&self, writable: bool) -> Option<Arc<dyn PageSource>> {
        let content = self.content().ok()?;
        Some(Arc::new(Pages {
            at: self.at.clone(),
            path: self.path.clone(),
            writable: writable && !content.is_sealed(),
            failures_seen: self.failures_seen.clone(),
            _handle: self.handle.lock().clone(),
            _share: self.share.clone(),
        }))
    }
    fn metadata(&self) -> Result<Metadata, Errno> {
        self.at.node.metadata()
    }
    fn node(&self) -> Option<&Arc<Node>> {
        Some(&self.at.node)
    }
    fn path(&self) -> Option<&Path> {
        Some(&self.at)
    }
    fn link_text(&self) -> Vec<u8> {
        if self.at.node.is_directory() && self.path.is_empty() {
            self.at.text()
        } else if self.at.node.attributes.lock().nlink == 0 {
            [&self.path, &b" (deleted)"[..]].concat()
        } else {
            self.path.clone()
        }
    }
    fn listing(&self, restart: bool) -> Result<Arc<[DirEntry]>, Errno> {
        let node = &self.at.node;
        if !node.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        let mut listing = self.listing.lock();
        match &*listing {
            Some(entries) if !restart => Ok(entries.clone()),
            _ => {
                let dots = [
                    (&b"."[..], node.ino),
                    (b"..", self.at.parent().map_or(node.ino, |p| p.node.ino)),
                ];
                let entries: Arc<[DirEntry]> = dots
                    .iter()
                    .map(|&(name, ino)| DirEntry {
                        name: name.into(),
                        ino,
                        kind: linux::DT_DIR as u8,
                    })
                    .chain(node.list()?)
                    .collect();
                *listing = Some(entries.clone());
                Ok(entries)
            }
        }
    }
}

/// The pages of a node's data, kept alive by mappings.
struct Pages {
    at: Path,
    path: Vec<u8>,
    _handle: Option<Handle>,
    _share: Option<Arc<Share>>,
    writable: bool,
    /// Those of the open file that was mapped.
    failures_seen: Arc<AtomicU64>,
}

impl PageSource for Pages {
    fn page(&self, index: u64, write: bool) -> Result<Page, Errno> {
        match &self.at.node.kind {
            Kind::Regular(content) => {
                let page = content.page(index, write)?;
                if write {
                    self.at.node.touch(true);
                    if self.at.node.operations.is_some() {
                        write_back::note(&self.at.node);
                    }
                }
                Ok(page)
            }
            _ => Err(Errno::EFAULT),
        }
    }
    fn around(&self, index: u64, f: &mut dyn FnMut(Page) -> bool) {
        if let Kind::Regular(content) = &self.at.node.kind {
            content.around(index, f);
        }
    }
    fn written(&self, index: u64, frame: u64) {
        if let Kind::Regular(content) = &self.at.node.kind {
            content.written(index, frame);
        }
    }
    fn key(&self) -> Option<usize> {
        match &self.at.node.kind {
            Kind::Regular(content) => Some(content.key()),
            _ => None,
        }
    }
    fn identity(&self) -> (String, u64, u64) {
        let path = String::from_utf8_lossy(&self.path).into_owned();
        (path, self.at.node.dev, self.at.node.ino)
    }
    fn writable(&self) -> bool {
        self.writable
    }
    fn executable(&self) -> bool {
        self.at.mount.executable()
    }
    fn is_cached(&self, index: u64) -> bool {
        match &self.at.node.kind {
            Kind::Regular(content) => content.is_cached(index),
            _ => false,
        }
    }
    fn sync(&self) -> Result<(), Errno> {
        let Some(operations) = &self.at.node.operations else {
            return Ok(());
        };
        let Kind::Regular(content) = &self.at.node.kind else {
            return operations.sync(true);
        };
        // The error, if there is one, is remembered for everyone who has the file open.
        let _ = content.write_back();
        operations.sync(true)?;
        content.failure_since(&self.failures_seen)
    }
    fn punch(&self, offset: u64, len: u64) -> Result<(), Errno> {
        match &self.at.node.kind {
            Kind::Regular(content) => {
                let mode = linux::FALLOC_FL_PUNCH_HOLE | linux::FALLOC_FL_KEEP_SIZE;
                content.allocate(mode, offset, len)
            }
            _ => Err(Errno::EOPNOTSUPP),
        }
    }
}

/// open(2) from `start` with `mode` already masked.
pub fn open(start: &Start, path: &[u8], flags: u32, mode: u32) -> Result<Arc<OpenFile>, Errno> {
    let path_only = flags & linux::O_PATH != 0;
    let create = flags & linux::O_CREAT != 0 && !path_only;
    let last = if flags & linux::O_NOFOLLOW != 0 || create && flags & linux::O_EXCL != 0 {
        Last::Keep
    } else {
        Last::Follow
    };
    let target = path::walk(start, path, last)?;
    if flags & linux::O_TMPFILE == linux::O_TMPFILE {
        return open_unnamed(&target, flags, mode);
    }
    let mut created = false;
    let at = match &target.node {
        Some(_) if create && flags & linux::O_EXCL != 0 => return Err(Errno::EEXIST),
        Some(_) => target.found()?.clone(),
        None if !create => return Err(Errno::ENOENT),
        None if target.must_be_directory => return Err(Errno::EISDIR),
        None => {
            let mode = linux::S_IFREG | mode & 0o7777;
            match directory::create(&target, mode, Kind::Regular(Content::empty())) {
                Ok(node) => {
                    created = true;
                    Path {
                        mount: target.parent.mount.clone(),
                        node,
                    }
                }
                // Another thread was faster.
                Err(Errno::EEXIST) if flags & linux::O_EXCL == 0 => {
                    target.parent.child(&target.name)?.ok_or(Errno::ENOENT)?
                }
                Err(error) => return Err(error),
            }
        }
    };
    let node = &at.node;
    let directory = node.is_directory();
    if flags & linux::O_DIRECTORY != 0 && !directory {
        return Err(Errno::ENOTDIR);
    }
    if path_only {
        return Ok(OpenFile::new(NodeFile::new(at, target.path()), flags));
    }
    let truncates = flags & linux::O_TRUNC != 0;
    let writes = flags & linux::O_ACCMODE != linux::O_RDONLY || truncates;
    if directory && (writes || create) {
        return Err(Errno::EISDIR);
    }
    let stored = matches!(node.kind, Kind::Regular(_));
    if stored && writes && !created {
        at.mount.check_writable()?;
    }
    if !created {
        permission::check(node, Access::of_flags(flags))?;
        if flags & linux::O_NOATIME != 0 {
            permission::check_owner(node)?;
        }
    }
    let share = (stored && writes).then(|| Share::to_write(node));
    // Who may only truncate it writes no longer than that takes.
    let (share, _until_truncated) = match flags & linux::O_ACCMODE {
        linux::O_RDONLY => (None, share.transpose()?),
        _ => (share.transpose()?, None),
    };
    let file = open_node(&at, &target, flags, share)?;
    if truncates
        && !created
        && let Kind::Regular(content) = &node.kind
    {
        content.resize(0)?;
        node.written();
        notify::notify(node, linux::IN_MODIFY);
    }
    let open = OpenFile::new(file, flags);
    open.notify(linux::IN_OPEN);
    Ok(open)
}

/// Opens what is at `path` for the kernel to read, if the caller may do what is wanted with it; `EISDIR`.
pub(super) fn open_for(start: &Start, path: &[u8], wanted: Access) -> Result<Arc<dyn File>, Errno> {
    let target = path::walk(start, path, Last::Follow)?;
    let at = target.found()?;
    if at.node.is_directory() {
        return Err(Errno::EISDIR);
    }
    permission::check(&at.node, wanted)?;
    if wanted == Access::EXECUTE && matches!(at.node.kind, Kind::Fifo(_) | Kind::Device(_)) {
        // To open it could mean to wait for somebody who writes.
        return Err(Errno::EACCES);
    }
    let runs = wanted == Access::EXECUTE && matches!(at.node.kind, Kind::Regular(_));
    let share = runs.then(|| Share::to_run(&at.node)).transpose()?;
    let file = open_node(at, &target, linux::O_RDONLY, share)?;
    let open = OpenFile::new(file, linux::O_RDONLY);
    open.notify(linux::IN_OPEN);
    Ok(open.file.clone())
}

/// `O_TMPFILE`.
fn open_unnamed(target: &Target, flags: u32, mode: u32) -> Result<Arc<OpenFile>, Errno> {
    let directory = target.found()?;
    directory.mount.check_writable()?;
    if flags & linux::O_ACCMODE == linux::O_RDONLY {
        return Err(Errno::EINVAL);
    }
    directory.node.directory()?;
    permission::check_create(&directory.node)?;
    let mode = linux::S_IFREG | mode & 0o7777;
    let node = directory::create_unnamed(&directory.node, mode)?;
    let mut path = target.path();
    path.extend_from_slice(alloc::format!("/#{}", node.ino).as_bytes());
    let flags = flags & !linux::O_TMPFILE;
    let at = Path {
        mount: directory.mount.clone(),
        node,
    };
    let share = Share::to_write(&at.node)?;
    Ok(OpenFile::new(
        NodeFile::with(at, path, None, Some(share)),
        flags,
    ))
}

fn open_node(
    at: &Path,
    target: &Target,
    flags: u32,
    share: Option<Share>,
) -> Result<Arc<dyn File>, Errno> {
    let node = &at.node;
    Ok(match &node.kind {
        Kind::Directory(_) => NodeFile::new(at.clone(), Vec::new()),
        Kind::Regular(_) if let Some(operations) = &node.operations => {
            let handle = operations.open(flags)?;
            operations.refresh(node, true)?;
            NodeFile::with(at.clone(), target.path(), Some(handle), share)
        }
        Kind::Listing(..) | Kind::Regular(_) => {
            NodeFile::with(at.clone(), target.path(), None, share)
        }
        Kind::Symlink(_) | Kind::Magic(_) => return Err(Errno::ELOOP),
        Kind::Generated(_) => Arc::new(Text::new(node.clone(), target.path())),
        Kind::Device(special) | Kind::Fifo(special) => special.open(node, target.path(), flags)?,
        Kind::Anonymous(file) => file.reopen(flags)?,
        Kind::Special(rdev) => {
            let kind = node.attributes.lock().mode & linux::S_IFMT;
            if kind != linux::S_IFSOCK && !at.mount.opens_devices() {
                return Err(Errno::EACCES);
            }
            let device = Memory::of(*rdev).filter(|_| kind == linux::S_IFCHR);
            device
                .ok_or(Errno::ENXIO)?
                .open(node, target.path(), flags)?
        }
    })
}
