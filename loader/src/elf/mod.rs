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
    let len = rest.iter().position(|&byte| byte == 0)?;
    rest.get(..len)
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
