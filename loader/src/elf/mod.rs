//! Views of ELF data: pure functions from bytes to what they mean.
//!
//! Headers, symbols and relocations are `goblin`'s structures; tables it has no view for (hash tables, versions, RELR)
//! are read here. Nothing in this module trusts its input: an index out of range is `None`, never a panic.

pub(crate) mod cache;
pub(crate) mod dynamic;
pub(crate) mod hash;
pub(crate) mod header;
pub(crate) mod note;
pub(crate) mod version;

pub(crate) use goblin::elf64::dynamic::Dyn;
pub(crate) use goblin::elf64::program_header::ProgramHeader;
pub(crate) use goblin::elf64::reloc::Rela;
pub(crate) use goblin::elf64::sym::Sym;

/// Returns the string at `offset` of a string table, without its terminator.
pub(crate) fn string_at(table: &[u8], offset: usize) -> Option<&[u8]> {
    let rest = table.get(offset..)?;
    rest.get(..len_at(rest)?)
}

/// Returns the length of the string that is first.
fn len_at(strings: &[u8]) -> Option<usize> {
    let (eights, tail) = strings.as_chunks();
    for (index, &eight) in eights.iter().enumerate() {
        if let Some(left) = first_zero(u64::from_le_bytes(eight)) {
            return Some(8 * index + left);
        }
    }
    let left = tail.iter().position(|&byte| byte == 0)?;
    Some(8 * eights.len() + left)
}

/// Returns which byte of a word is the first that is zero, from the lowest on.
fn first_zero(word: u64) -> Option<usize> {
    let tops = word.wrapping_sub(0x0101_0101_0101_0101) & !word & 0x8080_8080_8080_8080;
    (tops != 0).then(|| tops.trailing_zeros() as usize / 8)
}

/// Reads a little-endian 32-bit word.
pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    let word = bytes.get(offset..offset.checked_add(4)?)?;
    Some(u32::from_le_bytes(word.try_into().ok()?))
}

/// Reads a little-endian 64-bit word.
pub(crate) fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    let word = bytes.get(offset..offset.checked_add(8)?)?;
    Some(u64::from_le_bytes(word.try_into().ok()?))
}

/// Reads a little-endian 16-bit word.
pub(crate) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    let word = bytes.get(offset..offset.checked_add(2)?)?;
    Some(u16::from_le_bytes(word.try_into().ok()?))
}

/// Narrows an address or size from a file; [`header::Headers::check`] has bounded those of PT_LOADs.
pub(crate) fn address(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}
