//! What we tell the kernel while the program runs, over the console's control port.
//!
//! Messages have a header of eight bytes, little-endian: what it is (16 bits), a session (16), and the length of what
//! follows (32). `kernel/linux/src/control.rs` reads them.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;

/// Our end of the port.
pub(super) struct Control {
    socket: UnixStream,
}

impl Control {
    /// The port that QEMU has the other end of.
    pub(super) fn new(socket: UnixStream) -> Self {
        Self { socket }
    }

    /// Sends the first process a signal. It waits until there is such a process.
    pub(super) fn signal(&mut self, number: i32) -> io::Result<()> {
        self.send(1, 0, &number.to_le_bytes())
    }

    /// The terminal has another size.
    pub(super) fn resize(&mut self, rows: u16, columns: u16) -> io::Result<()> {
        let [a, b] = rows.to_le_bytes();
        let [c, d] = columns.to_le_bytes();
        self.send(2, 0, &[a, b, c, d])
    }

    fn send(&mut self, kind: u16, session: u16, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
        let mut message = Vec::with_capacity(8 + payload.len());
        message.extend_from_slice(&kind.to_le_bytes());
        message.extend_from_slice(&session.to_le_bytes());
        message.extend_from_slice(&length.to_le_bytes());
        message.extend_from_slice(payload);
        self.socket.write_all(&message)
    }
}
