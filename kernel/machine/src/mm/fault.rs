//! Page faults: demand paging, copy on write, fix-ups of user accesses by the kernel.

use super::{USER_END, space};
use crate::arch::{TrapFrame, user};

const RFLAGS_IF: u64 = 1 << 9;

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

/// What an access wanted to do (from the hardware's error code).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// Read.
    Read,
    /// Write.
    Write,
    /// Fetch an instruction.
    Execute,
}

/// Handles a page fault at `addr` (CR2). Called on the thread's kernel stack, interrupts as they were when it happened. A
/// kernel access through [`super::user`] that fails is turned into EFAULT by changing `frame.rip` (then `Ok`).
pub fn page_fault(addr: usize, error: u64, frame: &mut TrapFrame) -> Result<(), Fault> {
    let wanted = if error & 0x10 != 0 {
        Wanted::Execute
    } else if error & 2 != 0 {
        Wanted::Write
    } else {
        Wanted::Read
    };
    // Under a spin lock nothing can be brought in.
    let result = if addr >= USER_END || frame.rflags & RFLAGS_IF == 0 {
        Err(Fault::NotMapped)
    } else {
        space::fault(addr, wanted)
    };
    if result.is_err()
        && let Some(fixup) = user::fixup(frame.rip as usize)
    {
        frame.rip = fixup as u64;
        return Ok(());
    }
    result
}
