//! The dynamic linker in the kernel: the `loader` crate with the kernel as its host, what its gates lead to, the vDSO's functions,
//! backtraces.

mod finish;
mod host;
mod unwind;
mod vdso;

pub(crate) use host::{LOADER, tried};

use crate::end;
use alloc::string::String;
use linux::process;
use loader::{Gate, PAGE_SIZE};
use machine::arch::{TrapFrame, gate};
use machine::upcall::Gates;

const SIGSEGV: i32 = linux_raw_sys::general::SIGSEGV as i32;
const _: () = assert!(Gate::ALL.len() <= gate::COUNT);

/// The dynamic linker, for [`machine::upcall::register`] and [`linux::linker::register`].
#[derive(Debug)]
pub struct Linker;

impl Gates for Linker {
    fn enter(&self, number: usize, arguments: [usize; 4], frame: usize) -> usize {
        let Some(gate) = Gate::from_number(number) else {
            return 0;
        };
        let depth = gate::depth();
        let has_left = |mark| mark >= depth;
        // SAFETY: the program has called the gate with these arguments; what it has been called from is in the middle still.
        unsafe { LOADER.enter_from(depth, has_left, gate, arguments, frame) }
    }

    /// The loader has followed one of the program's pointers to where nothing is, as ld.so would have.
    fn bad_address(&self, addr: usize) -> ! {
        end::report(&alloc::format!(
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
        LOADER.thread_ended(thread_pointer);
    }

    /// Code that the program has registered there is no more. Where no page starts there is none.
    fn unmapped(&self, start: usize, len: usize) {
        if let Some(len) = len.checked_next_multiple_of(PAGE_SIZE)
            && start.is_multiple_of(PAGE_SIZE)
        {
            LOADER.unmapped(start, len);
        }
    }

    fn backtrace(&self, frame: &TrapFrame) -> String {
        unwind::backtrace(frame)
    }
}
