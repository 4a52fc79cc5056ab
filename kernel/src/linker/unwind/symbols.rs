//! Names of functions by a file's symbol table (`.symtab`), for static functions and static programs. It is read in
//! pieces: it may be large, and is needed once.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use goblin::elf64::header::{ELFMAG, Header};
use goblin::elf64::section_header::{SHT_SYMTAB, SIZEOF_SHDR, SectionHeader};
use goblin::elf64::sym::{SIZEOF_SYM, STB_LOCAL, STT_FUNC, STT_GNU_IFUNC, st_bind, st_type};

/// Symbols that are read at once.
const CHUNK: usize = 1024;
/// Sections that are looked through.
const MOST_SECTIONS: usize = 4096;
/// Longer names are cut.
const LONGEST_NAME: usize = 1024;

/// Fills a buffer from an offset in the file.
pub(super) type Read<'a> = dyn Fn(u64, &mut [u8]) -> Option<()> + 'a;

/// A symbol that an address lies in.
#[derive(Clone, Copy)]
struct Found {
    name: u32,
    start: u64,
    is_local: bool,
}

/// The functions that addresses (as linked) lie in: names and starts. `None` if there is no symbol table.
pub(super) fn find(read: &Read<'_>, addresses: &[u64]) -> Option<Vec<Option<(String, u64)>>> {
    let (table, strings) = sections(read)?;
    let mut found: Vec<Option<Found>> = vec![None; addresses.len()];
    let count = usize::try_from(table.sh_size).ok()? / SIZEOF_SYM;
    let mut bytes = vec![0; CHUNK * SIZEOF_SYM];
    for first in (0..count).step_by(CHUNK) {
        let chunk = bytes.get_mut(..CHUNK.min(count - first) * SIZEOF_SYM)?;
        let offset = (first * SIZEOF_SYM) as u64;
        read(table.sh_offset.checked_add(offset)?, chunk)?;
        for symbol in chunk.as_chunks::<SIZEOF_SYM>().0 {
            visit(symbol, addresses, &mut found);
        }
    }
    let named = |found: Found| Some((name(read, &strings, found.name)?, found.start));
    Some(
        found
            .into_iter()
            .map(|found| found.and_then(named))
            .collect(),
    )
}

/// The symbol table and its names.
fn sections(read: &Read<'_>) -> Option<(SectionHeader, SectionHeader)> {
    let mut bytes = [0; size_of::<Header>()];
    read(0, &mut bytes)?;
    if !bytes.starts_with(ELFMAG) {
        return None;
    }
    let header = Header::parse(&bytes).ok()?;
    let count = usize::from(header.e_shnum);
    if usize::from(header.e_shentsize) != SIZEOF_SHDR || count > MOST_SECTIONS {
        return None;
    }
    let mut bytes = vec![0; count * SIZEOF_SHDR];
    read(header.e_shoff, &mut bytes)?;
    let sections = SectionHeader::from_bytes(&bytes, count);
    let table = sections
        .iter()
        .find(|section| section.sh_type == SHT_SYMTAB)?;
    let strings = sections.get(table.sh_link as usize)?;
    Some((*table, *strings))
}

/// Enters one symbol for the addresses that lie in it. The innermost counts, and of several names a global one.
fn visit(bytes: &[u8; SIZEOF_SYM], addresses: &[u64], found: &mut [Option<Found>]) {
    let [n0, n1, n2, n3, info, _, s0, s1, rest @ ..] = *bytes;
    let [value, size] = [0, 8].map(|at| {
        let mut word = [0; 8];
        word.copy_from_slice(&rest[at..at + 8]);
        u64::from_le_bytes(word)
    });
    let is_function = matches!(st_type(info), STT_FUNC | STT_GNU_IFUNC);
    if !is_function || u16::from_le_bytes([s0, s1]) == 0 {
        return;
    }
    let new = Found {
        name: u32::from_le_bytes([n0, n1, n2, n3]),
        start: value,
        is_local: st_bind(info) == STB_LOCAL,
    };
    for (address, found) in addresses.iter().zip(found) {
        let is_inside = address.checked_sub(value).is_some_and(|at| at < size);
        let is_better =
            found.is_none_or(|old| (new.start, !new.is_local) > (old.start, !old.is_local));
        if is_inside && is_better {
            *found = Some(new);
        }
    }
}

fn name(read: &Read<'_>, strings: &SectionHeader, at: u32) -> Option<String> {
    let left = strings.sh_size.checked_sub(u64::from(at))?;
    let len = usize::try_from(left).ok()?.min(LONGEST_NAME);
    let mut bytes = vec![0; len];
    read(strings.sh_offset.checked_add(u64::from(at))?, &mut bytes)?;
    let name = bytes.split(|&byte| byte == 0).next()?;
    (!name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbol(name: u32, info: u8, section: u16, value: u64, size: u64) -> Vec<u8> {
        let mut bytes = name.to_le_bytes().to_vec();
        bytes.extend([info, 0]);
        bytes.extend(section.to_le_bytes());
        bytes.extend(value.to_le_bytes());
        bytes.extend(size.to_le_bytes());
        bytes
    }

    /// A file: header, two sections' headers, names, symbols.
    fn file(symbols: &[Vec<u8>]) -> Vec<u8> {
        let names = b"\0outer\0inner\0alias\0data\0";
        let symbols = symbols.concat();
        let names_at = size_of::<Header>() + 2 * SIZEOF_SHDR;
        let mut file = vec![0; names_at];
        file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        file[40..48].copy_from_slice(&64u64.to_le_bytes());
        file[58..60].copy_from_slice(&(SIZEOF_SHDR as u16).to_le_bytes());
        file[60..62].copy_from_slice(&2u16.to_le_bytes());
        let mut section = |at: usize, kind: u32, offset: usize, size: usize, link: u32| {
            file[at + 4..at + 8].copy_from_slice(&kind.to_le_bytes());
            file[at + 24..at + 32].copy_from_slice(&(offset as u64).to_le_bytes());
            file[at + 32..at + 40].copy_from_slice(&(size as u64).to_le_bytes());
            file[at + 40..at + 44].copy_from_slice(&link.to_le_bytes());
        };
        section(64, SHT_SYMTAB, names_at + names.len(), symbols.len(), 1);
        section(64 + SIZEOF_SHDR, 3, names_at, names.len(), 0);
        file.extend(names);
        file.extend(symbols);
        file
    }

    fn look(file: &[u8], addresses: &[u64]) -> Option<Vec<Option<(String, u64)>>> {
        let read = |offset: u64, to: &mut [u8]| {
            let from = usize::try_from(offset).ok()?;
            to.copy_from_slice(file.get(from..from.checked_add(to.len())?)?);
            Some(())
        };
        find(&read, addresses)
    }

    #[test]
    fn functions_are_found_by_their_extent() {
        let file = file(&[
            symbol(1, 0x12, 1, 0x1000, 0x100),
            symbol(13, 0x02, 1, 0x1040, 0x10),
            symbol(7, 0x12, 1, 0x1040, 0x10),
            symbol(19, 0x11, 1, 0x1080, 0x10),
            symbol(19, 0x12, 0, 0x10c0, 0x10),
        ]);
        let found = look(
            &file,
            &[0xfff, 0x1000, 0x104f, 0x1050, 0x1085, 0x10c1, 0x1100],
        )
        .unwrap();
        let outer = Some((String::from("outer"), 0x1000));
        let inner = Some((String::from("inner"), 0x1040));
        assert_eq!(
            found,
            [
                None,
                outer.clone(),
                inner,
                outer.clone(),
                outer.clone(),
                outer,
                None
            ]
        );
    }

    #[test]
    fn corrupt_files_have_no_names() {
        let good = file(&[symbol(99, 0x12, 1, 0x1000, u64::MAX)]);
        assert_eq!(look(&good, &[0x1000]), Some(vec![None]));
        for len in 0..good.len() {
            let _ = look(&good[..len], &[0x1000]);
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0xff;
            let _ = look(&bad, &[0x1000]);
        }
    }
}
