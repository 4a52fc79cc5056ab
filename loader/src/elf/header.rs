//! The file header and the program headers: may this file be loaded, and what of it.

use alloc::vec;
use alloc::vec::Vec;

use goblin::container::{Container, Ctx, Endian};
use goblin::elf::{Elf, Header};
use goblin::elf::{header, program_header};

use super::ProgramHeader;
use crate::host::{Errno, File, PAGE_SIZE};

/// What the headers of a loadable file say.
pub(crate) struct Headers {
    /// ET_EXEC: the file goes to the addresses it was linked for.
    pub(crate) fixed: bool,
    /// The entry point, not relocated.
    pub(crate) entry: usize,
    /// Where the program headers lie in the file.
    pub(crate) phoff: usize,
    /// The program headers.
    pub(crate) segments: Vec<ProgramHeader>,
}

/// Why a file is not loadable.
pub(crate) enum Problem {
    /// It cannot be read.
    Read(Errno),
    /// It is for another machine: as good as absent.
    OtherMachine,
    /// It is not an ELF file this machine can run; the text is glibc's.
    Malformed(&'static str),
}

impl Headers {
    /// Reads the headers of a file.
    pub(crate) fn read(file: &dyn File) -> Result<Self, Problem> {
        let mut bytes = [0; 64];
        if file.size() < 64 {
            return Err(Problem::Malformed("file too short"));
        }
        file.read_exact_at(0, &mut bytes).map_err(Problem::Read)?;
        if !bytes.starts_with(header::ELFMAG) {
            return Err(Problem::Malformed("invalid ELF header"));
        }
        if bytes[header::EI_CLASS] != header::ELFCLASS64 {
            return Err(Problem::Malformed("wrong ELF class: ELFCLASS32"));
        }
        if bytes[header::EI_DATA] != header::ELFDATA2LSB {
            return Err(Problem::Malformed(
                "ELF file data encoding not little-endian",
            ));
        }
        let ehdr: Header =
            Elf::parse_header(&bytes).map_err(|_| Problem::Malformed("invalid ELF header"))?;
        if ehdr.e_machine != header::EM_X86_64 {
            return Err(Problem::OtherMachine);
        }
        let fixed = match ehdr.e_type {
            header::ET_EXEC => true,
            header::ET_DYN => false,
            _ => return Err(Problem::Malformed("only ET_DYN and ET_EXEC can be loaded")),
        };
        if usize::from(ehdr.e_phentsize) != program_header::program_header64::SIZEOF_PHDR {
            return Err(Problem::Malformed(
                "ELF file's phentsize not the expected size",
            ));
        }
        let count = usize::from(ehdr.e_phnum);
        let mut table = vec![0; count * program_header::program_header64::SIZEOF_PHDR];
        if ehdr
            .e_phoff
            .checked_add(table.len() as u64)
            .is_none_or(|end| end > file.size())
        {
            return Err(Problem::Malformed("cannot read file data"));
        }
        file.read_exact_at(ehdr.e_phoff, &mut table)
            .map_err(Problem::Read)?;
        let ctx = Ctx::new(Container::Big, Endian::Little);
        let segments = program_header::ProgramHeader::parse(&table, 0, count, ctx)
            .map_err(|_| Problem::Malformed("invalid program headers"))?
            .into_iter()
            .map(ProgramHeader::from)
            .collect();
        let headers = Self {
            fixed,
            entry: usize::try_from(ehdr.e_entry).unwrap_or(0),
            phoff: usize::try_from(ehdr.e_phoff).unwrap_or(0),
            segments,
        };
        headers.check(file.size())?;
        Ok(headers)
    }

    /// Checks what mapping relies on: PT_LOADs in ascending order, page-congruent, inside the file and the lower half.
    fn check(&self, size: u64) -> Result<(), Problem> {
        let mut end = 0;
        for segment in self.of_type(program_header::PT_LOAD) {
            if segment.p_vaddr % PAGE_SIZE as u64 != segment.p_offset % PAGE_SIZE as u64 {
                return Err(Problem::Malformed(
                    "ELF load command address/offset not properly aligned",
                ));
            }
            if segment.p_align > 1 && !segment.p_align.is_power_of_two() {
                return Err(Problem::Malformed(
                    "ELF load command alignment not page-aligned",
                ));
            }
            let last = segment
                .p_vaddr
                .checked_add(segment.p_memsz)
                .filter(|&last| last < 1 << 46);
            let in_file = segment
                .p_offset
                .checked_add(segment.p_filesz)
                .is_some_and(|last| last <= size);
            match last {
                Some(last)
                    if in_file && segment.p_filesz <= segment.p_memsz && segment.p_vaddr >= end =>
                {
                    end = last;
                }
                _ => return Err(Problem::Malformed("ELF load command past end of file")),
            }
        }
        if end == 0 {
            return Err(Problem::Malformed("object file has no loadable segments"));
        }
        Ok(())
    }

    /// Returns the program headers of one type.
    pub(crate) fn of_type(&self, p_type: u32) -> impl Iterator<Item = &ProgramHeader> {
        self.segments
            .iter()
            .filter(move |segment| segment.p_type == p_type)
    }
}

/// Says whether a file is an ELF file for a machine, or of a class, that is not this one: a search goes on then.
pub(crate) fn is_for_another_machine(file: &dyn File) -> bool {
    let mut bytes = [0; 20];
    if file.size() < 64 || file.read_exact_at(0, &mut bytes).is_err() {
        return false;
    }
    let [.., low, high] = bytes;
    bytes.starts_with(header::ELFMAG)
        && (bytes[header::EI_CLASS] != header::ELFCLASS64
            || u16::from_le_bytes([low, high]) != header::EM_X86_64)
}

/// Returns the interpreter a program asks for, if any.
pub(crate) fn interpreter(file: &dyn File, headers: &Headers) -> Result<Option<Vec<u8>>, Problem> {
    let Some(segment) = headers.of_type(program_header::PT_INTERP).next() else {
        return Ok(None);
    };
    let len = usize::try_from(segment.p_filesz).unwrap_or(usize::MAX);
    if len > PAGE_SIZE {
        return Err(Problem::Malformed("invalid interpreter path"));
    }
    let mut path = vec![0; len];
    file.read_exact_at(segment.p_offset, &mut path)
        .map_err(Problem::Read)?;
    path.truncate(path.iter().position(|&byte| byte == 0).unwrap_or(len));
    Ok(Some(path))
}
