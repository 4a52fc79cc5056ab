//! The urgent byte of a stream (RFC 9293, 3.8.5; tcp(7)): where it is in what is to be read, and what it is. There is
//! one at most: of several the latest counts.
use abi::Errno;

/// See the module. It is kept with the bytes that wait to be read, and is told of each that is taken.
#[derive(Debug, Default)]
pub struct Urgent {
    mark: Option<Mark>,
    /// `SO_OOBINLINE`: it is read with the others.
    inline: bool,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    /// Bytes to be read before it.
    ahead: usize,
    byte: Byte,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Byte {
    /// It was announced, and has not come.
    Awaited,
    There(u8),
    /// It was read by itself (`MSG_OOB`).
    Read,
}

impl Urgent {
    /// `SO_OOBINLINE` was set or cleared.
    pub fn set_inline(&mut self, inline: bool) {
        self.inline = inline;
    }

    /// How many bytes are to be read before it, if there is one.
    pub fn ahead(&self) -> Option<usize> {
        self.mark.map(|mark| mark.ahead)
    }

    /// One was announced, after `ahead` bytes that are to be read, of which `waiting` are there. Whether the next of
    /// these is an earlier one, and is to be passed over.
    #[must_use]
    pub fn announce(&mut self, ahead: usize, waiting: usize) -> bool {
        let passes = self.skips() > 0 && waiting > 0;
        let ahead = ahead - usize::from(passes);
        let byte = Byte::Awaited;
        self.mark = Some(Mark { ahead, byte });
        passes
    }

    /// Where it is in what waits to be read, if it was not seen there yet.
    pub fn awaited(&self) -> Option<usize> {
        let mark = self.mark.filter(|mark| mark.byte == Byte::Awaited)?;
        Some(mark.ahead)
    }

    /// It has come.
    pub fn come(&mut self, byte: u8) {
        if let Some(mark) = &mut self.mark {
            mark.byte = Byte::There(byte);
        }
    }

    /// How many bytes a read passes over, 1 or none, as the next is the urgent one.
    pub fn skips(&self) -> usize {
        usize::from(!self.inline && self.is_at_mark())
    }

    /// Where a read ends that begins with the next byte: at the urgent one.
    pub fn limit(&self) -> usize {
        self.ahead()
            .filter(|&ahead| ahead > 0)
            .unwrap_or(usize::MAX)
    }

    /// Bytes were taken that waited to be read.
    pub fn taken(&mut self, bytes: usize) {
        self.mark = self.mark.and_then(|mark| {
            let ahead = mark.ahead.checked_sub(bytes)?;
            Some(Mark { ahead, ..mark })
        });
    }

    /// `SIOCATMARK`: whether it is the next byte.
    pub fn is_at_mark(&self) -> bool {
        self.ahead() == Some(0)
    }

    /// `POLLPRI`: whether it can be read by itself.
    pub fn is_there(&self) -> bool {
        matches!(
            self.mark,
            Some(Mark {
                byte: Byte::There(_),
                ..
            })
        )
    }

    /// `FIONREAD`, of `bytes` that wait.
    pub fn unread(&self, bytes: usize) -> usize {
        match self.ahead() {
            Some(ahead) if !self.inline => bytes.min(ahead),
            _ => bytes,
        }
    }

    /// `MSG_OOB`: the byte, which is taken unless it is only looked at. `EINVAL` if there is none that is read by
    /// itself, `EAGAIN` if it has not come.
    pub fn read(&mut self, peek: bool) -> Result<u8, Errno> {
        let mark = self.mark.as_mut().filter(|_| !self.inline);
        let mark = mark.ok_or(Errno::EINVAL)?;
        match mark.byte {
            Byte::Awaited => Err(Errno::EAGAIN),
            Byte::Read => Err(Errno::EINVAL),
            Byte::There(byte) => {
                if !peek {
                    mark.byte = Byte::Read;
                }
                Ok(byte)
            }
        }
    }
}
