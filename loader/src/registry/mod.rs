//! Who lies where: one registry of address ranges that every question about an address is put to.
//!
//! Its entries are loaded objects, and *code ranges*, which the program's JIT compilers and language runtimes register
//! themselves (`include/elfin.h`). `_dl_find_object`, `dladdr`, the unwinder, crash reports, and whoever wants to know
//! which object has called read an immutable snapshot, without a lock and without allocating, so also in signal
//! handlers; changes replace the snapshot under a lock, a leaf.
//!
//! A code range can have an owner, an object or a thread, and does not outlive it.

mod books;
#[expect(unsafe_code, reason = "what the program has handed over")]
mod code;
mod find;
mod ranges;

use alloc::ffi::CString;
use alloc::sync::Arc;
use core::ops::Range;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::host::{Errno, Host, HostCode};
use crate::object::{Object, ObjectId};
use crate::publish::{Published, Readers, Reading, Retired};
use crate::sync::Mutex;
use crate::thread::ThreadId;
use books::Books;
pub use find::Symbolised;
use ranges::Ranges;

/// Readers of published snapshots.
static READERS: Readers = Readers::new();

/// What look-ups see.
pub(crate) type Snapshot<O> = Ranges<Occupant<O>>;

/// The number of a registered code range, which no other has or had.
pub(crate) type CodeId = u64;

/// The number of the linker's own code.
pub(crate) const LINKER: CodeId = 0;

/// What a range is.
#[derive(Clone)]
pub(crate) enum Occupant<O> {
    /// A loaded object, over its whole span.
    Object(O),
    /// Code that the program has registered, and its number.
    Code(CodeId, Arc<Code<O>>),
}

/// Code that the program has registered.
pub(crate) struct Code<O> {
    pub(crate) name: CString,
    pub(crate) owner: Owner,
    /// The object that owns it.
    pub(crate) object: Option<O>,
    pub(crate) unwind: UnwindHeader,
}

impl Code<Arc<Object>> {
    /// Returns the handle of the object that owns it, or 0.
    pub(crate) fn handle(&self) -> usize {
        self.object.as_ref().map_or(0, |object| object.handle())
    }
}

/// With whom a code range goes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Owner {
    /// Nobody: only when it is unregistered.
    Nobody,
    /// A thread, when it ends.
    Thread(ThreadId),
    /// An object, when it is unloaded.
    Object(ObjectId),
}

/// What `dlfo_eh_frame` points to: the head of an `.eh_frame_hdr` section (Linux Standard Base Core, "Exception Frames").
pub(crate) enum UnwindHeader {
    /// There is no unwind information.
    None,
    /// The program's own, at this address.
    At(usize),
    /// One without a search table, made for an `.eh_frame` section.
    Made([u8; 12]),
}

impl UnwindHeader {
    /// Makes a header for the `.eh_frame` section at an address.
    pub(crate) fn of_frames(at: usize) -> Self {
        const DW_EH_PE_ABSPTR: u8 = 0x00;
        const DW_EH_PE_OMIT: u8 = 0xff;
        let mut header = [
            1,
            DW_EH_PE_ABSPTR,
            DW_EH_PE_OMIT,
            DW_EH_PE_OMIT,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
        ];
        header[4..].copy_from_slice(&at.to_le_bytes());
        Self::Made(header)
    }

    /// Returns where the header is, 0 if there is none. One that was made lives as long as `self`.
    pub(crate) fn address(&self) -> usize {
        match self {
            Self::None => 0,
            Self::At(address) => *address,
            Self::Made(header) => header.as_ptr().expose_provenance(),
        }
    }
}

/// The registry. `O` is what stands for a loaded object.
pub(crate) struct Registry<O: 'static> {
    current: Published<Snapshot<O>>,
    /// How many code ranges there are, so that unmapping costs nothing where nobody registers any.
    codes: AtomicUsize,
    changes: Mutex<Changes<O>>,
}

/// What whoever changes the registry has to itself.
struct Changes<O: 'static> {
    books: Books<O>,
    retired: Retired<Snapshot<O>>,
}

impl<O: Clone> Registry<O> {
    /// Makes an empty registry.
    pub(crate) const fn new() -> Self {
        Self {
            current: Published::empty(&READERS),
            codes: AtomicUsize::new(0),
            changes: Mutex::new(Changes {
                books: Books::new(),
                retired: Retired::new(),
            }),
        }
    }

    /// Lets the caller look at what is registered now, for a while in which no code of the program is called; `None` if
    /// nothing ever was.
    pub(crate) fn snapshot(&self) -> Option<Reading<'_, Snapshot<O>>> {
        self.current.read()
    }

    /// Returns how many code ranges are registered.
    pub(crate) fn code_count(&self) -> usize {
        self.codes.load(Ordering::Relaxed)
    }

    /// Enters a loaded object. Code ranges where it lies are left over from memory that the program has unmapped since.
    pub(crate) fn add_object(&self, host: &dyn Host, id: ObjectId, span: Range<usize>, object: O) {
        self.change(host, |books| {
            books.remove_codes_in(span.clone());
            books.add_object(span, object);
            books.add_owner(Owner::Object(id));
        });
    }

    /// Enters the linker's own code. `rtld` is the object it stands in for.
    pub(crate) fn add_linker(&self, host: &dyn Host, rtld: O) {
        if let Some(HostCode {
            range,
            eh_frame_hdr,
        }) = host.code()
        {
            let code = Code {
                name: CString::default(),
                owner: Owner::Nobody,
                object: Some(rtld.clone()),
                unwind: UnwindHeader::At(eh_frame_hdr),
            };
            self.change(host, |books| books.add_linker(range, code));
        }
    }

    /// Takes an object out, and the code ranges it owns.
    pub(crate) fn remove_object(&self, host: &dyn Host, id: ObjectId, start: usize) {
        self.change(host, |books| {
            books.remove_owner(Owner::Object(id));
            books.remove_object(start);
        });
    }

    /// Lets a thread own code ranges; says whether it could not before.
    pub(crate) fn add_thread(&self, host: &dyn Host, thread: ThreadId) -> bool {
        let owner = Owner::Thread(thread);
        self.changes.lock(host).books.add_owner(owner)
    }

    /// Takes out the code ranges a thread owns, which is ending.
    pub(crate) fn remove_thread(&self, host: &dyn Host, thread: ThreadId) {
        self.change(host, |books| books.remove_owner(Owner::Thread(thread)));
    }

    /// Enters a code range.
    pub(crate) fn register(
        &self,
        host: &dyn Host,
        range: Range<usize>,
        code: Code<O>,
    ) -> Result<CodeId, Errno> {
        self.change(host, |books| books.add_code(range, code))
    }

    /// Takes a code range out.
    pub(crate) fn unregister(&self, host: &dyn Host, id: CodeId) -> Result<(), Errno> {
        self.change(host, |books| books.remove_code(id).ok_or(Errno::ENOENT))
    }

    /// Takes out the code ranges in memory that the program unmaps, also those that only begin or end there.
    pub(crate) fn unmapped(&self, host: &dyn Host, range: Range<usize>) {
        if self.code_count() != 0 && !range.is_empty() {
            self.change(host, |books| books.remove_codes_in(range));
        }
    }

    /// Says whether snapshots could not be freed because somebody was reading them.
    pub(crate) fn has_leftovers(&self) -> bool {
        READERS.are_waited_for()
    }

    /// Frees snapshots nobody reads any more, and with them the objects that are in no other. Whoever is making a change
    /// does it in this one's place.
    pub(crate) fn reclaim(&self, host: &dyn Host) {
        if let Some(mut changes) = self.changes.try_lock(host) {
            changes.retired.reclaim(&READERS);
        }
    }

    /// Keeps the registry as it is for as long as the result lasts.
    pub(crate) fn lock<'a>(&'a self, host: &'a dyn Host) -> impl Sized + 'a {
        self.changes.lock(host)
    }

    /// Ends that, in a copy of the address space.
    pub(crate) fn free_in_copy(&self) {
        self.changes.free_in_copy();
    }

    fn change<R>(&self, host: &dyn Host, change: impl FnOnce(&mut Books<O>) -> R) -> R {
        let mut changes = self.changes.lock(host);
        let Changes { books, retired } = &mut *changes;
        let before = books.current.clone();
        let result = change(books);
        if !books.current.is(&before) {
            self.codes.store(books.codes(), Ordering::Relaxed);
            let next = Arc::new(books.current.clone());
            self.current.set(Some(next), retired);
        }
        drop(before);
        retired.reclaim(&READERS);
        result
    }
}

#[cfg(test)]
#[expect(unsafe_code, reason = "a host")]
mod tests;
