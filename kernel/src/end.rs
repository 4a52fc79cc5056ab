//! The end of the machine for a reason that the program's standard error should show.

use alloc::format;
use linux::{process, tty};
use machine::mm::arena;

/// Writes a line on the process' standard error, as ld.so would, or on the machine's if it has none. It may have to
/// wait, outside of the arena: who wakes this thread then need not be in its address space.
pub(crate) fn report(line: &str) {
    arena::outside(|| {
        let text = format!("{line}\n");
        let stderr = process::with_current(|process| process.files().get(2));
        if stderr
            .and_then(|open| open.write_all(text.as_bytes()))
            .is_err()
        {
            tty::stream::write_stderr(text.as_bytes());
        }
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
