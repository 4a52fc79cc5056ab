//! Notes (gABI, "Note Section"): what processor a file needs, and its build-id. The system and its version that an
//! ABI tag names are of no interest to ld.so since glibc 2.36.

use super::u32_at;

const NT_GNU_BUILD_ID: u32 = 3;
const NT_GNU_PROPERTY_TYPE_0: u32 = 5;
/// x86-64 psABI, "Program Property".
const GNU_PROPERTY_X86_ISA_1_NEEDED: u32 = 0xc000_8002;

/// A note of the owner "GNU".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Note<'a> {
    kind: u32,
    content: &'a [u8],
}

/// The notes of the owner "GNU" in a PT_NOTE segment.
pub(crate) struct Notes<'a> {
    bytes: &'a [u8],
    align: usize,
}

impl<'a> Notes<'a> {
    /// Takes the content of a segment, whose alignment is 8 or 4.
    pub(crate) fn new(bytes: &'a [u8], by_eight: bool) -> Self {
        let align = if by_eight { 8 } else { 4 };
        Self { bytes, align }
    }

    /// Takes the first note. `None` at the end, and where a note reaches beyond it.
    fn split(&mut self) -> Option<(&'a [u8], Note<'a>)> {
        let name_size = u32_at(self.bytes, 0)? as usize;
        let size = u32_at(self.bytes, 4)? as usize;
        let kind = u32_at(self.bytes, 8)?;
        let name = self.bytes.get(12..12usize.checked_add(name_size)?)?;
        let start = (12 + name_size).checked_next_multiple_of(self.align)?;
        let end = start.checked_add(size)?;
        let content = self.bytes.get(start..end)?;
        let next = end.checked_next_multiple_of(self.align)?;
        self.bytes = self.bytes.get(next..).unwrap_or(&[]);
        Some((name, Note { kind, content }))
    }
}

impl<'a> Iterator for Notes<'a> {
    type Item = Note<'a>;

    fn next(&mut self) -> Option<Note<'a>> {
        loop {
            let (name, note) = self.split()?;
            if name == b"GNU\0" {
                return Some(note);
            }
        }
    }
}

impl<'a> Note<'a> {
    /// Returns the build-id, if the note is one.
    pub(crate) fn build_id(&self) -> Option<&'a [u8]> {
        (self.kind == NT_GNU_BUILD_ID).then_some(self.content)
    }

    /// Returns the micro-architecture levels the note asks for, one bit each.
    pub(crate) fn isa_needed(&self) -> u32 {
        if self.kind != NT_GNU_PROPERTY_TYPE_0 {
            return 0;
        }
        let mut rest = self.content;
        while let (Some(property), Some(size)) = (u32_at(rest, 0), u32_at(rest, 4)) {
            if property == GNU_PROPERTY_X86_ISA_1_NEEDED && size == 4 {
                return u32_at(rest, 8).unwrap_or(0);
            }
            let next = (size as usize).checked_next_multiple_of(8);
            let next = next.and_then(|size| rest.get(size.checked_add(8)?..));
            rest = next.unwrap_or(&[]);
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn note(kind: u32, content: &[u32]) -> Vec<u8> {
        let header = [4, content.len() as u32 * 4, kind];
        let name = u32::from_le_bytes(*b"GNU\0");
        let words = header.iter().chain([&name]).chain(content);
        words.flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn the_isa_level_is_found_behind_other_properties() {
        let bytes = note(5, &[0xc000_0002, 4, 3, 0, 0xc000_8002, 4, 8, 0]);
        let found: Vec<u32> = Notes::new(&bytes, true)
            .map(|note| note.isa_needed())
            .collect();
        assert_eq!(found, [8]);
    }

    #[test]
    fn notes_that_reach_beyond_the_end_are_no_notes() {
        let mut bytes = note(5, &[0xc000_8002, u32::MAX, 8, 0]);
        assert_eq!(
            Notes::new(&bytes, true)
                .map(|note| note.isa_needed())
                .sum::<u32>(),
            0
        );
        bytes.truncate(20);
        assert_eq!(Notes::new(&bytes, true).count(), 0);
        let bytes = [0xff; 40];
        assert_eq!(Notes::new(&bytes, false).count(), 0);
    }
}
