//! Page faults: demand paging, copy on write, fix-ups of user accesses by the kernel.
use crate::arch::TrapFrame;

/// Why a fault could not be satisfied: the signal it becomes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// SEGV_MAPERR
    NotMapped,
    /// SEGV_ACCERR
    Protection,
    /// SIGBUS: past the end of a mapped file.
    Bus,
    /// No frame left.
    OutOfMemory,
}

/// Handles a page fault at `addr` (CR2). Called on the thread's kernel stack, interrupts as they were when it happened. A kernel access
/// through [`super::user`] that fails is turned into EFAULT by changing `frame.rip` (then `Ok`).
pub fn page_fault(addr: usize, error: u64, frame: &mut TrapFrame) -> Result<(), Fault> {
    unimplemented!("{addr} {error} {frame:?}")
}
