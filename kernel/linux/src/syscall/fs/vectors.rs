//! The memory of the program that a transfer goes to or comes from.
use super::words;
use abi::Errno;
use alloc::vec::{IntoIter, Vec};
use core::ops::Range;
use machine::mm::{PAGE, space::Page, user};

/// Most bytes of one transfer (`MAX_RW_COUNT`).
const MAX: usize = 0x7fff_f000;
const MAX_VECTORS: usize = 1024;

/// Most bytes that pass through the kernel at a time.
pub(in crate::syscall) const CHUNK: usize = 65536;

/// What is as short passes through a buffer on the stack.
const SHORT: usize = 128;

/// Calls `f` with a buffer that a transfer of `len` bytes passes through in pieces.
pub(in crate::syscall) fn with_buffer<R>(
    len: usize,
    f: impl FnOnce(&mut [u8]) -> Result<R, Errno>,
) -> Result<R, Errno> {
    if len <= SHORT {
        f(&mut [0; SHORT][..len])
    } else {
        f(&mut buffer(len)?)
    }
}

/// A buffer that a transfer of `len` bytes passes through in pieces; shorter where memory is scarce.
pub(in crate::syscall) fn buffer(len: usize) -> Result<Vec<u8>, Errno> {
    let mut size = len.min(CHUNK);
    loop {
        match zeroed(size) {
            Err(_) if size > PAGE => size /= 2,
            buffer => return buffer,
        }
    }
}

/// A buffer of `len` bytes; `ENOMEM`.
pub(in crate::syscall) fn zeroed(len: usize) -> Result<Vec<u8>, Errno> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
    buffer.resize(len, 0);
    Ok(buffer)
}

/// Pieces of memory that a transfer has yet to come to.
pub(in crate::syscall) struct Vectors {
    /// What is left of the piece that it has come to: address and length.
    piece: (usize, usize),
    others: IntoIter<(usize, usize)>,
    left: usize,
}

impl Vectors {
    /// One buffer.
    pub(in crate::syscall) fn single(addr: usize, len: usize) -> Result<Self, Errno> {
        if len > isize::MAX as usize {
            return Err(Errno::EINVAL);
        }
        Ok(Self {
            piece: (addr, len),
            others: Vec::new().into_iter(),
            left: len.min(MAX),
        })
    }

    /// An array of `struct iovec`.
    pub(in crate::syscall) fn read(addr: usize, count: usize) -> Result<Self, Errno> {
        if count > MAX_VECTORS {
            return Err(Errno::EINVAL);
        }
        let mut pieces = Vec::with_capacity(count);
        let mut total: usize = 0;
        for index in 0..count {
            let [base, len] = words(addr.wrapping_add(index * 16))?;
            let len = len as usize;
            total = total.checked_add(len).ok_or(Errno::EINVAL)?;
            if total > isize::MAX as usize {
                return Err(Errno::EINVAL);
            }
            pieces.push((base as usize, len));
        }
        Ok(Self {
            piece: (0, 0),
            others: pieces.into_iter(),
            left: total.min(MAX),
        })
    }

    /// Bytes to go.
    pub(in crate::syscall) fn left(&self) -> usize {
        self.left
    }

    /// Calls `f` with address and range of up to `len` bytes; how many went well before the first fault.
    fn each(
        &mut self,
        len: usize,
        mut f: impl FnMut(usize, Range<usize>) -> Result<(), Errno>,
    ) -> usize {
        let len = len.min(self.left);
        let mut done = 0;
        while done < len {
            let (addr, piece) = self.piece;
            if piece == 0 {
                match self.others.next() {
                    Some(next) => self.piece = next,
                    None => break,
                }
                continue;
            }
            let part = piece.min(len - done);
            let good = if f(addr, done..done + part).is_ok() {
                part
            } else {
                pages(addr, part, |at, range| {
                    f(at, done + range.start..done + range.end)
                })
            };
            done += good;
            self.piece = (addr.wrapping_add(good), piece - good);
            if good < part {
                break;
            }
        }
        self.left -= done;
        done
    }

    /// Copies to the program; how much before a fault.
    pub(in crate::syscall) fn put(&mut self, from: &[u8]) -> usize {
        self.each(from.len(), |addr, range| user::copy_out(addr, &from[range]))
    }

    /// Copies `len` bytes to the program that lie on pages one after the other, from `within` the first one on; how
    /// much before a fault.
    pub(in crate::syscall) fn put_pages(
        &mut self,
        pages: &[Page],
        within: usize,
        len: usize,
    ) -> usize {
        self.each(len, |addr, range| {
            let (mut at, mut addr) = (within + range.start, addr);
            while at < within + range.end {
                let end = (at + 1).next_multiple_of(PAGE).min(within + range.end);
                let start = at % PAGE;
                pages[at / PAGE].copy_out(start..start + (end - at), addr)?;
                addr += end - at;
                at = end;
            }
            Ok(())
        })
    }

    /// Leaves out as much; how much that is.
    pub(in crate::syscall) fn skip(&mut self, len: usize) -> usize {
        self.each(len, |_, _| Ok(()))
    }

    /// Copies from the program; how much before a fault.
    pub(in crate::syscall) fn get(&mut self, to: &mut [u8]) -> usize {
        self.each(to.len(), |addr, range| user::copy_in(addr, &mut to[range]))
    }
}

/// Page by page, up to a fault; how much.
fn pages(
    addr: usize,
    len: usize,
    mut f: impl FnMut(usize, Range<usize>) -> Result<(), Errno>,
) -> usize {
    let mut done = 0;
    while done < len {
        let at = addr.wrapping_add(done);
        let part = (PAGE - at % PAGE).min(len - done);
        if f(at, done..done + part).is_err() {
            break;
        }
        done += part;
    }
    done
}
