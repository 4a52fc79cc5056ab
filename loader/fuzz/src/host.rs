//! A host that watches the loader: what it maps lies between pages nobody may touch, nothing of an object is ever run,
//! and a request that reaches outside what was reserved is a panic.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Seek, Write};
use std::ops::Range;
use std::os::fd::FromRawFd;
use std::sync::atomic::AtomicU32;
use std::sync::{Mutex, MutexGuard, PoisonError};

use loader::{Access, Errno, File, FileId, Gate, Host, PAGE_SIZE};
use loader_process::{Process, ProcessFile};

/// The host.
#[derive(Debug)]
pub(crate) struct Watcher {
    /// Files by their name without a directory.
    files: Mutex<BTreeMap<Vec<u8>, fs::File>>,
    spans: Mutex<BTreeMap<usize, Span>>,
}

/// A reserved range, and what it has been used for.
#[derive(Debug)]
struct Span {
    end: usize,
    /// The range with the guard pages around it.
    whole: Range<usize>,
    /// What was mapped where, later entries over earlier ones.
    pages: Vec<(Range<usize>, Access)>,
}

/// What functions of objects are said to return: the address of words that can be read and hold 0.
static RESULT: [usize; 64] = [0; 64];

impl Watcher {
    pub(crate) const fn new() -> Self {
        Self {
            files: Mutex::new(BTreeMap::new()),
            spans: Mutex::new(BTreeMap::new()),
        }
    }

    /// Makes a file that is found under a name, in any directory.
    pub(crate) fn provide(&self, name: &[u8], content: &[u8]) -> std::io::Result<()> {
        // SAFETY: the name is a C string.
        let descriptor = unsafe { libc::memfd_create(c"object".as_ptr(), libc::MFD_CLOEXEC) };
        if descriptor < 0 {
            return Err(std::io::Error::last_os_error());
        }
        // SAFETY: just made, and nobody else's.
        let mut file = unsafe { fs::File::from_raw_fd(descriptor) };
        file.write_all(content)?;
        file.rewind()?;
        self.files().insert(name.to_vec(), file);
        Ok(())
    }

    /// Returns how many ranges are reserved.
    pub(crate) fn reserved(&self) -> usize {
        self.spans().len()
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, fs::File>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spans(&self) -> MutexGuard<'_, BTreeMap<usize, Span>> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that pages are given a use; they must lie in a reserved range.
    fn note(&self, addr: usize, len: usize, access: Access) {
        assert!(
            addr.is_multiple_of(PAGE_SIZE) && len.is_multiple_of(PAGE_SIZE) && len != 0,
            "not pages: {addr:#x}+{len:#x}"
        );
        let mut spans = self.spans();
        let span = spans.range_mut(..=addr).next_back().map(|(_, span)| span);
        match span.filter(|span| addr.checked_add(len).is_some_and(|end| end <= span.end)) {
            Some(span) => span.pages.push((addr..addr + len, access)),
            None => panic!("outside everything reserved: {addr:#x}+{len:#x}"),
        }
    }

    fn is_executable(&self, at: usize) -> bool {
        let spans = self.spans();
        let span = spans.range(..=at).next_back().map(|(_, span)| span);
        let last = span.and_then(|span| {
            let mut pages = span.pages.iter().rev();
            pages.find(|(range, _)| range.contains(&at))
        });
        last.is_some_and(|(_, access)| {
            matches!(access, Access::ReadExecute | Access::ReadWriteExecute)
        })
    }
}

/// An object's file, whose mappings are watched.
struct WatchedFile {
    file: ProcessFile,
    host: &'static Watcher,
}

impl File for WatchedFile {
    fn id(&self) -> FileId {
        self.file.id()
    }

    fn size(&self) -> u64 {
        self.file.size()
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Errno> {
        self.file.read_exact_at(offset, buffer)
    }

    unsafe fn map(
        &self,
        addr: usize,
        len: usize,
        offset: u64,
        access: Access,
    ) -> Result<(), Errno> {
        self.host.note(addr, len, access);
        // SAFETY: the caller's promise, just checked as far as it can be.
        unsafe { self.file.map(addr, len, offset, access) }
    }
}

/// The host of all loaders here.
pub(crate) static WATCHER: Watcher = Watcher::new();

// SAFETY: address space comes from `Process`; nobody calls the gates, for no code of an object is run; no thread has a
// thread pointer of the loader's making.
unsafe impl Host for Watcher {
    fn open(&self, path: &[u8]) -> Result<Box<dyn File>, Errno> {
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
        let file = match self.files().get(name) {
            Some(file) => file.try_clone().map_err(|_| Errno::ENOMEM)?,
            None => return Err(Errno::ENOENT),
        };
        Ok(Box::new(WatchedFile {
            file: ProcessFile::new(file)?,
            host: &WATCHER,
        }))
    }

    fn reserve(&self, at: Option<usize>, len: usize, align: usize) -> Result<usize, Errno> {
        assert!(
            len.is_multiple_of(PAGE_SIZE) && len != 0,
            "reserve({len:#x})"
        );
        assert!(align.is_power_of_two(), "aligned to {align:#x}");
        assert_eq!(at, None, "nothing here is linked at a fixed address");
        let before = align.max(PAGE_SIZE);
        let whole = len.checked_add(before + PAGE_SIZE).ok_or(Errno::ENOMEM)?;
        let guard = Process.reserve(None, whole, align)?;
        let start = guard + before;
        let span = Span {
            end: start + len,
            whole: guard..guard + whole,
            pages: Vec::new(),
        };
        self.spans().insert(start, span);
        Ok(start)
    }

    unsafe fn zero(&self, addr: usize, len: usize, access: Access) -> Result<(), Errno> {
        self.note(addr, len, access);
        // SAFETY: the caller's promise, just checked as far as it can be.
        unsafe { Process.zero(addr, len, access) }
    }

    unsafe fn protect(&self, addr: usize, len: usize, access: Access) -> Result<(), Errno> {
        self.note(addr, len, access);
        // SAFETY: the caller's promise, just checked as far as it can be.
        unsafe { Process.protect(addr, len, access) }
    }

    unsafe fn unmap(&self, addr: usize, len: usize) {
        let span = self.spans().remove(&addr);
        let Some(span) = span.filter(|span| span.end == addr + len) else {
            panic!("not reserved: {addr:#x}+{len:#x}");
        };
        // SAFETY: the whole range, guards included, is the caller's.
        unsafe { Process.unmap(span.whole.start, span.whole.len()) };
    }

    fn thread_pointer(&self) -> usize {
        0
    }

    unsafe fn set_thread_pointer(&self, _: usize) {
        panic!("no program is started here");
    }

    fn register_main_thread(&self, _: usize, _: usize, _: usize) -> u32 {
        panic!("no program is started here");
    }

    unsafe fn call(&self, function: usize, _: [usize; 4]) -> usize {
        assert!(
            self.is_executable(function),
            "not in an executable page: {function:#x}"
        );
        RESULT.as_ptr().expose_provenance()
    }

    fn wait(&self, _: &AtomicU32, _: u32) {
        panic!("the only thread waits for itself");
    }

    fn wake(&self, _: &AtomicU32) {}

    fn fatal(&self, message: &str) -> ! {
        panic!("{message}");
    }

    fn gate(&self, _: Gate) -> usize {
        RESULT.as_ptr().expose_provenance()
    }
}
