//! `elfin_code_register` and its relatives: from C's arguments to the registry and back. `include/elfin.h` says what
//! they do.

use alloc::ffi::CString;
use alloc::sync::Arc;
use core::ops::Range;

use super::{Code, CodeId, Occupant, Owner, UnwindHeader};
use crate::elf::address;
use crate::host::{Errno, Gate};
use crate::loader::Loader;
use crate::object::Object;
use crate::stack::c_bytes;
use crate::tls;

/// `enum elfin_code_owner`.
const OF_NOBODY: u32 = 0;
const OF_THREAD: u32 = 1;
const OF_OBJECT: u32 = 2;

/// `ELFIN_CODE_NAME`.
const NAME: usize = 256;
const LONGEST_NAME: usize = 4095;

/// Where the program's half of the address space ends (the canonical addresses of four-level paging).
const END: usize = 1 << 47;

/// What a registration takes of the host's memory at most, but for the name.
const MEMORY: usize = 16 << 10;

/// `struct elfin_code`.
#[repr(C)]
struct ElfinCode {
    start: usize,
    size: usize,
    name: usize,
    owner: usize,
    owned_by: u32,
    reserved0: u32,
    eh_frame_hdr: usize,
    eh_frame: usize,
    reserved: [u64; 2],
}

/// `struct elfin_code_info`.
#[repr(C)]
struct ElfinCodeInfo {
    start: usize,
    size: usize,
    id: CodeId,
    owned_by: u32,
    reserved0: u32,
    handle: usize,
    eh_frame_hdr: usize,
    reserved: [u64; 2],
    name: [u8; NAME],
}

impl ElfinCode {
    fn range(&self) -> Result<Range<usize>, Errno> {
        let end = self.start.checked_add(self.size);
        end.filter(|&end| self.start < end && end <= END)
            .map(|end| self.start..end)
            .ok_or(Errno::EINVAL)
    }

    /// # Safety
    ///
    /// `name` must be the address of a C string, or 0.
    unsafe fn name(&self) -> Result<CString, Errno> {
        if self.name == 0 {
            return Ok(CString::default());
        }
        // SAFETY: the caller's promise.
        let name = unsafe { c_bytes(self.name) };
        if name.len() > LONGEST_NAME {
            return Err(Errno::EINVAL);
        }
        CString::new(name).map_err(|_| Errno::EINVAL)
    }

    /// # Safety
    ///
    /// `eh_frame_hdr` must be an address that can be read, or 0.
    unsafe fn unwind(&self) -> Result<UnwindHeader, Errno> {
        match (self.eh_frame_hdr, self.eh_frame) {
            (0, 0) => Ok(UnwindHeader::None),
            (0, frames) => Ok(UnwindHeader::of_frames(frames)),
            // SAFETY: the caller's promise. The first byte of the section is its version.
            (header, 0) if unsafe { *(header as *const u8) } == 1 => Ok(UnwindHeader::At(header)),
            _ => Err(Errno::EINVAL),
        }
    }
}

impl Loader {
    /// `elfin_code_register`.
    ///
    /// # Safety
    ///
    /// As that function.
    pub(crate) unsafe fn code_register(&self, code: usize, id: usize) -> Result<(), Errno> {
        // SAFETY: the caller's promise.
        let code = unsafe { &*(code as *const ElfinCode) };
        if code.reserved0 != 0 || code.reserved != [0; 2] {
            return Err(Errno::EINVAL);
        }
        let range = code.range()?;
        if !self.host().can_spare(MEMORY + LONGEST_NAME) {
            return Err(Errno::ENOMEM);
        }
        // SAFETY: the caller's promise.
        let (name, unwind) = unsafe { (code.name()?, code.unwind()?) };
        let (owner, object) = match code.owned_by {
            OF_NOBODY => (Owner::Nobody, None),
            OF_THREAD => (self.calling_thread()?, None),
            OF_OBJECT => {
                let object = self.object_of(code.owner).ok_or(Errno::EINVAL)?;
                (Owner::Object(object.id()), Some(object))
            }
            _ => return Err(Errno::EINVAL),
        };
        let code = Code {
            name,
            owner,
            object,
            unwind,
        };
        let number = self.registry().register(self.host(), range, code)?;
        if id != 0 {
            // SAFETY: the caller's promise.
            unsafe { *(id as *mut CodeId) = number };
        }
        Ok(())
    }

    /// Returns the calling thread as an owner. The first time it has its end announced, by libc's list of thread-local
    /// destructors.
    fn calling_thread(&self) -> Result<Owner, Errno> {
        let thread = tls::current(self.host().thread_pointer()).ok_or(Errno::EINVAL)?;
        let thread = thread.thread.id();
        if self.registry().add_thread(self.host(), thread) {
            let gate = self.host().gate(Gate::CodeThreadEnd);
            // SAFETY: the gate takes a thread's number.
            unsafe { self.call_at_thread_exit(gate, address(thread)) };
        }
        Ok(Owner::Thread(thread))
    }

    /// Returns the object with a handle, or at an address.
    fn object_of(&self, owner: usize) -> Option<Arc<Object>> {
        let world = self.world().get()?;
        if let Some(entry) = world.by_handle(owner) {
            return Some(entry.object.clone());
        }
        self.registry().snapshot()?.object_at(owner).cloned()
    }

    /// `elfin_code_find`.
    ///
    /// # Safety
    ///
    /// As that function.
    pub(crate) unsafe fn code_find(&self, at: usize, info: usize) -> Result<(), Errno> {
        let snapshot = self.registry().snapshot().ok_or(Errno::ENOENT)?;
        let entry = snapshot.at(at).ok_or(Errno::ENOENT)?;
        let found = match &entry.value {
            Occupant::Object(object) => {
                let segment = object.executable_segment(at).ok_or(Errno::ENOENT)?;
                ElfinCodeInfo {
                    id: 0,
                    owned_by: OF_OBJECT,
                    handle: object.handle(),
                    eh_frame_hdr: object.unwind_header(),
                    ..ElfinCodeInfo::new(segment, object.path())
                }
            }
            Occupant::Code(id, code) => ElfinCodeInfo {
                id: *id,
                owned_by: match code.owner {
                    Owner::Nobody => OF_NOBODY,
                    Owner::Thread(_) => OF_THREAD,
                    Owner::Object(_) => OF_OBJECT,
                },
                handle: code.handle(),
                eh_frame_hdr: code.unwind.address(),
                ..ElfinCodeInfo::new(entry.start..entry.end, code.name.as_bytes())
            },
        };
        // SAFETY: the caller's promise.
        unsafe { *(info as *mut ElfinCodeInfo) = found };
        Ok(())
    }
}

impl ElfinCodeInfo {
    fn new(range: Range<usize>, full_name: &[u8]) -> Self {
        let mut name = [0; NAME];
        for (to, &from) in name[..NAME - 1].iter_mut().zip(full_name) {
            *to = from;
        }
        Self {
            start: range.start,
            size: range.len(),
            id: 0,
            owned_by: OF_NOBODY,
            reserved0: 0,
            handle: 0,
            eh_frame_hdr: 0,
            reserved: [0; 2],
            name,
        }
    }
}
