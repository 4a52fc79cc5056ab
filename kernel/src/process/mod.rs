//! The process: threads as Linux sees them, signals, futexes, exit.
pub mod signal;

/// What a user thread carries beside the scheduler's state.
#[derive(Default)]
pub struct ThreadState {}

/// Process id, also the main thread's id.
pub const PID: i32 = 1;

/// Ends the program: output flushed, `elfin: exit status=N` logged, machine off.
pub fn exit_group(status: i32) -> ! {
    unimplemented!("{status}")
}
/// Ends the program as killed by `signal`.
pub fn exit_by_signal(signal: i32) -> ! {
    unimplemented!("{signal}")
}
