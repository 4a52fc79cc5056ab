//! Starting the program: the loader's host in the kernel, gates, program start, crash backtraces.

/// Loads and starts the program that the boot configuration names. Runs on the loader thread; ends the machine with a clear line on
/// failure.
pub fn start() {
    unimplemented!()
}
/// A backtrace from `frame`, with symbols and object names, for crash reports.
pub fn backtrace(frame: &crate::arch::TrapFrame) -> alloc::string::String {
    unimplemented!("{frame:?}")
}
