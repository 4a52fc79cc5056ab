//! The dynamic linker of the calling thread's address space, and the start of programs: calls upwards, to what the
//! floor above has registered at boot.

use crate::process::Process;
use abi::Errno;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::arch::TrapFrame;
use machine::mm::space::Space;
use machine::sched::Thread;
use spin::Once;

/// What the floor above does for programs. But for [`Linker::launch`], all of it is about the calling thread's address
/// space.
pub trait Linker: Sync {
    /// The thread with this thread pointer ends. Comes before anybody who joins it can know.
    fn thread_ended(&self, thread_pointer: usize);
    /// The program gives up `len` bytes at `start`. Comes before somebody else can have the addresses.
    fn unmapped(&self, start: usize, len: usize);
    /// Copies the address space for another process; `None` without memory. The program is not being called by the
    /// dynamic linker on this thread.
    fn copy_space(&self) -> Option<Space>;
    /// The calling thread is the only one in an address space that has just been copied.
    fn begin_in_copy(&self);
    /// Who has started the thread with this thread pointer, and so on, as far as it is known; for people, nothing or
    /// text that starts with a comma. The thread is one of the current process.
    fn lineage(&self, thread_pointer: u64) -> String;
    /// Where the program is, function by function, for a crash report.
    fn backtrace(&self, frame: &TrapFrame) -> String;
    /// Counts where the program is, for a profile.
    fn sample(&self, frame: &TrapFrame);
    /// What has been counted: a line `sample COUNT FUNCTION;FUNCTION…` for each stack, outermost first.
    fn profile(&self) -> String;
    /// Finds out what running `command` means, and makes the threads and the address space that it takes for `process`.
    /// Nothing has happened on an error, which is execve(2)'s.
    fn launch(&self, process: &Arc<Process>, command: Command) -> Result<Launch, Errno>;
}

/// What is to be run.
pub struct Command {
    /// The file.
    pub path: Vec<u8>,
    /// What it is called before the program that it is, which may be the interpreter of a script without other names.
    pub name: Vec<u8>,
    /// Whether that name is a descriptor's which is closed before an interpreter could open it.
    pub is_name_lost: bool,
    /// Arguments, the program's name first.
    pub args: Vec<Vec<u8>>,
    /// The environment.
    pub env: Vec<Vec<u8>>,
}

/// A program that is ready to be started.
pub struct Launch {
    /// Its main thread, which the loader starts.
    pub main: Arc<Thread>,
    /// The kernel's thread that loads it.
    pub loader: Arc<Thread>,
    /// What it runs, as far as it is known yet.
    pub program: crate::process::Program,
    /// Its address space.
    pub space: Arc<Space>,
    /// Whether others of the same user may look into it (`PR_SET_DUMPABLE`).
    pub is_dumpable: bool,
}

static LINKER: Once<&'static dyn Linker> = Once::new();

/// Registers the floor above. The first call counts.
pub fn register(linker: &'static dyn Linker) {
    LINKER.call_once(|| linker);
}

/// What has been registered.
///
/// # Panics
/// If there are processes before [`register`].
pub(crate) fn get() -> &'static dyn Linker {
    *LINKER.get().expect("registered before there are processes")
}
