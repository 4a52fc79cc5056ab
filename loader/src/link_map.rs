//! `struct link_map`: what a `dlopen` handle points at, what debuggers walk, and what libc's start-up code reads the
//! program's INIT functions from.
//!
//! Its layout has been the same in every reviewed glibc up to `l_info`. An object has one that goes beyond, an object's
//! proxy in another namespace a short one (see [`crate::proxy`]).

use core::sync::atomic::{AtomicUsize, Ordering};

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
const L_INFO: usize = 8;
/// How many standard tags `l_info` is indexed by in glibc 2.36 and later.
const L_INFO_TAGS: usize = 37;

/// The structure, as far as it goes.
#[repr(C)]
pub(crate) struct LinkMap<const WORDS: usize>([AtomicUsize; WORDS]);

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

impl<const WORDS: usize> LinkMap<WORDS> {
    /// Makes one that is empty: its address is not known yet.
    pub(crate) const fn new() -> Self {
        Self([const { AtomicUsize::new(0) }; WORDS])
    }

    /// Fills in the first fields. `real` is the handle of the object itself.
    pub(crate) fn fill(&self, fields: &Fields, real: usize) {
        self.set(L_ADDR, fields.bias);
        self.set(L_NAME, fields.name);
        self.set(L_LD, fields.dynamic);
        self.set(L_REAL, real);
        self.set(L_NS, fields.namespace.lmid());
    }

    /// Returns the address of the structure: a handle.
    pub(crate) fn address(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }

    /// Returns the address of the name.
    pub(crate) fn name(&self) -> usize {
        self.0[L_NAME].load(Ordering::Relaxed)
    }

    /// Puts the structure between two others, 0 for none, in the list debuggers walk.
    pub(crate) fn link(&self, previous: usize, next: usize) {
        self.set(L_PREV, previous);
        self.set(L_NEXT, next);
    }

    fn set(&self, word: usize, value: usize) {
        self.0[word].store(value, Ordering::Release);
    }
}

impl LinkMap<FULL> {
    /// Notes where the dynamic section has the entry of a tag, if it is one that `l_info` is indexed by.
    pub(crate) fn set_info(&self, tag: usize, entry: usize) {
        if tag < L_INFO_TAGS {
            self.set(L_INFO + tag, entry);
        }
    }

    /// Returns the address of the dynamic section's entry of a standard tag.
    pub(crate) fn info(&self, tag: usize) -> Option<usize> {
        let entry = self.0.get(L_INFO + tag)?.load(Ordering::Acquire);
        (entry != 0).then_some(entry)
    }
}
