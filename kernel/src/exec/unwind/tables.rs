//! The unwind tables of one object: finding the entry of an address by the search table in `.eh_frame_hdr`, and the row of
//! rules for it in `.eh_frame`.

use crate::exec::LOADER;
use crate::mm::user;
use alloc::vec;
use alloc::vec::Vec;
use gimli::{
    BaseAddresses, CfaRule, EhFrame, EhFrameOffset, Encoding, EndianSlice, Expression,
    LittleEndian, Register, RegisterRule, UnwindContext, UnwindExpression, UnwindSection,
};
use goblin::elf64::header::{ELFMAG, Header};
use goblin::elf64::program_header::{PT_GNU_EH_FRAME, ProgramHeader, SIZEOF_PHDR};

/// Bytes of tables that are copied for one frame at most.
const MOST_BYTES: usize = 16 << 20;
/// Encodings of `.eh_frame_hdr` that linkers write: 4 bytes relative to the field, 4 bytes, 4 bytes relative to the table.
const ENCODINGS: [u8; 3] = [0x1b, 0x03, 0x3b];

/// Where an object's search table is.
pub(super) struct Tables {
    /// Address of `.eh_frame_hdr`.
    header: usize,
    entries: usize,
}

/// The rules that hold at one address. Expressions lie in `bytes`.
pub(super) struct Row {
    bytes: Vec<u8>,
    pub(super) encoding: Encoding,
    pub(super) cfa: CfaRule<usize>,
    pub(super) rules: Vec<(Register, RegisterRule<usize>)>,
    pub(super) is_signal_frame: bool,
}

type Reader<'a> = EndianSlice<'a, LittleEndian>;

impl Tables {
    /// The tables of the object that an address lies in.
    pub(super) fn of(address: usize) -> Option<Self> {
        let objects = LOADER.objects();
        let object = objects
            .iter()
            .find(|object| (object.start..object.end).contains(&address))?;
        let mut bytes = [0; size_of::<Header>()];
        user::copy_in(object.start, &mut bytes).ok()?;
        let header = *Header::from_bytes(&bytes);
        let fits = bytes.starts_with(ELFMAG) && usize::from(header.e_phentsize) == SIZEOF_PHDR;
        let count = usize::from(header.e_phnum);
        let mut bytes = vec![0; count * SIZEOF_PHDR];
        let at = object
            .start
            .checked_add(usize::try_from(header.e_phoff).ok()?)?;
        user::copy_in(at, &mut bytes).ok().filter(|()| fits)?;
        let segment = ProgramHeader::from_bytes(&bytes, count)
            .into_iter()
            .find(|segment| segment.p_type == PT_GNU_EH_FRAME)?;
        let header = object.base.wrapping_add(segment.p_vaddr as usize);
        let start: [u8; 4] = user::read(header).ok()?;
        let entries: u32 = user::read(header.checked_add(8)?).ok()?;
        (start == [1, ENCODINGS[0], ENCODINGS[1], ENCODINGS[2]]).then_some(Self {
            header,
            entries: entries as usize,
        })
    }

    /// An entry of the search table: (first address of a function, address of its description).
    fn entry(&self, index: usize) -> Option<(usize, usize)> {
        let at = self.header.checked_add(12 + index * 8)?;
        let [function, description]: [i32; 2] = user::read(at).ok()?;
        let absolute = |offset: i32| self.header.wrapping_add_signed(offset as isize);
        Some((absolute(function), absolute(description)))
    }

    /// The rules for an address.
    pub(super) fn row(&self, address: u64) -> Option<Row> {
        // The last entry at or below the address.
        let (mut low, mut high) = (0, self.entries);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.entry(middle)?.0 as u64 <= address {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let (_, description) = self.entry(low.checked_sub(1)?)?;
        let len: u32 = user::read(description).ok()?;
        let back: u32 = user::read(description.checked_add(4)?).ok()?;
        let common = (description + 4).checked_sub(back as usize)?;
        let end = description.checked_add(4)?.checked_add(len as usize)?;
        let size = end.checked_sub(common).filter(|&size| size <= MOST_BYTES)?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(size).ok()?;
        bytes.resize(size, 0);
        user::copy_in(common, &mut bytes).ok()?;
        row(bytes, common, description - common, address)
    }
}

/// The row for `address` in the description at `offset` of the bytes, which were at `start`.
fn row(bytes: Vec<u8>, start: usize, offset: usize, address: u64) -> Option<Row> {
    let section = EhFrame::new(&bytes, LittleEndian);
    let bases = BaseAddresses::default().set_eh_frame(start as u64);
    let fde = section
        .fde_from_offset(&bases, EhFrameOffset(offset), EhFrame::cie_from_offset)
        .ok()
        .filter(|fde| fde.contains(address))?;
    let mut context = UnwindContext::new();
    let found = fde
        .unwind_info_for_address(&section, &bases, &mut context, address)
        .ok()?;
    let cfa = found.cfa().clone();
    let mut rules: Vec<_> = found
        .registers()
        .map(|(register, rule)| (*register, rule.clone()))
        .collect();
    // The ABI's default: the return address lies just below the CFA.
    let return_address = fde.cie().return_address_register();
    if !rules
        .iter()
        .any(|(register, _)| *register == return_address)
    {
        rules.push((return_address, RegisterRule::Undefined));
    }
    let (encoding, is_signal_frame) = (fde.cie().encoding(), fde.is_signal_trampoline());
    Some(Row {
        encoding,
        is_signal_frame,
        cfa,
        rules,
        bytes,
    })
}

impl Row {
    /// The bytes of an expression.
    pub(super) fn expression(
        &self,
        expression: &UnwindExpression<usize>,
    ) -> Option<Expression<Reader<'_>>> {
        let section = EhFrame::new(&self.bytes, LittleEndian);
        expression.get(&section).ok()
    }
}
