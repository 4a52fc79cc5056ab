//! What an object is, whatever its path.

use goblin::elf::program_header as pt;

use crate::elf::Dyn;
use crate::elf::address;
use crate::elf::note::Notes;
use crate::tables::Memory;

/// What tells an object from all others: its build-id, and what its dynamic section says, which tools that change
/// symbol tables (`patchelf`, `prelink`) change, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    /// The first bytes of the build-id.
    build_id: [u8; 16],
    dynamic: [u8; 8],
}

impl Identity {
    /// Bytes it takes in a file.
    pub(super) const SIZE: usize = 24;

    /// Returns the identity of an object with this dynamic section, not relocated; `None` without a build-id.
    pub(crate) fn of(memory: &Memory<'_>, dynamic: &[Dyn]) -> Option<Self> {
        let notes = memory.segments.iter();
        let build_id = notes
            .filter(|segment| segment.p_type == pt::PT_NOTE)
            .find_map(|segment| {
                let (at, size) = (address(segment.p_vaddr), address(segment.p_filesz));
                let notes = Notes::new(memory.slice(at, size)?, segment.p_align == 8);
                notes.filter_map(|note| note.build_id()).next()
            })?;
        let mut start = [0; 16];
        for (to, from) in start.iter_mut().zip(build_id) {
            *to = *from;
        }
        // FNV-1a, by words.
        let entries = dynamic.iter().take_while(|entry| entry.d_tag != 0);
        let words = entries.flat_map(|entry| [entry.d_tag, entry.d_val]);
        let hash = words.fold(0xcbf2_9ce4_8422_2325_u64, |hash, word| {
            (hash ^ word).wrapping_mul(0x100_0000_01b3).rotate_left(23)
        });
        Some(Self {
            build_id: start,
            dynamic: hash.to_le_bytes(),
        })
    }

    /// Reads one from a file.
    pub(super) fn from_bytes(bytes: &[u8; Self::SIZE]) -> Option<Self> {
        let (build_id, rest) = bytes.split_first_chunk()?;
        let (dynamic, _) = rest.split_first_chunk()?;
        Some(Self {
            build_id: *build_id,
            dynamic: *dynamic,
        })
    }

    /// Returns what a file has of it.
    pub(super) fn bytes(&self) -> impl Iterator<Item = u8> {
        self.build_id.into_iter().chain(self.dynamic)
    }
}
