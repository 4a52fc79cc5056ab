//! The dynamic linker in the kernel: the `loader` crate with the kernel as its host, what its gates lead to, the vDSO's
//! functions, backtraces.

mod finish;
mod host;
mod unwind;
pub(crate) mod vdso;

use crate::end;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use linux::process;
use loader::{Gate, Loader, PAGE_SIZE};
use machine::arch::{TrapFrame, gate};
use machine::mm::arena;
use machine::sync::SpinLock;
use machine::upcall::Gates;

/// How many ancestors of a thread are told.
const MOST_ANCESTORS: usize = 16;

const SIGSEGV: i32 = linux_raw_sys::general::SIGSEGV as i32;

/// A process' dynamic linker.
pub(crate) struct Linker {
    pub(crate) loader: Loader,
    /// Files that were not there, until the program has been loaded: for the error message.
    tried: SpinLock<Option<Vec<Vec<u8>>>>,
}

impl Linker {
    /// One that has nothing loaded.
    pub(crate) const fn new() -> Self {
        Self {
            loader: Loader::new(&host::Kernel),
            tried: SpinLock::new(Some(Vec::new())),
        }
    }

    /// There was no file at `path`.
    fn has_tried(&self, path: &[u8]) {
        if let Some(tried) = &mut *self.tried.lock() {
            tried.push(path.to_vec());
        }
    }

    /// Takes the paths at which an object of this name was looked for, and keeps no more from now on.
    pub(crate) fn tried(&self, name: &[u8]) -> Vec<Vec<u8>> {
        let mut paths = self.tried.lock().take().unwrap_or_default();
        paths.retain(|path| path.rsplit(|&byte| byte == b'/').next() == Some(name));
        paths
    }
}

/// Calls `f` with the dynamic linker of the current process.
pub(crate) fn with_current<R>(f: impl FnOnce(&Linker) -> R) -> R {
    process::with_current(|process| {
        let linker = process.linker_as();
        f(linker.expect("processes are given one when they are made"))
    })
}

/// What gates lead to: the dynamic linker of the calling thread's process.
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
    fn bad_address(&self, addr: usize) -> ! {
        end::report(&format!(
            "elfin: the dynamic linker was made to access {addr:#x}, where nothing is"
        ));
        process::exit_by_signal(SIGSEGV)
    }

    fn stack_lost(&self) -> ! {
        end::report("elfin: a function called by the dynamic linker has lost its stack");
        process::exit_by_signal(SIGSEGV)
    }
}

impl linux::linker::Linker for Linker {
    fn thread_ended(&self, thread_pointer: usize) {
        arena::inside(|| self.loader.thread_ended(thread_pointer));
    }

    /// Code that the program has registered there is no more. Where no page starts there is none.
    fn unmapped(&self, start: usize, len: usize) {
        if let Some(len) = len.checked_next_multiple_of(PAGE_SIZE)
            && start.is_multiple_of(PAGE_SIZE)
        {
            arena::inside(|| self.loader.unmapped(start, len));
        }
    }

    fn lineage(&self, thread_pointer: u64) -> String {
        let ancestors = self.loader.ancestors(thread_pointer as usize);
        let mut text = String::new();
        for (place, ancestor) in ancestors.iter().enumerate() {
            if place == MOST_ANCESTORS {
                text += ", …";
                break;
            }
            text += &format!(", {ancestor}");
        }
        text
    }

    fn backtrace(&self, frame: &TrapFrame) -> String {
        unwind::backtrace(frame)
    }
}
