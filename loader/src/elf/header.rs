//! The file header and the program headers: may this file be loaded, and what of it.

use alloc::vec;
use alloc::vec::Vec;

use goblin::container::{Container, Ctx, Endian};
use goblin::elf::{Elf, Header};
use goblin::elf::{header, program_header};

use super::ProgramHeader;
use super::note::Notes;
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
    /// The micro-architecture levels it needs: GNU_PROPERTY_X86_ISA_1_NEEDED.
    pub(crate) isa_needed: u32,
}

/// Why a file is not loadable.
pub(crate) enum Problem {
    /// It cannot be read.
    Read(Errno),
    /// It is for another machine: as good as absent.
    OtherMachine,
    /// It is not an ELF file this machine can run; the text is glibc's.
    Malformed(&'static str),
    /// It is one, but cannot be mapped; ld.so then says the name it was asked for by, not the path.
    Unloadable(&'static str),
}

/// The largest table of program headers that is read: what Linux allows programs. No linker comes near it.
const MAX_TABLE: usize = 64 << 10;

impl Headers {
    /// Makes the headers of a file that is one segment as a whole.
    pub(crate) fn of_segment(segment: ProgramHeader) -> Self {
        Self {
            fixed: false,
            entry: 0,
            phoff: 0,
            segments: vec![segment],
            isa_needed: 0,
        }
    }

    /// Reads the headers of a file.
    pub(crate) fn read(file: &dyn File) -> Result<Self, Problem> {
        let mut bytes = [0; 64];
        if file.size() < 64 {
            return Err(Problem::Malformed("file too short"));
        }
        file.read_exact_at(0, &mut bytes).map_err(Problem::Read)?;
        check_identification(&bytes)?;
        let ehdr: Header =
            Elf::parse_header(&bytes).map_err(|_| Problem::Malformed("invalid ELF header"))?;
        if ehdr.e_version != u32::from(header::EV_CURRENT) {
            return Err(Problem::Malformed(
                "ELF file version does not match current one",
            ));
        }
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
        let size = count * program_header::program_header64::SIZEOF_PHDR;
        if ehdr
            .e_phoff
            .checked_add(size as u64)
            .is_none_or(|end| end > file.size())
        {
            return Err(Problem::Malformed("cannot read file data"));
        }
        if size > MAX_TABLE {
            return Err(Problem::Malformed("too many program headers"));
        }
        let mut table = vec![0; size];
        file.read_exact_at(ehdr.e_phoff, &mut table)
            .map_err(Problem::Read)?;
        let ctx = Ctx::new(Container::Big, Endian::Little);
        let segments = program_header::ProgramHeader::parse(&table, 0, count, ctx)
            .map_err(|_| Problem::Malformed("invalid program headers"))?
            .into_iter()
            .map(ProgramHeader::from)
            .collect();
        let mut headers = Self {
            fixed,
            entry: usize::try_from(ehdr.e_entry).unwrap_or(0),
            phoff: usize::try_from(ehdr.e_phoff).unwrap_or(0),
            segments,
            isa_needed: 0,
        };
        headers.isa_needed = headers.read_notes(file);
        headers.check(file.size()).map_err(Problem::Unloadable)?;
        Ok(headers)
    }

    /// Reads the notes that say what processor the file needs.
    fn read_notes(&self, file: &dyn File) -> u32 {
        let mut isa_needed = 0;
        for segment in self.of_type(program_header::PT_NOTE) {
            let size = usize::try_from(segment.p_filesz).unwrap_or(usize::MAX);
            // Notes that are not there, or of absurd size, are no notes.
            if size > MAX_TABLE || !matches!(segment.p_align, 4 | 8) {
                continue;
            }
            let mut bytes = vec![0; size];
            if file.read_exact_at(segment.p_offset, &mut bytes).is_ok() {
                let notes = Notes::new(&bytes, segment.p_align == 8);
                isa_needed |= notes.fold(0, |levels, note| levels | note.isa_needed());
            }
        }
        isa_needed
    }

    /// Checks what mapping relies on: PT_LOADs in ascending order, none of which shares a page with another,
    /// page-congruent, inside the file and the lower half.
    fn check(&self, size: u64) -> Result<(), &'static str> {
        const PAGE: u64 = PAGE_SIZE as u64;
        let mut end = 0;
        let mut empty = true;
        for segment in self.of_type(program_header::PT_LOAD) {
            if segment.p_vaddr % PAGE != segment.p_offset % PAGE {
                return Err("ELF load command address/offset not page-aligned");
            }
            if segment.p_align > 1 && !segment.p_align.is_power_of_two() {
                return Err("ELF load command alignment not page-aligned");
            }
            let in_file = segment.p_offset.checked_add(segment.p_filesz);
            if in_file.is_none_or(|last| last > size) {
                return Err("ELF load command past end of file");
            }
            if segment.p_filesz > segment.p_memsz {
                return Err("ELF load command larger in the file than in memory");
            }
            let last = segment.p_vaddr.checked_add(segment.p_memsz);
            let last = last.filter(|&last| last < 1 << 46);
            // In these two cases ld.so learns of it from mmap.
            let unmappable = "failed to map segment from shared object";
            let last = last.ok_or(unmappable)?;
            if segment.p_vaddr - segment.p_vaddr % PAGE < end {
                return Err(unmappable);
            }
            end = last.next_multiple_of(PAGE);
            empty &= segment.p_memsz == 0;
        }
        if empty {
            return Err("object file has no loadable segments");
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

/// Checks `e_ident` in ld.so's order, with its texts.
fn check_identification(bytes: &[u8; 64]) -> Result<(), Problem> {
    let what = if !bytes.starts_with(header::ELFMAG) {
        "invalid ELF header"
    } else if bytes[header::EI_CLASS] != header::ELFCLASS64 {
        "wrong ELF class: ELFCLASS32"
    } else if bytes[header::EI_DATA] != header::ELFDATA2LSB {
        "ELF file data encoding not little-endian"
    } else if bytes[header::EI_VERSION] != header::EV_CURRENT {
        "ELF file version ident does not match current one"
    } else if !matches!(
        bytes[header::EI_OSABI],
        header::ELFOSABI_SYSV | header::ELFOSABI_GNU
    ) {
        "ELF file OS ABI invalid"
    } else if bytes[header::EI_ABIVERSION] > highest_abi_version(bytes[header::EI_OSABI]) {
        "ELF file ABI version invalid"
    } else if bytes[header::EI_ABIVERSION + 1..header::SIZEOF_IDENT]
        .iter()
        .any(|&byte| byte != 0)
    {
        "nonzero padding in e_ident"
    } else {
        return Ok(());
    };
    Err(Problem::Malformed(what))
}

/// Returns the highest EI_ABIVERSION for an OS ABI: glibc's `LIBC_ABI_MAX - 1` for GNU.
fn highest_abi_version(os_abi: u8) -> u8 {
    if os_abi == header::ELFOSABI_GNU { 3 } else { 0 }
}

/// What keeps an ELF file from being one for this machine.
pub(crate) enum OtherMachine {
    /// It is a 32-bit file.
    Class,
    /// It is for other instructions.
    Kind,
}

/// Says whether a file is an ELF file for a machine, or of a class, that is not this one: a search goes on then.
pub(crate) fn other_machine(file: &dyn File) -> Option<OtherMachine> {
    let mut bytes = [0; 20];
    if file.size() < 64 || file.read_exact_at(0, &mut bytes).is_err() {
        return None;
    }
    let [.., low, high] = bytes;
    if !bytes.starts_with(header::ELFMAG) {
        None
    } else if bytes[header::EI_CLASS] == header::ELFCLASS32 {
        Some(OtherMachine::Class)
    } else if u16::from_le_bytes([low, high]) != header::EM_X86_64 {
        Some(OtherMachine::Kind)
    } else {
        None
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks PT_LOADs, given by address, size in the file, size in memory, and alignment, of a file of 1 MiB.
    fn check(loads: &[[u64; 4]]) -> Result<(), &'static str> {
        let load = |&[p_vaddr, p_filesz, p_memsz, p_align]: &[u64; 4]| ProgramHeader {
            p_type: program_header::PT_LOAD,
            p_flags: program_header::PF_R,
            p_offset: p_vaddr % PAGE_SIZE as u64,
            p_vaddr,
            p_paddr: 0,
            p_filesz,
            p_memsz,
            p_align,
        };
        let headers = Headers {
            fixed: false,
            entry: 0,
            phoff: 0,
            segments: loads.iter().map(load).collect(),
            isa_needed: 0,
        };
        headers.check(1 << 20)
    }

    #[test]
    fn segments_may_touch_and_may_not_share_a_page() {
        let unmappable = Err("failed to map segment from shared object");
        assert_eq!(check(&[[0, 8, 0x1000, 1], [0x1000, 8, 8, 1]]), Ok(()));
        assert_eq!(check(&[[0, 8, 8, 1], [0x800, 8, 8, 1]]), unmappable);
        assert_eq!(check(&[[0x1000, 8, 8, 1], [0, 8, 8, 1]]), unmappable);
    }

    #[test]
    fn sizes_that_nobody_has_are_refused() {
        let unmappable = Err("failed to map segment from shared object");
        assert_eq!(check(&[[0, 8, 1 << 45, 1]]), Ok(()));
        assert_eq!(check(&[[0, 8, 1 << 47, 1]]), unmappable);
        assert_eq!(check(&[[u64::MAX - 0xfff, 8, 0x2000, 1]]), unmappable);
        let beyond = Err("ELF load command past end of file");
        assert_eq!(check(&[[0, 1 << 45, 1 << 45, 1]]), beyond);
        assert_eq!(check(&[[0, u64::MAX, u64::MAX, 1]]), beyond);
        let align = Err("ELF load command alignment not page-aligned");
        assert_eq!(check(&[[0, 8, 8, 0x3000]]), align);
    }

    #[test]
    fn segments_without_memory_are_none() {
        let none = Err("object file has no loadable segments");
        assert_eq!(check(&[]), none);
        assert_eq!(check(&[[0x1000, 0, 0, 1]]), none);
        assert_eq!(check(&[[0, 8, 8, 1], [0x1000, 0, 0, 1]]), Ok(()));
    }
}
