//! The program's standard streams over the console device.
//!
//! A stream is a terminal or a pipe, as the boot configuration says. Line editing and echo are the host terminal's
//! work: the terminal settings are kept and told (`console.rs`, which also is the console if that is not so), and
//! change nothing.
use super::console;
use crate::{
    config,
    fs::{
        File, Metadata, OpenFile, Poll,
        descriptor::Files,
        path::{self, Start},
        tree::{Node, dev},
    },
};
use abi::Errno;
use alloc::{sync::Arc, vec::Vec};
use linux_raw_sys::{general as linux, ioctl};
use machine::{
    drivers::console::{self as driver, Input, Output},
    mm::user,
    sched,
    sync::{Signals, WaitQueue},
};

/// One of the streams, or the terminal as a whole (/dev/tty).
struct Stream {
    stream: usize,
    terminal: bool,
}

/// The file of stream 0, 1 or 2.
fn stream(stream: usize) -> Arc<Stream> {
    Arc::new(Stream {
        stream,
        terminal: config::get().tty[stream],
    })
}

/// /dev/tty and /dev/console as the host's terminal: `ENXIO` when no stream is a terminal.
pub(super) fn terminal() -> Result<Arc<dyn File>, Errno> {
    let tty = &config::get().tty;
    let stream = [1, 2, 0]
        .into_iter()
        .find(|&stream| tty[stream])
        .ok_or(Errno::ENXIO)?;
    Ok(Arc::new(Stream {
        stream,
        terminal: true,
    }))
}

impl Stream {
    /// Whether it is a terminal.
    fn is_terminal(&self) -> bool {
        self.terminal
    }
    fn output(&self) -> Output {
        if self.stream == 2 {
            Output::Stderr
        } else {
            Output::Stdout
        }
    }
}

impl File for Stream {
    fn read(&self, _offset: u64, buf: &mut [u8], nonblock: bool) -> Result<usize, Errno> {
        if buf.is_empty() {
            return Ok(0);
        }
        let mut attempt = || match driver::read(Input::Stdin, buf) {
            0 if driver::at_end(Input::Stdin) => Some(0),
            0 => None,
            len => Some(len),
        };
        if nonblock {
            return attempt().ok_or(Errno::EAGAIN);
        }
        let Some(queue) = driver::input_queue(Input::Stdin) else {
            return Ok(0);
        };
        queue
            .wait_until(None, Signals::Interrupt, attempt)
            .map_err(|_| Errno::ERESTARTSYS)
    }

    fn write(&self, _offset: u64, buf: &[u8], _nonblock: bool) -> Result<usize, Errno> {
        let output = self.output();
        let mut done = 0;
        while done < buf.len() {
            if driver::closed(output) {
                return if done == 0 {
                    Err(Errno::EPIPE)
                } else {
                    Ok(done)
                };
            }
            let len = driver::write(output, &buf[done..], Signals::Interrupt);
            done += len;
            if machine::sched::signal_pending() && done < buf.len() {
                return if done == 0 {
                    Err(Errno::ERESTARTSYS)
                } else {
                    Ok(done)
                };
            }
        }
        Ok(done)
    }

    fn poll(&self) -> Poll {
        let mut events = Poll::empty();
        if self.stream != 0 || self.terminal {
            events |= if driver::closed(self.output()) {
                Poll::ERR | Poll::OUT
            } else {
                Poll::OUT
            };
        }
        if self.stream == 0 || self.terminal {
            if driver::available(Input::Stdin) > 0 {
                events |= Poll::IN;
            }
            if driver::at_end(Input::Stdin) {
                events |= if self.terminal { Poll::IN } else { Poll::HUP };
            }
        }
        events
    }

    fn poll_queue(&self) -> Option<&WaitQueue> {
        driver::input_queue(Input::Stdin)
    }

    fn metadata(&self) -> Result<Metadata, Errno> {
        if self.terminal {
            return console_node()?.metadata();
        }
        Ok(Metadata {
            dev: dev::ANONYMOUS,
            ino: 1 + self.stream as u64,
            mode: linux::S_IFIFO | 0o600,
            nlink: 1,
            ..Metadata::default()
        })
    }

    fn ioctl(&self, request: u32, arg: usize) -> Result<usize, Errno> {
        if !self.terminal {
            return match request {
                ioctl::FIONREAD => Err(Errno::EINVAL),
                _ => Err(Errno::ENOTTY),
            };
        }
        if request == ioctl::FIONREAD {
            let available = driver::available(Input::Stdin);
            user::write(arg, &i32::try_from(available).unwrap_or(i32::MAX))?;
            return Ok(0);
        }
        console::get().control(request, arg)
    }

    fn reopen(&self, _flags: u32) -> Result<Arc<dyn File>, Errno> {
        Ok(Arc::new(Self {
            stream: self.stream,
            terminal: self.terminal,
        }))
    }

    fn link_text(&self) -> Vec<u8> {
        if self.terminal {
            CONSOLE.to_vec()
        } else {
            alloc::format!("pipe:[{}]", 1 + self.stream).into_bytes()
        }
    }
}

/// The console's path.
const CONSOLE: &[u8] = b"/dev/console";

fn console_node() -> Result<Arc<Node>, Errno> {
    Ok(path::lookup(&Start::root(), CONSOLE)?.node)
}

/// Gives the console to the user that the first program starts as, who may open it by name.
pub fn give_console(uid: u32) -> Result<(), Errno> {
    console_node()?.attributes.lock().uid = uid;
    Ok(())
}

/// Opens descriptors 0, 1 and 2 of a process that has none: the console.
pub fn open_standard(files: &Files) -> Result<(), Errno> {
    let node = console_node()?;
    if let Some(terminal) = console::open(&node, CONSOLE.to_vec()) {
        let terminal = OpenFile::new(terminal?, linux::O_RDWR);
        for stream in 0..3 {
            files.install(terminal.clone(), false, stream..stream + 1)?;
        }
        return Ok(());
    }
    for stream in 0..3 {
        let flags = if stream == 0 {
            linux::O_RDONLY
        } else {
            linux::O_WRONLY
        };
        let file = self::stream(stream);
        let flags = if file.is_terminal() {
            linux::O_RDWR
        } else {
            flags
        };
        files.install(OpenFile::new(file, flags), false, stream..stream + 1)?;
    }
    Ok(())
}

/// Writes to the program's standard error, past the descriptor table (trace, backtrace, loader messages).
pub fn write_stderr(text: &[u8]) {
    if !console::is_raw() {
        return write_all(text);
    }
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        let (line, end) = match line.strip_suffix(b"\n") {
            Some(line) => (line, &b"\r\n"[..]),
            None => (line, &b""[..]),
        };
        write_all(line);
        write_all(end);
    }
}

fn write_all(mut text: &[u8]) {
    while !text.is_empty() && !driver::closed(Output::Stderr) {
        let len = driver::write(Output::Stderr, text, Signals::Interrupt);
        if len == 0 {
            // A signal is pending; this text comes first.
            sched::yield_now();
        }
        text = &text[len..];
    }
}
