//! An object's tables, viewed in its own memory and checked against its PT_LOAD segments.

use goblin::elf::program_header as pt;

use crate::elf::address;
use crate::elf::dynamic::{Dynamic, Table};
use crate::elf::hash::{GnuHash, HashTable};
use crate::elf::version::{self, Versions};
use crate::elf::{ProgramHeader, Rela, Sym, string_at};
use crate::error::Error;
use crate::host::Access;
use crate::image::access;

/// An object's PT_TLS segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TlsSegment {
    /// Address of the initialisation image.
    pub(crate) image: usize,
    /// Size of the image.
    pub(crate) file_size: usize,
    /// Size of the block.
    pub(crate) size: usize,
    /// Alignment of the block.
    pub(crate) align: usize,
    /// Residue of the block's address modulo its alignment.
    pub(crate) skew: usize,
}

/// The tables of an object, in its own memory. Valid for as long as the object's region is mapped, which is why they
/// are handed out only for the lifetime of the object.
pub(crate) struct Tables {
    pub(crate) strings: &'static [u8],
    pub(crate) symbols: &'static [Sym],
    pub(crate) hash: Option<HashTable<'static>>,
    pub(crate) versym: Option<&'static [u16]>,
    pub(crate) versions: Versions<'static>,
    pub(crate) rela: &'static [Rela],
    pub(crate) plt_rela: &'static [Rela],
    pub(crate) relr: &'static [u64],
}

/// What is wrong with an object's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// The reason.
    Malformed(&'static str),
    /// A version record of another format: its kind, and the number of the format.
    VersionRecord(&'static str, u16),
}

impl Problem {
    /// Makes the error about an object.
    pub(crate) fn about(self, object: &[u8]) -> Error {
        let object = object.to_vec();
        match self {
            Self::Malformed(what) => Error::Malformed { object, what },
            Self::VersionRecord(kind, format) => Error::VersionRecord {
                object,
                kind,
                format,
            },
        }
    }
}

impl From<version::Problem> for Problem {
    fn from(problem: version::Problem) -> Self {
        match problem {
            version::Problem::Outside => Self::Malformed("version table outside the object"),
            version::Problem::Overlap => Self::Malformed("version records overlap"),
            version::Problem::Format { kind, format } => Self::VersionRecord(kind, format),
        }
    }
}

impl Tables {
    /// Finds the tables a dynamic section names.
    pub(crate) fn find(memory: &Memory<'_>, dynamic: &Dynamic) -> Result<Self, Problem> {
        if let Some(what) = dynamic.inconsistent {
            return Err(Problem::Malformed(what));
        }
        let outside = "string table outside the object";
        let strings = match dynamic.strings {
            // ld.so does not ask for its size.
            Table { vaddr, size: 0 } if vaddr != 0 => memory.from(vaddr, outside)?,
            table => memory.table(table, outside)?,
        };
        let symbols = match dynamic.symbols {
            Some(vaddr) => memory.from(vaddr, "symbol table outside the object")?,
            None => &[],
        };
        let outside = "hash table outside the object";
        let hash = match (dynamic.gnu_hash, dynamic.hash) {
            (Some(vaddr), _) => {
                let table = GnuHash::new(memory.from(vaddr, outside)?);
                Some(HashTable::Gnu(table.ok_or(Problem::Malformed(outside))?))
            }
            (None, Some(vaddr)) => Some(HashTable::SysV(memory.from(vaddr, outside)?)),
            (None, None) => None,
        };
        let outside = "version table outside the object";
        let versym = dynamic.versym.map(|vaddr| memory.from(vaddr, outside));
        let records = |table: Option<(usize, usize)>| match table {
            Some((vaddr, count)) => memory
                .from(vaddr, outside)
                .map(|bytes| Some((bytes, count))),
            None => Ok(None),
        };
        let (definitions, needs) = (records(dynamic.verdef)?, records(dynamic.verneed)?);
        let outside = "relocation table outside the object";
        let tables = Self {
            strings,
            symbols,
            hash,
            versym: versym.transpose()?,
            versions: Versions::parse(definitions, needs, strings)?,
            rela: memory.table(dynamic.rela, outside)?,
            plt_rela: memory.table(dynamic.plt_rela, outside)?,
            relr: memory.table(dynamic.relr, outside)?,
        };
        let names = tables.check_names(dynamic);
        names.ok_or(Problem::Malformed("invalid name in the dynamic section"))?;
        Ok(tables)
    }

    /// Checks that the names a dynamic section refers to are there; those of other objects must not be empty.
    fn check_names(&self, dynamic: &Dynamic) -> Option<()> {
        let own = [dynamic.soname, dynamic.rpath, dynamic.runpath];
        for offset in own.into_iter().flatten() {
            string_at(self.strings, offset)?;
        }
        let filters = dynamic.filters.iter().map(|filter| filter.name);
        for offset in dynamic.needed.iter().copied().chain(filters) {
            string_at(self.strings, offset).filter(|name| !name.is_empty())?;
        }
        Some(())
    }
}

/// Says whether a segment can be read: on this machine, whatever can be written or executed can.
fn is_readable(segment: &ProgramHeader) -> bool {
    access(segment.p_flags) != Access::None
}

/// Finds the PT_DYNAMIC header that counts: as for ld.so the last of those that are not empty.
pub(crate) fn dynamic_section(segments: &[ProgramHeader]) -> Result<&ProgramHeader, &'static str> {
    segments
        .iter()
        .rfind(|segment| segment.p_type == pt::PT_DYNAMIC && segment.p_filesz != 0)
        .filter(|segment| segment.p_vaddr != 0)
        .ok_or("object file has no dynamic section")
}

/// An object's memory as its PT_LOAD headers describe it: the bounds every table is checked against.
pub(crate) struct Memory<'a> {
    pub(crate) bias: usize,
    pub(crate) segments: &'a [ProgramHeader],
}

impl Memory<'_> {
    /// Returns how many bytes there are from `vaddr` to the end of its segment, if it lies in a readable one. What the
    /// file does not hold does not count: no table lies in zeros, and there may be a great many of them.
    fn room(&self, vaddr: usize) -> Option<usize> {
        self.segments
            .iter()
            .filter(|segment| segment.p_type == pt::PT_LOAD && is_readable(segment))
            .filter(|segment| vaddr >= address(segment.p_vaddr))
            .find_map(|segment| {
                // Segments may touch: the end of one is the start of the next.
                (address(segment.p_vaddr) + address(segment.p_filesz))
                    .checked_sub(vaddr)
                    .filter(|&room| room != 0)
            })
    }

    /// Views `size` bytes at `vaddr` as an array (a partial last element is left out).
    pub(crate) fn slice<T>(&self, vaddr: usize, size: usize) -> Option<&'static [T]> {
        let at = self.bias.wrapping_add(vaddr);
        if size > self.room(vaddr)? || !at.is_multiple_of(align_of::<T>()) {
            return None;
        }
        // SAFETY: the bytes lie in a readable segment of the object and `at` is aligned; all `T` used here are plain
        // integers in a row. The lifetime is the region's: `Tables` says how that is kept.
        Some(unsafe { core::slice::from_raw_parts(at as *const T, size / size_of::<T>()) })
    }

    /// Views everything from `vaddr` to the end of its segment.
    pub(crate) fn from<T>(
        &self,
        vaddr: usize,
        outside: &'static str,
    ) -> Result<&'static [T], Problem> {
        self.room(vaddr)
            .and_then(|room| self.slice(vaddr, room))
            .ok_or(Problem::Malformed(outside))
    }

    /// Views a table of known size; an absent one is empty.
    fn table<T>(&self, table: Table, outside: &'static str) -> Result<&'static [T], Problem> {
        if table.size == 0 {
            return Ok(&[]);
        }
        self.slice(table.vaddr, table.size)
            .ok_or(Problem::Malformed(outside))
    }
}

/// Reads PT_TLS, if there is one.
pub(crate) fn tls_segment(memory: &Memory<'_>) -> Result<Option<TlsSegment>, &'static str> {
    let Some(segment) = memory
        .segments
        .iter()
        .find(|segment| segment.p_type == pt::PT_TLS)
    else {
        return Ok(None);
    };
    let (vaddr, file_size) = (address(segment.p_vaddr), address(segment.p_filesz));
    let (size, align) = (address(segment.p_memsz), address(segment.p_align).max(1));
    if size == 0 {
        return Ok(None);
    }
    let readable = file_size == 0 || memory.room(vaddr).is_some_and(|room| room >= file_size);
    if !align.is_power_of_two()
        || align > 1 << 20
        || size > 1 << 30
        || file_size > size
        || !readable
    {
        return Err("invalid PT_TLS segment");
    }
    let image = memory.bias.wrapping_add(vaddr);
    Ok(Some(TlsSegment {
        image,
        file_size,
        size,
        align,
        skew: vaddr & (align - 1),
    }))
}

/// Returns where the program headers lie in memory, 0 if nowhere.
pub(crate) fn headers_address(segments: &[ProgramHeader], phoff: usize, bias: usize) -> usize {
    if let Some(segment) = segments
        .iter()
        .find(|segment| segment.p_type == pt::PT_PHDR)
    {
        return bias.wrapping_add(address(segment.p_vaddr));
    }
    segments
        .iter()
        .filter(|segment| segment.p_type == pt::PT_LOAD)
        .find(|segment| {
            let start = address(segment.p_offset);
            (start..start + address(segment.p_filesz)).contains(&phoff)
        })
        .map_or(0, |segment| {
            bias.wrapping_add(address(segment.p_vaddr) + phoff - address(segment.p_offset))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_may_start_where_another_segment_ends() {
        let segment = |p_vaddr, p_memsz| ProgramHeader {
            p_type: pt::PT_LOAD,
            p_flags: pt::PF_R,
            p_offset: 0,
            p_vaddr,
            p_paddr: 0,
            p_filesz: p_memsz,
            p_memsz,
            p_align: 1,
        };
        let segments = [segment(0x1000, 0x1000), segment(0x2000, 0x100)];
        let memory = Memory {
            bias: 0,
            segments: &segments,
        };
        assert_eq!(memory.room(0x1ff0), Some(0x10));
        assert_eq!(memory.room(0x2000), Some(0x100));
        assert_eq!(memory.room(0x2100), None);
        assert_eq!(memory.room(0xfff), None);
    }
}
