//! The loader as its host sees it: one value, usually a `static`, with the start of a program and the gates.

use alloc::vec::Vec;

use crate::error::Error;
use crate::host::{Gate, Host};

/// A dynamic linker for one address space.
pub struct Loader {
    host: &'static dyn Host,
}

/// A program that has been mapped and relocated, and is ready to be initialised and entered.
///
/// Its objects are visible to the loading thread only until [`Loader::run_init`] has begun.
#[derive(Debug)]
pub struct Program {
    /// The address at which the program is entered.
    pub entry: usize,
    /// The stack pointer to enter it with: the address of `argc`.
    pub stack: usize,
    /// What `%rdx` holds at entry: the function to be run at exit.
    pub fini: usize,
    /// The main thread's thread pointer.
    pub thread_pointer: usize,
}

/// Where an address belongs, for backtraces.
#[derive(Debug, Clone)]
pub struct Symbolised {
    /// The object's path.
    pub object: Vec<u8>,
    /// The address relative to the object's load bias: what `addr2line` wants.
    pub object_offset: usize,
    /// The nearest dynamic symbol at or below the address, with the distance to it.
    pub symbol: Option<(Vec<u8>, usize)>,
}

/// A loaded object, for tools.
#[derive(Debug, Clone)]
pub struct LoadedObject {
    /// The object's path.
    pub path: Vec<u8>,
    /// Its load bias.
    pub base: usize,
    /// The first address it occupies.
    pub start: usize,
    /// The address behind the last one it occupies.
    pub end: usize,
}

impl Loader {
    /// Makes a loader that works on `host`. Nothing is allocated yet, so it can be a `static`.
    pub const fn new(host: &'static dyn Host) -> Self {
        Self { host }
    }

    /// Maps and relocates a program and everything it needs. Runs on the *loader thread* L, to which alone the objects
    /// are visible meanwhile. IFUNC resolvers run here, with the thread pointer set to the main thread's; it is put
    /// back before the function returns.
    ///
    /// `path` is the program's file, already looked up in `PATH`, absolute (it gives `$ORIGIN`). `stack` is the address
    /// of the initial stack content as Linux lays it out: `argc`, `argv…`, 0, `envp…`, 0, auxiliary vector. The vector
    /// must hold `AT_RANDOM`, `AT_PAGESZ`, `AT_CLKTCK`, `AT_MINSIGSTKSZ` if known, and (with any value) `AT_PHDR`,
    /// `AT_PHNUM`, `AT_ENTRY`, `AT_BASE`: these four are filled in. `LD_LIBRARY_PATH`, `LD_PRELOAD` and `LD_BIND_NOW`
    /// are taken from the environment there.
    ///
    /// # Errors
    ///
    /// [`Error::Foreign`] when the program is not for this loader (static, another interpreter, a C library nobody has
    /// reviewed): nothing of it is left mapped and the host starts it the way Linux does. Any other error: the program
    /// cannot run; the text is the one `ld.so` would print.
    ///
    /// # Safety
    ///
    /// `stack` must be as described, readable and writable, and stay where it is for as long as the program runs.
    pub unsafe fn load_program(&self, path: &[u8], stack: usize) -> Result<Program, Error> {
        let _ = (path, stack, self.host);
        unimplemented!()
    }

    /// Initialises the program on the calling thread W, a new thread which is about to become the main thread. Sets the
    /// thread pointer, registers the thread with the host, runs INIT functions in dependency order, and makes the
    /// objects public. Afterwards the host enters `program.entry` on this thread with `%rsp` = `program.stack`, `%rdx`
    /// = `program.fini`, everything else 0.
    ///
    /// # Errors
    ///
    /// An error of the kind [`load_program`](Self::load_program) gives.
    ///
    /// # Safety
    ///
    /// `program` must come from this loader and not have been run yet; the calling thread must have no thread pointer
    /// anybody needs.
    pub unsafe fn run_init(&self, program: &Program) -> Result<(), Error> {
        let _ = program;
        unimplemented!()
    }

    /// Does what a gate is for. The host's gates end here.
    ///
    /// # Safety
    ///
    /// The arguments must be those a program called the gate with.
    pub unsafe fn enter(&self, gate: Gate, arguments: [usize; 4]) -> usize {
        let _ = (gate, arguments);
        unimplemented!()
    }

    /// Takes notice that the thread with this thread pointer has ended. Optional: without it the loader learns of the
    /// end when its stack is reused or freed.
    pub fn thread_ended(&self, thread_pointer: usize) {
        let _ = thread_pointer;
        unimplemented!()
    }

    /// Says where an address belongs. Takes no lock, so a crash handler may call it.
    pub fn symbolise(&self, address: usize) -> Option<Symbolised> {
        let _ = address;
        unimplemented!()
    }

    /// Lists the objects now loaded, in load order.
    pub fn objects(&self) -> Vec<LoadedObject> {
        unimplemented!()
    }
}
