//! Writing to files and cutting them. What is written to a file that is elsewhere stays in memory for a while, if there
//! is room for it where the file is, or goes there at once.
use super::{CachedPage, Content, Inner, MAX_SIZE, PAGE_LEN, frames::Purpose, len64, within};
use crate::fs::{inode::InodeOperations, write_back};
use abi::Errno;
use machine::{
    mm::{PAGE, frame::Frame},
    sched::{Storage, count_storage},
};

impl Content {
    /// Writes at `offset`; fewer bytes when memory runs out.
    pub fn write(&self, offset: u64, buf: &[u8]) -> Result<usize, Errno> {
        self.write_at(Some(offset), buf).map(|(len, _)| len)
    }

    /// Writes at the end; bytes written and the new end.
    pub fn append(&self, buf: &[u8]) -> Result<(usize, u64), Errno> {
        self.write_at(None, buf)
    }

    /// Writes at an offset or the end: bytes written, and where they end.
    fn write_at(&self, offset: Option<u64>, buf: &[u8]) -> Result<(usize, u64), Errno> {
        let mut inner = self.inner.lock();
        let at = offset.unwrap_or(inner.size);
        let buf = &buf[..inner.may_write(at, buf.len())?];
        if let Some(operations) = inner.stored() {
            let buf = &buf[..bounded(at, buf.len())?];
            let done = inner.write_later(&*operations, at, buf);
            let (at, rest) = (at + len64(done), &buf[done..]);
            if rest.is_empty() {
                return Ok((done, at));
            }
            if operations.keeps_back() {
                drop(inner);
                // Others' pages have been promised the room that this would take. Their errors are remembered.
                let _ = write_back::all();
                inner = self.inner.lock();
                if offset.is_none() && inner.size != at {
                    // Somebody else has appended meanwhile.
                    drop(inner);
                    return match done {
                        0 => self.write_at(None, buf),
                        _ => Ok((done, at)),
                    };
                }
            }
            let len = inner.write_through(&*operations, at, rest)?;
            return Ok((done + len, at + len64(len)));
        }
        let before = inner.pages.len();
        let len = inner.write(at, buf)?;
        let copied = inner.pages.len() != before;
        drop(inner);
        if copied {
            self.forget_mapped(at, at + len64(buf.len()), false);
        }
        Ok((len, at + len64(len)))
    }

    /// ftruncate(2).
    pub fn resize(&self, size: u64) -> Result<(), Errno> {
        if size > MAX_SIZE {
            return Err(Errno::EFBIG);
        }
        let mut inner = self.inner.lock();
        inner.may_resize(size)?;
        let before = inner.size;
        if let Some(operations) = inner.stored() {
            operations.resize(size)?;
            inner.source_len = size;
            inner.replaced |= size == 0 && before > 0;
        }
        if size < before {
            inner.cut(size)?;
        }
        inner.size = size;
        drop(inner);
        if size < before {
            self.forget_mapped(size, size + 1, false);
            self.forget_mapped(size.next_multiple_of(PAGE_LEN), u64::MAX, true);
        }
        Ok(())
    }
}

/// How many of `len` bytes a file may have from `offset` on.
fn bounded(offset: u64, len: usize) -> Result<usize, Errno> {
    match MAX_SIZE.saturating_sub(offset) {
        0 if len > 0 => Err(Errno::EFBIG),
        left => Ok(usize::try_from(left).map_or(len, |left| len.min(left))),
    }
}

impl Inner {
    /// The page in memory, which will not be as the source has it.
    pub(super) fn writable(&mut self, index: u64, purpose: Purpose) -> Result<Frame, Errno> {
        let frame = self.present(index, purpose)?;
        if let Some(page) = self.pages.get_mut(&index) {
            page.clean = false;
        }
        Ok(frame)
    }

    /// Writes to pages in memory that stay there: of a file that is nowhere else, or in the image.
    pub(super) fn write(&mut self, offset: u64, buf: &[u8]) -> Result<usize, Errno> {
        let total = bounded(offset, buf.len())?;
        let mut done = 0;
        while done < total {
            let at = offset + len64(done);
            let within = within(at);
            let len = (PAGE - within).min(total - done);
            match self.writable(at / PAGE_LEN, Purpose::Growth) {
                Ok(frame) => frame.write(within, &buf[done..done + len]),
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
            done += len;
            self.size = self.size.max(at + len64(len));
        }
        Ok(done)
    }

    /// Writes to pages that are written back later, as long as there is room for them, here and where the file is.
    fn write_later(&mut self, operations: &dyn InodeOperations, offset: u64, buf: &[u8]) -> usize {
        let mut done = 0;
        while done < buf.len() {
            let at = offset + len64(done);
            let (index, within) = (at / PAGE_LEN, within(at));
            let part = &buf[done..buf.len().min(done + PAGE - within)];
            let is_new = !self.dirty.contains(index);
            if is_new && !operations.set_room_aside(1) {
                break;
            }
            if self.write_page(index, within, part).is_err() {
                operations.give_room_back(u64::from(is_new));
                break;
            }
            if is_new {
                self.dirty.insert_with_room(index);
            }
            done += part.len();
            self.size = self.size.max(at + len64(part.len()));
        }
        if done > 0 {
            self.list();
        }
        done
    }

    /// Writes to a page in memory, which need not be read if nothing of it is left.
    fn write_page(&mut self, index: u64, within: usize, bytes: &[u8]) -> Result<(), Errno> {
        let whole = bytes.len() == PAGE || index * PAGE_LEN >= self.source_len;
        if !whole || self.pages.contains_key(&index) {
            self.writable(index, Purpose::Growth)?.write(within, bytes);
            return Ok(());
        }
        let frame = self.frame(Purpose::Growth)?;
        if bytes.len() < PAGE {
            frame.zero(0);
        }
        frame.write(within, bytes);
        self.insert(index, CachedPage::new(frame, false));
        Ok(())
    }

    /// Writes to where the file is at once.
    fn write_through(
        &mut self,
        operations: &dyn InodeOperations,
        at: u64,
        buf: &[u8],
    ) -> Result<usize, Errno> {
        let len = operations.write(at, buf)?;
        count_storage(Storage::Written, len64(len));
        self.written_through(at, &buf[..len]);
        operations.expire();
        Ok(len)
    }

    /// Brings what is in memory up to date with what was written to the source.
    fn written_through(&mut self, offset: u64, buf: &[u8]) {
        let end = offset + len64(buf.len());
        let first = offset / PAGE_LEN;
        // The part of the first page, whole pages, and what is left.
        let (head, rest) = buf.split_at(buf.len().min(PAGE - within(offset)));
        let parts =
            core::iter::once((within(offset), head)).chain(rest.chunks(PAGE).map(|part| (0, part)));
        for (index, (within, part)) in (first..).zip(parts) {
            if let Some(page) = self.pages.get(&index) {
                page.frame.write(within, part);
            }
        }
        self.size = self.size.max(end);
        self.source_len = self.source_len.max(end);
    }

    /// Drops what lies past `size`; what is left of its page reads as zeros if the file grows again.
    fn cut(&mut self, size: u64) -> Result<(), Errno> {
        let (within, index) = (within(size), size / PAGE_LEN);
        if within != 0 {
            if !self.is_stored()
                && (self.pages.contains_key(&index) || index * PAGE_LEN < self.source_len)
            {
                self.writable(index, Purpose::Need)?.zero(within);
            } else if let Some(page) = self.pages.get(&index) {
                // Where the file is it has been done.
                page.frame.zero(within);
            }
        }
        let gone = self.pages.split_off(&size.div_ceil(PAGE_LEN));
        self.give_back(gone.len());
        self.dirty.forget(size.div_ceil(PAGE_LEN)..u64::MAX);
        self.give_room_back();
        self.source_len = self.source_len.min(size);
        Ok(())
    }
}
