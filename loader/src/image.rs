//! One file into one region of address space: PT_LOAD segments, zero-filled tails, read-only-after-relocation.

use alloc::vec::Vec;
use core::ops::Range;

use goblin::elf::program_header as pt;

use crate::elf::header::Headers;
use crate::elf::{ProgramHeader, address};
use crate::error::Error;
use crate::host::{Access, Errno, File, Host, PAGE_SIZE};

/// The address space an object lies in. Dropping it gives it back with everything in it, if it was reserved.
pub(crate) struct Region {
    /// Who has reserved it.
    host: Option<&'static dyn Host>,
    span: Range<usize>,
}

impl Region {
    /// Returns the addresses the region occupies.
    pub(crate) fn span(&self) -> Range<usize> {
        self.span.clone()
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        if let Some(host) = self.host {
            // SAFETY: the region was reserved for the object that owns it, and an object is dropped only when neither
            // the program (dlclose) nor a reader of the published world can reach it.
            unsafe { host.unmap(self.span.start, self.span.len()) };
        }
    }
}

/// What fails, in ld.so's words.
const SEGMENT: &str = "failed to map segment from shared object";

/// A mapped file.
pub(crate) struct Image {
    pub(crate) region: Region,
    /// What to add to an address as linked to get the real one.
    pub(crate) bias: usize,
    pub(crate) headers: Headers,
}

impl Image {
    /// Maps the segments of a file.
    pub(crate) fn map(
        host: &'static dyn Host,
        name: &[u8],
        file: &dyn File,
        headers: Headers,
    ) -> Result<Self, Error> {
        let failed = |(doing, errno)| Error::Unmapped {
            object: name.to_vec(),
            doing,
            errno,
        };
        let loads: Vec<&ProgramHeader> = headers.of_type(pt::PT_LOAD).collect();
        let Range {
            start: first,
            end: last,
        } = linked_span(&loads);
        let align = loads
            .iter()
            .map(|segment| address(segment.p_align))
            .max()
            .unwrap_or(0)
            .max(PAGE_SIZE);
        let at = headers.fixed.then_some(first);
        let start = host
            .reserve(at, last - first, align)
            .map_err(|errno| failed((SEGMENT, errno)))?;
        let region = Region {
            host: Some(host),
            span: start..start + (last - first),
        };
        let bias = start.wrapping_sub(first);
        for segment in loads {
            map_segment(host, file, segment, bias).map_err(failed)?;
        }
        Ok(Self {
            region,
            bias,
            headers,
        })
    }

    /// Takes an object that lies in memory already, its first page at `start`, and stays there.
    pub(crate) fn in_place(start: usize, headers: Headers) -> Self {
        let loads: Vec<&ProgramHeader> = headers.of_type(pt::PT_LOAD).collect();
        let linked = linked_span(&loads);
        Self {
            region: Region {
                host: None,
                span: start..start + linked.len(),
            },
            bias: start.wrapping_sub(linked.start),
            headers,
        }
    }
}

/// Returns the pages that segments are linked to lie in.
fn linked_span(loads: &[&ProgramHeader]) -> Range<usize> {
    let first = loads
        .first()
        .map_or(0, |segment| page_floor(address(segment.p_vaddr)));
    let last = loads.last().map_or(0, |segment| {
        page_ceil(address(segment.p_vaddr) + address(segment.p_memsz))
    });
    first..last
}

fn map_segment(
    host: &dyn Host,
    file: &dyn File,
    segment: &ProgramHeader,
    bias: usize,
) -> Result<(), (&'static str, Errno)> {
    let access = access(segment.p_flags);
    let vaddr = address(segment.p_vaddr);
    let (start, file_end) = (page_floor(vaddr), vaddr + address(segment.p_filesz));
    let (mapped_end, end) = (
        page_ceil(file_end),
        page_ceil(vaddr + address(segment.p_memsz)),
    );
    let offset = segment.p_offset - (vaddr - start) as u64;
    let at = |vaddr: usize| bias.wrapping_add(vaddr);
    let has_file_part = segment.p_filesz != 0;
    if has_file_part {
        // SAFETY: the pages lie in the region reserved for this object (`Headers::check` ordered the segments), and
        // nobody knows them yet.
        unsafe { file.map(at(start), mapped_end - start, offset, access) }
            .map_err(|errno| (SEGMENT, errno))?;
    }
    let zero_start = if has_file_part { mapped_end } else { start };
    if segment.p_memsz > segment.p_filesz && has_file_part && file_end < mapped_end {
        if matches!(access, Access::ReadWrite | Access::ReadWriteExecute) {
            // SAFETY: the tail of the last file page is mapped, writable, private, and nobody knows it yet.
            unsafe { core::ptr::write_bytes(at(file_end) as *mut u8, 0, mapped_end - file_end) };
        } else {
            let protect = |access| {
                // SAFETY: one page of the region, which nobody knows yet.
                unsafe { host.protect(at(mapped_end - PAGE_SIZE), PAGE_SIZE, access) }
                    .map_err(|errno| ("cannot change memory protections", errno))
            };
            protect(Access::ReadWrite)?;
            // SAFETY: the tail of the last file page, which is writable now, private, and known to nobody yet.
            unsafe { core::ptr::write_bytes(at(file_end) as *mut u8, 0, mapped_end - file_end) };
            protect(access)?;
        }
    }
    if end > zero_start {
        // SAFETY: the pages lie in the region reserved for this object, and nobody knows them yet.
        unsafe { host.zero(at(zero_start), end - zero_start, access) }
            .map_err(|errno| ("cannot map zero-fill pages", errno))?;
    }
    Ok(())
}

/// Returns what a segment's flags permit.
pub(crate) fn access(flags: u32) -> Access {
    if flags & (pt::PF_W | pt::PF_X) == pt::PF_W | pt::PF_X {
        Access::ReadWriteExecute
    } else if flags & pt::PF_W != 0 {
        Access::ReadWrite
    } else if flags & pt::PF_X != 0 {
        Access::ReadExecute
    } else if flags & pt::PF_R != 0 {
        Access::Read
    } else {
        Access::None
    }
}

/// Rounds down to a page boundary.
pub(crate) fn page_floor(address: usize) -> usize {
    address & !(PAGE_SIZE - 1)
}

/// Rounds up to a page boundary.
pub(crate) fn page_ceil(address: usize) -> usize {
    page_floor(address + PAGE_SIZE - 1)
}
