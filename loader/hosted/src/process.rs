//! An ordinary Linux process as the loader's host.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::AtomicU32;

use loader::{
    Access, Errno, Event, File, FileId, Gate, Host, HostCode, InterruptedCall, PAGE_SIZE, Stack,
};

use crate::thread::{HAS_THREAD_POINTER, read, set_blocked_signals, thread_pointer};
use crate::{finish, gates, image, stack, sys};

const MAP_PRIVATE: usize = 0x2;
const MAP_FIXED: usize = 0x10;
const MAP_ANONYMOUS: usize = 0x20;
const MAP_NORESERVE: usize = 0x4000;
const MAP_FIXED_NOREPLACE: usize = 0x10_0000;
const S_IFMT: u32 = 0o170_000;
const S_IFREG: u32 = 0o100_000;

/// The process.
pub(crate) struct Process;

struct OpenFile {
    descriptor: usize,
    id: FileId,
    size: u64,
}

/// `struct stat` of x86-64, as far as it matters here.
#[repr(C)]
struct Stat {
    device: u64,
    inode: u64,
    links: u64,
    mode: u32,
    ids: [u32; 3],
    special: u64,
    size: u64,
    rest: [u64; 11],
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        // SAFETY: the descriptor is this file's own.
        unsafe { sys::call(sys::CLOSE, [self.descriptor, 0, 0, 0, 0, 0]) };
    }
}

fn bits(access: Access) -> usize {
    match access {
        Access::None => 0,
        Access::Read => 1,
        Access::ReadWrite => 3,
        Access::ReadExecute => 5,
        Access::ReadWriteExecute => 7,
    }
}

fn open(path: &[u8]) -> Result<OpenFile, Errno> {
    let mut name = path.to_vec();
    name.push(0);
    let arguments = [
        name.as_ptr().expose_provenance(),
        sys::O_CLOEXEC,
        0,
        0,
        0,
        0,
    ];
    // SAFETY: the kernel reads the name.
    let descriptor = unsafe { sys::result(sys::OPEN, arguments) }.map_err(Errno)?;
    let mut file = OpenFile {
        descriptor,
        id: FileId {
            device: 0,
            inode: 0,
        },
        size: 0,
    };
    let mut stat = Stat {
        device: 0,
        inode: 0,
        links: 0,
        mode: 0,
        ids: [0; 3],
        special: 0,
        size: 0,
        rest: [0; 11],
    };
    let at = core::ptr::from_mut(&mut stat).expose_provenance();
    // SAFETY: the kernel fills the structure, which is 144 bytes long.
    unsafe { sys::result(sys::FSTAT, [descriptor, at, 0, 0, 0, 0]) }.map_err(Errno)?;
    if stat.mode & S_IFMT != S_IFREG {
        return Err(Errno(21));
    }
    file.id = FileId {
        device: stat.device,
        inode: stat.inode,
    };
    file.size = stat.size;
    Ok(file)
}

/// Says whether there is a regular file at a path.
pub(crate) fn is_file(path: &[u8]) -> bool {
    open(path).is_ok()
}

/// Follows the symbolic links of a path, as far as there are any.
pub(crate) fn resolved(path: &[u8]) -> Vec<u8> {
    let Ok(file) = open(path) else {
        return absolute(path);
    };
    let link = alloc::format!("/proc/self/fd/{}\0", file.descriptor);
    let mut target = vec![0; PAGE_SIZE];
    let arguments = [
        link.as_ptr().expose_provenance(),
        target.as_mut_ptr().expose_provenance(),
        PAGE_SIZE,
        0,
        0,
        0,
    ];
    // SAFETY: the kernel reads the name and writes into the buffer.
    match unsafe { sys::result(sys::READLINK, arguments) } {
        Ok(len) => {
            target.truncate(len);
            target
        }
        Err(_) => absolute(path),
    }
}

/// Returns the current directory.
fn current_directory() -> Vec<u8> {
    let mut directory = vec![0; PAGE_SIZE];
    let arguments = [
        directory.as_mut_ptr().expose_provenance(),
        PAGE_SIZE,
        0,
        0,
        0,
        0,
    ];
    // SAFETY: the kernel writes into the buffer.
    let len = unsafe { sys::result(sys::GETCWD, arguments) }.unwrap_or(1);
    directory.truncate(len - 1);
    directory
}

/// Makes a path absolute.
fn absolute(path: &[u8]) -> Vec<u8> {
    if path.starts_with(b"/") {
        return path.to_vec();
    }
    let mut directory = current_directory();
    directory.push(b'/');
    directory.extend_from_slice(path.strip_prefix(b"./").unwrap_or(path));
    directory
}

impl File for OpenFile {
    fn id(&self) -> FileId {
        self.id
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Errno> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = usize::try_from(offset)
                .unwrap_or(usize::MAX)
                .saturating_add(done);
            let arguments = [
                self.descriptor,
                rest.as_mut_ptr().expose_provenance(),
                rest.len(),
                at,
                0,
                0,
            ];
            // SAFETY: the kernel writes into the buffer.
            match unsafe { sys::result(sys::PREAD64, arguments) }.map_err(Errno)? {
                0 => return Err(Errno::EINVAL),
                read => done += read,
            }
        }
        Ok(())
    }

    unsafe fn map(
        &self,
        addr: usize,
        len: usize,
        offset: u64,
        access: Access,
    ) -> Result<(), Errno> {
        let offset = usize::try_from(offset).map_err(|_| Errno::EINVAL)?;
        let flags = MAP_PRIVATE | MAP_FIXED;
        // SAFETY: the caller owns the range.
        unsafe {
            sys::result(
                sys::MMAP,
                [addr, len, bits(access), flags, self.descriptor, offset],
            )
        }
        .map_err(Errno)?;
        Ok(())
    }
}

// SAFETY: the kernel gives out address space once; the gates are functions of this program; `%fs:0x10` is the thread
// pointer by the ABI, once there is one.
unsafe impl Host for Process {
    fn open(&self, path: &[u8]) -> Result<Box<dyn File>, Errno> {
        Ok(Box::new(open(path)?))
    }

    fn reserve(&self, at: Option<usize>, len: usize, align: usize) -> Result<usize, Errno> {
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
        if let Some(at) = at {
            let arguments = [at, len, 0, flags | MAP_FIXED_NOREPLACE, usize::MAX, 0];
            // SAFETY: the kernel refuses a range that is in use.
            return unsafe { sys::result(sys::MMAP, arguments) }.map_err(Errno);
        }
        let slack = align.saturating_sub(PAGE_SIZE);
        // SAFETY: wherever there is room.
        let start = unsafe { sys::result(sys::MMAP, [0, len + slack, 0, flags, usize::MAX, 0]) }
            .map_err(Errno)?;
        let aligned = start.next_multiple_of(align);
        for (at, len) in [
            (start, aligned - start),
            (aligned + len, start + slack - aligned),
        ] {
            if len != 0 {
                // SAFETY: the ends of the range just made, which nobody knows.
                unsafe { self.unmap(at, len) };
            }
        }
        Ok(aligned)
    }

    unsafe fn zero(&self, addr: usize, len: usize, access: Access) -> Result<(), Errno> {
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
        // SAFETY: the caller owns the range.
        unsafe { sys::result(sys::MMAP, [addr, len, bits(access), flags, usize::MAX, 0]) }
            .map_err(Errno)?;
        Ok(())
    }

    unsafe fn protect(&self, addr: usize, len: usize, access: Access) -> Result<(), Errno> {
        // SAFETY: the caller owns the range.
        unsafe { sys::result(sys::MPROTECT, [addr, len, bits(access), 0, 0, 0]) }.map_err(Errno)?;
        Ok(())
    }

    unsafe fn make_executable(&self, stack: Stack) -> Result<(), Errno> {
        const PROT_GROWSDOWN: usize = 0x0100_0000;
        let everything = bits(Access::ReadWriteExecute);
        let (addr, len, bits) = match stack {
            Stack::Main(at) => (
                at & !(PAGE_SIZE - 1),
                PAGE_SIZE,
                everything | PROT_GROWSDOWN,
            ),
            Stack::Thread(range) => (range.start, range.len(), everything),
        };
        // SAFETY: the caller vouches for the stack, which loses no right.
        unsafe { sys::result(sys::MPROTECT, [addr, len, bits, 0, 0, 0]) }.map_err(Errno)?;
        Ok(())
    }

    unsafe fn unmap(&self, addr: usize, len: usize) {
        // SAFETY: the caller owns the range.
        unsafe { sys::call(sys::MUNMAP, [addr, len, 0, 0, 0, 0]) };
    }

    fn thread_pointer(&self) -> usize {
        thread_pointer()
    }

    unsafe fn set_thread_pointer(&self, address: usize) {
        HAS_THREAD_POINTER.store(address != 0, core::sync::atomic::Ordering::Relaxed);
        stack::set_main(address);
        // SAFETY: the address is that of a thread control block, says the caller.
        unsafe { sys::call(sys::ARCH_PRCTL, [sys::ARCH_SET_FS, address, 0, 0, 0, 0]) };
    }

    fn register_main_thread(
        &self,
        clear_tid: usize,
        robust_list: usize,
        robust_list_len: usize,
    ) -> u32 {
        // SAFETY: the addresses are in the main thread's descriptor, which stays.
        let tid = unsafe { sys::call(sys::SET_TID_ADDRESS, [clear_tid, 0, 0, 0, 0, 0]) };
        // SAFETY: the list is in the main thread's descriptor, too.
        unsafe {
            sys::call(
                sys::SET_ROBUST_LIST,
                [robust_list, robust_list_len, 0, 0, 0, 0],
            )
        };
        u32::try_from(tid).unwrap_or(0)
    }

    unsafe fn call(&self, function: usize, arguments: [usize; 4]) -> usize {
        let [a, b, c, d] = arguments;
        // SAFETY: the address is that of a function with the C calling convention, says the caller.
        let function: extern "C" fn(usize, usize, usize, usize) -> usize =
            unsafe { core::mem::transmute(function as *const ()) };
        function(a, b, c, d)
    }

    fn block_signals(&self) -> u64 {
        set_blocked_signals(u64::MAX)
    }

    fn unblock_signals(&self, before: u64) {
        set_blocked_signals(before);
    }

    fn may_be_in_handler(&self) -> bool {
        // Linux does not tell.
        true
    }

    fn read(&self, address: usize, to: &mut [u8]) -> bool {
        read(address, to)
    }

    unsafe fn finish(&self, call: &InterruptedCall) -> Result<(), Errno> {
        // SAFETY: the calling thread is in that call and the loader holds no lock, says the caller.
        unsafe { finish::finish(call) }
    }

    fn wait(&self, word: &AtomicU32, value: u32) {
        let at = word.as_ptr().expose_provenance();
        // SAFETY: the kernel reads the word.
        unsafe {
            sys::call(
                sys::FUTEX,
                [at, sys::FUTEX_WAIT_PRIVATE, value as usize, 0, 0, 0],
            )
        };
    }

    fn wake(&self, word: &AtomicU32) {
        let at = word.as_ptr().expose_provenance();
        // SAFETY: the kernel uses the address only.
        unsafe {
            sys::call(
                sys::FUTEX,
                [at, sys::FUTEX_WAKE_PRIVATE, 0x7fff_ffff, 0, 0, 0],
            )
        };
    }

    fn fatal(&self, message: &str) -> ! {
        sys::write_error(message.as_bytes());
        sys::write_error(b"\n");
        sys::exit(127);
    }

    fn current_directory(&self) -> Vec<u8> {
        current_directory()
    }

    fn trace(&self, event: &Event<'_>) {
        match event {
            Event::Warning(line) => {
                sys::write_error(line.as_bytes());
                sys::write_error(b"\n");
            }
            Event::Debug(lines) => {
                // SAFETY: no memory is involved.
                let process = unsafe { sys::call(sys::GETPID, [0; 6]) } as u32;
                loader::write_debug(process, lines, sys::write_error);
            }
            _ => {}
        }
    }

    fn gate(&self, gate: Gate) -> usize {
        gates::address(gate)
    }

    fn code(&self) -> Option<HostCode> {
        image::code()
    }
}
