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

/// Memory of the program's that a transfer has yet to come to.
pub(in crate::syscall) trait Memory {
    /// Bytes to go.
    fn left(&self) -> usize;

    /// Calls `f` with address and range of up to `len` bytes; how many went well before the first fault.
    fn each(
        &mut self,
        len: usize,
        f: impl FnMut(usize, Range<usize>) -> Result<(), Errno>,
    ) -> usize;

    /// Copies to the program; how much before a fault.
    fn put(&mut self, from: &[u8]) -> usize {
        self.each(from.len(), |addr, range| user::copy_out(addr, &from[range]))
    }

    /// Copies `len` bytes to the program that lie on pages one after the other, from `within` the first one on; how
    /// much before a fault.
    fn put_pages(&mut self, pages: &[Page], within: usize, len: usize) -> usize {
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
    fn skip(&mut self, len: usize) -> usize {
        self.each(len, |_, _| Ok(()))
    }

    /// Copies from the program; how much before a fault.
    fn get(&mut self, to: &mut [u8]) -> usize {
        self.each(to.len(), |addr, range| user::copy_in(addr, &mut to[range]))
    }
}

/// One piece of memory.
#[derive(Clone, Copy)]
pub(in crate::syscall) struct Buffer {
    addr: usize,
    left: usize,
}

impl Buffer {
    /// What read(2) and its like are given.
    pub(in crate::syscall) fn new(addr: usize, len: usize) -> Result<Self, Errno> {
        if len > isize::MAX as usize {
            return Err(Errno::EINVAL);
        }
        let left = len.min(MAX);
        Ok(Self { addr, left })
    }
}

impl Memory for Buffer {
    fn left(&self) -> usize {
        self.left
    }

    #[inline]
    fn each(
        &mut self,
        len: usize,
        mut f: impl FnMut(usize, Range<usize>) -> Result<(), Errno>,
    ) -> usize {
        let len = len.min(self.left);
        let good = if f(self.addr, 0..len).is_ok() {
            len
        } else {
            pages(self.addr, len, f)
        };
        self.addr = self.addr.wrapping_add(good);
        self.left -= good;
        good
    }
}

/// Several pieces.
pub(in crate::syscall) struct Vectors {
    /// What is left of the piece that it has come to.
    piece: Buffer,
    others: IntoIter<Buffer>,
    left: usize,
}

impl Vectors {
    /// An array of `struct iovec`.
    pub(in crate::syscall) fn read(addr: usize, count: usize) -> Result<Self, Errno> {
        if count > MAX_VECTORS {
            return Err(Errno::EINVAL);
        }
        let mut pieces = Vec::with_capacity(count);
        let mut total: usize = 0;
        for index in 0..count {
            let [base, len] = words(addr.wrapping_add(index * 16))?.map(|word| word as usize);
            total = total.checked_add(len).ok_or(Errno::EINVAL)?;
            if total > isize::MAX as usize {
                return Err(Errno::EINVAL);
            }
            pieces.push(Buffer {
                addr: base,
                left: len,
            });
        }
        Ok(Self {
            piece: Buffer { addr: 0, left: 0 },
            others: pieces.into_iter(),
            left: total.min(MAX),
        })
    }
}

impl Memory for Vectors {
    fn left(&self) -> usize {
        self.left
    }

    fn each(
        &mut self,
        len: usize,
        mut f: impl FnMut(usize, Range<usize>) -> Result<(), Errno>,
    ) -> usize {
        let len = len.min(self.left);
        let mut done = 0;
        while done < len {
            if self.piece.left == 0 {
                match self.others.next() {
                    Some(next) => self.piece = next,
                    None => break,
                }
                continue;
            }
            let part = self.piece.left.min(len - done);
            let good = self.piece.each(part, |addr, range| {
                f(addr, done + range.start..done + range.end)
            });
            done += good;
            if good < part {
                break;
            }
        }
        self.left -= done;
        done
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
