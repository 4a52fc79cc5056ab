//! What the loader knows of one thread: its proxy, its table of blocks, the blocks, its last error.
//!
//! A thread finds its own record through its table (`tcb->dtv`), without a lock.

use alloc::alloc::{Layout, alloc, dealloc};
use alloc::boxed::Box;
use alloc::ffi::CString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::{Cell, UnsafeCell};
use core::mem::offset_of;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};

use super::table::{DTV_RECORD, Table};
use crate::hold::Holds;
use crate::namespace::NamespaceId;
use crate::tables::TlsSegment;
use crate::thread::ThreadProxy;

/// Words for modules to come.
const SPARE: usize = 16;

/// The signals a thread had blocked before the loader blocked them all; `None` while the loader does not.
///
/// Its thread alone touches it. So do the handlers it runs, but while those run it is `None`, and they leave it so.
type Blocked = Cell<Option<u64>>;

/// What the loader knows of one thread of the program.
pub(crate) struct Record {
    pub(crate) thread: Arc<ThreadProxy>,
    /// The `Lmid_t` of the session the thread is bound to; 0 if none.
    session: AtomicUsize,
    thread_pointer: usize,
    table: Table,
    /// Smaller tables the thread had before: a signal handler may have interrupted a reader of one.
    old_tables: Vec<Table>,
    /// Dynamic blocks, by module.
    blocks: Vec<Block>,
    /// `dlerror`'s state; only the thread itself touches it, with signals blocked.
    pub(crate) error: UnsafeCell<LastError>,
    /// The signals it had blocked before the loader blocked them all.
    pub(crate) blocked: Blocked,
    /// What it has interrupted, while it loads in a signal handler; only the thread itself touches it.
    pub(crate) interrupted: Cell<Option<&'static str>>,
    /// The mark of the gate through which it has come into the loader, see `Loader::enter_from`.
    pub(crate) gate: Cell<usize>,
    /// Whether it is in an auditor's function that was called while what loads know is locked.
    pub(crate) is_audited: Cell<bool>,
    /// What is held for calls of the program's code.
    pub(crate) holds: Holds,
}

/// For gdb's command `info lineage` (`qemu/src/run/lineage.py`), which reads the memory of a machine that stands still:
/// distances in bytes from a thread's `tcb->dtv` to the address of its record, from there to the address of its
/// proxy's allocation, from there to the proxy, and from there to its fields.
#[used]
#[unsafe(no_mangle)]
static ELFIN_LINEAGE: [usize; 9] = {
    const COUNTS: usize = 2 * size_of::<usize>();
    let [id, parent, through, ended, tid, starter] = ThreadProxy::LAYOUT;
    [
        DTV_RECORD,
        offset_of!(Record, thread),
        COUNTS,
        id,
        parent,
        through,
        ended,
        tid,
        starter,
    ]
};

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

impl Record {
    /// Makes the record of a thread and its table, with words for `modules` modules, and enters the table into the
    /// thread's control block.
    ///
    /// # Safety
    ///
    /// `thread_pointer` must be the address of a control block that nobody uses yet.
    pub(crate) unsafe fn new(
        thread_pointer: usize,
        thread: Arc<ThreadProxy>,
        session: NamespaceId,
        modules: usize,
    ) -> Box<Self> {
        let record = Box::new(Self {
            thread,
            session: AtomicUsize::new(session.lmid()),
            thread_pointer,
            table: Table::new(modules + SPARE, ptr::null()),
            old_tables: Vec::new(),
            blocks: Vec::new(),
            error: UnsafeCell::default(),
            blocked: Blocked::default(),
            interrupted: Cell::new(None),
            gate: Cell::new(0),
            is_audited: Cell::new(false),
            holds: Holds::new(),
        });
        record.table.set_record((&raw const *record).cast());
        // SAFETY: the control block is there and nobody uses it yet, says the caller.
        unsafe { record.enter_table() };
        record
    }

    /// # Safety
    ///
    /// The control block must be there, and read by the thread itself only.
    unsafe fn enter_table(&self) {
        // SAFETY: the TCB's second word is `dtv` (psABI). It is there, says the caller, and read by the thread itself
        // only.
        unsafe { *((self.thread_pointer + 8) as *mut usize) = self.table.dtv() };
    }

    /// Takes the table out of the control block again: the thread may be running still, to end at once.
    ///
    /// # Safety
    ///
    /// The control block must be there still.
    pub(crate) unsafe fn leave(&self) {
        // SAFETY: the TCB's second word is `dtv` (psABI), and the TCB is there, says the caller.
        unsafe { *((self.thread_pointer + 8) as *mut usize) = 0 };
    }

    /// Returns the namespace the thread is bound to; the base namespace if none.
    pub(crate) fn namespace(&self) -> NamespaceId {
        NamespaceId::from_lmid(self.session.load(Ordering::Relaxed))
    }

    /// Binds the thread to a namespace; returns what it was bound to.
    pub(crate) fn bind(&self, namespace: NamespaceId) -> NamespaceId {
        NamespaceId::from_lmid(self.session.swap(namespace.lmid(), Ordering::Relaxed))
    }

    pub(crate) fn thread_pointer(&self) -> usize {
        self.thread_pointer
    }

    /// Returns the address of a module's block, 0 if the thread has none.
    pub(crate) fn block(&self, module: usize) -> usize {
        self.table.get(module)
    }

    /// Enters the address of a module's block. A table that is too small is left alone: [`make_room`](Self::make_room)
    /// is for the thread itself to call.
    pub(crate) fn set_block(&mut self, module: usize, at: usize) {
        self.table.set(module, at);
    }

    /// Replaces the calling thread's own table by a larger one if it has no word for a module.
    pub(crate) fn make_room(&mut self, module: usize) {
        if module < self.table.len {
            return;
        }
        let record = ptr::from_ref(self).cast();
        // Twice as large, so that a thread leaves few tables behind however many modules there will be.
        let mut table = Table::new((module + SPARE).max(2 * self.table.len), record);
        for module in 0..self.table.len {
            table.set(module, self.table.get(module));
        }
        self.old_tables
            .push(core::mem::replace(&mut self.table, table));
        // SAFETY: the thread is in here, so it does not read the word at the same time.
        unsafe { self.enter_table() };
    }

    /// Makes the thread's block of a module; `None` when there is no memory.
    pub(crate) fn make_block(&mut self, module: usize, segment: &TlsSegment) -> Option<usize> {
        let layout =
            Layout::from_size_align(segment.size + segment.skew, segment.align.max(16)).ok()?;
        // SAFETY: the size is not zero: segments of size 0 are not recorded.
        let at = unsafe { alloc(layout) };
        if at.is_null() {
            return None;
        }
        // SAFETY: `skew` bytes and the block fit the allocation.
        let block = unsafe { at.add(segment.skew) };
        // SAFETY: the allocation has room for the block behind the skew.
        unsafe { fill(block, segment) };
        self.blocks.push(Block { module, at, layout });
        Some(block.expose_provenance())
    }

    /// Takes a module's block from the thread.
    pub(crate) fn remove_block(&mut self, module: usize) {
        self.table.set(module, 0);
        if let Some(at) = self.blocks.iter().position(|block| block.module == module) {
            let block = self.blocks.swap_remove(at);
            // SAFETY: allocated in `make_block` with this layout; its word in the table is 0 by now.
            unsafe { dealloc(block.at, block.layout) };
        }
    }

    /// Frees the blocks of a thread that is gone.
    pub(crate) fn free_blocks(&mut self) {
        for block in core::mem::take(&mut self.blocks) {
            self.table.set(block.module, 0);
            // SAFETY: allocated in `make_block` with this layout; the thread, its only user, is gone.
            unsafe { dealloc(block.at, block.layout) };
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.free_blocks();
    }
}

/// Writes a block's initial content.
///
/// # Safety
///
/// `at` must have room for it.
pub(crate) unsafe fn fill(at: *mut u8, segment: &TlsSegment) {
    // SAFETY: the image lies in a loaded object (checked when it was made); there is room for it, says the caller.
    unsafe { ptr::copy_nonoverlapping(segment.image as *const u8, at, segment.file_size) };
    // SAFETY: there is room for the whole block, of which the image is the first part.
    unsafe {
        ptr::write_bytes(
            at.add(segment.file_size),
            0,
            segment.size - segment.file_size,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::BASE;

    /// A control block: the second word is `dtv`.
    fn record(control_block: &mut [usize; 2]) -> Box<Record> {
        let thread_pointer = control_block.as_mut_ptr().expose_provenance();
        // SAFETY: nobody else uses it.
        unsafe { Record::new(thread_pointer, ThreadProxy::root(), BASE, 1) }
    }

    #[test]
    fn a_block_starts_where_its_segment_does_modulo_its_alignment() {
        let image = [7u8; 3];
        let mut control_block = [0; 2];
        let mut record = record(&mut control_block);
        for (module, align, skew) in [(1, 4096, 0), (2, 4096, 48), (3, 64, 60), (4, 1, 0)] {
            let segment = TlsSegment {
                image: image.as_ptr().expose_provenance(),
                file_size: image.len(),
                size: 100,
                align,
                skew,
            };
            let block = record.make_block(module, &segment).unwrap();
            assert_eq!(block % align, skew);
            // SAFETY: it has 100 bytes.
            let content = unsafe { core::slice::from_raw_parts(block as *const u8, 100) };
            assert!(content[..3] == image && content[3..].iter().all(|&byte| byte == 0));
        }
    }

    #[test]
    fn a_larger_table_has_what_the_smaller_one_had() {
        let mut control_block = [0; 2];
        let mut record = record(&mut control_block);
        record.set_block(1, 0x1000);
        record.make_room(100);
        record.set_block(100, 0x2000);
        assert_eq!((record.block(1), record.block(100)), (0x1000, 0x2000));
        assert_eq!(record.block(99), 0);
    }
}
