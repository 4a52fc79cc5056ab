//! The kernel log: the `log` crate's back end, writing lines to the serial port.

use crate::arch::{cpu, serial};
use crate::sync::{Rank, SpinLock};
use crate::time::Instant;
use ::log::{LevelFilter, Log, Metadata, Record};
use core::fmt::{self, Write};

struct Serial;

static SERIAL: SpinLock<Serial> = SpinLock::ranked(Rank::Log, Serial);

impl Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            serial::write(byte);
        }
        Ok(())
    }
}

struct Logger;

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= ::log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let ms = Instant::now().0 / 1_000_000;
            let level = record.level().as_str().to_ascii_lowercase();
            line(format_args!(
                "[{}.{:03}] {level}: {}",
                ms / 1000,
                ms % 1000,
                record.args()
            ));
        }
    }

    fn flush(&self) {}
}

/// Installs the logger with the level that the boot configuration asks for.
pub fn init(level: LevelFilter) {
    // Fails only when called twice.
    let _ = ::log::set_logger(&Logger);
    ::log::set_max_level(level);
}

/// Writes one line, whatever the level.
pub fn line(text: fmt::Arguments<'_>) {
    // Writing to the port does not fail.
    let _ = writeln!(SERIAL.lock(), "{text}");
}

/// Writes one line even if this CPU, or one that has stopped, holds the port.
pub fn line_in_panic(text: fmt::Arguments<'_>) {
    let _ = writeln!(Serial, "{text}");
}

/// Ends the machine with the one-line reason that `elfin run` prints: `elfin: fatal: TEXT`.
pub fn fatal(text: fmt::Arguments<'_>) -> ! {
    line(format_args!("elfin: fatal: {text}"));
    cpu::exit_machine(0x20)
}
