//! What lies in an object's segments, and what may be done with it.

use alloc::vec::Vec;
use core::ops::Range;

use goblin::elf::program_header as pt;

use super::Object;
use crate::elf::dynamic::Table;
use crate::elf::{ProgramHeader, address, string_at};
use crate::error::Error;
use crate::host::{Access, Host};
use crate::image::page_floor;
use crate::tables::Memory;

impl Object {
    /// Says whether `len` bytes at a real address lie in a segment of the object that may be written to.
    pub(crate) fn is_writable(&self, at: usize, len: usize) -> bool {
        self.writable_segment(at, len).is_some()
    }

    /// Returns the segment that `len` bytes at a real address lie in, if it may be written to.
    pub(crate) fn writable_segment(&self, at: usize, len: usize) -> Option<Range<usize>> {
        let vaddr = at.wrapping_sub(self.bias);
        let segment = self.segments.iter().find(|segment| {
            segment.p_type == pt::PT_LOAD
                && (segment.p_flags & pt::PF_W != 0 || self.dynamic.text_relocations)
                && vaddr >= address(segment.p_vaddr)
                && vaddr
                    .checked_add(len)
                    .is_some_and(|end| end <= address(segment.p_vaddr + segment.p_memsz))
        })?;
        let start = self.real(address(segment.p_vaddr));
        Some(start..start.wrapping_add(address(segment.p_memsz)))
    }

    /// Reads the words of an array of addresses in the object, which must lie inside it.
    pub(crate) fn words(&self, vaddr: usize, size: usize) -> Option<&[usize]> {
        Memory {
            bias: self.bias,
            segments: &self.segments,
        }
        .slice(vaddr, size)
    }

    /// Reads 32-bit words in the object, which must lie inside it.
    pub(crate) fn halves(&self, vaddr: usize, size: usize) -> Option<&[u32]> {
        Memory {
            bias: self.bias,
            segments: &self.segments,
        }
        .slice(vaddr, size)
    }

    /// Reads the C string at a real address in the object.
    pub(crate) fn text(&self, at: usize) -> Option<&[u8]> {
        let memory = Memory {
            bias: self.bias,
            segments: &self.segments,
        };
        let vaddr = at.wrapping_sub(self.bias);
        string_at(memory.from(vaddr, "").ok()?, 0)
    }

    /// Returns the content of the segments that are neither writable nor executable.
    pub(crate) fn read_only_bytes(&self) -> Vec<&[u8]> {
        let memory = Memory {
            bias: self.bias,
            segments: &self.segments,
        };
        let constant = |segment: &&ProgramHeader| {
            segment.p_type == pt::PT_LOAD && segment.p_flags & 7 == pt::PF_R
        };
        self.segments
            .iter()
            .filter(constant)
            .filter_map(|segment| memory.slice(address(segment.p_vaddr), address(segment.p_filesz)))
            .collect()
    }

    /// Says whether an address lies in an executable segment.
    pub(crate) fn is_executable(&self, at: usize) -> bool {
        self.lies_in(at, pt::PF_X)
    }

    /// Says whether an address lies in a segment that is writable at any time, not just while text is relocated.
    pub(crate) fn is_data(&self, at: usize) -> bool {
        self.lies_in(at, pt::PF_W)
    }

    fn lies_in(&self, at: usize, flag: u32) -> bool {
        let vaddr = at.wrapping_sub(self.bias);
        self.segments.iter().any(|segment| {
            let start = address(segment.p_vaddr);
            segment.p_type == pt::PT_LOAD
                && segment.p_flags & flag != 0
                && (start..start + address(segment.p_memsz)).contains(&vaddr)
        })
    }

    /// Returns the object's INIT functions, or its FINI functions, in the order of the dynamic section. 0 and -1 mark
    /// unused entries of arrays.
    pub(crate) fn functions(
        &self,
        one: Option<usize>,
        array: Table,
    ) -> impl DoubleEndedIterator<Item = usize> {
        let array = self.words(array.vaddr, array.size).unwrap_or(&[]);
        one.map(|vaddr| self.real(vaddr))
            .into_iter()
            .chain(array.iter().copied())
            .filter(|&function| function != 0 && function != usize::MAX)
    }

    /// Returns the pages PT_GNU_RELRO covers.
    pub(crate) fn relro(&self) -> Option<Range<usize>> {
        let segment = self
            .segments
            .iter()
            .find(|segment| segment.p_type == pt::PT_GNU_RELRO)?;
        let start = page_floor(self.real(address(segment.p_vaddr)));
        let end =
            page_floor(self.real(address(segment.p_vaddr).checked_add(address(segment.p_memsz))?));
        let span = self.span();
        (start < end && span.start <= start && end <= span.end).then_some(start..end)
    }

    /// Takes away the right to write what PT_GNU_RELRO covers.
    pub(crate) fn protect_relro(&self, host: &dyn Host) -> Result<(), Error> {
        let Some(span) = self.relro() else {
            return Ok(());
        };
        // SAFETY: the pages lie in the object's region; relocation, the only writer, is over.
        unsafe { host.protect(span.start, span.len(), Access::Read) }.map_err(|errno| Error::Host {
            object: self.shown().to_vec(),
            doing: "cannot apply additional memory protection after relocation",
            errno,
        })
    }
}
