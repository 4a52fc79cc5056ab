//! The dynamic linker in the kernel: the `loader` crate with the kernel as its host, what its gates lead to, the vDSO's
//! functions, backtraces.

mod finish;
mod host;
pub(crate) mod profile;
pub(crate) mod unwind;
pub(crate) mod vdso;

use crate::end;
use alloc::format;
use alloc::vec::Vec;
use linux::process;
use loader::{Gate, Loader, PAGE_SIZE};
use machine::arch::gate;
use machine::mm::arena;
use machine::mm::fault::Fault;
use machine::mm::space::Space;
use machine::sync::SpinLock;
use machine::upcall::Gates;

const SIGSEGV: i32 = linux_raw_sys::general::SIGSEGV.cast_signed();
const SIGKILL: i32 = linux_raw_sys::general::SIGKILL.cast_signed();

/// An address space's dynamic linker. It lies at the same address in each of them, as all that it has.
pub(crate) struct Linker {
    pub(crate) loader: Loader,
    /// Files that were not there, until the program has been loaded: for the error message. In the arena, so that a
    /// copy of the space has its own.
    tried: SpinLock<Option<Vec<Vec<u8>>>>,
}

impl Linker {
    /// One that has nothing loaded.
    const fn new() -> Self {
        Self {
            loader: Loader::new(&host::Kernel),
            tried: SpinLock::new(Some(Vec::new())),
        }
    }

    /// There was no file at `path`.
    fn has_tried(&self, path: &[u8]) {
        arena::inside(|| {
            if let Some(tried) = &mut *self.tried.lock() {
                tried.push(path.to_vec());
            }
        });
    }

    /// Takes the paths at which an object of this name was looked for, and keeps no more from now on.
    pub(crate) fn tried(&self, name: &[u8]) -> Vec<Vec<u8>> {
        let mut paths = arena::inside(|| self.tried.lock().take()).unwrap_or_default();
        paths.retain(|path| path.rsplit(|&byte| byte == b'/').next() == Some(name));
        paths
    }
}

const _: () = assert!(size_of::<Linker>() <= PAGE_SIZE);

fn place() -> *mut Linker {
    core::ptr::with_exposed_provenance_mut(arena::ROOT)
}

/// Gives the calling thread's address space, which has none yet, a dynamic linker.
pub(crate) fn install() {
    // SAFETY: the page is there, for this alone, and nobody knows it yet: the space has one thread. What the value has
    // lies in the arena and goes with that, so it is never dropped.
    unsafe { place().write(Linker::new()) };
}

/// Calls `f` with the dynamic linker of the calling thread's address space.
pub(crate) fn with_current<R>(f: impl FnOnce(&Linker) -> R) -> R {
    // SAFETY: whoever loads a program installs one first, and a thread stays in its space until it ends.
    f(unsafe { &*place() })
}

/// Copies the calling thread's address space for another process; `None` without memory.
pub(crate) fn copy_space() -> Option<Space> {
    with_current(|linker| {
        let copy = || process::with_space(Space::copy);
        linker.loader.while_unchanged(copy)
    })
}

/// Begins to work in an address space that [`copy_space`] has made, on its only thread.
pub(crate) fn begin_in_copy() {
    with_current(|linker| arena::inside(|| linker.loader.begin_in_copy()));
}

/// What gates lead to: the dynamic linker of the calling thread's address space.
#[derive(Debug)]
pub struct Entry;

impl Gates for Entry {
    fn enter(&self, number: usize, arguments: [usize; 4], frame: usize) -> usize {
        let Some(gate) = Gate::from_number(number) else {
            return 0;
        };
        let depth = gate::depth();
        let has_left = |mark| mark >= depth;
        with_current(|linker| {
            let loader = &linker.loader;
            // SAFETY: the program has called the gate with these arguments; what it has been called from is in the
            // middle still.
            arena::inside(|| unsafe { loader.enter_from(depth, has_left, gate, arguments, frame) })
        })
    }

    /// The loader has followed one of the program's pointers to where nothing is, as ld.so would have.
    fn bad_address(&self, addr: usize, fault: Fault) -> ! {
        arena::outside(|| {
            if fault == Fault::OutOfMemory {
                let line = "elfin: out of memory in the dynamic linker; give more with --memory";
                end::by_signal(line, SIGKILL)
            }
            let line =
                format!("elfin: the dynamic linker was made to access {addr:#x}, where nothing is");
            end::by_signal(&line, SIGSEGV)
        })
    }

    fn stack_lost(&self) -> ! {
        end::by_signal(
            "elfin: a function called by the dynamic linker has lost its stack",
            SIGSEGV,
        )
    }
}
