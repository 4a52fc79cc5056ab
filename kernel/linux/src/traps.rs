//! What the program's traps lead to: system calls and signals.

use crate::fs::write_back;
use crate::process::{self, signal};
use crate::{linker, syscall};
use machine::arch::TrapFrame;
use machine::mm::space::Space;
use machine::upcall::{Exception, Traps};

/// Linux, for [`machine::upcall::register`].
#[derive(Debug)]
pub struct Linux;

impl Traps for Linux {
    fn system_call(&self, frame: &mut TrapFrame) {
        syscall::entry(frame);
    }

    fn exception(&self, frame: &mut TrapFrame, exception: Exception) {
        signal::exception(frame, exception);
    }

    fn deliver_signals(&self, frame: &mut TrapFrame) {
        signal::deliver(frame);
    }

    fn make_room(&self) -> bool {
        write_back::make_room()
    }

    fn copy_lacks_memory(&self) {
        signal::copy_lacks_memory();
    }

    fn each_space(&self, f: &mut dyn FnMut(&Space)) {
        for space in process::processes().filter_map(|process| process.space()) {
            f(&space);
        }
    }

    fn sample(&self, frame: &TrapFrame) {
        // The addresses of another process mean something else.
        if process::with_current(|process| process.is_first()) {
            linker::get().sample(frame);
        }
    }

    fn is_on_signal_stack(&self, addr: usize) -> bool {
        signal::altstack().covers(addr as u64)
    }
}
