//! Where the fields of a well-formed object lie in its file, sorted by what they belong to.

use goblin::elf::dynamic as dt;
use goblin::elf::program_header as pt;

const DT_RELRSZ: u64 = 35;
const DT_RELR: u64 = 36;

/// An integer in a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub(crate) at: usize,
    pub(crate) size: usize,
}

/// What fields belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The file header.
    Header,
    /// The program headers.
    Segments,
    /// The dynamic section.
    Dynamic,
    /// The symbol table, its versions, and the string table.
    Symbols,
    /// Both kinds of hash tables.
    Hash,
    /// Version definitions and needs.
    Versions,
    /// RELA, of the PLT too, and RELR.
    Relocations,
    /// INIT and FINI arrays.
    Functions,
    /// Notes.
    Notes,
}

impl Part {
    /// Every part.
    pub(crate) const ALL: [Self; 9] = [
        Self::Header,
        Self::Segments,
        Self::Dynamic,
        Self::Symbols,
        Self::Hash,
        Self::Versions,
        Self::Relocations,
        Self::Functions,
        Self::Notes,
    ];
}

/// The fields of a file, by the number of their part.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    fields: [Vec<Field>; Part::ALL.len()],
    loads: Vec<Load>,
    /// The address of the dynamic section.
    dynamic: usize,
}

/// The part of a segment that comes from the file.
#[derive(Clone, Copy, Debug)]
struct Load {
    vaddr: usize,
    size: usize,
    offset: usize,
}

// Sizes of the members of ELF's structures, in order (gABI).
const EHDR: &[usize] = &[
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 4, 8, 8, 8, 4, 2, 2, 2, 2, 2, 2,
];
const PHDR: &[usize] = &[4, 4, 8, 8, 8, 8, 8, 8];
const DYN: &[usize] = &[8, 8];
const SYM: &[usize] = &[4, 1, 1, 2, 8, 8];
const RELA: &[usize] = &[8, 4, 4, 8];
const VERDEF: &[usize] = &[2, 2, 2, 2, 4, 4, 4];
const VERDAUX: &[usize] = &[4, 4];
const VERNEED: &[usize] = &[2, 2, 4, 4, 4];
const VERNAUX: &[usize] = &[4, 2, 2, 4, 4];

/// A file on which the fields are found.
struct Reader<'a> {
    file: &'a [u8],
    loads: Vec<Load>,
}

impl Reader<'_> {
    fn number(&self, at: usize, size: usize) -> usize {
        let mut bytes = [0; 8];
        if let Some(field) = self.file.get(at..at + size) {
            bytes[..size].copy_from_slice(field);
        }
        usize::from_le_bytes(bytes)
    }

    /// Returns the place in the file of an address as linked.
    fn offset(&self, vaddr: usize) -> Option<usize> {
        self.loads
            .iter()
            .find(|load| (load.vaddr..load.vaddr + load.size).contains(&vaddr))
            .map(|load| vaddr - load.vaddr + load.offset)
    }
}

impl Layout {
    /// Finds the fields of a well-formed file.
    pub(crate) fn of(file: &[u8]) -> Self {
        let mut layout = Self::default();
        let mut reader = Reader {
            file,
            loads: Vec::new(),
        };
        layout.table(Part::Header, 0, 1, EHDR);
        let (phoff, phnum) = (reader.number(32, 8), reader.number(56, 2));
        layout.table(Part::Segments, phoff, phnum, PHDR);
        let mut dynamic = None;
        for header in (0..phnum).map(|index| phoff + 56 * index) {
            let (offset, vaddr) = (reader.number(header + 8, 8), reader.number(header + 16, 8));
            let size = reader.number(header + 32, 8);
            match u32::try_from(reader.number(header, 4)) {
                Ok(pt::PT_LOAD) => reader.loads.push(Load {
                    vaddr,
                    size,
                    offset,
                }),
                Ok(pt::PT_DYNAMIC) => {
                    dynamic = Some((offset, size));
                    layout.dynamic = vaddr;
                }
                Ok(pt::PT_NOTE) => layout.table(Part::Notes, offset, size / 4, &[4]),
                _ => {}
            }
        }
        if let Some((offset, size)) = dynamic {
            layout.table(Part::Dynamic, offset, size / 16, DYN);
            layout.tables(&reader, offset, size / 16);
        }
        layout.loads = reader.loads;
        layout
    }

    /// Takes a file of any kind for a row of 32-bit words.
    pub(crate) fn words(len: usize) -> Self {
        let mut layout = Self::default();
        layout.table(Part::Header, 0, len / 4, &[4]);
        layout
    }

    /// Returns what a file with these headers looks like in memory, and where its dynamic section is there.
    pub(crate) fn image(&self, file: &[u8]) -> (Vec<u8>, usize) {
        let ends = self.loads.iter().map(|load| load.vaddr + load.size);
        let mut image = vec![0; ends.max().unwrap_or(0)];
        for load in &self.loads {
            image[load.vaddr..][..load.size].copy_from_slice(&file[load.offset..][..load.size]);
        }
        (image, self.dynamic)
    }

    /// Returns the fields of a part.
    pub(crate) fn fields(&self, part: Part) -> &[Field] {
        &self.fields[part as usize]
    }

    fn table(&mut self, part: Part, at: usize, count: usize, members: &[usize]) {
        let mut at = at;
        for _ in 0..count {
            for &size in members {
                self.fields[part as usize].push(Field { at, size });
                at += size;
            }
        }
    }

    fn tables(&mut self, reader: &Reader<'_>, dynamic: usize, count: usize) {
        let value = |tag: u64| {
            let mut entries = (0..count).map(|index| dynamic + 16 * index);
            let found = entries.find(|&at| reader.number(at, 8) as u64 == tag)?;
            Some(reader.number(found + 8, 8))
        };
        let place = |tag| reader.offset(value(tag)?);
        let size = |tag| value(tag).unwrap_or(0);
        for (table, bytes) in [
            (dt::DT_RELA, dt::DT_RELASZ),
            (dt::DT_JMPREL, dt::DT_PLTRELSZ),
        ] {
            if let Some(at) = place(table) {
                self.table(Part::Relocations, at, size(bytes) / 24, RELA);
            }
        }
        if let Some(at) = place(DT_RELR) {
            self.table(Part::Relocations, at, size(DT_RELRSZ) / 8, &[8]);
        }
        for (table, bytes) in [
            (dt::DT_INIT_ARRAY, dt::DT_INIT_ARRAYSZ),
            (dt::DT_FINI_ARRAY, dt::DT_FINI_ARRAYSZ),
        ] {
            if let Some(at) = place(table) {
                self.table(Part::Functions, at, size(bytes) / 8, &[8]);
            }
        }
        // The string table follows the symbol table in all objects that GNU's linkers make.
        let (symbols, strings) = (place(dt::DT_SYMTAB), place(dt::DT_STRTAB));
        let mut symbol_count = 0;
        if let (Some(symbols), Some(strings)) = (symbols, strings) {
            symbol_count = strings.saturating_sub(symbols) / 24;
            self.table(Part::Symbols, symbols, symbol_count, SYM);
            self.table(Part::Symbols, strings, size(dt::DT_STRSZ), &[1]);
        }
        if let Some(at) = place(dt::DT_VERSYM) {
            self.table(Part::Symbols, at, symbol_count, &[2]);
        }
        if let Some(at) = place(dt::DT_HASH) {
            let (buckets, chains) = (reader.number(at, 4), reader.number(at + 4, 4));
            self.table(Part::Hash, at, 2 + buckets + chains, &[4]);
        }
        if let Some(at) = place(dt::DT_GNU_HASH) {
            let word = |index: usize| reader.number(at + 4 * index, 4);
            let (buckets, first, bloom) = (word(0), word(1), word(2));
            self.table(Part::Hash, at, 4, &[4]);
            self.table(Part::Hash, at + 16, bloom, &[8]);
            let chains = symbol_count.saturating_sub(first);
            self.table(Part::Hash, at + 16 + 8 * bloom, buckets + chains, &[4]);
        }
        if let Some(at) = place(dt::DT_VERDEF) {
            self.chain(reader, at, [VERDEF, VERDAUX], [6, 12, 16, 4]);
        }
        if let Some(at) = place(dt::DT_VERNEED) {
            self.chain(reader, at, [VERNEED, VERNAUX], [2, 8, 12, 12]);
        }
    }

    /// Walks a list of version records, each with a list of its own. `members`: where a record has the length of its
    /// list, the way to it, and the way to the next record; where an element of the list has the way to the next.
    fn chain(
        &mut self,
        reader: &Reader<'_>,
        start: usize,
        shapes: [&[usize]; 2],
        members: [usize; 4],
    ) {
        let ([record, element], [length, list, next, next_element]) = (shapes, members);
        let mut at = start;
        loop {
            self.table(Part::Versions, at, 1, record);
            let mut inner = at + reader.number(at + list, 4);
            for _ in 0..reader.number(at + length, 2) {
                self.table(Part::Versions, inner, 1, element);
                inner += reader.number(inner + next_element, 4);
            }
            match reader.number(at + next, 4) {
                0 => return,
                step => at += step,
            }
        }
    }
}
