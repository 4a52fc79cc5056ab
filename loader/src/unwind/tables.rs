//! The unwind tables of one object, or of code that the program has registered: finding the entry of an address by the search
//! table in `.eh_frame_hdr`, and the row of rules for it in `.eh_frame`.

use super::Memory;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;
use gimli::{
    BaseAddresses, CfaRule, EhFrame, EhFrameOffset, Encoding, EndianSlice, Expression,
    LittleEndian, Register, RegisterRule, UnwindContext, UnwindContextStorage, UnwindExpression,
    UnwindSection, UnwindTableRow,
};
use goblin::elf64::header::{ELFMAG, Header};
use goblin::elf64::program_header::{PT_GNU_EH_FRAME, ProgramHeader, SIZEOF_PHDR};

/// An entry that is longer is not believed.
const LONGEST_ENTRY: u32 = 1 << 20;
/// Entries that are tried one after the other at most.
const MOST_ENTRIES: usize = 1 << 16;
/// Encodings in `.eh_frame_hdr` (Linux Standard Base Core, "DWARF Exception Header Encoding") of where `.eh_frame` is: 4 bytes
/// relative to the field, or an address.
const RELATIVE_SDATA4: u8 = 0x1b;
const ABSOLUTE: u8 = 0x00;
/// And of a search table as linkers write it: its length in 4 bytes, and pairs of 4 bytes relative to the header.
const SEARCH_TABLE: [u8; 2] = [0x03, 0x3b];

/// Where to find entries.
pub struct Tables {
    /// Address of `.eh_frame_hdr`.
    header: u64,
    index: Index,
}

/// How entries are found.
enum Index {
    /// By the search table at this address.
    Sorted { first: u64, entries: u32 },
    /// In `.eh_frame`, which starts at this address.
    None(u64),
}

/// The rules that hold at one address. Expressions lie in `bytes`.
pub struct Row {
    bytes: Vec<u8>,
    pub(super) encoding: Encoding,
    pub(super) cfa: CfaRule<usize>,
    pub(super) rules: Vec<(Register, RegisterRule<usize>)>,
    /// The function.
    pub function: Range<u64>,
    /// Whether it is the return from a signal handler.
    pub is_signal_frame: bool,
}

/// Room for what compilers write; gimli's own storage is for all architectures, and large.
struct Storage;

impl UnwindContextStorage<usize> for Storage {
    type Rules = [(Register, RegisterRule<usize>); 32];
    type Stack = Box<[UnwindTableRow<usize, Self>; 6]>;
}

/// Returns the program headers of an object whose ELF header is at an address.
pub fn segments(memory: &impl Memory, at: u64) -> Option<Vec<ProgramHeader>> {
    let bytes: [u8; size_of::<Header>()] = memory.array(at)?;
    if !bytes.starts_with(ELFMAG) {
        return None;
    }
    let header = Header::parse(&bytes).ok()?;
    if usize::from(header.e_phentsize) != SIZEOF_PHDR {
        return None;
    }
    let count = usize::from(header.e_phnum);
    let mut bytes = vec![0; count * SIZEOF_PHDR];
    memory.copy(at.checked_add(header.e_phoff)?, &mut bytes)?;
    Some(ProgramHeader::from_bytes(&bytes, count))
}

impl Tables {
    /// Returns the tables of an object whose ELF header is at `at`.
    pub fn of(memory: &impl Memory, at: u64, bias: u64) -> Option<Self> {
        let segment = segments(memory, at)?
            .into_iter()
            .find(|segment| segment.p_type == PT_GNU_EH_FRAME)?;
        Self::at(memory, bias.wrapping_add(segment.p_vaddr))
    }

    /// Returns the tables that the `.eh_frame_hdr` at `header` leads to.
    pub fn at(memory: &impl Memory, header: u64) -> Option<Self> {
        let [version, frames, table @ ..] = memory.array::<4>(header)?;
        let field = header.checked_add(4)?;
        let (start, len) = match frames {
            RELATIVE_SDATA4 => {
                let offset = i32::from_le_bytes(memory.array(field)?);
                (field.wrapping_add_signed(i64::from(offset)), 4)
            }
            ABSOLUTE => (memory.word(field)?, 8),
            _ => return None,
        };
        let index = if table == SEARCH_TABLE {
            let count = field.checked_add(len)?;
            Index::Sorted {
                first: count.checked_add(4)?,
                entries: u32::from_le_bytes(memory.array(count)?),
            }
        } else {
            Index::None(start)
        };
        (version == 1).then_some(Self { header, index })
    }

    /// An entry of the search table: (first address of a function, address of its description).
    fn entry(&self, memory: &impl Memory, first: u64, index: u32) -> Option<(u64, u64)> {
        let at = first.checked_add(u64::from(index) * 8)?;
        let absolute = |at| {
            let offset = i32::from_le_bytes(memory.array(at)?);
            Some(self.header.wrapping_add_signed(i64::from(offset)))
        };
        Some((absolute(at)?, absolute(at.checked_add(4)?)?))
    }

    /// The last entry at or below an address.
    fn last_below(
        &self,
        memory: &impl Memory,
        first: u64,
        entries: u32,
        address: u64,
    ) -> Option<(u64, u64)> {
        let (mut low, mut high) = (0, entries);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.entry(memory, first, middle)?.0 <= address {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        self.entry(memory, first, low.checked_sub(1)?)
    }

    /// Says whether a function starts at an address; nothing but a search table tells.
    pub fn starts_at(&self, memory: &impl Memory, address: u64) -> bool {
        match self.index {
            Index::Sorted { first, entries } => self
                .last_below(memory, first, entries, address)
                .is_some_and(|(start, _)| start == address),
            Index::None(_) => false,
        }
    }

    /// Returns the rules for an address.
    pub fn row(&self, memory: &impl Memory, address: u64) -> Option<Row> {
        match self.index {
            Index::Sorted { first, entries } => {
                let (_, description) = self.last_below(memory, first, entries, address)?;
                described(memory, description, address)
            }
            Index::None(mut at) => {
                for _ in 0..MOST_ENTRIES {
                    // A length of 0 ends it.
                    let len = u32::from_le_bytes(memory.array(at)?);
                    if len == 0 {
                        break;
                    }
                    let field = at.checked_add(4)?;
                    let is_description = memory.array(field)? != [0; 4];
                    if is_description && let Some(row) = described(memory, at, address) {
                        return Some(row);
                    }
                    at = field.checked_add(u64::from(len))?;
                }
                None
            }
        }
    }
}

/// The rules for an address by the description at `description`.
fn described(memory: &impl Memory, description: u64, address: u64) -> Option<Row> {
    let field = description.checked_add(4)?;
    let back = u32::from_le_bytes(memory.array(field)?);
    let common = field.checked_sub(u64::from(back))?;
    // In large objects the two lie far apart: only they are copied, and put together.
    let mut bytes = entry(memory, common)?;
    let offset = bytes.len();
    bytes.extend(entry(memory, description)?);
    let back = u32::try_from(offset + 4).ok()?;
    let field = bytes.get_mut(offset + 4..offset + 8)?;
    field.copy_from_slice(&back.to_le_bytes());
    row(
        bytes,
        description.wrapping_sub(offset as u64),
        offset,
        address,
    )
}

/// The bytes of an entry of `.eh_frame`.
fn entry(memory: &impl Memory, at: u64) -> Option<Vec<u8>> {
    let len = u32::from_le_bytes(memory.array(at)?);
    if !(8..=LONGEST_ENTRY).contains(&len) {
        return None;
    }
    let mut bytes = vec![0; 4 + len as usize];
    memory.copy(at, &mut bytes)?;
    Some(bytes)
}

/// The row for `address` in the description at `offset` of the bytes; relative addresses in it are those of a section that
/// starts at `start`.
fn row(bytes: Vec<u8>, start: u64, offset: usize, address: u64) -> Option<Row> {
    let section = EhFrame::new(&bytes, LittleEndian);
    let bases = BaseAddresses::default().set_eh_frame(start);
    let fde = section
        .fde_from_offset(&bases, EhFrameOffset(offset), EhFrame::cie_from_offset)
        .ok()
        .filter(|fde| fde.contains(address))?;
    let mut context = UnwindContext::<usize, Storage>::new_in();
    let found = fde
        .unwind_info_for_address(&section, &bases, &mut context, address)
        .ok()?;
    Some(Row {
        cfa: found.cfa().clone(),
        rules: found.registers().cloned().collect(),
        encoding: fde.cie().encoding(),
        function: fde.initial_address()..fde.end_address(),
        is_signal_frame: fde.is_signal_trampoline(),
        bytes,
    })
}

impl Row {
    /// The bytes of an expression.
    pub(super) fn expression(
        &self,
        expression: &UnwindExpression<usize>,
    ) -> Option<Expression<EndianSlice<'_, LittleEndian>>> {
        let section = EhFrame::new(&self.bytes, LittleEndian);
        expression.get(&section).ok()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::testing::Pieces;
    use super::*;

    const BASE: u64 = 0x40_0000;
    const SEARCH: u64 = 0x100;
    const FRAMES: u64 = 0x200;
    /// Where the functions are.
    pub(in super::super) const CODE: u64 = BASE + 0x1000;

    fn common(augmentation: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 0, 0, 1];
        bytes.extend(augmentation);
        // Factors 1 and -8, return address 16, pointers are 4 bytes and relative; CFA = %rsp + 8, %rip at CFA - 8.
        bytes.extend([0, 1, 0x78, 16, 1, 0x1b, 0x0c, 7, 8, 0x90, 1]);
        bytes
    }

    /// Appends an entry to the frames, and returns where it is.
    fn append(frames: &mut Vec<u8>, mut entry: Vec<u8>) -> usize {
        while entry.len() % 8 != 4 {
            entry.push(0);
        }
        let at = frames.len();
        frames.extend((entry.len() as u32).to_le_bytes());
        frames.extend(entry);
        at
    }

    fn describe(frames: &mut Vec<u8>, common: usize, code: u64, len: u32, rules: &[u8]) -> usize {
        let at = frames.len();
        let mut entry = ((at + 4 - common) as u32).to_le_bytes().to_vec();
        let here = BASE + FRAMES + at as u64 + 8;
        entry.extend((code.wrapping_sub(here) as u32).to_le_bytes());
        entry.extend(len.to_le_bytes());
        entry.push(0);
        entry.extend(rules);
        append(frames, entry)
    }

    /// An object in memory: a function with a frame pointer, a stub, a signal trampoline, a first function.
    pub(in super::super) fn object() -> (u64, Vec<u8>) {
        let mut frames = Vec::new();
        let plain = append(&mut frames, common(b"zR"));
        let signal = append(&mut frames, common(b"zRS"));
        let frame_pointer = [0x41, 0x0e, 16, 0x86, 2, 0x43, 0x0d, 6];
        // What GNU ld writes for .plt: CFA = %rsp + 8 + ((%rip & 15) >= 11) * 8.
        let stub = [
            0x0f, 0x0b, 0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22,
        ];
        let functions = [
            (CODE, plain, 0x10, &frame_pointer[..]),
            (CODE + 0x20, plain, 0x20, &stub[..]),
            (CODE + 0x50, signal, 0x10, &[]),
            // %rip is undefined.
            (CODE + 0x60, plain, 0x10, &[0x07, 16]),
        ];
        let mut search = vec![1, 0x1b, 0x03, 0x3b, 0, 0, 0, 0];
        search.extend((functions.len() as u32).to_le_bytes());
        for (code, common, len, rules) in functions {
            let at = describe(&mut frames, common, code, len, rules);
            search.extend(((code - BASE - SEARCH) as u32).to_le_bytes());
            search.extend(((FRAMES - SEARCH) as u32 + at as u32).to_le_bytes());
        }
        let mut bytes = vec![0; FRAMES as usize];
        bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        bytes[32] = 64;
        (bytes[54], bytes[56]) = (SIZEOF_PHDR as u8, 1);
        bytes[64..68].copy_from_slice(&PT_GNU_EH_FRAME.to_le_bytes());
        bytes[80..88].copy_from_slice(&SEARCH.to_le_bytes());
        bytes[SEARCH as usize..][..search.len()].copy_from_slice(&search);
        bytes.extend(frames);
        (BASE, bytes)
    }

    fn row_at(memory: &Pieces, address: u64) -> Option<Row> {
        Tables::of(memory, BASE, BASE)?.row(memory, address)
    }

    #[test]
    fn rows_are_found() {
        let memory = Pieces(vec![object()]);
        let cfa = |at| match row_at(&memory, at)?.cfa {
            CfaRule::RegisterAndOffset { register, offset } => Some((register.0, offset)),
            CfaRule::Expression(_) => None,
        };
        assert_eq!(cfa(CODE), Some((7, 8)));
        assert_eq!(cfa(CODE + 1), Some((7, 16)));
        assert_eq!(cfa(CODE + 0xf), Some((6, 16)));
        assert!(!row_at(&memory, CODE).unwrap().is_signal_frame);
        assert!(row_at(&memory, CODE + 0x50).unwrap().is_signal_frame);
        for nowhere in [0, CODE - 1, CODE + 0x10, CODE + 0x70, u64::MAX] {
            assert!(row_at(&memory, nowhere).is_none());
        }
        assert_eq!(
            row_at(&memory, CODE + 1).unwrap().function,
            CODE..CODE + 0x10
        );
        let tables = Tables::of(&memory, BASE, BASE).unwrap();
        for (at, starts) in [
            (CODE, true),
            (CODE + 0x20, true),
            (CODE + 1, false),
            (CODE - 1, false),
            (CODE + 0x10, false),
        ] {
            assert_eq!(tables.starts_at(&memory, at), starts);
        }
    }

    #[test]
    fn without_a_search_table_entries_are_tried_in_turn() {
        let (base, mut bytes) = object();
        bytes.extend([0; 4]);
        // As the loader makes it: an address, and nothing more.
        let mut header = vec![1, 0, 0xff, 0xff];
        header.extend((BASE + FRAMES).to_le_bytes());
        const HEADER: u64 = 0x9000;
        let memory = Pieces(vec![(base, bytes), (HEADER, header)]);
        let found = |at| Tables::at(&memory, HEADER).unwrap().row(&memory, at);
        assert!(found(CODE + 0xf).is_some());
        assert!(found(CODE + 0x50).unwrap().is_signal_frame);
        for nowhere in [0, CODE - 1, CODE + 0x10, CODE + 0x70, u64::MAX] {
            assert!(found(nowhere).is_none());
        }
    }

    #[test]
    fn corrupt_tables_end_it() {
        let (base, good) = object();
        for at in 0..good.len() {
            for flip in [0xff, 0x80, 0x01] {
                let mut bad = good.clone();
                bad[at] ^= flip;
                let memory = Pieces(vec![(base, bad)]);
                for address in [CODE + 4, CODE + 0x2b, CODE + 0x50] {
                    let _ = row_at(&memory, address);
                }
            }
        }
        for len in 0..good.len() {
            let memory = Pieces(vec![(base, good[..len].to_vec())]);
            let _ = row_at(&memory, CODE + 4);
        }
    }
}
