//! The program's dynamic linker, as far as Linux has to tell it something or ask it: a call upwards, registered once.

use alloc::string::String;
use machine::arch::TrapFrame;
use spin::Once;

/// The dynamic linker.
pub trait Linker: Sync {
    /// The thread with this thread pointer ends. Comes before anybody who joins it can know.
    fn thread_ended(&self, thread_pointer: usize);
    /// The program gives up `len` bytes at `start`. Comes before somebody else can have the addresses.
    fn unmapped(&self, start: usize, len: usize);
    /// Where the program is, function by function, for a crash report.
    fn backtrace(&self, frame: &TrapFrame) -> String;
}

static LINKER: Once<&'static dyn Linker> = Once::new();

/// Registers the dynamic linker. The first call counts.
pub fn register(linker: &'static dyn Linker) {
    LINKER.call_once(|| linker);
}

pub(crate) fn thread_ended(thread_pointer: usize) {
    if let Some(linker) = LINKER.get() {
        linker.thread_ended(thread_pointer);
    }
}

pub(crate) fn unmapped(start: usize, len: usize) {
    if let Some(linker) = LINKER.get() {
        linker.unmapped(start, len);
    }
}

pub(crate) fn backtrace(frame: &TrapFrame) -> String {
    LINKER
        .get()
        .map_or_else(String::new, |linker| linker.backtrace(frame))
}
