//! Thread-local storage: modules, their blocks in every thread, and the threads themselves.
//!
//! `tcb->dtv` points into a table of ours. libc itself touches `dtv[-1]` (a count of entries to free, which we leave at
//! 0) and clears `dtv[0]` when it reuses a stack; nothing else in it is glibc's. Behind that lie the record of the
//! thread, and one word per TLS module: the address of the block, or 0 while it has none.
//!
//! Blocks and tables come from the loader's own allocator, never from the program's `malloc`.

mod layout;
#[expect(unsafe_code, reason = "records of threads are found by address")]
mod record;
#[expect(unsafe_code, reason = "tables of blocks that assembly reads")]
mod table;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

pub(crate) use self::layout::Area;
use self::layout::Layout;
pub(crate) use self::record::Record;
use self::record::fill;
pub(crate) use self::table::{DTV_LEN, DTV_RECORD, DTV_SLOTS, TlsIndex};
use crate::hold::Hold;
use crate::namespace::NamespaceId;
use crate::object::{Object, TlsSegment};
use crate::thread::{Ancestor, Lineage, ThreadProxy};

/// All of it; kept under the loader's leaf lock.
pub(crate) struct Tls {
    layout: Layout,
    modules: Vec<Option<Module>>,
    /// By thread pointer. Pointers, because threads look at their own records without the lock.
    records: BTreeMap<usize, *mut Record>,
    lineage: Lineage,
}

#[derive(Clone, Copy)]
struct Module {
    segment: TlsSegment,
    place: Place,
}

/// What is to be released of a thread that has ended.
pub(crate) struct Ended {
    pub(crate) thread: Arc<ThreadProxy>,
    pub(crate) holds: Vec<Hold>,
}

impl Ended {
    fn of(record: &Record) -> Self {
        Self {
            thread: record.thread.clone(),
            holds: record.holds.take(),
        }
    }
}

/// Where a module's blocks are.
#[derive(Clone, Copy)]
enum Place {
    /// Nobody has used the module yet.
    Undecided,
    /// At this distance below every thread pointer.
    Static(usize),
    /// Anywhere: some thread has a block already, which cannot move.
    Dynamic,
}

// SAFETY: the raw pointers are to allocations that only code holding the lock around `Tls` frees or moves; a thread's
// own fast path reads its table, which is freed only when the thread is gone.
unsafe impl Send for Tls {}

impl Tls {
    /// Makes an empty state.
    pub(crate) const fn new() -> Self {
        Self {
            layout: Layout::new(),
            modules: Vec::new(),
            records: BTreeMap::new(),
            lineage: Lineage::new(),
        }
    }

    /// Gives an object's PT_TLS a module id, the lowest free one.
    pub(crate) fn add_module(&mut self, object: &Object) {
        let Some(&segment) = object.tls() else { return };
        let module = Some(Module {
            segment,
            place: Place::Undecided,
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
        let Some(slot) = slot_of(&mut self.modules, module) else {
            return;
        };
        if let Some(Module {
            place: Place::Static(start),
            ..
        }) = slot.take()
        {
            self.layout.free(start);
        }
        for record in self.records_mut() {
            record.remove_block(module);
        }
    }

    /// Gives an object's block a place at a fixed distance below the thread pointer. False when there is no room, or
    /// when a thread has a block elsewhere already.
    pub(crate) fn make_static(&mut self, object: &Object) -> bool {
        let id = object.tls_module();
        let Some(Some(module)) = slot_of(&mut self.modules, id) else {
            return false;
        };
        match module.place {
            Place::Static(_) => return true,
            Place::Dynamic => return false,
            Place::Undecided => {}
        }
        let Some(start) = self.layout.place(&module.segment) else {
            return false;
        };
        module.place = Place::Static(start);
        object.set_tls_offset(start);
        let segment = module.segment;
        for record in self.records_mut() {
            let at = record.thread_pointer() - start;
            // SAFETY: the surplus lies below every thread pointer and nobody uses this part of it yet.
            unsafe { fill(at as *mut u8, &segment) };
            record.set_block(id, at);
        }
        true
    }

    /// Reserves `size` bytes below the blocks laid out so far; returns their distance from the thread pointer.
    pub(crate) fn reserve(&mut self, size: usize, align: usize) -> usize {
        let area = TlsSegment {
            image: 0,
            file_size: 0,
            size,
            align,
            skew: 0,
        };
        self.layout
            .place(&area)
            .expect("the area has no end before `fix_layout`")
    }

    /// Ends the initial layout; returns the area below thread pointers.
    pub(crate) fn fix_layout(&mut self, surplus: usize) -> Area {
        self.layout.fix(surplus)
    }

    /// Makes the proxy of a thread that the calling thread is about to start, whose Linux id is `tid` if that is known.
    pub(crate) fn new_thread(&mut self, parent: Option<&Record>, tid: u32) -> Arc<ThreadProxy> {
        parent.map_or_else(ThreadProxy::root, |parent| {
            self.lineage.child_of(&parent.thread, tid)
        })
    }

    /// Takes notice that a thread which has ended has lost all that it had.
    pub(crate) fn forget(&mut self, thread: &Arc<ThreadProxy>) {
        self.lineage.end(thread);
    }

    /// Returns who started the thread with this thread pointer, who started that one, and so on.
    pub(crate) fn ancestors(&self, thread_pointer: usize) -> Vec<Ancestor> {
        let record = self.records.get(&thread_pointer);
        // SAFETY: records in the list are alive, and the lock is held.
        record.map_or(Vec::new(), |&record| unsafe {
            (*record).thread.ancestors()
        })
    }

    /// Makes the record of a thread and its table, and fills its static blocks. `thread_pointer` must be the address of
    /// a TCB with the static TLS area below it, not in use.
    pub(crate) unsafe fn add_thread(
        &mut self,
        thread_pointer: usize,
        thread: Arc<ThreadProxy>,
        session: NamespaceId,
    ) {
        // SAFETY: nobody uses the control block yet, says the caller.
        let record = unsafe { Record::new(thread_pointer, thread, session, self.modules.len()) };
        self.records.insert(thread_pointer, Box::into_raw(record));
        // SAFETY: the static area lies below the control block, says the caller, and nobody uses it yet.
        unsafe { self.fill_static(thread_pointer) };
    }

    /// Fills the static blocks below a thread pointer and enters them into the thread's table.
    pub(crate) unsafe fn fill_static(&mut self, thread_pointer: usize) {
        let Some(&record) = self.records.get(&thread_pointer) else {
            return;
        };
        for (index, module) in self.modules.iter().enumerate() {
            let Some(Module {
                segment,
                place: Place::Static(start),
            }) = module
            else {
                continue;
            };
            let at = thread_pointer - start;
            // SAFETY: the block is within the static TLS area, which the caller vouches for.
            unsafe { fill(at as *mut u8, segment) };
            // SAFETY: the record is in the list, hence alive.
            unsafe { (*record).set_block(index + 1, at) };
        }
    }

    /// Fills the static blocks of objects again, in every thread: they got their place while being relocated, and
    /// relocation may have changed the images since. Nobody uses these objects yet.
    pub(crate) fn refill(&mut self, objects: &[Arc<Object>]) {
        for object in objects {
            let (Some(segment), Some(offset)) = (object.tls(), object.tls_offset()) else {
                continue;
            };
            for record in self.records_mut() {
                // SAFETY: every thread has the static area below its pointer.
                unsafe { fill((record.thread_pointer() - offset) as *mut u8, segment) };
            }
        }
    }

    /// Makes the main thread's record, so far the loader thread's, that of a child of the loader thread, whose part is
    /// played.
    pub(crate) fn adopt(&mut self, thread_pointer: usize) -> Arc<ThreadProxy> {
        let Some(&record) = self.records.get(&thread_pointer) else {
            return ThreadProxy::root();
        };
        // SAFETY: records in the list are alive and the lock is held; the main thread has not used it yet.
        let record = unsafe { &mut *record };
        let main = self.lineage.child_of(&record.thread, 0);
        self.lineage.end(&record.thread);
        record.thread = main.clone();
        main
    }

    fn records_mut(&mut self) -> impl Iterator<Item = &mut Record> {
        // SAFETY: records in the list are alive, each is there once, and the lock is held.
        self.records
            .values_mut()
            .map(|&mut record| unsafe { &mut *record })
    }

    /// Frees the dynamic blocks of a thread that has ended, and returns what the rest of the loader has to do with. Its
    /// record and its table stay: libc may keep the stack for another thread, and clears the table's start before it
    /// asks for a new one.
    pub(crate) fn end_thread(&mut self, thread_pointer: usize) -> Option<Ended> {
        let &record = self.records.get(&thread_pointer)?;
        // SAFETY: records in the list are alive, and the lock is held.
        let record = unsafe { &mut *record };
        record.free_blocks();
        Some(Ended::of(record))
    }

    /// Forgets a thread that has ended and frees what it had; returns what the rest of the loader has to do with.
    pub(crate) fn remove_thread(&mut self, thread_pointer: usize) -> Option<Ended> {
        let record = self.records.remove(&thread_pointer)?;
        // SAFETY: it was made by `Box::into_raw`, and has just left the list.
        let record = unsafe { Box::from_raw(record) };
        // SAFETY: the control block is there until libc has heard that it may free it.
        unsafe { record.leave() };
        Some(Ended::of(&record))
    }

    /// Returns the address of the calling thread's block of a module, making it if need be. `None` when there is no
    /// such module, or no memory.
    ///
    /// # Safety
    ///
    /// `thread_pointer` must be the calling thread's.
    pub(crate) unsafe fn block(&mut self, thread_pointer: usize, module: usize) -> Option<usize> {
        let &record = self.records.get(&thread_pointer)?;
        let Module { segment, place } = slot_of(&mut self.modules, module)?.as_mut()?;
        // SAFETY: records in the list are alive and the lock is held.
        let record = unsafe { &mut *record };
        record.make_room(module);
        let present = record.block(module);
        if present != 0 {
            return Some(present);
        }
        let at = if let Place::Static(start) = place {
            thread_pointer - *start
        } else {
            *place = Place::Dynamic;
            record.make_block(module, segment)?
        };
        record.set_block(module, at);
        Some(at)
    }

    /// Returns the calling thread's block of a module, if it has one. Takes no lock.
    pub(crate) fn existing_block(thread_pointer: usize, module: usize) -> usize {
        if module == 0 {
            return 0;
        }
        current(thread_pointer).map_or(0, |record| record.block(module))
    }

    /// Returns the thread pointers of all threads, and of those that have ended and whose stacks libc keeps.
    pub(crate) fn thread_pointers(&self) -> impl Iterator<Item = usize> {
        self.records.keys().copied()
    }

    /// Returns how many threads there are.
    pub(crate) fn thread_count(&self) -> usize {
        self.records.len()
    }
}

fn slot_of(modules: &mut [Option<Module>], module: usize) -> Option<&mut Option<Module>> {
    modules.get_mut(module.checked_sub(1)?)
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
    // SAFETY: our table has its record's address there. The record lives until the thread has ended, so the calling
    // thread may borrow its own.
    unsafe { (*((dtv + DTV_RECORD) as *const *const Record)).as_ref() }
}
