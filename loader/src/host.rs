//! What the loader asks of the system beneath it.
//!
//! The loader makes no system call, owns no page table and knows no scheduler. Everything of that kind goes through
//! [`Host`]. The traits here are *consumer-side*: a method exists because the loader calls it, and for no other reason.
//! Two hosts implement them: Elfin's kernel, and `loader/hosted`, an ordinary Linux process.
//!
//! Memory for the loader's own records comes from the global allocator; it must work from the first call on, must not
//! use the program's `malloc`, and must be callable from every thread that passes a [`Gate`].

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;
use core::sync::atomic::AtomicU32;

/// The page size of the only architecture there is.
pub const PAGE_SIZE: usize = 4096;

/// A Linux error number, as the host's system gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    /// No such file or directory.
    pub const ENOENT: Self = Self(2);
    /// Exec format error.
    pub const ENOEXEC: Self = Self(8);
    /// Cannot allocate memory.
    pub const ENOMEM: Self = Self(12);
    /// Permission denied.
    pub const EACCES: Self = Self(13);
    /// Bad address.
    pub const EFAULT: Self = Self(14);
    /// Function not implemented.
    pub const ENOSYS: Self = Self(38);
    /// File exists.
    pub const EEXIST: Self = Self(17);
    /// Not a directory.
    pub const ENOTDIR: Self = Self(20);
    /// Is a directory.
    pub const EISDIR: Self = Self(21);
    /// Invalid argument.
    pub const EINVAL: Self = Self(22);
}

impl fmt::Display for Errno {
    /// Writes the text `strerror` has for the number (for those that opening and mapping files give).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 {
            1 => "Operation not permitted",
            2 => "No such file or directory",
            4 => "Interrupted system call",
            5 => "Input/output error",
            12 => "Cannot allocate memory",
            13 => "Permission denied",
            17 => "File exists",
            20 => "Not a directory",
            21 => "Is a directory",
            22 => "Invalid argument",
            23 => "Too many open files in system",
            24 => "Too many open files",
            11 => "Resource temporarily unavailable",
            36 => "File name too long",
            38 => "Function not implemented",
            40 => "Too many levels of symbolic links",
            number => return write!(f, "Error {number}"),
        };
        f.write_str(text)
    }
}

/// What a file *is*, whatever name it was opened by. Two names with equal ids are one object, loaded once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId {
    /// The device the file lives on.
    pub device: u64,
    /// The file's number on that device.
    pub inode: u64,
}

/// An open regular file. Closed when dropped; mappings made from it stay.
pub trait File: Send + Sync {
    /// Returns what the file is.
    fn id(&self) -> FileId;

    /// Returns the size in bytes.
    fn size(&self) -> u64;

    /// Fills `buffer` from `offset` on.
    ///
    /// # Errors
    ///
    /// The host's error, or [`Errno::EINVAL`] when the file ends before the buffer is full.
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Errno>;

    /// Replaces the pages of `addr..addr+len` by a private, demand-paged mapping of the file from `offset` on.
    ///
    /// `addr`, `len` and `offset` are multiples of [`PAGE_SIZE`]; bytes after the end of the file read as zeros as far
    /// as the file's last page goes.
    ///
    /// # Safety
    ///
    /// The range must have been given out by [`Host::reserve`], and no live reference may point into it.
    ///
    /// # Errors
    ///
    /// The host's error; the range is then still reserved.
    unsafe fn map(&self, addr: usize, len: usize, offset: u64, access: Access)
    -> Result<(), Errno>;
}

/// What a program may do with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    None,
    /// Read.
    Read,
    /// Read and write.
    ReadWrite,
    /// Read and execute.
    ReadExecute,
    /// All of it: for segments that say so, nothing else.
    ReadWriteExecute,
}

/// A stack of the program, with its memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stack {
    /// The main thread's, from its lowest page to the one of this address.
    Main(usize),
    /// Another thread's.
    Thread(Range<usize>),
}

/// Gives a macro the names of all gates, in numerical order: hosts make a function of each.
#[macro_export]
macro_rules! for_each_gate {
    ($macro:ident) => {
        $macro! {
            Bind TlsGetAddr AllocateTls AllocateTlsInit DeallocateTls FindDsoForObject IteratePhdr FindObject
            ThreadAtexit ThreadAtexitRun Dlopen Dlclose Dlsym Dlvsym Dlerror Dladdr Dladdr1 Dlinfo Dlmopen LibcDlopen
            LibcDlsym LibcDlvsym LibcDlclose ReadonlyArea Worker CodeRegister CodeUnregister CodeFind CodeCount
            CodeThreadEnd SessionOpen SessionLoad SessionSymbol SessionDuplicates SessionBind SessionClose Symbols
            IterateNamespace AuditPreinit BindAudited
            PltExit Fini
        }
    };
}

macro_rules! all {
    ($($gate:ident)*) => {
        &[$(Self::$gate),*]
    };
}

/// An entry through which a program comes into the loader.
///
/// The host supplies an address for each (see [`Host::gate`]): a function with the C calling convention that takes up
/// to four integer arguments, and ends up, on whatever stack the host likes, in [`Loader::enter`](crate::Loader::enter)
/// or [`Loader::enter_from`](crate::Loader::enter_from) with the same gate and the same arguments, and returns its
/// result. A gate may be entered from a signal handler. No gate needs to know its caller's address: where one is
/// needed, it is an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Gate {
    /// `(object, relocation index) -> address`: lazy PLT binding. Called by the loader's own PLT entry, which has
    /// saved every register.
    Bind,
    /// `(tls_index*) -> address`: the slow path of `__tls_get_addr` and of the TLSDESC resolver.
    TlsGetAddr,
    /// `_dl_allocate_tls(mem)`.
    AllocateTls,
    /// `_dl_allocate_tls_init(mem, init)`.
    AllocateTlsInit,
    /// `_dl_deallocate_tls(tcb, free_tcb)`.
    DeallocateTls,
    /// `_dl_find_dso_for_object(address)`.
    FindDsoForObject,
    /// `dl_iterate_phdr(callback, data, caller)`: the loader's own entry adds the caller's address.
    IteratePhdr,
    /// `_dl_find_object(address, result*)`.
    FindObject,
    /// `__cxa_thread_atexit_impl(function, argument, dso_handle)`.
    ThreadAtexit,
    /// Runs a destructor registered through `ThreadAtexit`: `(record)`.
    ThreadAtexitRun,
    /// `dlopen(file, mode, caller)`.
    Dlopen,
    /// `dlclose(handle)`.
    Dlclose,
    /// `dlsym(handle, name, caller)`.
    Dlsym,
    /// `dlvsym(handle, name, version, caller)`.
    Dlvsym,
    /// `dlerror()`.
    Dlerror,
    /// `dladdr(address, Dl_info*)`.
    Dladdr,
    /// `dladdr1(address, Dl_info*, extra**, flags)`.
    Dladdr1,
    /// `dlinfo(handle, request, argument)`.
    Dlinfo,
    /// `dlmopen(namespace, file, mode, caller)`.
    Dlmopen,
    /// The C library's own `dlopen(name, mode)`: gconv, NSS, libgcc_s.
    LibcDlopen,
    /// The C library's own `dlsym(handle, name)`.
    LibcDlsym,
    /// The C library's own `dlvsym(handle, name, version)`.
    LibcDlvsym,
    /// The C library's own `dlclose(handle)`.
    LibcDlclose,
    /// `_dl_readonly_area(address, size)` of glibc 2.43.
    ReadonlyArea,
    /// What a worker thread runs INIT functions in: a start routine for `pthread_create`.
    Worker,
    /// `elfin_code_register(code, id*)`.
    CodeRegister,
    /// `elfin_code_unregister(id)`.
    CodeUnregister,
    /// `elfin_code_find(address, info*)`.
    CodeFind,
    /// `elfin_code_count()`.
    CodeCount,
    /// Unregisters the code of a thread that ends: `(thread)`. Called by libc, as a thread-local destructor.
    CodeThreadEnd,
    /// `elfin_session_open(shared, session*)`.
    SessionOpen,
    /// `elfin_session_load(session, file, mode)`.
    SessionLoad,
    /// `elfin_session_symbol(session, name)`.
    SessionSymbol,
    /// `elfin_session_duplicates(session, visit, data)`.
    SessionDuplicates,
    /// `elfin_session_bind(session)`.
    SessionBind,
    /// `elfin_session_close(session)`.
    SessionClose,
    /// `elfin_symbols(namespace, handle, visit, data)`.
    Symbols,
    /// `dl_iterate_ns_phdr(namespace, callback, data)`.
    IterateNamespace,
    /// `_dl_audit_preinit(link_map)`.
    AuditPreinit,
    /// `(object, relocation index, call*) -> address`: as `Bind`, where auditors are told of the call.
    BindAudited,
    /// `(object, relocation index, call*, results*)`: such a call has returned.
    PltExit,
    /// The function a program receives in `%rdx` and runs at exit: FINI functions of everything loaded.
    Fini,
}

impl Gate {
    /// Every gate, in numerical order: `Gate::ALL[gate as usize] == gate`.
    pub const ALL: &[Self] = for_each_gate!(all);

    /// Returns the gate with this number, if there is one.
    pub fn from_number(number: usize) -> Option<Self> {
        Self::ALL.get(number).copied()
    }
}

/// Code of the host's that can lie between the program's own on the program's stack: gates, and what calls the program.
/// With its unwind tables, so that C++ exceptions, thread cancellation and backtraces get past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostCode {
    /// Where it lies.
    pub range: Range<usize>,
    /// The address of its `.eh_frame_hdr` section.
    pub eh_frame_hdr: usize,
}

/// Something that happened, for tests, traces and benchmarks.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// An object was mapped.
    Mapped {
        /// Its path.
        object: &'a [u8],
        /// Its load bias.
        base: usize,
    },
    /// An object was unmapped.
    Unmapped {
        /// Its path.
        object: &'a [u8],
    },
    /// A PLT slot was bound lazily.
    Bound {
        /// The object whose slot it is.
        object: &'a [u8],
        /// The symbol looked up.
        symbol: &'a [u8],
        /// What it was bound to.
        address: usize,
    },
    /// An INIT function is about to run.
    Init {
        /// The object it belongs to.
        object: &'a [u8],
        /// The function.
        function: usize,
    },
    /// `ld.so` would print this line on the program's standard error, and so should the host.
    Warning(&'a str),
    /// Lines LD_DEBUG asks for, without the end of the last one. The host writes them on the program's standard error
    /// with [`write_debug`](crate::write_debug). It may be in a signal handler that interrupted anything, and must not
    /// allocate or take a lock that could be held.
    Debug(fmt::Arguments<'a>),
    /// Something worth a line in the log.
    Note(&'a str),
}

/// A call that a signal handler of the calling thread has interrupted, and that is to be finished before the handler
/// goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterruptedCall {
    /// The address of the interrupted `ucontext_t`, in the handler's signal frame.
    pub context: usize,
    /// The address of the word on the stack that holds the call's return address.
    pub slot: usize,
    /// What the interrupted code may write over, but handlers need: the part of its stack below it.
    pub keep: Range<usize>,
    /// Whether `keep` starts with the frame of the gate that the thread is in, below which the host may have frames
    /// too.
    pub keeps_gate: bool,
}

/// The system beneath the loader.
///
/// # Safety
///
/// An implementer promises that
/// - [`reserve`](Self::reserve) gives out address space that nothing else uses until [`unmap`](Self::unmap);
/// - [`gate`](Self::gate) gives, for every gate, the address of a function as [`Gate`] describes it, for ever;
/// - [`thread_pointer`](Self::thread_pointer) tells the truth about the calling thread.
pub unsafe trait Host: Sync {
    /// Opens a regular file for reading. `path` is absolute, or relative to the current directory; it holds no NUL.
    ///
    /// # Errors
    ///
    /// What `open(2)` and `fstat(2)` give; [`Errno::ENOENT`] makes the loader look further.
    fn open(&self, path: &[u8]) -> Result<Box<dyn File>, Errno>;

    /// Returns the current directory, with which relative paths are completed for `$ORIGIN`; empty if there is none.
    fn current_directory(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Reserves `len` bytes of inaccessible address space (a multiple of the page size), aligned to `align`:
    /// exactly at `at`, which must be free, or anywhere.
    ///
    /// # Errors
    ///
    /// [`Errno::ENOMEM`] when there is no room or the place is taken.
    fn reserve(&self, at: Option<usize>, len: usize, align: usize) -> Result<usize, Errno>;

    /// Replaces pages of a reserved range by zero-filled ones.
    ///
    /// # Safety
    ///
    /// As [`File::map`].
    ///
    /// # Errors
    ///
    /// The host's error; the range is then still reserved.
    unsafe fn zero(&self, addr: usize, len: usize, access: Access) -> Result<(), Errno>;

    /// Changes what may be done with pages of a reserved range.
    ///
    /// # Safety
    ///
    /// The range must have been given out by [`reserve`](Self::reserve), and nobody may rely on rights that are taken.
    ///
    /// # Errors
    ///
    /// The host's error.
    unsafe fn protect(&self, addr: usize, len: usize, access: Access) -> Result<(), Errno>;

    /// Makes a stack readable, writable and executable, as an object that is being loaded asks for. Hosts that start no
    /// programs know of no stacks.
    ///
    /// # Safety
    ///
    /// The stack must be there and stay meanwhile.
    ///
    /// # Errors
    ///
    /// The host's error.
    unsafe fn make_executable(&self, stack: Stack) -> Result<(), Errno> {
        let _ = stack;
        Err(Errno::ENOSYS)
    }

    /// Gives a reserved range back, with everything mapped in it.
    ///
    /// # Safety
    ///
    /// Nothing may use the range any more.
    unsafe fn unmap(&self, addr: usize, len: usize);

    /// Returns the calling thread's thread pointer (`%fs` base), 0 when it has none yet. Called from gates too, so it
    /// must be the *program's* value.
    fn thread_pointer(&self) -> usize;

    /// Returns the calling thread's Linux id, by which people know it; 0 when it has none.
    fn thread_id(&self) -> u32 {
        0
    }

    /// Sets the calling thread's thread pointer.
    ///
    /// # Safety
    ///
    /// `address` must be that of a thread control block as the psABI has it, or 0.
    unsafe fn set_thread_pointer(&self, address: usize);

    /// Makes the calling thread the program's main thread, as `set_tid_address(2)` and `set_robust_list(2)` would;
    /// returns its thread id.
    fn register_main_thread(
        &self,
        clear_tid: usize,
        robust_list: usize,
        robust_list_len: usize,
    ) -> u32;

    /// Calls a function of the program (INIT, FINI, IFUNC resolver, callback) with up to four integer arguments, on a
    /// stack that suits it, and returns what it returns. The function may come back into the loader through any gate,
    /// and need not return: see [`Loader::enter_from`](crate::Loader::enter_from).
    ///
    /// # Safety
    ///
    /// `function` must be the address of a function of the program that can take these arguments.
    unsafe fn call(&self, function: usize, arguments: [usize; 4]) -> usize;

    /// Blocks all signals for the calling thread; returns the set of those that were blocked before. A handler must not
    /// run while its thread holds a lock of the loader's, not even when the loader calls the program's code. Hosts
    /// without signal handlers do nothing.
    fn block_signals(&self) -> u64 {
        0
    }

    /// Makes `before`, which came from [`block_signals`](Self::block_signals), the set of blocked signals again.
    fn unblock_signals(&self, before: u64) {
        let _ = before;
    }

    /// Says whether the calling thread may be in a signal handler of the program's, whose frame is laid out as Linux
    /// does it. An answer that is wrong must be "yes".
    fn may_be_in_handler(&self) -> bool {
        false
    }

    /// Reads the program's memory; says whether it is there.
    fn read(&self, address: usize, to: &mut [u8]) -> bool {
        let _ = (address, to);
        false
    }

    /// Goes on with what a signal handler has interrupted, on the calling thread, with signals blocked as they are,
    /// until the call returns. The context becomes what the call has left, as if the signal had come then: the handler
    /// returns there.
    ///
    /// # Safety
    ///
    /// The call must be one that the calling thread is in, as described; the loader must hold no lock.
    ///
    /// # Errors
    ///
    /// The context, or what is to be kept, is not accessible, or there is no memory: nothing has happened then.
    unsafe fn finish(&self, call: &InterruptedCall) -> Result<(), Errno> {
        let _ = call;
        Err(Errno::ENOSYS)
    }

    /// Sleeps until [`wake`](Self::wake) is called for `word`, unless `word` differs from `value`, which is checked
    /// such that no wake-up is lost. May return early.
    fn wait(&self, word: &AtomicU32, value: u32);

    /// As [`wait`](Self::wait), where the wait may be long and no lock is held but the load lock: signal handlers of
    /// the program run meanwhile, as they do by themselves where the loader is ordinary code. One that leaves by
    /// `longjmp` leaves the loader, too.
    fn wait_with_handlers(&self, word: &AtomicU32, value: u32) {
        self.wait(word, value);
    }

    /// Wakes every thread sleeping on `word`.
    fn wake(&self, word: &AtomicU32);

    /// Ends the program with status 127 and a line on its standard error: a symbol it called does not exist, or there
    /// is no memory for its TLS. `message` is the whole line without its end.
    fn fatal(&self, message: &str) -> !;

    /// Returns the address of a gate.
    fn gate(&self, gate: Gate) -> usize;

    /// Returns the address by which the program is to know a function of the loader's, one of [`crate::functions`].
    /// Code that is there instead may change no register but the instruction pointer.
    fn function(&self, function: usize) -> usize {
        function
    }

    /// Returns where the host's own code lies, as far as the program's unwinder can get past it. Registers that must
    /// survive a call have then to be found as they were at the gate through which the calling code came in.
    fn code(&self) -> Option<HostCode> {
        None
    }

    /// Says whether `len` bytes of the host's memory can be had for records that the program asks the loader to keep,
    /// and enough is left for the host's own needs.
    fn can_spare(&self, len: usize) -> bool {
        let _ = len;
        true
    }

    /// Takes notice of an event.
    fn trace(&self, event: &Event<'_>) {
        let _ = event;
    }
}
