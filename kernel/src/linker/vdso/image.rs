//! The vDSO's bytes: a shared object of one page that is linked at 0, with a table of dynamic symbols of version
//! LINUX_2.6, unwind tables, and code: a stub for each function, then one for each gate. Laid out as programs read it
//! that know no section headers: glibc, musl, Go.

use alloc::vec::Vec;
use goblin::elf64::dynamic::{
    DT_HASH, DT_SONAME, DT_STRSZ, DT_STRTAB, DT_SYMENT, DT_SYMTAB, DT_VERDEF, DT_VERDEFNUM,
    DT_VERSYM,
};
use goblin::elf64::header::{
    EI_CLASS, EI_DATA, EI_VERSION, ELFMAG, EM_X86_64, ET_DYN, SIZEOF_EHDR,
};
use goblin::elf64::program_header::{
    PF_R, PF_X, PT_DYNAMIC, PT_GNU_EH_FRAME, PT_LOAD, SIZEOF_PHDR,
};
use goblin::elf64::sym::{STB_GLOBAL, STB_WEAK, STT_FUNC};

/// Bytes of a stub's place.
const STUB: usize = 16;
/// Where the stubs are.
const CODE: usize = 2048;
/// Where their targets are, which a `jmp` through memory reads.
const TARGETS: usize = CODE - 8 * MOST_TARGETS;
const MOST_TARGETS: usize = 16;

const HEADERS: usize = 3;
/// Where the program headers are, and their end.
const PROGRAM_HEADERS: usize = SIZEOF_EHDR;
const PROGRAM_HEADERS_END: usize = PROGRAM_HEADERS + HEADERS * SIZEOF_PHDR;
/// Where the table of the unwind information is.
const EH_FRAME_HDR: usize = PROGRAM_HEADERS_END;
/// Ranges of code with unwind information of their own: the functions, the PLT entries, the gates.
const RANGES: usize = 3;
const EH_FRAME_HDR_SIZE: usize = 12 + 8 * RANGES;
const EH_FRAME: usize = EH_FRAME_HDR + EH_FRAME_HDR_SIZE;
const CIE_SIZE: usize = 24;
const FDE_SIZE: usize = 20;
/// Where the dynamic section is.
const DYNAMIC: usize = (EH_FRAME + CIE_SIZE + RANGES * FDE_SIZE + 4).next_multiple_of(8);
const DYNAMIC_SIZE: usize = 10 * 16;

/// Names, and what the gABI's hash function makes of them.
const SONAME: (&str, u32) = ("linux-vdso.so.1", 0xdeebfa1);
const VERSION: (&str, u32) = ("LINUX_2.6", 0x3ae75f6);
/// Index of that version; 1 is the object's own.
const VERSION_INDEX: u16 = 2;

/// Where the stub of a function is.
pub(super) const fn function(number: usize) -> usize {
    CODE + STUB * number
}

/// Where the stub of a gate is, behind those of so many functions.
pub(super) const fn gate(functions: usize, number: usize) -> usize {
    function(functions + number)
}

/// The object.
pub(super) struct Image(Vec<u8>);

impl Image {
    /// An object with functions, which lead to `targets`, of which the first have these names and the last
    /// `plt_entries` are jumped to with two words on the stack, and with so many gates, which lead to `entry` with
    /// their number in `%r8d`.
    pub(super) fn new(
        names: &[&str],
        (targets, plt_entries): (&[usize], usize),
        gates: usize,
        entry: usize,
    ) -> Self {
        let mut image = Self(Vec::new());
        image.elf_header();
        let load = image.reserve(HEADERS * SIZEOF_PHDR);
        let end = gate(targets.len(), gates);
        let plt = [targets.len() - plt_entries, targets.len()].map(function);
        image.unwind_tables([CODE, plt[0], plt[1], end]);
        image.align();
        assert_eq!(image.reserve(DYNAMIC_SIZE), DYNAMIC);

        let mut strings = Strings(b"\0".to_vec());
        let soname = strings.add(SONAME.0);
        let version = strings.add(VERSION.0);
        let symbols = image.symbols(names, &mut strings);
        let count = 1 + 2 * names.len();
        let hash = image.hash(count);
        let versym = image.0.len();
        image.half(0);
        (1..count).for_each(|_| image.half(VERSION_INDEX));
        image.align();
        let verdef = image.0.len();
        image.version_definition(1, SONAME.1, soname, true);
        image.version_definition(VERSION_INDEX, VERSION.1, version, false);
        let strtab = image.0.len();
        image.0.extend(&strings.0);
        image.align();
        let mut dynamic = Self(Vec::new());
        for (tag, value) in [
            (DT_SONAME, soname),
            (DT_HASH, hash),
            (DT_STRTAB, strtab),
            (DT_SYMTAB, symbols),
            (DT_STRSZ, strings.0.len()),
            (DT_SYMENT, SYMBOL),
            (DT_VERSYM, versym),
            (DT_VERDEF, verdef),
            (DT_VERDEFNUM, 2),
            (0, 0),
        ] {
            dynamic.word(tag);
            dynamic.long(value);
        }
        image.0[DYNAMIC..DYNAMIC + DYNAMIC_SIZE].copy_from_slice(&dynamic.0);

        assert!(
            image.0.len() <= TARGETS,
            "the tables end before the code begins"
        );
        image.0.resize(TARGETS, 0);
        assert!(targets.len() < MOST_TARGETS);
        targets
            .iter()
            .chain([&entry])
            .for_each(|&target| image.long(target));
        image.0.resize(CODE, 0);
        (0..targets.len()).for_each(|number| image.stub(None, number));
        (0..gates).for_each(|number| image.stub(Some(number), targets.len()));

        let segments = [
            (PT_LOAD, (0, end)),
            (PT_DYNAMIC, (DYNAMIC, DYNAMIC_SIZE)),
            (PT_GNU_EH_FRAME, (EH_FRAME_HDR, EH_FRAME_HDR_SIZE)),
        ];
        for (index, (kind, (start, len))) in segments.into_iter().enumerate() {
            image.program_header(load + index * SIZEOF_PHDR, kind, start, len);
        }
        image
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn half(&mut self, value: u16) {
        self.0.extend(value.to_le_bytes());
    }

    fn int(&mut self, value: u32) {
        self.0.extend(value.to_le_bytes());
    }

    fn word(&mut self, value: u64) {
        self.0.extend(value.to_le_bytes());
    }

    /// As 32 bits.
    fn short(&mut self, value: usize) {
        self.0.extend(&value.to_le_bytes()[..4]);
    }

    /// As 64 bits.
    fn long(&mut self, value: usize) {
        self.0.extend(value.to_le_bytes());
    }

    fn longs(&mut self, values: &[usize]) {
        values.iter().for_each(|&value| self.long(value));
    }

    fn align(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(8), 0);
    }

    fn reserve(&mut self, len: usize) -> usize {
        let start = self.0.len();
        self.0.resize(start + len, 0);
        start
    }

    /// The distance from one place to another, as 32 bits.
    fn distance(&mut self, from: usize, to: usize) {
        self.short(to.wrapping_sub(from));
    }

    fn elf_header(&mut self) {
        let mut ident = [0; 16];
        ident[..ELFMAG.len()].copy_from_slice(ELFMAG);
        (ident[EI_CLASS], ident[EI_DATA], ident[EI_VERSION]) = (2, 1, 1);
        self.0.extend(ident);
        self.half(ET_DYN);
        self.half(EM_X86_64);
        self.int(1);
        self.longs(&[0, PROGRAM_HEADERS, 0]);
        self.int(0);
        // Pairs of 16 bits: sizes of headers, of program headers and how many; no sections.
        self.short(SIZEOF_EHDR | SIZEOF_PHDR << 16);
        self.short(HEADERS | 64 << 16);
        self.short(0);
    }

    fn program_header(&mut self, at: usize, kind: u32, start: usize, len: usize) {
        let mut header = Self(Vec::new());
        header.int(kind);
        header.int(if kind == PT_LOAD { PF_R | PF_X } else { PF_R });
        let align = if kind == PT_LOAD { 4096 } else { 8 };
        header.longs(&[start, start, start, len, len, align]);
        self.0[at..at + SIZEOF_PHDR].copy_from_slice(&header.0);
    }

    /// `.eh_frame_hdr` and `.eh_frame` (LSB) for the ranges between these places: in all stubs the return address is at
    /// the stack pointer, but behind two words in the PLT entries, the second range.
    fn unwind_tables(&mut self, places: [usize; RANGES + 1]) {
        assert_eq!(self.0.len(), EH_FRAME_HDR);
        const CIE: [u8; CIE_SIZE] = [
            20, 0, 0, 0, // length
            0, 0, 0, 0, // it is a CIE
            1, b'z', b'R', 0, // version, augmentation
            1, 0x78, 16, // code and data alignment (-8), the return address' column
            1, 0x1b, // FDEs' addresses are relative to their place, in 4 bytes
            0x0c, 7, 8, // DW_CFA_def_cfa rsp, 8
            0x90, 1, // DW_CFA_offset rip, CFA - 8
            0, 0,
        ];
        // What comes behind an FDE's addresses: no augmentation data; padding, or DW_CFA_def_cfa_offset.
        const SAME: [u8; 4] = [0; 4];
        const BEHIND_TWO_WORDS: [u8; 4] = [0, 0x0e, 24, 0];
        let fde = |number: usize| EH_FRAME + CIE_SIZE + FDE_SIZE * number;
        // Version; the encodings of the pointer, the count and the table: relative to place or table, in 4 bytes.
        self.0.extend([1, 0x1b, 0x03, 0x3b]);
        self.distance(EH_FRAME_HDR + 4, EH_FRAME);
        self.short(RANGES);
        for (number, &place) in places.iter().take(RANGES).enumerate() {
            self.distance(EH_FRAME_HDR, place);
            self.distance(EH_FRAME_HDR, fde(number));
        }
        self.0.extend(CIE);
        for (number, rules) in [SAME, BEHIND_TWO_WORDS, SAME].into_iter().enumerate() {
            let at = fde(number);
            self.short(FDE_SIZE - 4);
            self.distance(EH_FRAME, at + 4);
            self.distance(at + 8, places[number]);
            self.short(places[number + 1] - places[number]);
            self.0.extend(rules);
        }
        // The end.
        self.int(0);
    }

    /// Linux' names and, weakly, C's; behind the null symbol.
    fn symbols(&mut self, names: &[&str], strings: &mut Strings) -> usize {
        let start = self.reserve(SYMBOL);
        for (prefix, binding) in [("__vdso_", STB_GLOBAL), ("", STB_WEAK)] {
            for (number, name) in names.iter().enumerate() {
                let name = strings.add(&[prefix, name].concat());
                self.short(name);
                self.0.extend([binding << 4 | STT_FUNC, 0]);
                // Of some section.
                self.half(1);
                self.long(function(number));
                self.long(STUB);
            }
        }
        start
    }

    /// A hash table (gABI) with one bucket, in which all symbols are.
    fn hash(&mut self, count: usize) -> usize {
        let start = self.0.len();
        let next = (1..count).map(|symbol| (symbol + 1) % count);
        [1, count, 1, 0]
            .into_iter()
            .chain(next)
            .for_each(|word| self.short(word));
        self.align();
        start
    }

    /// `Elf64_Verdef` with its `Elf64_Verdaux`.
    fn version_definition(&mut self, index: u16, hash: u32, name: usize, is_base: bool) {
        const VERDEF: u32 = 20;
        const VERDAUX: u32 = 8;
        for half in [1, u16::from(is_base), index, 1] {
            self.half(half);
        }
        self.int(hash);
        self.int(VERDEF);
        self.int(if is_base { VERDEF + VERDAUX } else { 0 });
        self.short(name);
        self.int(0);
    }

    /// `mov r8d, gate` and a jump through memory.
    fn stub(&mut self, gate: Option<usize>, target: usize) {
        let next = self.0.len() + STUB;
        if let Some(gate) = gate {
            self.0.extend([0x41, 0xb8]);
            self.short(gate);
        }
        self.0.extend([0xff, 0x25]);
        self.distance(self.0.len() + 4, TARGETS + 8 * target);
        self.0.resize(next, 0xcc);
    }
}

/// Bytes of a symbol.
const SYMBOL: usize = goblin::elf64::sym::SIZEOF_SYM;

/// A string table.
struct Strings(Vec<u8>);

impl Strings {
    fn add(&mut self, text: &str) -> usize {
        let at = self.0.len();
        self.0.extend(text.bytes().chain([0]));
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use goblin::elf::Elf;

    fn image() -> Image {
        Image::new(&["one", "two"], (&[0x1111, 0x2222, 0x4444], 1), 3, 0x3333)
    }

    #[test]
    fn it_is_an_object_with_versioned_functions() {
        let image = image();
        let elf = Elf::parse(image.bytes()).unwrap();
        assert!(elf.is_lib && elf.is_64);
        assert_eq!(elf.soname, Some(SONAME.0));
        let names: Vec<_> = elf
            .dynsyms
            .iter()
            .map(|symbol| &elf.dynstrtab[symbol.st_name])
            .collect();
        assert_eq!(names, ["", "__vdso_one", "__vdso_two", "one", "two"]);
        let two = elf.dynsyms.get(2).unwrap();
        assert_eq!(
            (two.st_value as usize, two.is_function()),
            (function(1), true)
        );
    }

    #[test]
    fn the_hash_table_leads_to_all_symbols() {
        let image = image();
        let elf = Elf::parse(image.bytes()).unwrap();
        let at = elf.dynamic.unwrap().info.hash.unwrap() as usize;
        let word = |index: usize| {
            let at = at + 4 * index;
            u32::from_le_bytes(image.0[at..at + 4].try_into().unwrap())
        };
        assert_eq!((word(0), word(1)), (1, 5));
        let mut found = Vec::new();
        let mut symbol = word(2);
        while symbol != 0 {
            found.push(symbol);
            symbol = word(3 + symbol as usize);
        }
        assert_eq!(found, [1, 2, 3, 4]);
    }

    #[test]
    fn stubs_lead_to_their_targets() {
        let image = image();
        let target = |at: usize| {
            assert_eq!(image.0[at..at + 2], [0xff, 0x25]);
            let distance = u32::from_le_bytes(image.0[at + 2..at + 6].try_into().unwrap());
            let place = at
                .wrapping_add(6)
                .wrapping_add_signed(distance as i32 as isize);
            u64::from_le_bytes(image.0[place..place + 8].try_into().unwrap())
        };
        assert_eq!(
            [0, 1, 2].map(function).map(target),
            [0x1111, 0x2222, 0x4444]
        );
        for number in 0..3 {
            let at = gate(3, number);
            assert_eq!(image.0[at..at + 6], [0x41, 0xb8, number as u8, 0, 0, 0]);
            assert_eq!(target(at + 6), 0x3333);
        }
    }
}
