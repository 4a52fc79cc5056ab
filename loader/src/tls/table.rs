//! What the compiler's code for thread-local storage reads: a thread's table of blocks, and what asks for one.

use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use core::sync::atomic::{AtomicUsize, Ordering};

/// The argument of `__tls_get_addr`.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct TlsIndex {
    pub(crate) module: usize,
    pub(crate) offset: usize,
}

/// Offsets from `tcb->dtv`: the thread's record, how many modules the table has words for, the words.
pub(crate) const DTV_RECORD: usize = 16;
pub(crate) const DTV_LEN: usize = 24;
pub(crate) const DTV_SLOTS: usize = 32;
/// What lies before `tcb->dtv`.
const DTV_BEFORE: usize = 16;

/// A thread's table of blocks: an allocation that starts [`DTV_BEFORE`] bytes before `tcb->dtv`.
pub(super) struct Table {
    at: *mut u8,
    pub(super) len: usize,
}

impl Table {
    /// Makes a table with words for so many modules, and with the address of the thread's record.
    pub(super) fn new(len: usize, record: *const ()) -> Self {
        let layout = Self::layout(len);
        // SAFETY: the size is not zero.
        let at = unsafe { alloc_zeroed(layout) };
        if at.is_null() {
            alloc::alloc::handle_alloc_error(layout);
        }
        let table = Self { at, len };
        table.set_record(record);
        // SAFETY: the allocation reaches to the last slot.
        unsafe { *((table.dtv() + DTV_LEN) as *mut usize) = len };
        table
    }

    fn layout(len: usize) -> Layout {
        let size = DTV_BEFORE + DTV_SLOTS + len * 8;
        Layout::from_size_align(size, 16).expect("a table of TLS blocks is small")
    }

    /// Returns what `tcb->dtv` is to be.
    pub(super) fn dtv(&self) -> usize {
        self.at.expose_provenance() + DTV_BEFORE
    }

    /// Enters the address of the thread's record.
    pub(super) fn set_record(&self, record: *const ()) {
        // SAFETY: inside the allocation.
        unsafe { *((self.dtv() + DTV_RECORD) as *mut *const ()) = record };
    }

    fn slot(&self, module: usize) -> Option<&AtomicUsize> {
        if module >= self.len {
            return None;
        }
        // SAFETY: inside the allocation, aligned, and only ever accessed as an atomic or by the thread's own code.
        Some(unsafe { &*((self.dtv() + DTV_SLOTS + module * 8) as *const AtomicUsize) })
    }

    /// Returns the address of a module's block, or 0.
    pub(super) fn get(&self, module: usize) -> usize {
        self.slot(module)
            .map_or(0, |slot| slot.load(Ordering::Acquire))
    }

    /// Enters the address of a module's block, if there is a word for it.
    pub(super) fn set(&mut self, module: usize, value: usize) {
        if let Some(slot) = self.slot(module) {
            slot.store(value, Ordering::Release);
        }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { dealloc(self.at, Self::layout(self.len)) };
    }
}
