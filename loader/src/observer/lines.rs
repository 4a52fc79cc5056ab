//! Lines of LD_DEBUG on their way to the program's standard error.

use core::fmt::{self, Write};

/// Writes the lines of an [`Event::Debug`](crate::Event::Debug), each with the process's number before it, as `ld.so`
/// does. A line that is not very long is written by one call of `write`.
pub fn write_debug(process: u32, lines: &fmt::Arguments<'_>, write: impl FnMut(&[u8])) {
    let mut output = Lines {
        process,
        buffer: [0; 512],
        used: 0,
        in_line: false,
        write,
    };
    // `Lines` never fails.
    let _ = output.write_fmt(*lines).and_then(|()| output.end_line());
}

/// Lines on their way.
struct Lines<W> {
    process: u32,
    buffer: [u8; 512],
    used: usize,
    in_line: bool,
    write: W,
}

impl<W: FnMut(&[u8])> Lines<W> {
    fn end_line(&mut self) -> fmt::Result {
        self.begin_line()?;
        self.put(b"\n");
        self.flush();
        self.in_line = false;
        Ok(())
    }

    fn begin_line(&mut self) -> fmt::Result {
        if self.in_line {
            return Ok(());
        }
        self.in_line = true;
        let process = self.process;
        write!(self, "{process:10}:\t")
    }

    fn put(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if self.used == self.buffer.len() {
                self.flush();
            }
            self.buffer[self.used] = byte;
            self.used += 1;
        }
    }

    fn flush(&mut self) {
        (self.write)(&self.buffer[..self.used]);
        self.used = 0;
    }
}

impl<W: FnMut(&[u8])> Write for Lines<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut lines = text.split('\n');
        if let Some(first) = lines.next().filter(|first| !first.is_empty()) {
            self.begin_line()?;
            self.put(first.as_bytes());
        }
        for line in lines {
            self.end_line()?;
            if !line.is_empty() {
                self.begin_line()?;
                self.put(line.as_bytes());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec::Vec;

    fn written(lines: fmt::Arguments<'_>) -> Vec<String> {
        let mut writes = Vec::new();
        write_debug(42, &lines, |bytes| {
            writes.push(String::from_utf8_lossy(bytes).into_owned());
        });
        writes
    }

    #[test]
    fn every_line_is_one_write_with_the_process_before_it() {
        let (name, empty) = ("libx.so", "");
        let writes = written(format_args!("\n{empty}calling init: {name}{empty}\n"));
        let lines = [
            "        42:\t\n",
            "        42:\tcalling init: libx.so\n",
            "        42:\t\n",
        ];
        assert_eq!(writes, lines);
    }

    #[test]
    fn long_lines_are_whole() {
        let name = "x".repeat(2000);
        let text = written(format_args!("trying file={name}")).concat();
        assert_eq!(text, alloc::format!("        42:\ttrying file={name}\n"));
    }
}
