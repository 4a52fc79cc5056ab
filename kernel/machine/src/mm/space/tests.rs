//! Random sequences of what programs do with an address space, compared after each step with a model that knows pages
//! one by one: areas, protections, contents, copies, what the page tables allow, and that no frame is lost.
//!
//! Frames, page tables and areas are the kernel's own. The processor is the test, which looks into the page tables.

use super::*;
use crate::arch::hosted::{peek, poke};
use crate::arch::paging::{self, Flags, entry_address, entry_flags};
use crate::mm::frame::{self, Frame};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use std::sync::{Mutex as StdMutex, OnceLock};

/// Most of what is mapped lies in these pages; what may go anywhere lies below the end.
const WINDOW: usize = 48;
const BASE: usize = 0x1234_5678_9000;
const FILE_PAGES: usize = 10;

/// One at a time, since frames are counted.
pub(super) fn with_memory(f: impl FnOnce()) {
    static ONE: OnceLock<StdMutex<()>> = OnceLock::new();
    let one = ONE.get_or_init(|| {
        frame::init_hosted();
        paging::set_root(frame::alloc_table().unwrap());
        StdMutex::new(())
    });
    let _one = one.lock().unwrap();
    f();
}

/// xorshift64*
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn prot(&mut self) -> Prot {
        let often = [Prot::READ | Prot::WRITE, Prot::READ];
        match self.below(4) {
            0 => Prot::from_bits_truncate(u32::try_from(self.below(8)).unwrap()),
            n => often[n % 2],
        }
    }
}

/// A file whose pages lie in memory for good, and become frames of its own when they are written.
struct File {
    number: usize,
    writable: bool,
    fixed: Vec<Frame>,
    own: StdMutex<BTreeMap<usize, Frame>>,
}

impl File {
    fn new(number: usize, writable: bool) -> Arc<Self> {
        let frame = |index| {
            let frame = Frame::zeroed().unwrap();
            poke(frame.phys(), initial(number, index));
            frame
        };
        Arc::new(Self {
            number,
            writable,
            fixed: (0..FILE_PAGES).map(frame).collect(),
            own: StdMutex::default(),
        })
    }
}

fn initial(number: usize, index: usize) -> u8 {
    u8::try_from(100 * (number + 1) + index).unwrap()
}

impl PageSource for File {
    fn page(&self, index: u64, write: bool) -> Result<Page, Errno> {
        let index = usize::try_from(index).unwrap();
        let fixed = self.fixed.get(index).ok_or(Errno::EFAULT)?;
        let mut own = self.own.lock().unwrap();
        if write && !own.contains_key(&index) {
            let frame = Frame::zeroed().ok_or(Errno::ENOMEM)?;
            poke(frame.phys(), peek(fixed.phys()));
            own.insert(index, frame);
        }
        let page = own.get(&index).cloned().map(Page::Cached);
        Ok(page.unwrap_or(Page::Static(fixed.phys())))
    }

    fn key(&self) -> Option<usize> {
        Some(self.number)
    }

    fn identity(&self) -> (String, u64, u64) {
        (String::new(), 0, self.number as u64)
    }

    fn writable(&self) -> bool {
        self.writable
    }
}

/// What a page of the model is made of.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Kind {
    Anonymous,
    File {
        file: usize,
        index: usize,
        shared: bool,
    },
}

impl Kind {
    /// That of a page further on in the same area.
    fn further(self, pages: usize) -> Self {
        match self {
            Self::File {
                file,
                index,
                shared,
            } => Self::File {
                file,
                index: index + pages,
                shared,
            },
            other => other,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct ModelPage {
    kind: Kind,
    prot: Prot,
    /// What was written to this page alone.
    written: Option<u8>,
}

struct Test {
    space: Space,
    files: [Arc<File>; 2],
    contents: [[u8; FILE_PAGES]; 2],
    pages: BTreeMap<usize, ModelPage>,
    random: Random,
}

impl Test {
    fn new(seed: u64) -> Self {
        let space = Space::new().unwrap();
        space.open(0);
        Self {
            space,
            files: [File::new(0, true), File::new(1, false)],
            contents: [0, 1].map(|file| core::array::from_fn(|index| initial(file, index))),
            pages: BTreeMap::new(),
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
        }
    }

    /// An address, most often of something that is mapped, and a number of pages.
    fn range(&mut self) -> (usize, usize) {
        let len = 1 + self.random.below(6);
        let mapped = self.random.below(self.pages.len().max(1));
        match self.pages.keys().nth(mapped) {
            Some(&page) if !self.random.one_in(3) => (page, len.min((USER_END - page) / PAGE)),
            _ => (BASE + self.random.below(WINDOW - 6) * PAGE, len),
        }
    }

    fn kind(&mut self) -> Kind {
        match self.random.below(4) {
            0 | 1 => Kind::Anonymous,
            n => Kind::File {
                file: n - 2,
                index: self.random.below(FILE_PAGES),
                shared: self.random.one_in(2),
            },
        }
    }

    fn backing(&self, kind: Kind) -> Backing {
        match kind {
            Kind::Anonymous => Backing::Anonymous,
            Kind::File {
                file,
                index,
                shared,
            } => Backing::File {
                source: self.files[file].clone(),
                offset: (index * PAGE) as u64,
                shared,
            },
        }
    }

    fn is_free(&self, at: usize, pages: usize) -> bool {
        self.pages.range(at..at + pages * PAGE).next().is_none()
    }

    fn is_covered(&self, at: usize, pages: usize) -> bool {
        self.pages.range(at..at + pages * PAGE).count() == pages
    }

    fn remove(&mut self, at: usize, pages: usize) {
        let removed = at..at + pages * PAGE;
        self.pages.retain(|page, _| !removed.contains(page));
    }

    fn insert(&mut self, at: usize, pages: usize, first: ModelPage) {
        for n in 0..pages {
            let kind = first.kind.further(n);
            let page = ModelPage { kind, ..first };
            assert!(self.pages.insert(at + n * PAGE, page).is_none());
        }
    }

    fn map(&mut self) {
        let (at, pages) = self.range();
        let kind = self.kind();
        let mut prot = self.random.prot();
        if let Kind::File {
            shared: true, file, ..
        } = kind
            && !self.files[file].writable
        {
            // Refused further up (mmap(2), EACCES).
            prot.remove(Prot::WRITE);
        }
        let place = match self.random.below(4) {
            0 => Place::Fixed(at),
            1 => Place::FixedNoReplace(at),
            2 => Place::Anywhere { hint: at },
            _ => Place::Anywhere { hint: 0 },
        };
        let options = Options {
            populate: self.random.one_in(4),
            ..Options::default()
        };
        let result = self
            .space
            .map(place, pages * PAGE, prot, self.backing(kind), options);
        let is_free = self.is_free(at, pages);
        match place {
            Place::FixedNoReplace(_) if !is_free => {
                assert_eq!(result, Err(Errno::EEXIST));
                return;
            }
            Place::Fixed(_) => self.remove(at, pages),
            _ => {}
        }
        let got = result.unwrap();
        let elsewhere = matches!(place, Place::Anywhere { hint } if hint == 0 || !is_free);
        assert!(elsewhere || got == at);
        let first = ModelPage {
            kind,
            prot,
            written: None,
        };
        self.insert(got, pages, first);
        if options.populate && prot.contains(Prot::WRITE) {
            // Private pages are copied at once, up to the end of the file.
            for at in (got..got + pages * PAGE).step_by(PAGE) {
                let page = self.pages[&at];
                if let Kind::File { shared: false, .. } = page.kind {
                    self.pages.get_mut(&at).unwrap().written = self.expected(&page);
                }
            }
        }
    }

    fn unmap(&mut self) {
        let (at, pages) = self.range();
        assert_eq!(self.space.unmap(at, pages * PAGE), Ok(()));
        self.remove(at, pages);
    }

    fn protect(&mut self) {
        let (at, pages) = self.range();
        let prot = self.random.prot();
        let result = self.space.protect(at, pages * PAGE, prot);
        let refused = |page: &ModelPage| match page.kind {
            Kind::File {
                shared: true, file, ..
            } => !self.files[file].writable,
            _ => false,
        };
        let mut range = self.pages.range(at..at + pages * PAGE);
        if !self.is_covered(at, pages) {
            assert_eq!(result, Err(Errno::ENOMEM));
        } else if prot.contains(Prot::WRITE) && range.any(|(_, page)| refused(page)) {
            assert_eq!(result, Err(Errno::EACCES));
        } else {
            assert_eq!(result, Ok(()));
            for (_, page) in self.pages.range_mut(at..at + pages * PAGE) {
                page.prot = prot;
            }
        }
    }

    fn remap(&mut self) {
        let (old, old_pages) = self.range();
        let new_pages = 1 + self.random.below(8);
        let may_move = !self.random.one_in(4);
        let to = self.random.one_in(3).then(|| self.range().0);
        let (old_len, new_len) = (old_pages * PAGE, new_pages * PAGE);
        let mode = if may_move {
            Remap::Move
        } else {
            Remap::InPlace
        };
        let result = self.space.remap(old, old_len, new_len, mode, to);
        let Ok(at) = result else {
            let overlaps = to.is_some_and(|to| to < old + old_len && old < to + new_len);
            let fits = to.is_none_or(|to| to + new_len <= USER_END);
            match result {
                Err(Errno::EINVAL) => assert!(overlaps || !fits || old + old_len > USER_END),
                Err(Errno::ENOMEM) => assert!(to.is_none() && !may_move && new_len > old_len),
                // More than one area: their number is not the model's business.
                _ => assert_eq!(result, Err(Errno::EFAULT)),
            }
            return;
        };
        assert!(self.is_covered(old, old_pages));
        let mut moved: Vec<_> = (0..old_pages.min(new_pages))
            .map(|n| self.pages[&(old + n * PAGE)])
            .collect();
        for n in moved.len()..new_pages {
            moved.push(ModelPage {
                kind: moved[0].kind.further(n),
                written: None,
                ..moved[0]
            });
        }
        self.remove(old, old_pages);
        match to {
            Some(to) => {
                assert_eq!(at, to);
                self.remove(to, new_pages);
            }
            None => assert!(may_move || at == old),
        }
        for (n, page) in moved.into_iter().enumerate() {
            assert!(self.pages.insert(at + n * PAGE, page).is_none());
        }
    }

    /// madvise(2), MADV_DONTNEED
    fn forget(&mut self) {
        let (at, pages) = self.range();
        let result = self.space.advise(at, pages * PAGE, Advice::Forget);
        assert_eq!(result.is_ok(), self.is_covered(at, pages));
        for (_, page) in self.pages.range_mut(at..at + pages * PAGE) {
            page.written = None;
        }
    }

    /// A file is cut off, or has new pages.
    fn forget_file(&mut self) {
        let (number, from) = (self.random.below(2), self.random.below(FILE_PAGES));
        let (to, even_private) = (from + 1 + self.random.below(4), self.random.one_in(2));
        let range = from as u64..to as u64;
        self.space
            .forget_file(number, range.start, range.end, even_private, None);
        for page in self.pages.values_mut() {
            if let Kind::File { file, index, .. } = page.kind
                && (file, even_private) == (number, true)
                && (from..to).contains(&index)
            {
                page.written = None;
            }
        }
    }

    fn expected(&self, page: &ModelPage) -> Option<u8> {
        let below = match page.kind {
            Kind::File { file, index, .. } => *self.contents[file].get(index)?,
            _ => 0,
        };
        Some(page.written.unwrap_or(below))
    }

    /// The program uses a page; where it is.
    fn touch(&self, page: usize, wanted: Wanted) -> Result<u64, Fault> {
        let allows = |entry: u64| {
            let flags = entry_flags(entry);
            flags.contains(Flags::PRESENT)
                && match wanted {
                    Wanted::Read => true,
                    Wanted::Write => flags.contains(Flags::WRITABLE),
                    Wanted::Execute => !flags.contains(Flags::NO_EXECUTE),
                }
        };
        if !allows(entry(&self.space, page)) {
            self.space.fault(page + 5, wanted)?;
            assert!(
                allows(entry(&self.space, page)),
                "{wanted:?} of {page:#x} faults again"
            );
        }
        Ok(entry_address(entry(&self.space, page)))
    }

    fn access(&mut self) {
        let at = self.range().0;
        let wanted = [Wanted::Read, Wanted::Write, Wanted::Write, Wanted::Execute];
        let wanted = wanted[self.random.below(4)];
        let result = self.touch(at, wanted);
        let Some(page) = self.pages.get(&at).copied() else {
            assert_eq!(result, Err(Fault::NotMapped));
            return;
        };
        let is_allowed = match wanted {
            Wanted::Read => !page.prot.is_empty(),
            Wanted::Write => page.prot.contains(Prot::WRITE),
            Wanted::Execute => page.prot.contains(Prot::EXEC),
        };
        if !is_allowed {
            assert_eq!(result, Err(Fault::Protection));
            return;
        }
        let expected = self.expected(&page);
        // A private copy outlives the end of its file only where that moves, which these files' do not.
        let Some(expected) = expected else {
            assert_eq!(result, Err(Fault::Bus));
            return;
        };
        let phys = result.unwrap();
        assert_eq!(peek(phys), expected, "{at:#x} {page:?}");
        if wanted == Wanted::Write {
            let value = u8::try_from(self.random.below(256)).unwrap();
            poke(phys, value);
            match page.kind {
                Kind::File {
                    file,
                    index,
                    shared: true,
                } => self.contents[file][index] = value,
                _ => self.pages.get_mut(&at).unwrap().written = Some(value),
            }
        }
    }

    fn check(&self) {
        let mut areas = self.space.maps().into_iter().peekable();
        let mut resident = 0;
        let mut references = BTreeMap::new();
        for (&at, page) in &self.pages {
            while areas.next_if(|area| area.end <= at).is_some() {}
            let area = areas.peek().expect("the page is in an area");
            assert!(area.start <= at, "{at:#x} is in no area");
            assert_eq!(area.prot, page.prot);
            let value = entry(&self.space, at);
            if value == 0 {
                continue;
            }
            resident += 1;
            let flags = entry_flags(value);
            if flags.contains(Flags::CACHED) {
                *references.entry(entry_address(value)).or_insert(0) += 1;
            }
            assert_eq!(flags.contains(Flags::PRESENT), !page.prot.is_empty());
            if flags.contains(Flags::PRESENT) {
                let prot = page.prot;
                assert!(!flags.contains(Flags::WRITABLE) || prot.contains(Prot::WRITE));
                assert_eq!(
                    flags.contains(Flags::NO_EXECUTE),
                    !prot.contains(Prot::EXEC)
                );
            }
            assert_eq!(
                Some(peek(entry_address(value))),
                self.expected(page),
                "{at:#x} {page:?}"
            );
            if let Kind::File { shared: false, .. } = page.kind
                && flags.contains(Flags::WRITABLE)
            {
                assert!(flags.contains(Flags::OWNED), "{at:#x} {page:?}");
            }
        }
        assert_eq!(
            self.space.usage(),
            (self.pages.len() * PAGE, resident * PAGE)
        );
        for page in (0..WINDOW + 8).map(|n| BASE + n * PAGE) {
            assert!(self.pages.contains_key(&page) || entry(&self.space, page) == 0);
        }
        for file in &self.files {
            for (index, frame) in file.fixed.iter().enumerate() {
                assert_eq!(peek(frame.phys()), initial(file.number, index));
            }
            for (&index, frame) in &*file.own.lock().unwrap() {
                // The file's, and one an entry.
                let entries = references.get(&frame.phys()).unwrap_or(&0);
                assert_eq!(frame.references(), 1 + entries);
                assert_eq!(peek(frame.phys()), self.contents[file.number][index]);
            }
        }
    }

    fn step(&mut self) {
        match self.random.below(16) {
            0..3 => self.map(),
            3 | 4 => self.unmap(),
            5 | 6 => self.protect(),
            7 | 8 => self.remap(),
            9 => self.forget(),
            10 => self.forget_file(),
            _ => self.access(),
        }
        // Not more than the tables that there are have room for.
        if self.pages.len() > 2 * WINDOW {
            self.unmap_first(WINDOW);
        }
    }

    fn unmap_first(&mut self, pages: usize) {
        for _ in 0..pages {
            let Some((page, _)) = self.pages.pop_first() else {
                return;
            };
            assert_eq!(self.space.unmap(page, PAGE), Ok(()));
        }
    }
}

fn entry(space: &Space, page: usize) -> u64 {
    let entry = space.tables.entry(page, false);
    entry.map_or(0, |entry| entry.load(Ordering::Relaxed))
}

#[test]
fn random_steps_do_what_they_do_to_a_model() {
    with_memory(|| {
        let free = frame::counts().1;
        for seed in 0..100 {
            let mut test = Test::new(seed);
            for _ in 0..400 {
                test.step();
                test.check();
            }
            // With the space goes what it has.
            if seed % 2 == 0 {
                test.unmap_first(usize::MAX);
                assert_eq!(test.space.usage(), (0, 0));
            }
            drop(test);
            assert_eq!(frame::counts().1, free, "seed {seed}: frames are lost");
        }
    });
}
