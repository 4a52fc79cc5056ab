//! What programs are told of the host's own code, which has unwind tables but no file: an object without symbols.

use goblin::elf::program_header as pt;

use crate::elf::ProgramHeader;
use crate::host::HostCode;

/// What `dl_iterate_phdr` says of the host's own code. It is allocated, like all that programs are given pointers to.
pub(crate) struct LinkerObject {
    headers: [ProgramHeader; 2],
    name: [u8; 16],
}

impl LinkerObject {
    /// Makes program headers for the host's code.
    pub(crate) fn of(code: &HostCode) -> Self {
        let header = |p_type, start: usize, len: usize| ProgramHeader {
            p_type,
            p_flags: pt::PF_R | pt::PF_X,
            p_vaddr: start as u64,
            p_paddr: start as u64,
            p_filesz: len as u64,
            p_memsz: len as u64,
            ..ProgramHeader::default()
        };
        Self {
            headers: [
                header(pt::PT_LOAD, code.range.start, code.range.len()),
                header(pt::PT_GNU_EH_FRAME, code.eh_frame_hdr, 8),
            ],
            name: *b"linux-vdso.so.1\0",
        }
    }

    /// Returns the address of the name, a C string.
    pub(crate) fn name_address(&self) -> usize {
        self.name.as_ptr().addr()
    }

    /// Returns where how many program headers are. What they say is not relative.
    pub(crate) fn headers(&self) -> (usize, u16) {
        (self.headers.as_ptr().addr(), 2)
    }
}
