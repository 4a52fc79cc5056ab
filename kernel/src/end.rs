//! The end of the machine for a reason that the program's standard error should show.

use linux::{fs, process};

/// Writes a line on the program's standard error.
pub(crate) fn report(line: &str) {
    fs::write_stderr(line.as_bytes());
    fs::write_stderr(b"\n");
}

/// Ends the machine with a line.
pub(crate) fn with_line(line: &str, status: i32) -> ! {
    report(line);
    process::exit_group(status)
}
