//! The dynamic section, collected into one structure of plain numbers.

use alloc::vec::Vec;

use goblin::elf::dynamic as dt;

use super::Dyn;

/// DT_GNU_HASH's younger relatives, for which `goblin` has no names.
const DT_RELRSZ: u64 = 35;
const DT_RELR: u64 = 36;
/// DF_1_NOW and DF_1_NODELETE of DT_FLAGS_1; DF_1_INITFIRST is not used by anything Debian ships.
const DF_1_NOW: u64 = 1;
const DF_1_NODELETE: u64 = 8;
/// A position-independent program.
const DF_1_PIE: u64 = 0x0800_0000;
const DF_SYMBOLIC: u64 = 2;
const DF_TEXTREL: u64 = 4;
const DF_BIND_NOW: u64 = 8;

/// A table: its address as linked, and its size in bytes (0 when the section does not say).
#[derive(Clone, Copy, Default)]
pub(crate) struct Table {
    /// Virtual address, not relocated.
    pub(crate) vaddr: usize,
    /// Size in bytes.
    pub(crate) size: usize,
}

/// What a dynamic section says. Addresses are as linked.
#[derive(Default)]
pub(crate) struct Dynamic {
    pub(crate) needed: Vec<usize>,
    pub(crate) soname: Option<usize>,
    pub(crate) rpath: Option<usize>,
    pub(crate) runpath: Option<usize>,
    pub(crate) strings: Table,
    pub(crate) symbols: Option<usize>,
    pub(crate) hash: Option<usize>,
    pub(crate) gnu_hash: Option<usize>,
    pub(crate) rela: Table,
    pub(crate) plt_rela: Table,
    pub(crate) relr: Table,
    pub(crate) plt_got: Option<usize>,
    pub(crate) versym: Option<usize>,
    /// Address and number of entries.
    pub(crate) verdef: Option<(usize, usize)>,
    /// Address and number of entries.
    pub(crate) verneed: Option<(usize, usize)>,
    pub(crate) init: Option<usize>,
    pub(crate) fini: Option<usize>,
    pub(crate) preinit_array: Table,
    pub(crate) init_array: Table,
    pub(crate) fini_array: Table,
    pub(crate) bind_now: bool,
    pub(crate) symbolic: bool,
    pub(crate) text_relocations: bool,
    pub(crate) nodelete: bool,
    pub(crate) program: bool,
}

impl Dynamic {
    /// Collects the entries up to DT_NULL.
    pub(crate) fn parse(entries: &[Dyn]) -> Self {
        let mut dynamic = Self::default();
        let (mut verdef, mut verdef_count, mut verneed, mut verneed_count) = (None, 0, None, 0);
        for entry in entries
            .iter()
            .take_while(|entry| entry.d_tag != dt::DT_NULL)
        {
            let value = usize::try_from(entry.d_val).unwrap_or(usize::MAX);
            match entry.d_tag {
                dt::DT_NEEDED => dynamic.needed.push(value),
                dt::DT_SONAME => dynamic.soname = Some(value),
                dt::DT_RPATH => dynamic.rpath = Some(value),
                dt::DT_RUNPATH => dynamic.runpath = Some(value),
                dt::DT_STRTAB => dynamic.strings.vaddr = value,
                dt::DT_STRSZ => dynamic.strings.size = value,
                dt::DT_SYMTAB => dynamic.symbols = Some(value),
                dt::DT_HASH => dynamic.hash = Some(value),
                dt::DT_GNU_HASH => dynamic.gnu_hash = Some(value),
                dt::DT_RELA => dynamic.rela.vaddr = value,
                dt::DT_RELASZ => dynamic.rela.size = value,
                dt::DT_JMPREL => dynamic.plt_rela.vaddr = value,
                dt::DT_PLTRELSZ => dynamic.plt_rela.size = value,
                DT_RELR => dynamic.relr.vaddr = value,
                DT_RELRSZ => dynamic.relr.size = value,
                dt::DT_PLTGOT => dynamic.plt_got = Some(value),
                dt::DT_VERSYM => dynamic.versym = Some(value),
                dt::DT_VERDEF => verdef = Some(value),
                dt::DT_VERDEFNUM => verdef_count = value,
                dt::DT_VERNEED => verneed = Some(value),
                dt::DT_VERNEEDNUM => verneed_count = value,
                dt::DT_INIT => dynamic.init = Some(value),
                dt::DT_FINI => dynamic.fini = Some(value),
                dt::DT_PREINIT_ARRAY => dynamic.preinit_array.vaddr = value,
                dt::DT_PREINIT_ARRAYSZ => dynamic.preinit_array.size = value,
                dt::DT_INIT_ARRAY => dynamic.init_array.vaddr = value,
                dt::DT_INIT_ARRAYSZ => dynamic.init_array.size = value,
                dt::DT_FINI_ARRAY => dynamic.fini_array.vaddr = value,
                dt::DT_FINI_ARRAYSZ => dynamic.fini_array.size = value,
                dt::DT_BIND_NOW => dynamic.bind_now = true,
                dt::DT_SYMBOLIC => dynamic.symbolic = true,
                dt::DT_TEXTREL => dynamic.text_relocations = true,
                dt::DT_FLAGS => {
                    dynamic.bind_now |= entry.d_val & DF_BIND_NOW != 0;
                    dynamic.symbolic |= entry.d_val & DF_SYMBOLIC != 0;
                    dynamic.text_relocations |= entry.d_val & DF_TEXTREL != 0;
                }
                dt::DT_FLAGS_1 => {
                    dynamic.bind_now |= entry.d_val & DF_1_NOW != 0;
                    dynamic.nodelete |= entry.d_val & DF_1_NODELETE != 0;
                    dynamic.program |= entry.d_val & DF_1_PIE != 0;
                }
                _ => {}
            }
        }
        dynamic.verdef = verdef.map(|vaddr| (vaddr, verdef_count));
        dynamic.verneed = verneed.map(|vaddr| (vaddr, verneed_count));
        dynamic
    }

    /// Says whether the value of an entry with this tag is an address, which glibc relocates in memory.
    pub(crate) fn is_address(tag: u64) -> bool {
        matches!(
            tag,
            dt::DT_HASH
                | dt::DT_PLTGOT
                | dt::DT_STRTAB
                | dt::DT_SYMTAB
                | dt::DT_RELA
                | dt::DT_JMPREL
                | dt::DT_VERSYM
                | dt::DT_GNU_HASH
        )
    }
}
