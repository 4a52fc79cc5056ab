//! Pages that are in memory already, in frames of the cache or in an image that is memory: handed out in runs, to be
//! read or mapped where they lie. Left out: bringing in what is not there, which is the page cache's (`page_cache.rs`).
use super::{Content, Inner, PAGE_LEN, Source};
use crate::fs::{Cached, Pages, erofs::mounted};
use abi::Errno;
use core::ops::Range;
use machine::mm::{PAGE, space::Page};

impl Content {
    /// As [`File::cached`](crate::fs::File::cached).
    pub fn cached(&self, offset: u64, len: usize, pages: &mut Pages) -> Cached {
        let inner = self.inner.lock();
        let Some(left) = inner.size.checked_sub(offset).filter(|&left| left > 0) else {
            return Cached::End;
        };
        let (index, within) = (offset / PAGE_LEN, offset as usize % PAGE);
        let len = usize::try_from(left).map_or(len, |left| len.min(left));
        inner.resident(index, (within + len).div_ceil(PAGE), |page| {
            pages.push(page);
            pages.len() < pages.inline_size()
        });
        match pages.len() * PAGE {
            0 => Cached::No,
            there => Cached::Bytes(len.min(there - within)),
        }
    }

    /// Pages to map from `index` on, as long as they are in memory and `f` says to go on.
    #[doc(alias = "filemap_map_pages")]
    pub fn around(&self, index: u64, f: &mut dyn FnMut(Page) -> bool) {
        let inner = self.inner.lock();
        let end = inner.size.div_ceil(PAGE_LEN);
        inner.resident(index, end.saturating_sub(index) as usize, f);
    }
}

impl Inner {
    /// Gives up to `count` pages, to be read only, as long as they are in memory and `f` says to go on.
    fn resident(&self, first: u64, count: usize, mut f: impl FnMut(Page) -> bool) {
        let mut cached = self.pages.range(first..).peekable();
        let mut direct = Run::default();
        for index in (first..).take(count) {
            let page = match cached.next_if(|&(&at, _)| at == index) {
                Some((_, page)) => {
                    page.used.set(true);
                    Some(Page::Cached(page.frame.clone()))
                }
                None => {
                    if !direct.pages.contains(&index) {
                        direct = self.run(index).ok().flatten().unwrap_or_default();
                    }
                    direct.page(index)
                }
            };
            if !page.is_some_and(&mut f) {
                break;
            }
        }
    }

    /// A page of the image, if it can be mapped where it lies.
    pub(super) fn direct(&self, index: u64) -> Result<Option<Page>, Errno> {
        Ok(self.run(index)?.and_then(|run| run.page(index)))
    }

    /// The page of the image at `index`, if it can be mapped where it lies, and those behind it that can.
    fn run(&self, index: u64) -> Result<Option<Run>, Errno> {
        let end = self.source_page_end() / PAGE_LEN;
        if index < end
            && let (Some(fs), Some(Source::Image(source))) = (mounted(), &self.source)
            && let Some((phys, count)) = fs.direct_pages(source, index)?
        {
            let pages = index..end.min(index + count);
            return Ok(Some(Run { pages, phys }));
        }
        Ok(None)
    }
}

/// Pages of a file that lie in memory one behind the other.
#[derive(Default)]
struct Run {
    pages: Range<u64>,
    /// Where the first is.
    phys: u64,
}

impl Run {
    fn page(&self, index: u64) -> Option<Page> {
        let is_there = self.pages.contains(&index);
        is_there.then(|| Page::Static(self.phys + (index - self.pages.start) * PAGE_LEN))
    }
}
