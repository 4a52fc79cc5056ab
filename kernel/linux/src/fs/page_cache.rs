//! Data of regular files: pages in memory over an optional EROFS source.
//!
//! A page is in memory once it was written, or read from a device that is not memory; otherwise it comes from the
//! source, or is a hole. Those that the source has, too, are given back when memory is short (`reclaim.rs`). If that is
//! not enough, running out is `ENOSPC` for writers, before the program runs out.
mod allocate;
mod dirty;
mod frames;
mod read_ahead;
mod reclaim;
mod resident;
mod seals;
mod write;

use super::{
    erofs::{Inode, mounted},
    inode::InodeOperations,
    quota::Quota,
};
use abi::Errno;
use alloc::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Weak},
    vec::Vec,
};
use core::{
    cell::Cell,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};
pub use dirty::{BACKGROUND_RATIO, RATIO, dirty_pages, may_be_dirty};
use dirty::{DirtyPages, Failures};
use frames::Purpose;
pub use frames::available;
use machine::{
    mm::{PAGE, frame::Frame, space::Page},
    sync::{Mutex, SpinLock},
    upcall::each_space,
};
use read_ahead::ReadAhead;
pub use reclaim::{give_back_all, has_room};
pub use seals::Seals;

/// [`PAGE`], as offsets are.
pub(super) const PAGE_LEN: u64 = PAGE as u64;
const MAX_SIZE: u64 = i64::MAX as u64;
/// Where in its page a byte is.
fn within(offset: u64) -> usize {
    usize::try_from(offset % PAGE_LEN).unwrap_or(0)
}

pub(super) fn len64(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// The data of one file.
pub struct Content {
    inner: Mutex<Inner>,
    /// Whether pages have been given out to be mapped.
    mapped: AtomicBool,
    /// Held while changed pages are written: who comes second finds them written.
    writing: Mutex<()>,
    /// What writing back has come to.
    failures: SpinLock<Failures>,
    /// Whether who writes back knows that there are changed pages.
    pub(super) is_noted: AtomicBool,
}

/// What all files have in common.
struct All {
    /// Those that have pages to give back.
    listed: Mutex<VecDeque<Weak<Content>>>,
    /// Pages that are to be written where their files are.
    dirty: AtomicUsize,
    /// Pages of files that are elsewhere: sooner or later they can be given back.
    cached: AtomicUsize,
}

static ALL: All = All {
    listed: Mutex::new(VecDeque::new()),
    dirty: AtomicUsize::new(0),
    cached: AtomicUsize::new(0),
};

/// Pages in memory of files that are elsewhere.
pub fn cached_pages() -> usize {
    ALL.cached.load(Ordering::Relaxed)
}

struct Inner {
    content: Weak<Content>,
    size: u64,
    source: Option<Source>,
    /// Bytes of the source that still show; cut by truncation.
    source_len: u64,
    pages: BTreeMap<u64, CachedPage>,
    /// Pages that differ from the source and are to be written there.
    dirty: DirtyPages,
    /// Cut to nothing while it had data: what is written instead is written when it is closed.
    replaced: bool,
    /// What pages are taken from.
    quota: Option<Arc<Quota>>,
    /// What may not be done to it; `None` if its file system has no seals.
    seals: Option<Seals>,
    read_ahead: ReadAhead,
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
            dirty: DirtyPages::default(),
            replaced: false,
            quota: None,
            seals: None,
            read_ahead: ReadAhead::default(),
            hand: None,
        };
        Arc::new_cyclic(|this| Self {
            inner: Mutex::new(inner(this)),
            mapped: AtomicBool::new(false),
            writing: Mutex::new(()),
            failures: SpinLock::new(Failures::default()),
            is_noted: AtomicBool::new(false),
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

    /// The source has become another, of this size: what is in memory of it goes, but what was written here.
    pub(super) fn changed_elsewhere(&self, size: u64) {
        let mut inner = self.inner.lock();
        let gone = inner.pages.extract_if(.., |_, page| page.clean).count();
        inner.give_back(gone);
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
        if write && inner.is_stored() {
            inner.dirty.insert(index);
        }
        Ok(Page::Cached(frame))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.give_back(self.pages.len());
        self.dirty.forget(0..u64::MAX);
        self.give_room_back();
    }
}

impl Inner {
    /// Has a page in memory.
    fn insert(&mut self, index: u64, page: CachedPage) {
        let old = self.pages.insert(index, page);
        if old.is_none() && self.is_stored() {
            ALL.cached.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// So many pages are gone.
    fn give_back(&self, pages: usize) {
        if self.is_stored() {
            ALL.cached.fetch_sub(pages, Ordering::Relaxed);
        }
        if let Some(quota) = &self.quota {
            quota.give_back(pages as u64);
        }
    }

    /// Whether the file is elsewhere.
    fn is_stored(&self) -> bool {
        matches!(self.source, Some(Source::Stored(_)))
    }

    fn is_direct(&self) -> bool {
        if self.is_stored() {
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
        let ahead = match self.is_direct() {
            true => 1,
            false => self.read_ahead.window(index, purpose == Purpose::Need),
        };
        let count = (index..end.min(index.saturating_add(ahead)))
            .take_while(|at| !self.pages.contains_key(at))
            .count();
        // None is there before all are: making room for one could take another away.
        let mut frames = Vec::with_capacity(count);
        for at in (index..).take(count) {
            let purpose = if at == index {
                purpose
            } else {
                Purpose::Reading
            };
            match self.frame(purpose) {
                Err(_) if at > index => break,
                frame => frames.push(frame?),
            }
        }
        self.fill(index, &frames)?;
        for (at, frame) in (index..).zip(frames) {
            self.insert(at, CachedPage::new(frame, true));
        }
        self.list();
        Ok(())
    }

    /// Fills new frames with pages of the source; zeros past the part that shows.
    fn fill(&self, index: u64, frames: &[Frame]) -> Result<(), Errno> {
        let start = index * PAGE_LEN;
        match &self.source {
            Some(Source::Image(source)) => {
                let fs = mounted().ok_or(Errno::EIO)?;
                fs.read_frames(source, start, frames)?;
            }
            Some(Source::Stored(operations)) => operations.read_frames(start, frames)?,
            None => frames.iter().for_each(|frame| frame.zero(0)),
        }
        let past = self.source_len.saturating_sub(start);
        for (at, frame) in (0..).step_by(PAGE).zip(frames) {
            let shown = usize::try_from(past.saturating_sub(at)).unwrap_or(PAGE);
            frame.zero(shown.min(PAGE));
        }
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
            // Where the file is, a hole reads as zeros, too.
            let clean = self.is_stored();
            self.insert(index, CachedPage::new(frame, clean));
            if clean {
                self.list();
            }
        }
        let page = self.pages.get(&index).ok_or(Errno::EIO)?;
        Ok(page.frame.clone())
    }
}

#[cfg(test)]
mod tests;
