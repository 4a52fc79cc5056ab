//! The end of the machine for a reason that the program's standard error should show.

use linux::{process, tty};
use machine::mm::arena;

/// Writes a line on the program's standard error. It may have to wait, outside of the arena: who wakes this
/// thread then need not be in its address space.
pub(crate) fn report(line: &str) {
    arena::outside(|| {
        tty::stream::write_stderr(line.as_bytes());
        tty::stream::write_stderr(b"\n");
    });
}

/// Ends the machine with a line.
pub(crate) fn with_line(line: &str, status: i32) -> ! {
    report(line);
    arena::outside(|| process::exit_group(status))
}

/// Ends the machine with a line, as if by a signal.
pub(crate) fn by_signal(line: &str, signal: i32) -> ! {
    report(line);
    arena::outside(|| process::exit_by_signal(signal))
}
