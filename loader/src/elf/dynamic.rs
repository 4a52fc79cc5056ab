//! The dynamic section, collected into one structure of plain numbers.

use alloc::vec::Vec;

use goblin::elf::dynamic as dt;

use super::{Dyn, Rela};

/// DT_GNU_HASH's younger relatives, for which `goblin` has no names.
const DT_RELRSZ: u64 = 35;
const DT_RELR: u64 = 36;
const DT_RELRENT: u64 = 37;
/// Of Solaris, for which `goblin` has no names either.
const DT_AUXILIARY: u64 = 0x7fff_fffd;
const DT_FILTER: u64 = 0x7fff_ffff;
const DT_DEPAUDIT: u64 = 0x6fff_fefb;
const DT_AUDIT: u64 = 0x6fff_fefc;
/// GNU's own flags, of which there is one.
const DT_GNU_FLAGS_1: u64 = 0x6fff_fdf4;
const DF_GNU_1_UNIQUE: u64 = 1;
/// Of DT_FLAGS_1.
const DF_1_NOW: u64 = 1;
const DF_1_NODELETE: u64 = 8;
const DF_1_INITFIRST: u64 = 0x20;
const DF_1_NOOPEN: u64 = 0x40;
const DF_1_NODEFLIB: u64 = 0x800;
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

/// DT_FILTER or DT_AUXILIARY: an object whose definitions come before this one's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    /// Where its name is in the string table.
    pub(crate) name: usize,
    /// DT_AUXILIARY: it may be missing.
    pub(crate) auxiliary: bool,
}

/// What a dynamic section says. Addresses are as linked.
#[derive(Default)]
pub(crate) struct Dynamic {
    pub(crate) needed: Vec<usize>,
    /// In the order of the entries.
    pub(crate) filters: Vec<Filter>,
    pub(crate) soname: Option<usize>,
    pub(crate) rpath: Option<usize>,
    pub(crate) runpath: Option<usize>,
    /// DT_AUDIT: where the names of auditors are in the string table.
    pub(crate) audit: Option<usize>,
    /// DT_DEPAUDIT: where the names of further auditors are.
    pub(crate) depaudit: Option<usize>,
    pub(crate) strings: Table,
    pub(crate) symbols: Option<usize>,
    pub(crate) hash: Option<usize>,
    pub(crate) gnu_hash: Option<usize>,
    pub(crate) rela: Table,
    /// DT_RELACOUNT: how many of those, by its own account, are relative.
    pub(crate) relative_count: usize,
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
    /// DF_1_INITFIRST: initialised before everything else of its load.
    pub(crate) initfirst: bool,
    /// DF_1_NOOPEN: only for start-up, not for `dlopen`.
    pub(crate) noopen: bool,
    /// DF_1_NODEFLIB: what it needs is not looked for in the default directories.
    pub(crate) nodeflib: bool,
    /// DF_GNU_1_UNIQUE: one for all namespaces.
    pub(crate) unique: bool,
    /// DF_1_PIE: a position-independent program.
    pub(crate) program: bool,
    /// An entry that says other sizes or kinds than those the psABI has.
    pub(crate) inconsistent: Option<&'static str>,
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
                DT_FILTER | DT_AUXILIARY => dynamic.filters.push(Filter {
                    name: value,
                    auxiliary: entry.d_tag == DT_AUXILIARY,
                }),
                dt::DT_SONAME => dynamic.soname = Some(value),
                dt::DT_RPATH => dynamic.rpath = Some(value),
                dt::DT_RUNPATH => dynamic.runpath = Some(value),
                DT_AUDIT => dynamic.audit = Some(value),
                DT_DEPAUDIT => dynamic.depaudit = Some(value),
                dt::DT_STRTAB => dynamic.strings.vaddr = value,
                dt::DT_STRSZ => dynamic.strings.size = value,
                dt::DT_SYMTAB => dynamic.symbols = Some(value),
                dt::DT_HASH => dynamic.hash = Some(value),
                dt::DT_GNU_HASH => dynamic.gnu_hash = Some(value),
                dt::DT_RELA => dynamic.rela.vaddr = value,
                dt::DT_RELASZ => dynamic.rela.size = value,
                dt::DT_RELACOUNT => dynamic.relative_count = value,
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
                dt::DT_PLTREL if entry.d_val != dt::DT_RELA => {
                    dynamic.inconsistent = Some("DT_PLTREL is not DT_RELA");
                }
                dt::DT_RELAENT if value != size_of::<Rela>() => {
                    dynamic.inconsistent = Some("DT_RELAENT is not the size of a relocation");
                }
                DT_RELRENT if value != size_of::<u64>() => {
                    dynamic.inconsistent = Some("DT_RELRENT is not the size of a word");
                }
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
                    dynamic.initfirst |= entry.d_val & DF_1_INITFIRST != 0;
                    dynamic.noopen |= entry.d_val & DF_1_NOOPEN != 0;
                    dynamic.nodeflib |= entry.d_val & DF_1_NODEFLIB != 0;
                    dynamic.program |= entry.d_val & DF_1_PIE != 0;
                }
                DT_GNU_FLAGS_1 => dynamic.unique |= entry.d_val & DF_GNU_1_UNIQUE != 0,
                _ => {}
            }
        }
        // A size without a table means nothing.
        for table in [
            &mut dynamic.rela,
            &mut dynamic.plt_rela,
            &mut dynamic.relr,
            &mut dynamic.preinit_array,
            &mut dynamic.init_array,
            &mut dynamic.fini_array,
        ] {
            if table.vaddr == 0 {
                table.size = 0;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(d_tag: u64, d_val: u64) -> Dyn {
        Dyn { d_tag, d_val }
    }

    #[test]
    fn filters_keep_their_order_and_kind() {
        let dynamic = Dynamic::parse(&[
            entry(DT_AUXILIARY, 7),
            entry(DT_FILTER, 3),
            entry(dt::DT_NULL, 0),
            entry(DT_FILTER, 9),
        ]);
        let expected = [
            Filter {
                name: 7,
                auxiliary: true,
            },
            Filter {
                name: 3,
                auxiliary: false,
            },
        ];
        assert_eq!(dynamic.filters, expected);
    }

    #[test]
    fn each_flag_sets_its_own_field() {
        let set = |tag, flags| {
            let dynamic = Dynamic::parse(&[entry(tag, flags)]);
            [
                dynamic.bind_now,
                dynamic.nodelete,
                dynamic.initfirst,
                dynamic.noopen,
                dynamic.nodeflib,
                dynamic.program,
                dynamic.unique,
            ]
        };
        let only = |index| core::array::from_fn(|at| at == index);
        // The values are those of <elf.h>.
        for (index, flag) in [0x1, 0x8, 0x20, 0x40, 0x800, 0x800_0000]
            .into_iter()
            .enumerate()
        {
            assert_eq!(set(0x6fff_fffb, flag), only(index), "DT_FLAGS_1 {flag:#x}");
        }
        assert_eq!(set(0x6fff_fdf4, 1), only(6));
    }
}
