//! The memory of the program that a transfer goes to or comes from.
use super::words;
use abi::Errno;
use alloc::vec::Vec;
use machine::mm::{PAGE, user};

/// Most bytes of one transfer (`MAX_RW_COUNT`).
const MAX: usize = 0x7fff_f000;
const MAX_VECTORS: usize = 1024;

/// Most bytes that pass through the kernel at a time.
pub(in crate::syscall) const CHUNK: usize = 65536;

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

/// Pieces of memory, and how far a transfer has come.
pub(in crate::syscall) struct Vectors {
    /// Most have one piece only, for which no memory is allocated.
    first: (usize, usize),
    others: Vec<(usize, usize)>,
    index: usize,
    within: usize,
    left: usize,
}

impl Vectors {
    /// One buffer.
    pub(in crate::syscall) fn single(addr: usize, len: usize) -> Result<Self, Errno> {
        if len > isize::MAX as usize {
            return Err(Errno::EINVAL);
        }
        Ok(Self::of((addr, len), Vec::new(), len))
    }

    /// An array of `struct iovec`.
    pub(in crate::syscall) fn read(addr: usize, count: usize) -> Result<Self, Errno> {
        if count > MAX_VECTORS {
            return Err(Errno::EINVAL);
        }
        let mut first = (0, 0);
        let mut others = Vec::with_capacity(count.saturating_sub(1));
        let mut total: usize = 0;
        for index in 0..count {
            let [base, len] = words(addr.wrapping_add(index * 16))?;
            let len = len as usize;
            total = total.checked_add(len).ok_or(Errno::EINVAL)?;
            if total > isize::MAX as usize {
                return Err(Errno::EINVAL);
            }
            let piece = (base as usize, len);
            match index {
                0 => first = piece,
                _ => others.push(piece),
            }
        }
        Ok(Self::of(first, others, total))
    }

    fn of(first: (usize, usize), others: Vec<(usize, usize)>, total: usize) -> Self {
        Self {
            first,
            others,
            index: 0,
            within: 0,
            left: total.min(MAX),
        }
    }

    /// Address and length of the piece that a transfer is in.
    fn piece(&self) -> Option<(usize, usize)> {
        match self.index.checked_sub(1) {
            None => Some(self.first),
            Some(index) => self.others.get(index).copied(),
        }
    }

    /// Bytes to go.
    pub(in crate::syscall) fn left(&self) -> usize {
        self.left
    }

    /// Calls `f` with address and range of up to `len` bytes; how many went well before the first fault.
    fn each(
        &mut self,
        len: usize,
        mut f: impl FnMut(usize, core::ops::Range<usize>) -> Result<(), Errno>,
    ) -> usize {
        let len = len.min(self.left);
        let mut done = 0;
        while done < len {
            let Some((base, piece)) = self.piece() else {
                break;
            };
            let part = (piece - self.within).min(len - done);
            if part == 0 {
                self.index += 1;
                self.within = 0;
                continue;
            }
            let addr = base.wrapping_add(self.within);
            let good = if f(addr, done..done + part).is_ok() {
                part
            } else {
                pages(addr, part, |at, range| {
                    f(at, done + range.start..done + range.end)
                })
            };
            done += good;
            self.within += good;
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
    mut f: impl FnMut(usize, core::ops::Range<usize>) -> Result<(), Errno>,
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
