//! Thread-local storage: the layout below the thread pointer, each thread's table of blocks, and the record by which
//! the loader knows a thread.
//!
//! `tcb->dtv` points into a table of ours. libc itself touches `dtv[-1]` (a count of entries to free, which we leave at
//! 0) and clears `dtv[0]` when it reuses a stack; nothing else in it is glibc's. Behind that lie the record of the
//! thread, and one word per TLS module: the address of the block, or 0 while it has none.
//!
//! Blocks and tables come from the loader's own allocator, never from the program's `malloc`.

use alloc::alloc::{Layout, alloc, alloc_zeroed, dealloc};
use alloc::boxed::Box;
use alloc::ffi::CString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::namespace::NamespaceId;
use crate::object::{Object, TlsSegment};
use crate::thread::{ThreadId, ThreadRef};

/// Offsets from `tcb->dtv`: the thread's record, how many modules the table has words for, the words.
pub(crate) const DTV_RECORD: usize = 16;
pub(crate) const DTV_LEN: usize = 24;
pub(crate) const DTV_SLOTS: usize = 32;
/// What lies before `tcb->dtv`.
const DTV_BEFORE: usize = 16;

/// Room for initial-exec blocks of objects loaded later.
const SURPLUS: usize = 16 * 1024;

/// The argument of `__tls_get_addr`.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct TlsIndex {
    pub(crate) module: usize,
    pub(crate) offset: usize,
}

/// What the loader knows of one thread of the program.
pub(crate) struct Record {
    pub(crate) thread: Arc<ThreadRef>,
    /// The `Lmid_t` of the session the thread is bound to; 0 if none.
    session: AtomicUsize,
    thread_pointer: usize,
    table: Table,
    /// Smaller tables the thread had before: a signal handler may have interrupted a reader of one.
    old_tables: Vec<Table>,
    /// Dynamic blocks, by module.
    blocks: Vec<Block>,
    /// `dlerror`'s state; only the thread itself touches it.
    pub(crate) error: UnsafeCell<LastError>,
}

/// The last error of a thread.
#[derive(Default)]
pub(crate) struct LastError {
    /// Not yet fetched.
    pub(crate) pending: Option<CString>,
    /// Fetched: lives until the next call of `dlerror`.
    pub(crate) shown: Option<CString>,
}

struct Block {
    module: usize,
    at: *mut u8,
    layout: Layout,
}

/// A thread's table of blocks: an allocation that starts [`DTV_BEFORE`] bytes before `tcb->dtv`.
struct Table {
    at: *mut u8,
    len: usize,
}

/// All of it; kept under the loader's leaf lock.
pub(crate) struct Tls {
    /// Bytes below the thread pointer in use by initial objects and, in the surplus, by later ones.
    used: usize,
    /// How far `used` may grow. 0 until the layout is fixed.
    limit: usize,
    modules: Vec<Option<Module>>,
    records: Vec<*mut Record>,
}

#[derive(Clone, Copy)]
struct Module {
    segment: TlsSegment,
    /// 0: dynamic.
    offset: usize,
    /// What was in use before the block got its place.
    used_before: usize,
}

// SAFETY: the raw pointers are to allocations that only code holding the lock around `Tls` frees or moves; a thread's
// own fast path reads its table, which is freed only when the thread is gone.
unsafe impl Send for Tls {}

impl Tls {
    /// Makes an empty state.
    pub(crate) const fn new() -> Self {
        Self {
            used: 0,
            limit: 0,
            modules: Vec::new(),
            records: Vec::new(),
        }
    }

    /// Gives an object's PT_TLS a module id, the lowest free one.
    pub(crate) fn add_module(&mut self, object: &Object) {
        let Some(&segment) = object.tls() else { return };
        let module = Some(Module {
            segment,
            offset: 0,
            used_before: 0,
        });
        let free = self.modules.iter().position(Option::is_none);
        let index = free.unwrap_or(self.modules.len());
        if index == self.modules.len() {
            self.modules.push(module);
        } else if let Some(slot) = self.modules.get_mut(index) {
            *slot = module;
        }
        object.set_tls_module(index + 1);
    }

    /// Takes an object's module id back, and its block from every thread.
    pub(crate) fn remove_module(&mut self, object: &Object) {
        let module = object.tls_module();
        if module == 0 {
            return;
        }
        if let Some(slot) = self.modules.get_mut(module - 1) {
            if let Some(Module {
                offset,
                used_before,
                ..
            }) = *slot
                && offset != 0
                && offset == self.used
            {
                // The innermost block of the surplus can be had back.
                self.used = used_before;
            }
            *slot = None;
        }
        for &record in &self.records {
            // SAFETY: records in the list are alive, and the lock is held.
            let record = unsafe { &mut *record };
            record.table.set(module, 0);
            record.free_block(module);
        }
    }

    /// Gives an object's block a place at a fixed distance below the thread pointer. False when there is no room.
    ///
    /// x86-64 is variant II: blocks grow downward from the thread control block (Drepper, *ELF Handling For
    /// Thread-Local Storage*, "Run-Time Handling of TLS").
    pub(crate) fn make_static(&mut self, object: &Object) -> bool {
        if object.tls_offset().is_some() {
            return true;
        }
        let Some(Some(module)) = object
            .tls_module()
            .checked_sub(1)
            .and_then(|index| self.modules.get_mut(index))
        else {
            return false;
        };
        let offset = static_offset(self.used, &module.segment);
        if self.limit != 0 && (offset > self.limit || module.segment.align > 64) {
            return false;
        }
        module.offset = offset;
        module.used_before = self.used;
        self.used = offset;
        object.set_tls_offset(offset);
        let (module, id) = (*module, object.tls_module());
        for &record in &self.records {
            // SAFETY: records in the list are alive, and the lock is held.
            let record = unsafe { &mut *record };
            let at = record.thread_pointer - module.offset;
            // SAFETY: the surplus lies below every thread pointer and nobody uses this part of it yet.
            unsafe { fill(at as *mut u8, &module.segment) };
            record.table.set(id, at);
        }
        true
    }

    /// Reserves `size` bytes below the blocks laid out so far; returns their distance from the thread pointer.
    pub(crate) fn reserve(&mut self, size: usize, align: usize) -> usize {
        self.used = (self.used + size).next_multiple_of(align);
        self.used
    }

    /// Ends the initial layout; returns the size of static TLS without the thread descriptor.
    pub(crate) fn fix_layout(&mut self) -> usize {
        self.limit = (self.used + SURPLUS).next_multiple_of(64);
        self.limit
    }

    /// Makes the record of a thread and its table, and fills its static blocks. `thread_pointer` must be the address of
    /// a TCB with the static TLS area below it, not in use.
    pub(crate) unsafe fn add_thread(
        &mut self,
        thread_pointer: usize,
        thread: Arc<ThreadRef>,
        session: NamespaceId,
    ) {
        let record = Box::into_raw(Box::new(Record {
            thread,
            session: AtomicUsize::new(session.lmid()),
            thread_pointer,
            table: Table::new(self.modules.len() + 16, ptr::null()),
            old_tables: Vec::new(),
            blocks: Vec::new(),
            error: UnsafeCell::default(),
        }));
        // SAFETY: made just above.
        let table = unsafe { &mut (*record).table };
        table.set_record(record);
        self.records.push(record);
        // SAFETY: forwarded to the caller.
        unsafe { self.fill_static(thread_pointer) };
        let dtv = table.dtv();
        // SAFETY: the TCB's second word is `dtv`.
        unsafe { *((thread_pointer + 8) as *mut usize) = dtv };
    }

    /// Fills the static blocks below a thread pointer and enters them into the thread's table.
    pub(crate) unsafe fn fill_static(&mut self, thread_pointer: usize) {
        let Some(&record) = self.record_at(thread_pointer) else {
            return;
        };
        for (index, module) in self.modules.iter().enumerate() {
            let Some(module) = module.filter(|module| module.offset != 0) else {
                continue;
            };
            let at = thread_pointer - module.offset;
            // SAFETY: `offset` is within the static TLS area, which the caller vouches for.
            unsafe { fill(at as *mut u8, &module.segment) };
            // SAFETY: the record is in the list, hence alive.
            unsafe { (*record).table.set(index + 1, at) };
        }
    }

    /// Fills the static blocks of objects again, in every thread: they got their place while being relocated, and
    /// relocation may have changed the images since. Nobody uses these objects yet.
    pub(crate) fn refill(&mut self, objects: &[Arc<Object>]) {
        for object in objects {
            let (Some(segment), Some(offset)) = (object.tls(), object.tls_offset()) else {
                continue;
            };
            for &record in &self.records {
                // SAFETY: records in the list are alive, and every thread has the static area below its pointer.
                unsafe { fill(((*record).thread_pointer - offset) as *mut u8, segment) };
            }
        }
    }

    /// Makes the main thread's record, so far the loader thread's, that of a child of the loader thread.
    pub(crate) fn adopt(&mut self, thread_pointer: usize) -> Arc<ThreadRef> {
        let Some(&record) = self.record_at(thread_pointer) else {
            return ThreadRef::root();
        };
        // SAFETY: records in the list are alive and the lock is held; the main thread has not used it yet.
        let record = unsafe { &mut *record };
        record.thread = ThreadRef::child_of(&record.thread);
        record.thread.clone()
    }

    fn record_at(&self, thread_pointer: usize) -> Option<&*mut Record> {
        // SAFETY: records in the list are alive.
        self.records
            .iter()
            .find(|&&record| unsafe { (*record).thread_pointer } == thread_pointer)
    }

    /// Returns the thread with a thread pointer.
    pub(crate) fn thread_at(&self, thread_pointer: usize) -> Option<Arc<ThreadRef>> {
        let &record = self.record_at(thread_pointer)?;
        // SAFETY: records in the list are alive, and the lock is held.
        Some(unsafe { (*record).thread.clone() })
    }

    /// Forgets a thread that has ended and frees what it had. Returns the thread.
    pub(crate) fn remove_thread(&mut self, thread_pointer: usize) -> Option<ThreadId> {
        // SAFETY: records in the list are alive.
        let at = self
            .records
            .iter()
            .position(|&record| unsafe { (*record).thread_pointer } == thread_pointer)?;
        // SAFETY: it was made by `Box::into_raw`, and leaves the list here.
        let record = unsafe { Box::from_raw(self.records.swap_remove(at)) };
        Some(record.thread.id())
    }

    /// Returns the address of the calling thread's block of a module, making it if need be.
    ///
    /// # Safety
    ///
    /// `thread_pointer` must be the calling thread's.
    pub(crate) unsafe fn block(&mut self, thread_pointer: usize, module: usize) -> Option<usize> {
        let &record = self.record_at(thread_pointer)?;
        // SAFETY: records in the list are alive and the lock is held.
        let record = unsafe { &mut *record };
        let wanted = (*self.modules.get(module.checked_sub(1)?)?)?;
        if record.table.len <= module {
            record.grow(self.modules.len() + 16);
        }
        let present = record.table.get(module);
        if present != 0 {
            return Some(present);
        }
        let at = if wanted.offset == 0 {
            record.make_block(module, &wanted.segment)?
        } else {
            thread_pointer - wanted.offset
        };
        record.table.set(module, at);
        Some(at)
    }

    /// Returns the calling thread's block of a module, if it has one. For `dl_iterate_phdr` and `dlinfo`.
    pub(crate) fn existing_block(thread_pointer: usize, module: usize) -> usize {
        if thread_pointer == 0 || module == 0 {
            return 0;
        }
        // SAFETY: a thread of the program has our table in its TCB.
        let dtv = unsafe { *((thread_pointer + 8) as *const usize) };
        if dtv == 0 {
            return 0;
        }
        // SAFETY: as above.
        let len = unsafe { *((dtv + DTV_LEN) as *const usize) };
        if module < len {
            // SAFETY: the table has `len` words.
            unsafe { *((dtv + DTV_SLOTS + module * 8) as *const usize) }
        } else {
            0
        }
    }

    /// Returns how many threads there are.
    pub(crate) fn thread_count(&self) -> usize {
        self.records.len()
    }
}

/// Returns the record of the thread with this thread pointer, which must be the calling thread's. Takes no lock.
pub(crate) fn current(thread_pointer: usize) -> Option<&'static Record> {
    if thread_pointer == 0 {
        return None;
    }
    // SAFETY: a thread of the program has our table in its TCB: `add_thread` put it there before the thread ran.
    let dtv = unsafe { *((thread_pointer + 8) as *const usize) };
    if dtv == 0 {
        return None;
    }
    // SAFETY: as above. The record lives until the thread has ended, so the calling thread may borrow its own.
    unsafe { (*((dtv + DTV_RECORD) as *const *const Record)).as_ref() }
}

fn static_offset(used: usize, segment: &TlsSegment) -> usize {
    // The block starts `offset` below a thread pointer that is aligned: `-offset` must be `skew` modulo `align`.
    let before = segment.align - segment.skew;
    let before = before % segment.align;
    (used + segment.size)
        .saturating_sub(before)
        .next_multiple_of(segment.align)
        + before
}

/// Writes a block's initial content.
///
/// # Safety
///
/// `at` must have room for it.
unsafe fn fill(at: *mut u8, segment: &TlsSegment) {
    // SAFETY: the image lies in a loaded object (checked when it was made); the target is the caller's promise.
    unsafe { ptr::copy_nonoverlapping(segment.image as *const u8, at, segment.file_size) };
    // SAFETY: as above.
    unsafe {
        ptr::write_bytes(
            at.add(segment.file_size),
            0,
            segment.size - segment.file_size,
        );
    }
}

impl Record {
    /// Returns the namespace the thread is bound to; the base namespace if none.
    pub(crate) fn namespace(&self) -> NamespaceId {
        NamespaceId::from_lmid(self.session.load(Ordering::Relaxed))
    }

    /// Binds the thread to a namespace; returns what it was bound to.
    pub(crate) fn bind(&self, namespace: NamespaceId) -> NamespaceId {
        NamespaceId::from_lmid(self.session.swap(namespace.lmid(), Ordering::Relaxed))
    }

    fn make_block(&mut self, module: usize, segment: &TlsSegment) -> Option<usize> {
        let layout =
            Layout::from_size_align(segment.size + segment.skew, segment.align.max(16)).ok()?;
        // SAFETY: the size is not zero: segments of size 0 are not recorded.
        let at = unsafe { alloc(layout) };
        if at.is_null() {
            return None;
        }
        // SAFETY: `skew` bytes and the block fit the allocation.
        let block = unsafe { at.add(segment.skew) };
        // SAFETY: as above.
        unsafe { fill(block, segment) };
        self.blocks.push(Block { module, at, layout });
        Some(block.addr())
    }

    fn free_block(&mut self, module: usize) {
        if let Some(at) = self.blocks.iter().position(|block| block.module == module) {
            let block = self.blocks.swap_remove(at);
            // SAFETY: allocated in `make_block` with this layout; its word in the table is 0 by now.
            unsafe { dealloc(block.at, block.layout) };
        }
    }

    /// Replaces the calling thread's own table by a larger one.
    fn grow(&mut self, len: usize) {
        let mut table = Table::new(len, self);
        for module in 0..self.table.len {
            table.set(module, self.table.get(module));
        }
        // SAFETY: the TCB's second word is `dtv`, read by the thread itself only, which is in here.
        unsafe { *((self.thread_pointer + 8) as *mut usize) = table.dtv() };
        self.old_tables
            .push(core::mem::replace(&mut self.table, table));
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        for block in self.blocks.drain(..) {
            // SAFETY: allocated in `make_block` with this layout; the thread is gone.
            unsafe { dealloc(block.at, block.layout) };
        }
    }
}

impl Table {
    fn new(len: usize, record: *const Record) -> Self {
        let layout = Self::layout(len);
        // SAFETY: the size is not zero.
        let at = unsafe { alloc_zeroed(layout) };
        if at.is_null() {
            alloc::alloc::handle_alloc_error(layout);
        }
        let mut table = Self { at, len };
        table.set_record(record);
        // SAFETY: the allocation reaches to the last slot.
        unsafe { *((table.dtv() + DTV_LEN) as *mut usize) = len };
        table
    }

    fn layout(len: usize) -> Layout {
        let size = DTV_BEFORE + DTV_SLOTS + len * 8;
        Layout::from_size_align(size, 16).expect("a table of TLS blocks is small")
    }

    fn dtv(&self) -> usize {
        self.at.addr() + DTV_BEFORE
    }

    fn set_record(&mut self, record: *const Record) {
        // SAFETY: inside the allocation.
        unsafe { *((self.dtv() + DTV_RECORD) as *mut *const Record) = record };
    }

    fn slot(&self, module: usize) -> Option<&AtomicUsize> {
        if module >= self.len {
            return None;
        }
        // SAFETY: inside the allocation, aligned, and only ever accessed as an atomic or by the thread's own code.
        Some(unsafe { &*((self.dtv() + DTV_SLOTS + module * 8) as *const AtomicUsize) })
    }

    fn get(&self, module: usize) -> usize {
        self.slot(module)
            .map_or(0, |slot| slot.load(Ordering::Acquire))
    }

    fn set(&mut self, module: usize, value: usize) {
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
