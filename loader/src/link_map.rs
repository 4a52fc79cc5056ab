//! `struct link_map`: what a `dlopen` handle points at, what debuggers walk, what libc's start-up code reads the
//! program's INIT functions from and `backtrace_symbols` names of functions.
//!
//! Its layout has been the same in every reviewed glibc, as far as it is filled in here, but for the length of `l_info`.
//! An object has one that goes beyond `l_info`, an object's proxy in another namespace a short one (see
//! [`crate::proxy`]).

use core::ops::Range;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::elf::hash::GnuHashFields;
use crate::namespace::NamespaceId;

/// Words of an object's: up to `l_info`, and room behind it for fields that libc may touch.
pub(crate) const FULL: usize = 256;
/// Words of a proxy's: the fields before `l_info`.
pub(crate) const SHORT: usize = 8;

const L_ADDR: usize = 0;
const L_NAME: usize = 1;
const L_LD: usize = 2;
const L_NEXT: usize = 3;
const L_PREV: usize = 4;
const L_REAL: usize = 5;
const L_NS: usize = 6;
const L_LIBNAME: usize = 7;
const L_INFO: usize = 8;
// From here on, words are counted from the end of `l_info`, the last of which is for DT_GNU_HASH.
const L_PHDR: usize = 0;
const L_ENTRY: usize = 1;
/// `l_phnum` and `l_ldnum`, 16 bits each.
const L_PHNUM: usize = 2;
/// `l_nversions`, which nobody outside `ld.so` reads, and `l_nbuckets`, 32 bits each.
const L_NBUCKETS: usize = 9;
/// `l_gnu_bitmask_idxbits` and `l_gnu_shift`, 32 bits each.
const L_GNU_SHIFT: usize = 10;
const L_GNU_BITMASK: usize = 11;
const L_GNU_BUCKETS: usize = 12;
const L_GNU_CHAIN_ZERO: usize = 13;
/// `l_direct_opencount`, and flags from bit 32 on: `l_type` (two bits), and those that [`Layout`] knows.
const L_DIRECT_OPENCOUNT: usize = 14;
const L_MAP_START: usize = 22;
const L_MAP_END: usize = 23;
/// How many standard tags `l_info` is indexed by in glibc 2.36 and later.
const L_INFO_TAGS: usize = 37;

/// What differs between releases of glibc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// The word behind `l_info`.
    info_end: usize,
    /// Of the flags, `l_relocated` and `l_contiguous`.
    flags: usize,
}

impl Layout {
    /// Returns that of glibc 2.x. `l_info` has had words for DT_RELR and its like since 2.36, since 2.39 those for
    /// DT_X86_64_PLT and its like; flags came in 2.35 and 2.36.
    pub(crate) fn of(minor: u32) -> Self {
        let (info, relocated, contiguous) = match minor {
            ..=34 => (77, 2, 14),
            35 => (77, 2, 18),
            36..=38 => (80, 3, 19),
            39.. => (84, 3, 19),
        };
        Self {
            info_end: L_INFO + info,
            flags: (1 << relocated | 1 << contiguous) << 32,
        }
    }
}

/// The structure, as far as it goes, and what belongs to it.
#[repr(C)]
pub(crate) struct LinkMap<const WORDS: usize> {
    words: [AtomicUsize; WORDS],
    /// The only entry of the list at `l_libname`: name, next entry, and that neither is to be freed.
    name: [AtomicUsize; 3],
    /// Where [`Layout`] says that `l_info` ends; 0 as long as nothing beyond it is filled in.
    info_end: AtomicUsize,
}

/// What the first fields hold.
pub(crate) struct Fields {
    /// Load bias.
    pub(crate) bias: usize,
    /// Address of the name, a C string.
    pub(crate) name: usize,
    /// Address of the dynamic section.
    pub(crate) dynamic: usize,
    /// The namespace the structure is in a list of.
    pub(crate) namespace: NamespaceId,
}

/// `l_type`: how an object came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    /// It is the program.
    Executable = 0,
    /// With the program.
    Library = 1,
    /// By `dlopen`.
    Loaded = 2,
}

/// What the fields beyond `l_info` say of an object.
pub(crate) struct Details {
    /// Program headers: address and number.
    pub(crate) headers: (usize, usize),
    pub(crate) entry: usize,
    /// How many entries the dynamic section has room for.
    pub(crate) dynamic_entries: usize,
    /// Where the dynamic section has DT_GNU_HASH; 0: nowhere.
    pub(crate) gnu_hash: usize,
    pub(crate) span: Range<usize>,
    pub(crate) kind: Type,
    pub(crate) hash: Option<GnuHashFields>,
}

impl<const WORDS: usize> LinkMap<WORDS> {
    /// Makes one that is empty: its address is not known yet.
    pub(crate) const fn new() -> Self {
        Self {
            words: [const { AtomicUsize::new(0) }; WORDS],
            name: [const { AtomicUsize::new(0) }; 3],
            info_end: AtomicUsize::new(0),
        }
    }

    /// Fills in the first fields. `real` is the handle of the object itself.
    pub(crate) fn fill(&self, fields: &Fields, real: usize) {
        self.set(L_ADDR, fields.bias);
        self.set(L_NAME, fields.name);
        self.set(L_LD, fields.dynamic);
        self.set(L_REAL, real);
        self.set(L_NS, fields.namespace.lmid());
        let [name, _, dont_free] = &self.name;
        name.store(fields.name, Ordering::Relaxed);
        dont_free.store(1, Ordering::Relaxed);
        self.set(L_LIBNAME, self.name.as_ptr().addr());
    }

    /// Returns the address of the structure: a handle.
    pub(crate) fn address(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }

    /// Returns the address of the name.
    pub(crate) fn name(&self) -> usize {
        self.words[L_NAME].load(Ordering::Relaxed)
    }

    /// Puts the structure between two others, 0 for none, in the list debuggers walk.
    pub(crate) fn link(&self, previous: usize, next: usize) {
        self.set(L_PREV, previous);
        self.set(L_NEXT, next);
    }

    fn set(&self, word: usize, value: usize) {
        self.words[word].store(value, Ordering::Release);
    }
}

impl LinkMap<FULL> {
    /// Fills in the fields beyond `l_info`, whose length is known now.
    pub(crate) fn fill_details(&self, details: &Details, layout: Layout) {
        self.info_end.store(layout.info_end, Ordering::Relaxed);
        let set = |word: usize, value| self.set(layout.info_end + word, value);
        self.set(layout.info_end - 1, details.gnu_hash);
        set(L_PHDR, details.headers.0);
        set(L_ENTRY, details.entry);
        let (headers, entries) = (details.headers.1, details.dynamic_entries);
        set(L_PHNUM, headers & 0xffff | (entries & 0xffff) << 16);
        if let Some(hash) = &details.hash {
            set(L_NBUCKETS, (hash.bucket_count as usize) << 32);
            let shift = (hash.shift as usize) << 32;
            set(L_GNU_SHIFT, hash.bloom_mask & 0xffff_ffff | shift);
            set(L_GNU_BITMASK, hash.bloom);
            set(L_GNU_BUCKETS, hash.buckets);
            set(L_GNU_CHAIN_ZERO, hash.chain_of_zero);
        }
        let flags = (details.kind as usize) << 32 | layout.flags;
        set(L_DIRECT_OPENCOUNT, flags);
        set(L_MAP_START, details.span.start);
        set(L_MAP_END, details.span.end);
    }

    /// Notes how many `dlopen`s have not been undone.
    pub(crate) fn set_opens(&self, opens: usize) {
        let info_end = self.info_end.load(Ordering::Relaxed);
        if info_end == 0 {
            return;
        }
        let word = info_end + L_DIRECT_OPENCOUNT;
        let flags = self.words[word].load(Ordering::Relaxed) >> 32 << 32;
        self.set(word, flags | opens & 0xffff_ffff);
    }

    /// Notes where the dynamic section has the entry of a tag, if it is one that `l_info` is indexed by.
    pub(crate) fn set_info(&self, tag: usize, entry: usize) {
        if tag < L_INFO_TAGS {
            self.set(L_INFO + tag, entry);
        }
    }

    /// Returns the address of the dynamic section's entry of a standard tag.
    pub(crate) fn info(&self, tag: usize) -> Option<usize> {
        let entry = self.words.get(L_INFO + tag)?.load(Ordering::Acquire);
        (entry != 0).then_some(entry)
    }
}
