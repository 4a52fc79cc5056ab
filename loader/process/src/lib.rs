//! An ordinary Rust process as the loader's [`Host`]: for examples, fuzzing, tests, and `elfin build`, which maps
//! objects to look into them.
//!
//! The process has a C library of its own, started by the system's `ld.so`, whose thread-local storage `%fs` points
//! at. So this loader can only load objects that need no C library: it tells the loader that no thread has a thread
//! pointer. (`loader/hosted` is the host for whole programs.)

mod gates;

use std::fs;
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use libc::{MAP_ANONYMOUS, MAP_FAILED, MAP_FIXED, MAP_FIXED_NOREPLACE, MAP_NORESERVE, MAP_PRIVATE};
use loader::{Access, Errno, Event, File, FileId, Gate, Host, Loader, PAGE_SIZE};

/// The loader of this process: what the gates of [`Process`] lead into.
pub static LOADER: Loader = Loader::new(&Process);

/// This process.
#[derive(Clone, Copy, Debug)]
pub struct Process;

/// An open file of this process.
#[derive(Debug)]
pub struct ProcessFile {
    file: fs::File,
    metadata: fs::Metadata,
}

impl ProcessFile {
    /// Takes over a file, which must be a regular one.
    ///
    /// # Errors
    ///
    /// What `fstat(2)` gives; [`Errno::EISDIR`] for what is not a regular file.
    pub fn new(file: fs::File) -> Result<Self, Errno> {
        let metadata = file.metadata().map_err(|error| errno(&error))?;
        if metadata.is_file() {
            Ok(Self { file, metadata })
        } else {
            Err(Errno::EISDIR)
        }
    }
}

fn errno(error: &std::io::Error) -> Errno {
    Errno(error.raw_os_error().unwrap_or(libc::EIO))
}

fn protection(access: Access) -> i32 {
    match access {
        Access::None => libc::PROT_NONE,
        Access::Read => libc::PROT_READ,
        Access::ReadWrite => libc::PROT_READ | libc::PROT_WRITE,
        Access::ReadExecute => libc::PROT_READ | libc::PROT_EXEC,
        Access::ReadWriteExecute => libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC,
    }
}

/// Maps memory: of a file from an offset on, or zeros.
///
/// # Safety
///
/// With MAP_FIXED, the range must be the caller's.
unsafe fn map(
    addr: usize,
    len: usize,
    access: Access,
    flags: i32,
    file: Option<(&fs::File, u64)>,
) -> Result<usize, Errno> {
    let (descriptor, offset, flags) = match file {
        Some((file, offset)) => (file.as_raw_fd(), offset, flags | MAP_PRIVATE),
        None => (-1, 0, flags | MAP_PRIVATE | MAP_ANONYMOUS),
    };
    let offset = libc::off_t::try_from(offset).map_err(|_| Errno::EINVAL)?;
    // SAFETY: without MAP_FIXED the kernel takes free addresses only; with it the caller owns them.
    let at = unsafe {
        libc::mmap(
            addr as *mut _,
            len,
            protection(access),
            flags,
            descriptor,
            offset,
        )
    };
    if at == MAP_FAILED {
        Err(errno(&std::io::Error::last_os_error()))
    } else {
        Ok(at.expose_provenance())
    }
}

impl File for ProcessFile {
    fn id(&self) -> FileId {
        FileId {
            device: self.metadata.dev(),
            inode: self.metadata.ino(),
        }
    }

    fn size(&self) -> u64 {
        self.metadata.size()
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Errno> {
        self.file
            .read_exact_at(buffer, offset)
            .map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => Errno::EINVAL,
                _ => errno(&error),
            })
    }

    unsafe fn map(
        &self,
        addr: usize,
        len: usize,
        offset: u64,
        access: Access,
    ) -> Result<(), Errno> {
        // SAFETY: the caller owns the range.
        unsafe { map(addr, len, access, MAP_FIXED, Some((&self.file, offset))) }.map(drop)
    }
}

// SAFETY: the kernel gives out address space once; the gates are functions of this program; no thread that calls the
// loader has a thread pointer of the loader's making, which is what 0 says.
unsafe impl Host for Process {
    fn open(&self, path: &[u8]) -> Result<Box<dyn File>, Errno> {
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        let file = fs::File::open(path).map_err(|error| errno(&error))?;
        Ok(Box::new(ProcessFile::new(file)?))
    }

    fn current_directory(&self) -> Vec<u8> {
        std::env::current_dir().map_or_else(|_| Vec::new(), |path| path.into_os_string().into_vec())
    }

    fn reserve(&self, at: Option<usize>, len: usize, align: usize) -> Result<usize, Errno> {
        if let Some(at) = at {
            let flags = MAP_NORESERVE | MAP_FIXED_NOREPLACE;
            // SAFETY: the kernel refuses a range that is in use.
            return unsafe { map(at, len, Access::None, flags, None) };
        }
        let slack = align.saturating_sub(PAGE_SIZE);
        let whole = len.checked_add(slack).ok_or(Errno::ENOMEM)?;
        // SAFETY: wherever there is room.
        let start = unsafe { map(0, whole, Access::None, MAP_NORESERVE, None) }?;
        let aligned = start.next_multiple_of(align.max(1));
        let ends = [(start, aligned), (aligned + len, start + whole)];
        for (start, end) in ends.into_iter().filter(|(start, end)| start < end) {
            // SAFETY: the ends of the range just made, which nobody knows.
            unsafe { self.unmap(start, end - start) };
        }
        Ok(aligned)
    }

    unsafe fn zero(&self, addr: usize, len: usize, access: Access) -> Result<(), Errno> {
        // SAFETY: the caller owns the range.
        unsafe { map(addr, len, access, MAP_FIXED, None) }.map(drop)
    }

    unsafe fn protect(&self, addr: usize, len: usize, access: Access) -> Result<(), Errno> {
        // SAFETY: the caller owns the range.
        match unsafe { libc::mprotect(addr as *mut _, len, protection(access)) } {
            0 => Ok(()),
            _ => Err(errno(&std::io::Error::last_os_error())),
        }
    }

    unsafe fn unmap(&self, addr: usize, len: usize) {
        // SAFETY: the caller owns the range and is done with it.
        unsafe { libc::munmap(addr as *mut _, len) };
    }

    fn thread_pointer(&self) -> usize {
        0
    }

    unsafe fn set_thread_pointer(&self, _address: usize) {
        self.fatal("a program cannot be started inside a process that has a C library");
    }

    fn register_main_thread(&self, _: usize, _: usize, _: usize) -> u32 {
        // SAFETY: has no preconditions.
        unsafe { libc::gettid() }.unsigned_abs()
    }

    unsafe fn call(&self, function: usize, arguments: [usize; 4]) -> usize {
        let [a, b, c, d] = arguments;
        // SAFETY: the address is that of a function with the C calling convention, says the caller.
        let function: extern "C" fn(usize, usize, usize, usize) -> usize =
            unsafe { std::mem::transmute(function as *const ()) };
        function(a, b, c, d)
    }

    fn wait(&self, word: &AtomicU32, value: u32) {
        let (operation, no_timeout) = (
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            std::ptr::null::<()>(),
        );
        // SAFETY: the kernel reads the word.
        unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, value, no_timeout) };
    }

    fn wake(&self, word: &AtomicU32) {
        let (operation, everybody) = (libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, i32::MAX);
        // SAFETY: the kernel uses the address only.
        unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, everybody) };
    }

    fn fatal(&self, message: &str) -> ! {
        eprintln!("{message}");
        std::process::exit(127);
    }

    fn gate(&self, gate: Gate) -> usize {
        gates::address(gate)
    }

    fn trace(&self, event: &Event<'_>) {
        match event {
            Event::Warning(line) => eprintln!("{line}"),
            Event::Debug(lines) => {
                let write = |line: &[u8]| {
                    // SAFETY: the kernel reads the line. Not through `stderr`, which has a lock.
                    unsafe { libc::write(libc::STDERR_FILENO, line.as_ptr().cast(), line.len()) };
                };
                loader::write_debug(std::process::id(), lines, write);
            }
            _ => {}
        }
    }
}

/// Compiles C source to a shared object `NAME.so` that needs no C library, in a new directory below the system's for
/// temporary files; returns its path. For examples.
///
/// # Errors
///
/// There is no `cc`, or it does not like the source.
pub fn compile(name: &str, source: &str) -> std::io::Result<PathBuf> {
    static DIRECTORIES: AtomicU32 = AtomicU32::new(0);
    let number = DIRECTORIES.fetch_add(1, Ordering::Relaxed);
    let own = format!("elfin-example-{}-{number}", std::process::id());
    let directory = std::env::temp_dir().join(own);
    fs::create_dir_all(&directory)?;
    let input = directory.join(format!("{name}.c"));
    fs::write(&input, source)?;
    let output = directory.join(format!("{name}.so"));
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-nostdlib", "-o"]);
    if compiler.arg(&output).arg(&input).status()?.success() {
        Ok(output)
    } else {
        Err(std::io::Error::other("cc failed"))
    }
}
