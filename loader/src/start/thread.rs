//! The main thread, before it runs: its thread-local storage and its descriptor, and what libc reads of both.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::error::Error;
use crate::glibc::main_thread::{self, MainThread};
use crate::glibc::{self, Fields};
use crate::host::{Access, PAGE_SIZE};
use crate::loader::Loader;
use crate::namespace::BASE;
use crate::object::Object;
use crate::stack::{self, InitialStack};
use crate::thread::ThreadProxy;
use crate::tls::Area;

/// Returns where the area for restartable sequences is, as a distance from the thread pointer: below if libc imports
/// its offset (2.41), which the caller then makes room for, else at the end of the thread descriptor. `None` if this
/// `ld.so` knows of no such thing (2.34).
fn rseq_offset(
    (libc, rtld): (&Object, &Object),
    fields: &Fields,
    reserve: impl FnOnce() -> usize,
) -> Option<usize> {
    rtld.defined(b"__rseq_offset")?;
    if imports(libc, b"__rseq_offset") {
        Some(reserve().wrapping_neg())
    } else {
        Some(fields.pthread_size - 32)
    }
}

fn imports(object: &Object, name: &[u8]) -> bool {
    // Undefined symbols are not hashed; they come first in the table.
    let undefined =
        |symbol: &crate::elf::Sym| symbol.st_shndx == 0 && object.is_named(symbol, name);
    object.unhashed_symbols().iter().any(undefined) && object.defined(name).is_none()
}

impl Loader {
    /// Makes the main thread, for a libc of this kind, with static thread-local storage for these objects and `room`
    /// beyond that, and gives the calling thread its thread pointer: IFUNC resolvers are compiled code like any other,
    /// and read the stack guard.
    pub(crate) fn make_main_thread(
        &self,
        (libc, rtld): (&Object, &Object),
        objects: &[Arc<Object>],
        room: usize,
        stack: InitialStack,
        thread: &Arc<ThreadProxy>,
    ) -> Result<MainThread, Error> {
        let fields = Fields::find(libc, rtld)?;
        let (area, rseq_offset) = {
            let mut tls = self.tls().lock(self.host());
            for object in objects {
                tls.make_static(object);
            }
            let rseq_offset = rseq_offset((libc, rtld), &fields, || tls.reserve(32, 32));
            (tls.fix_layout(room), rseq_offset)
        };
        let pointer = self.make_control_block(&fields, area, &stack, thread)?;
        glibc::set_exported_data(rtld, &stack, rseq_offset);
        Ok(MainThread {
            pointer,
            rseq_offset,
            stack,
            area,
            fields,
            offsets: None,
            is_adopted: spin::Once::new(),
        })
    }

    /// Allocates the main thread's TLS and descriptor.
    fn make_control_block(
        &self,
        fields: &Fields,
        area: Area,
        stack: &InitialStack,
        thread: &Arc<ThreadProxy>,
    ) -> Result<usize, Error> {
        let missing = Error::Invalid("the auxiliary vector has no AT_RANDOM");
        let random = stack.auxiliary(stack::AT_RANDOM).ok_or(missing)?;
        let size = area.size + fields.pthread_size + area.align;
        let no_memory = |errno| Error::Host {
            object: Vec::new(),
            doing: "cannot allocate TLS data structures for initial thread",
            errno,
        };
        // Not the loader's own memory but the program's: it passes addresses in here to system calls.
        let size = size.next_multiple_of(PAGE_SIZE);
        let memory = self
            .host()
            .reserve(None, size, PAGE_SIZE)
            .map_err(no_memory)?;
        // SAFETY: the range was just reserved. It is the main thread's for as long as the program runs.
        unsafe { self.host().zero(memory, size, Access::ReadWrite) }.map_err(no_memory)?;
        let thread_pointer = (memory + area.size).next_multiple_of(area.align);
        // SAFETY: the memory is zeroed and has room for the descriptor; AT_RANDOM points at 16 bytes.
        unsafe { main_thread::write_header(thread_pointer, random) };
        // SAFETY: `area.size` bytes below are free.
        unsafe {
            self.tls()
                .lock(self.host())
                .add_thread(thread_pointer, thread.clone(), BASE);
        }
        // SAFETY: the control block is ready.
        unsafe { self.host().set_thread_pointer(thread_pointer) };
        Ok(thread_pointer)
    }
}
