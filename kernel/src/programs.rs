//! What Linux asks of this floor about programs: the dynamic linker's part, and running another one.

use crate::{linker, program};
use abi::Errno;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use linux::linker::{Command, Launch};
use linux::process::Process;
use loader::PAGE_SIZE;
use machine::arch::TrapFrame;
use machine::mm::arena;
use machine::mm::space::Space;

/// How many ancestors of a thread are told.
const MOST_ANCESTORS: usize = 16;

/// Who Linux asks.
#[derive(Debug)]
pub(crate) struct Programs;

impl linux::linker::Linker for Programs {
    fn thread_ended(&self, thread_pointer: usize) {
        linker::with_current(|linker| arena::inside(|| linker.loader.thread_ended(thread_pointer)));
    }

    /// Code that the program has registered there is no more. Where no page starts there is none.
    fn unmapped(&self, start: usize, len: usize) {
        if let Some(len) = len.checked_next_multiple_of(PAGE_SIZE)
            && start.is_multiple_of(PAGE_SIZE)
        {
            linker::with_current(|linker| arena::inside(|| linker.loader.unmapped(start, len)));
        }
    }

    fn copy_space(&self) -> Option<Space> {
        linker::copy_space()
    }

    fn begin_in_copy(&self) {
        linker::begin_in_copy();
    }

    fn lineage(&self, thread_pointer: u64) -> String {
        let at = thread_pointer as usize;
        let ancestors = linker::with_current(|linker| linker.loader.ancestors(at));
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
        linker::unwind::backtrace(frame)
    }

    fn sample(&self, frame: &TrapFrame) {
        linker::profile::sample(frame);
    }

    fn profile(&self) -> String {
        linker::profile::lines()
    }

    fn launch(&self, process: &Arc<Process>, command: Command) -> Result<Launch, Errno> {
        program::launch(process, command)
    }
}
