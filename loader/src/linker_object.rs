//! What programs are told of the host's own code, which has unwind tables but no file: its vDSO, and other code, of
//! which an object without symbols is made.

use alloc::boxed::Box;

use goblin::elf::program_header as pt;

use crate::auditors::{Mark, Marks};
use crate::elf::ProgramHeader;
use crate::host::HostCode;
use crate::link_map::{Fields, LinkMap, SHORT};
use crate::namespace::BASE;

/// What `dl_iterate_phdr` says of the host's own code. It is allocated, like all that programs are given pointers to.
pub(crate) struct LinkerObject {
    code: HostCode,
    made: [ProgramHeader; 2],
    /// A dynamic section with nothing in it, in case the code has none.
    empty: [u64; 2],
    name: [u8; 16],
    link_map: LinkMap<SHORT>,
    marks: spin::Once<Marks>,
}

impl LinkerObject {
    /// Makes program headers for the host's code, in case it has none.
    pub(crate) fn of(code: HostCode) -> Self {
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
            made: [
                header(pt::PT_LOAD, code.range.start, code.range.len()),
                header(pt::PT_GNU_EH_FRAME, code.eh_frame_hdr, 8),
            ],
            empty: [0; 2],
            name: *b"linux-vdso.so.1\0",
            link_map: LinkMap::new(),
            marks: spin::Once::new(),
            code,
        }
    }

    /// Fills in the link map, when the object is where it stays; returns its address.
    pub(crate) fn link_map(&self) -> usize {
        let at = self.link_map.address();
        let fields = Fields {
            bias: self.headers().0,
            name: self.name_address(),
            dynamic: match self.code.dynamic {
                0 => self.empty.as_ptr().addr(),
                dynamic => dynamic,
            },
            namespace: BASE,
        };
        self.link_map.fill(&fields, at);
        at
    }

    /// Returns what an auditor has to do with it.
    pub(crate) fn mark(&self, auditor: usize) -> &Mark {
        let make = || Box::new(core::array::from_fn(|_| Mark::new(self.link_map.address())));
        &self.marks.call_once(make)[auditor]
    }

    /// Returns the address of the name, a C string.
    pub(crate) fn name_address(&self) -> usize {
        self.name.as_ptr().addr()
    }

    /// Returns its load bias, and where how many program headers are.
    pub(crate) fn headers(&self) -> (usize, usize, u16) {
        let of = |len: usize| u16::try_from(len / size_of::<ProgramHeader>()).unwrap_or(0);
        match &self.code.headers {
            Some(headers) => (self.code.range.start, headers.start, of(headers.len())),
            None => (0, self.made.as_ptr().addr(), of(size_of_val(&self.made))),
        }
    }
}
