//! What elfin and the kernel tell each other while the program runs, over the console's control port: signals for the
//! first process, and the size of the terminal; that the program runs.
//!
//! Messages have a header of eight bytes, little-endian: what it is (16 bits), a session (16), and the length of what
//! follows (32). `qemu/src/message.rs` has the other side.
use crate::{
    config,
    process::{
        self,
        signal::{self, Recipient, SigInfo},
    },
    tty,
};
use alloc::vec;
use linux_raw_sys::general as linux;
use machine::{
    drivers::console::{self as driver, Input, Output},
    sync::Signals,
};

/// The longest message.
const LONGEST: usize = 64 << 10;

/// The program has been entered.
const STARTED: u16 = 0x81;

/// A message of elfin's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Message {
    /// A signal for the first process.
    Signal(i32),
    /// Rows and columns of the console.
    Resize(u16, u16),
}

impl Message {
    const HEADER: usize = 8;

    /// From what it is and what follows; `None` if this kernel does not know it.
    fn parse(kind: u16, payload: &[u8]) -> Option<Self> {
        match kind {
            1 => {
                let number = i32::from_le_bytes(payload.try_into().ok()?);
                (1..=signal::LAST)
                    .contains(&number)
                    .then_some(Self::Signal(number))
            }
            2 => match *payload {
                [a, b, c, d] => Some(Self::Resize(
                    u16::from_le_bytes([a, b]),
                    u16::from_le_bytes([c, d]),
                )),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Reads exactly as much as fits into `buf`; `None` when elfin sends no more.
fn read(buf: &mut [u8]) -> Option<()> {
    let queue = driver::input_queue(Input::Control)?;
    let mut done = 0;
    while done < buf.len() {
        let attempt = || match driver::read(Input::Control, &mut buf[done..]) {
            0 if driver::at_end(Input::Control) => Some(None),
            0 => None,
            len => Some(Some(len)),
        };
        done += queue.wait_until(None, Signals::Ignore, attempt).ok()??;
    }
    Some(())
}

/// The next message that this kernel knows.
fn next() -> Option<Message> {
    loop {
        let mut header = [0; Message::HEADER];
        read(&mut header)?;
        let [a, b, _, _, e, f, g, h] = header;
        let length = usize::try_from(u32::from_le_bytes([e, f, g, h])).ok()?;
        if length > LONGEST {
            log::error!("a control message of {length} bytes");
            return None;
        }
        let mut payload = vec![0; length];
        read(&mut payload)?;
        let message = Message::parse(u16::from_le_bytes([a, b]), &payload);
        if message.is_some() {
            return message;
        }
    }
}

/// A program is entered: elfin is told if that is the first process', and it wants to know.
pub fn tell_started() {
    if config::get().report && process::with_current(|process| process.is_first()) {
        let [a, b] = STARTED.to_le_bytes();
        let message = [a, b, 0, 0, 0, 0, 0, 0];
        driver::write(Output::Control, &message, Signals::Ignore);
    }
}

/// Does what elfin asks for, as long as it may ask. The first process has its main thread.
pub fn serve() {
    while let Some(message) = next() {
        match message {
            Message::Resize(rows, columns) => tty::console::resize(rows, columns),
            Message::Signal(number) => {
                let info = SigInfo::from_program(number, linux::SI_USER.cast_signed(), 0, 0);
                // Only a full queue of real-time signals is an error.
                let _ = process::with_current(|process| process.send(Recipient::Process, info));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Message;

    #[test]
    fn messages() {
        let signal = |number: i32| Message::parse(1, &number.to_le_bytes());
        assert_eq!(signal(15), Some(Message::Signal(15)));
        assert_eq!((signal(0), signal(65)), (None, None));
        assert_eq!(Message::parse(1, b"abc"), None);
        assert_eq!(Message::parse(9, b""), None);
        let resize = Message::parse(2, &[24, 0, 80, 0]);
        assert_eq!(resize, Some(Message::Resize(24, 80)));
    }
}
