//! What is said over a machine's control port, and over the socket at which other elfins reach the one that runs it.
//!
//! Messages have a header of eight bytes, little-endian: what it is (16 bits), a session (16), and the length of what
//! follows (32). `kernel/linux/src/control.rs` has the other side of the port.

use std::io::{self, Read, Write};

/// To the kernel: the first process, or a session's, is sent a signal.
pub(crate) const SIGNAL: u16 = 1;
/// To the kernel: the terminal has so many rows and columns.
pub(crate) const RESIZE: u16 = 2;
/// To the kernel: a session begins with a program, which `key=value` records describe as in the boot configuration.
pub(crate) const EXEC: u16 = 3;
/// To the kernel: input, or its end if there is none.
pub(crate) const INPUT: u16 = 4;
/// To the kernel: so many bytes of output have been taken.
pub(crate) const OUTPUT_TAKEN: u16 = 5;
/// To the kernel: whose session it is has gone.
pub(crate) const HANG_UP: u16 = 6;
/// To the kernel: nanoseconds since 1970-01-01 UTC, in eight bytes.
pub(crate) const TIME: u16 = 7;
/// To the kernel: a key at the terminal stands for a signal.
pub(crate) const KEY: u16 = 8;
/// From the kernel: the program has been entered.
pub(crate) const STARTED: u16 = 0x81;
/// From the kernel: standard output.
pub(crate) const OUTPUT: u16 = 0x82;
/// From the kernel: standard error.
pub(crate) const ERROR: u16 = 0x83;
/// From the kernel: so many bytes of input have been taken.
pub(crate) const INPUT_TAKEN: u16 = 0x84;
/// From the kernel: the session's process has ended, with this status.
pub(crate) const ENDED: u16 = 0x85;
/// From the kernel: what time is it?
pub(crate) const ASK_TIME: u16 = 0x86;
/// To elfin: the program is to end, within so many seconds if that is said.
pub(crate) const STOP: u16 = 0x101;

/// How much of each direction of a session may be under way.
pub(crate) const WINDOW: usize = 64 << 10;
/// The longest payload.
const LONGEST: usize = 64 << 10;
const HEADER: usize = 8;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: u16,
    pub(crate) session: u16,
    pub(crate) payload: Vec<u8>,
}

impl Message {
    /// One that belongs to no session.
    pub(crate) fn new(kind: u16, payload: &[u8]) -> Self {
        Self {
            kind,
            session: 0,
            payload: payload.to_vec(),
        }
    }

    /// Writes it as one piece.
    pub(crate) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let length = u32::try_from(self.payload.len()).map_err(io::Error::other)?;
        let mut bytes = Vec::with_capacity(HEADER + self.payload.len());
        bytes.extend_from_slice(&self.kind.to_le_bytes());
        bytes.extend_from_slice(&self.session.to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&self.payload);
        to.write_all(&bytes)
    }

    /// Reads the next one; `None` when the other side is gone, or says what is no message.
    pub(crate) fn read(from: &mut impl Read) -> Option<Self> {
        let mut header = [0; HEADER];
        from.read_exact(&mut header).ok()?;
        let [a, b, c, d, length @ ..] = header;
        let length = usize::try_from(u32::from_le_bytes(length)).ok()?;
        if length > LONGEST {
            return None;
        }
        let mut payload = vec![0; length];
        from.read_exact(&mut payload).ok()?;
        Some(Self {
            kind: u16::from_le_bytes([a, b]),
            session: u16::from_le_bytes([c, d]),
            payload,
        })
    }

    /// The number that it consists of.
    pub(crate) fn number(&self) -> Option<u32> {
        Some(u32::from_le_bytes(self.payload.as_slice().try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_as_written() {
        let message = Message {
            session: 3,
            ..Message::new(SIGNAL, &15u32.to_le_bytes())
        };
        let mut bytes = Vec::new();
        message.write(&mut bytes).unwrap();
        assert_eq!(bytes, [1, 0, 3, 0, 4, 0, 0, 0, 15, 0, 0, 0]);
        let read = Message::read(&mut &bytes[..]).unwrap();
        assert_eq!((read.number(), &read), (Some(15), &message));
        assert_eq!(Message::read(&mut &bytes[..9]), None);
        assert_eq!(Message::read(&mut &[1, 0, 0, 0, 0, 0, 0, 1][..]), None);
    }
}
