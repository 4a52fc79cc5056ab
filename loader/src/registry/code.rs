//! `elfin_code_register` and its relatives: from C's arguments to the registry and back. `include/elfin.h` says what
//! they do.

use alloc::ffi::CString;
use alloc::sync::Arc;
use core::ops::Range;

use super::{Code, CodeId, Occupant, Owner, UnwindHeader};
use crate::c::Out;
use crate::elf::address;
use crate::host::{Errno, Gate};
use crate::loaded::Loaded;
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

/// `struct elfin_code`, as a program has filled it in: what is the address of something there is one.
#[repr(C)]
pub(crate) struct ElfinCode {
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
pub(crate) struct ElfinCodeInfo {
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

    fn name(&self) -> Result<CString, Errno> {
        if self.name == 0 {
            return Ok(CString::default());
        }
        // SAFETY: `elfin_code` has the address of a C string there, or 0.
        let name = unsafe { c_bytes(self.name) };
        if name.len() > LONGEST_NAME {
            return Err(Errno::EINVAL);
        }
        CString::new(name).map_err(|_| Errno::EINVAL)
    }

    fn unwind(&self) -> Result<UnwindHeader, Errno> {
        match (self.eh_frame_hdr, self.eh_frame) {
            (0, 0) => Ok(UnwindHeader::None),
            (0, frames) => Ok(UnwindHeader::of_frames(frames)),
            // SAFETY: `elfin_code` has the address of such a section there, or 0. Its first byte is its version.
            (header, 0) if unsafe { *(header as *const u8) } == 1 => Ok(UnwindHeader::At(header)),
            _ => Err(Errno::EINVAL),
        }
    }
}

impl Loader {
    /// `elfin_code_register`.
    pub(crate) fn code_register(
        &self,
        code: &ElfinCode,
        id: Option<Out<CodeId>>,
    ) -> Result<(), Errno> {
        if code.reserved0 != 0 || code.reserved != [0; 2] {
            return Err(Errno::EINVAL);
        }
        let range = code.range()?;
        if !self.host().can_spare(MEMORY + LONGEST_NAME) {
            return Err(Errno::ENOMEM);
        }
        let (name, unwind) = (code.name()?, code.unwind()?);
        let (owner, object) = match code.owned_by {
            OF_NOBODY => (Owner::Nobody, None),
            OF_THREAD => (self.calling_thread()?, None),
            OF_OBJECT => {
                let object = self.loaded().object_of(code.owner).ok_or(Errno::EINVAL)?;
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
        if let Some(id) = id {
            id.put(number);
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
            unsafe { self.threads().call_at_thread_exit(gate, address(thread)) };
        }
        Ok(Owner::Thread(thread))
    }
}

impl Loaded {
    /// Returns the object with a handle, or at an address.
    fn object_of(&self, owner: usize) -> Option<Arc<Object>> {
        let world = self.world().get()?;
        if let Some(entry) = world.by_handle(owner) {
            return Some(entry.object.clone());
        }
        self.registry().snapshot()?.object_at(owner).cloned()
    }

    /// `elfin_code_find`.
    pub(crate) fn code_find(&self, at: usize, info: Out<ElfinCodeInfo>) -> Result<(), Errno> {
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
        info.put(found);
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
