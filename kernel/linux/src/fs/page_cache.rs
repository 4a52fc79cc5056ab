//! Data of regular files: pages in memory over an optional EROFS source.
//!
//! A page is in memory once it was written, or read from a device that is not memory; otherwise it comes from the
//! source, or is a hole. Those that the source has, too, are given back when memory is short (`reclaim.rs`). If that is
//! not enough, running out is `ENOSPC` for writers, before the program runs out.
mod allocate;
mod dirty;
mod frames;
mod reclaim;
mod resident;
mod seals;

use super::{
    erofs::{Inode, mounted},
    inode::InodeOperations,
    quota::Quota,
};
use abi::Errno;
use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Weak},
    vec::Vec,
};
use core::{
    cell::Cell,
    sync::atomic::{AtomicBool, Ordering},
};
use frames::Purpose;
pub use frames::available;
use machine::{
    mm::{PAGE, frame::Frame, space::Page},
    sync::{Mutex, SpinLock},
    upcall::each_space,
};
pub use reclaim::make_room;
pub use seals::Seals;

/// [`PAGE`], as offsets are.
const PAGE_LEN: u64 = PAGE as u64;
const MAX_SIZE: u64 = i64::MAX as u64;
/// Pages read from a device at a time.
const READ_AHEAD: u64 = 32;

/// The data of one file.
pub struct Content {
    inner: Mutex<Inner>,
    /// Whether pages have been given out to be mapped.
    mapped: AtomicBool,
    /// How often writing back has failed, and why the last time.
    #[doc(alias = "errseq_t")]
    failures: SpinLock<(u64, Errno)>,
}

struct Inner {
    content: Weak<Content>,
    size: u64,
    source: Option<Source>,
    /// Bytes of the source that still show; cut by truncation.
    source_len: u64,
    pages: BTreeMap<u64, CachedPage>,
    /// Pages that differ from the source and are to be written there.
    dirty: BTreeSet<u64>,
    /// What pages are taken from.
    quota: Option<Arc<Quota>>,
    /// What may not be done to it; `None` if its file system has no seals.
    seals: Option<Seals>,
    /// Where the search for pages to give back goes on; `None` if it has not been told of any yet.
    hand: Option<u64>,
}

/// A page in memory.
struct CachedPage {
    frame: Frame,
    /// The source has it, too, unless it is among [`Inner::dirty`].
    clean: bool,
    /// Used since the search for pages to give back came by.
    used: Cell<bool>,
}

/// Where data are that are not in memory.
enum Source {
    /// In the image; what is written stays in memory.
    Image(Inode),
    /// Elsewhere, where it is written, too.
    Stored(Arc<dyn InodeOperations>),
}

impl Content {
    /// An empty file.
    pub fn empty() -> Arc<Self> {
        Self::from_parts(0, None)
    }
    /// A file of the image.
    pub fn on(source: Inode) -> Arc<Self> {
        Self::from_parts(source.size, Some(Source::Image(source)))
    }
    /// A file that is elsewhere.
    pub(super) fn stored(operations: Arc<dyn InodeOperations>, size: u64) -> Arc<Self> {
        Self::from_parts(size, Some(Source::Stored(operations)))
    }
    fn from_parts(size: u64, source: Option<Source>) -> Arc<Self> {
        let inner = |content: &Weak<Self>| Inner {
            content: content.clone(),
            size,
            source,
            source_len: size,
            pages: BTreeMap::new(),
            dirty: BTreeSet::new(),
            quota: None,
            seals: None,
            hand: None,
        };
        Arc::new_cyclic(|this| Self {
            inner: Mutex::new(inner(this)),
            mapped: AtomicBool::new(false),
            failures: SpinLock::new((0, Errno::EIO)),
        })
    }

    /// Has an empty file take its pages from `quota`.
    pub(super) fn charge_to(&self, quota: &Arc<Quota>) {
        let mut inner = self.inner.lock();
        inner.quota = Some(quota.clone());
        inner.seals = Some(Seals::SEAL);
    }

    /// For [`PageSource::key`](machine::mm::space::PageSource::key).
    pub fn key(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }

    /// Makes mappings look again for the pages that hold the bytes `start..end`. The content's lock is not held: a page
    /// fault takes the address space's lock first.
    fn forget_mapped(&self, start: u64, end: u64, even_private: bool) {
        if self.mapped.load(Ordering::Relaxed) {
            let (from, to) = (start / PAGE_LEN, end.div_ceil(PAGE_LEN));
            self.forget_pages(from, to, even_private, None);
        }
    }

    fn forget_pages(&self, from: u64, to: u64, even_private: bool, keep: Option<u64>) {
        each_space(|space| space.forget_file(self.key(), from, to, even_private, keep));
    }

    /// For [`PageSource::written`](machine::mm::space::PageSource::written).
    pub fn written(&self, index: u64, frame: u64) {
        // Without a source a page has one frame from the beginning.
        if self.inner.lock().source.is_some() {
            self.forget_pages(index, index + 1, false, Some(frame));
        }
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.inner.lock().size
    }

    /// Reads at `offset`.
    pub fn read(&self, offset: u64, buf: &mut [u8]) -> Result<usize, Errno> {
        let mut inner = self.inner.lock();
        let left = inner.size.saturating_sub(offset);
        let total = (buf.len() as u64).min(left) as usize;
        let mut done = 0;
        while done < total {
            let at = offset + done as u64;
            let within = at as usize % PAGE;
            let rest = &mut buf[done..total];
            let len = inner.uncached(at, rest.len());
            if len > 0 {
                inner.read_source(at, &mut rest[..len])?;
                done += len;
                continue;
            }
            let len = (PAGE - within).min(rest.len());
            inner.read_page(at / PAGE_LEN, within, &mut rest[..len])?;
            done += len;
        }
        Ok(total)
    }

    /// Writes at `offset`; fewer bytes when memory runs out.
    pub fn write(&self, offset: u64, buf: &[u8]) -> Result<usize, Errno> {
        let mut inner = self.inner.lock();
        let buf = &buf[..inner.may_write(offset, buf.len())?];
        let before = inner.pages.len();
        let written = inner.write(offset, buf);
        let copied = inner.pages.len() != before;
        drop(inner);
        if copied {
            self.forget_mapped(offset, offset + buf.len() as u64, false);
        }
        written
    }

    /// Writes at the end; bytes written and the new end.
    pub fn append(&self, buf: &[u8]) -> Result<(usize, u64), Errno> {
        let mut inner = self.inner.lock();
        let end = inner.size;
        let buf = &buf[..inner.may_write(end, buf.len())?];
        let len = inner.write(end, buf)?;
        drop(inner);
        // The page the file ended in may have been copied up.
        self.forget_mapped(end, end + 1, false);
        Ok((len, end + len as u64))
    }

    /// ftruncate(2).
    pub fn resize(&self, size: u64) -> Result<(), Errno> {
        if size > MAX_SIZE {
            return Err(Errno::EFBIG);
        }
        let mut inner = self.inner.lock();
        inner.may_resize(size)?;
        let before = inner.size;
        if let Some(Source::Stored(operations)) = &inner.source {
            operations.resize(size)?;
            inner.source_len = size;
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

    /// The source has become another, of this size: what is in memory of it goes, but what was written here.
    pub(super) fn changed_elsewhere(&self, size: u64) {
        let mut inner = self.inner.lock();
        let dirty = core::mem::take(&mut inner.dirty);
        let gone = inner
            .pages
            .extract_if(.., |index, _| !dirty.contains(index))
            .count();
        inner.give_back(gone);
        inner.dirty = dirty;
        inner.size = size;
        inner.source_len = size;
        drop(inner);
        self.forget_mapped(0, u64::MAX, false);
    }

    /// Whether a page is in memory, or where it can be mapped from.
    pub fn is_cached(&self, index: u64) -> bool {
        let inner = self.inner.lock();
        inner.pages.contains_key(&index)
            || inner.is_direct() && index.saturating_mul(PAGE_LEN) < inner.source_len
    }

    /// A page to map.
    pub fn page(&self, index: u64, write: bool) -> Result<Page, Errno> {
        self.mapped.store(true, Ordering::Relaxed);
        let mut inner = self.inner.lock();
        if index >= inner.size.div_ceil(PAGE_LEN) {
            return Err(Errno::EFAULT);
        }
        if !write
            && !inner.pages.contains_key(&index)
            && let Some(page) = inner.direct(index)?
        {
            return Ok(page);
        }
        let page = if write {
            inner.writable(index, Purpose::Need)
        } else {
            inner.present(index, Purpose::Need)
        };
        let frame = page.map_err(|error| match error {
            Errno::ENOSPC => Errno::ENOMEM,
            other => other,
        })?;
        if write && matches!(inner.source, Some(Source::Stored(_))) {
            inner.dirty.insert(index);
        }
        Ok(Page::Cached(frame))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.give_back(self.pages.len());
    }
}

impl Inner {
    /// So many pages are gone.
    fn give_back(&self, pages: usize) {
        if let Some(quota) = &self.quota {
            quota.give_back(pages as u64);
        }
    }

    fn is_direct(&self) -> bool {
        if matches!(self.source, Some(Source::Stored(_))) {
            return false;
        }
        mounted().is_some_and(|fs| fs.is_direct())
    }

    /// How many of `len` bytes at `offset` are read from the source past any page in memory; 0 if the page is to be
    /// there.
    fn uncached(&mut self, offset: u64, len: usize) -> usize {
        if offset >= self.source_len || (!self.is_direct() && self.may_cache()) {
            return 0;
        }
        let next = self.pages.range(offset / PAGE_LEN..).next();
        let end = next.map_or(self.source_len, |(index, _)| {
            self.source_len.min(index * PAGE_LEN)
        });
        end.saturating_sub(offset).min(len as u64) as usize
    }

    /// End of the pages that may be mapped from the source as they are.
    fn source_page_end(&self) -> u64 {
        match &self.source {
            // Uncut: the last page, too.
            Some(Source::Image(source)) if source.size == self.source_len => {
                self.source_len.next_multiple_of(PAGE_LEN)
            }
            _ => self.source_len,
        }
    }

    /// Source bytes; zeros past the part that shows.
    fn read_source(&self, offset: u64, buf: &mut [u8]) -> Result<(), Errno> {
        let len = (buf.len() as u64).min(self.source_len.saturating_sub(offset)) as usize;
        let mut done = 0;
        match &self.source {
            Some(Source::Image(source)) => {
                let fs = mounted().ok_or(Errno::EIO)?;
                done = fs.read(source, offset, &mut buf[..len])?;
            }
            Some(Source::Stored(operations)) => done = operations.read(offset, &mut buf[..len])?,
            None => (),
        }
        buf[done..].fill(0);
        Ok(())
    }

    fn read_page(&mut self, index: u64, within: usize, buf: &mut [u8]) -> Result<(), Errno> {
        if let Some(page) = self.pages.get(&index) {
            page.used.set(true);
            page.frame.read(within, buf);
            return Ok(());
        }
        let start = index * PAGE_LEN;
        if start >= self.source_len {
            buf.fill(0);
            return Ok(());
        }
        if !self.is_direct()
            && self.load(index, Purpose::Reading).is_ok()
            && let Some(page) = self.pages.get(&index)
        {
            page.frame.read(within, buf);
            return Ok(());
        }
        self.read_source(start + within as u64, buf)
    }

    /// Reads pages from the device into memory: `index` and those after it that are not there.
    fn load(&mut self, index: u64, purpose: Purpose) -> Result<(), Errno> {
        let end = self.source_len.div_ceil(PAGE_LEN);
        let ahead = if self.is_direct() { 1 } else { READ_AHEAD };
        let count = (index..end.min(index.saturating_add(ahead)))
            .take_while(|at| !self.pages.contains_key(at))
            .count();
        let mut data = Vec::new();
        // Fewer at a time where memory is scarce.
        let count = if data.try_reserve_exact(count * PAGE).is_ok() {
            count
        } else {
            1
        };
        data.resize(count * PAGE, 0);
        self.read_source(index * PAGE_LEN, &mut data)?;
        // None is there before all are: making room for one could take another away.
        let mut frames = Vec::new();
        for (at, bytes) in (index..).zip(data.chunks(PAGE)) {
            // All of it is written.
            let frame = match self.frame(if at == index {
                purpose
            } else {
                Purpose::Reading
            }) {
                Err(_) if at > index => break,
                frame => frame?,
            };
            frame.write(0, bytes);
            frames.push(frame);
        }
        for (at, frame) in (index..).zip(frames) {
            self.pages.insert(at, CachedPage::new(frame, true));
        }
        self.list();
        Ok(())
    }

    /// The page in memory.
    fn present(&mut self, index: u64, purpose: Purpose) -> Result<Frame, Errno> {
        if let Some(page) = self.pages.get(&index) {
            page.used.set(true);
            return Ok(page.frame.clone());
        }
        if index * PAGE_LEN < self.source_len {
            self.load(index, purpose)?;
        } else {
            let frame = self.frame(purpose)?;
            frame.zero(0);
            if let Some(quota) = &self.quota {
                quota.take()?;
            }
            self.pages.insert(index, CachedPage::new(frame, false));
        }
        let page = self.pages.get(&index).ok_or(Errno::EIO)?;
        Ok(page.frame.clone())
    }

    /// The page in memory, which will not be as the source has it.
    fn writable(&mut self, index: u64, purpose: Purpose) -> Result<Frame, Errno> {
        let frame = self.present(index, purpose)?;
        if let Some(page) = self.pages.get_mut(&index) {
            page.clean = false;
        }
        Ok(frame)
    }

    fn write(&mut self, offset: u64, buf: &[u8]) -> Result<usize, Errno> {
        if buf.is_empty() {
            return Ok(0);
        }
        if offset >= MAX_SIZE {
            return Err(Errno::EFBIG);
        }
        let total = (buf.len() as u64).min(MAX_SIZE - offset) as usize;
        if let Some(Source::Stored(operations)) = &self.source {
            let len = operations.write(offset, &buf[..total])?;
            self.written_through(offset, &buf[..len]);
            return Ok(len);
        }
        let mut done = 0;
        while done < total {
            let at = offset + done as u64;
            let within = at as usize % PAGE;
            let len = (PAGE - within).min(total - done);
            match self.writable(at / PAGE_LEN, Purpose::Growth) {
                Ok(frame) => frame.write(within, &buf[done..done + len]),
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
            done += len;
            self.size = self.size.max(at + len as u64);
        }
        Ok(done)
    }

    /// Brings what is in memory up to date with what was written to the source.
    fn written_through(&mut self, offset: u64, buf: &[u8]) {
        let end = offset + buf.len() as u64;
        for (&index, page) in self.pages.range(offset / PAGE_LEN..end.div_ceil(PAGE_LEN)) {
            let start = (index * PAGE_LEN).max(offset);
            let stop = ((index + 1) * PAGE_LEN).min(end);
            let part = (start - offset) as usize..(stop - offset) as usize;
            page.frame.write((start % PAGE_LEN) as usize, &buf[part]);
        }
        self.size = self.size.max(end);
        self.source_len = self.size;
    }

    /// Drops what lies past `size`; what is left of its page reads as zeros if the file grows again.
    fn cut(&mut self, size: u64) -> Result<(), Errno> {
        let within = size as usize % PAGE;
        if within != 0 {
            let index = size / PAGE_LEN;
            let stored = matches!(self.source, Some(Source::Stored(_)));
            let in_source = !stored && index * PAGE_LEN < self.source_len;
            if self.pages.contains_key(&index) || in_source {
                self.writable(index, Purpose::Need)?.zero(within);
            }
        }
        let gone = self.pages.split_off(&size.div_ceil(PAGE_LEN));
        self.give_back(gone.len());
        drop(self.dirty.split_off(&size.div_ceil(PAGE_LEN)));
        self.source_len = self.source_len.min(size);
        Ok(())
    }
}
