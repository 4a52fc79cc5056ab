//! What a page fault can come to. The handler is the processor's (`arch::x86_64::entry::trap`), the work `mm::space`'s.

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
