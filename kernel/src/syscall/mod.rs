//! System calls: the table, dispatch, trace.
mod errno;
pub mod fs;
pub mod mm;
pub mod process;
pub mod signal;
pub mod time;
pub use errno::Errno;

/// Result of a system call.
pub type SysResult = Result<usize, Errno>;

/// Entry from the `syscall` instruction: number in `frame.rax`, arguments in rdi rsi rdx r10 r8 r9, result to `frame.rax`.
/// Runs on the thread's kernel stack with interrupts on. PROC owns the table (`table.rs`): one readable line a call; the
/// functions of each group live in this module's files (`pub fn read(fd: usize, buf: usize, count: usize) -> SysResult`).
pub fn entry(frame: &mut crate::arch::TrapFrame) {
    unimplemented!("{frame:?}")
}
