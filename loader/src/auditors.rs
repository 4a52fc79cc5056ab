//! Who audits the program: auditors as tables of functions, and what each has to do with an object
//! ([`crate::audit`] has the rest).

use alloc::boxed::Box;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crate::namespace::NamespaceId;

/// How many auditors there may be: as many as glibc has namespaces for.
pub(crate) const MOST: usize = 12;

/// The functions of one auditor, by their addresses; 0: it has none.
#[derive(Clone, Copy, Default)]
pub(crate) struct Auditor {
    pub(crate) activity: usize,
    pub(crate) objsearch: usize,
    pub(crate) objopen: usize,
    pub(crate) preinit: usize,
    pub(crate) symbind: usize,
    pub(crate) pltenter: usize,
    pub(crate) pltexit: usize,
    pub(crate) objclose: usize,
}

/// All auditors, in the order they came. There are none in most programs; those there are stay.
pub(crate) struct Auditors {
    list: [spin::Once<Box<Auditor>>; MOST],
    count: AtomicUsize,
}

/// What one auditor has to do with an object.
pub(crate) struct Mark {
    /// At first the address of the object's link map; then the auditor's own.
    cookie: AtomicUsize,
    /// What its `la_objopen` has returned.
    flags: AtomicU32,
}

impl Mark {
    /// Makes the mark of an object with this link map.
    pub(crate) fn new(link_map: usize) -> Self {
        Self {
            cookie: AtomicUsize::new(link_map),
            flags: AtomicU32::new(0),
        }
    }

    /// Returns the address of the cookie.
    pub(crate) fn cookie(&self) -> usize {
        self.cookie.as_ptr().expose_provenance()
    }

    /// Notes what `la_objopen` has returned.
    pub(crate) fn set_flags(&self, flags: u32) {
        self.flags.store(flags, Ordering::Relaxed);
    }

    /// Says whether `la_objopen` has returned a flag.
    pub(crate) fn has(&self, flag: u32) -> bool {
        self.flags.load(Ordering::Relaxed) & flag != 0
    }
}

/// A PLT slot through which calls go that auditors are told of: what it has been bound to.
pub(crate) struct Slot {
    pub(crate) value: usize,
    /// As `la_symbind64` has left them.
    pub(crate) flags: u64,
    /// Which auditors need not be told of what.
    pub(crate) quiet: AtomicU64,
    /// The definition: its object, and its number in the symbol table.
    pub(crate) to: (NamespaceId, u64),
    pub(crate) index: usize,
}

/// The slots of an object, in the order of its PLT's relocations; those that have been called through have a value.
pub(crate) type Slots = Box<[spin::Once<Slot>]>;

/// What all auditors have to do with an object.
pub(crate) type Marks = Box<[Mark; MOST]>;

impl Auditors {
    /// There are none.
    pub(crate) const fn new() -> Self {
        Self {
            list: [const { spin::Once::new() }; MOST],
            count: AtomicUsize::new(0),
        }
    }

    /// Says whether there are any.
    #[inline]
    pub(crate) fn are_there(&self) -> bool {
        self.count.load(Ordering::Acquire) != 0
    }

    /// Says whether any wants to know what references are bound to.
    pub(crate) fn hear_bindings(&self) -> bool {
        let mut all = self.all();
        all.any(|(_, auditor)| auditor.symbind != 0) || self.hear_calls()
    }

    /// Says whether any wants to know of calls through PLT slots.
    pub(crate) fn hear_calls(&self) -> bool {
        let mut all = self.all();
        all.any(|(_, auditor)| auditor.pltenter != 0 || auditor.pltexit != 0)
    }

    /// Returns them, with their numbers.
    pub(crate) fn all(&self) -> impl Iterator<Item = (usize, &Auditor)> {
        let count = self.count.load(Ordering::Acquire);
        let list = self.list.iter().take(count).enumerate();
        list.filter_map(|(number, auditor)| Some((number, &**auditor.get()?)))
    }

    /// Adds one, if there is room.
    pub(crate) fn add(&self, auditor: Auditor) {
        let count = self.count.load(Ordering::Relaxed);
        if let Some(place) = self.list.get(count) {
            place.call_once(|| Box::new(auditor));
            self.count.store(count + 1, Ordering::Release);
        }
    }
}
