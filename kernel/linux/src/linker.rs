//! A process' dynamic linker, as far as Linux has to tell it something or ask it: a call upwards, to what the floor
//! above has given the process when it made it.

use alloc::string::String;
use core::any::Any;
use machine::arch::TrapFrame;

/// The dynamic linker of an address space. [`Process::linker_as`](crate::process::Process::linker_as) gives it back
/// with its own type.
pub trait Linker: Any + Send + Sync {
    /// The thread with this thread pointer ends. Comes before anybody who joins it can know.
    fn thread_ended(&self, thread_pointer: usize);
    /// The program gives up `len` bytes at `start`. Comes before somebody else can have the addresses.
    fn unmapped(&self, start: usize, len: usize);
    /// Who has started the thread with this thread pointer, and so on, as far as it is known; for people, nothing or
    /// text that starts with a comma. The thread is one of the current process.
    fn lineage(&self, thread_pointer: u64) -> String;
    /// Where the program is, function by function, for a crash report.
    fn backtrace(&self, frame: &TrapFrame) -> String;
}
