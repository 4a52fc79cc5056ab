//! Symbol versions: DT_VERSYM, DT_VERDEF and DT_VERNEED (LSB Core, "Symbol Versioning").

use alloc::vec::Vec;

use super::hash::sysv_hash;
use super::{string_at, u16_at, u32_at};

/// In a DT_VERSYM entry and in `vna_other`: the definition answers only references that name its version.
pub(crate) const HIDDEN: u16 = 0x8000;

/// A version's name, as a reference asks for it or as a definition has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version<'a> {
    /// The name: `GLIBC_2.34`.
    pub(crate) name: &'a [u8],
    /// The hash of the name.
    pub(crate) hash: u32,
    /// Whether a reference insists on the version, so that an unversioned definition will not do.
    pub(crate) hidden: bool,
}

impl<'a> Version<'a> {
    /// Makes the version `dlvsym` asks for.
    pub(crate) fn exactly(name: &'a [u8]) -> Self {
        Self {
            name,
            hash: sysv_hash(name),
            hidden: true,
        }
    }
}

/// One version that an object needs of another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Needed<'a> {
    /// The soname of the object that must define it.
    pub(crate) file: &'a [u8],
    /// The version.
    pub(crate) name: &'a [u8],
    /// Whether a missing version is tolerated (VER_FLG_WEAK).
    pub(crate) weak: bool,
}

/// The versions of one object, by the index DT_VERSYM entries use. Index 0 and 1 (local, global) have none.
#[derive(Default)]
pub(crate) struct Versions<'a> {
    by_index: Vec<Option<Version<'a>>>,
    defined: Vec<&'a [u8]>,
    needed: Vec<Needed<'a>>,
}

/// Why version tables cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// A record, or a name, lies outside its table.
    Outside,
    /// Records overlap.
    Overlap,
    /// A record has another format than the only one there is.
    Format {
        /// `Verdef` or `Verneed`.
        kind: &'static str,
        /// `vd_version` or `vn_version`.
        format: u16,
    },
}

/// A table of version records. Each record says how far away the next is, so a damaged table could send a reader over
/// the same bytes again and again; it is not read further than it has room for records.
struct Records<'a> {
    table: &'a [u8],
    left: usize,
}

impl<'a> Records<'a> {
    fn new(table: &'a [u8]) -> Self {
        // No record is smaller than a Verdaux, of 8 bytes.
        let left = table.len() / 8;
        Self { table, left }
    }

    fn word(&self, at: usize) -> Result<usize, Problem> {
        u32_at(self.table, at)
            .map(|word| word as usize)
            .ok_or(Problem::Outside)
    }

    fn half(&self, at: usize) -> Result<u16, Problem> {
        u16_at(self.table, at).ok_or(Problem::Outside)
    }

    /// Returns the place a distance at `link` leads to from `at`.
    fn follow(&mut self, at: usize, link: usize) -> Result<usize, Problem> {
        self.left = self.left.checked_sub(1).ok_or(Problem::Overlap)?;
        at.checked_add(self.word(link)?).ok_or(Problem::Outside)
    }

    /// Checks the format of a record.
    fn check(&self, at: usize, kind: &'static str) -> Result<(), Problem> {
        match self.half(at)? {
            1 => Ok(()),
            format => Err(Problem::Format { kind, format }),
        }
    }
}

fn name(strings: &[u8], offset: usize) -> Result<&[u8], Problem> {
    string_at(strings, offset).ok_or(Problem::Outside)
}

impl<'a> Versions<'a> {
    /// Reads the tables; either may be absent.
    pub(crate) fn parse(
        definitions: Option<(&'a [u8], usize)>,
        needs: Option<(&'a [u8], usize)>,
        strings: &'a [u8],
    ) -> Result<Self, Problem> {
        let mut versions = Self::default();
        if let Some((table, count)) = definitions {
            versions.parse_definitions(Records::new(table), count, strings)?;
        }
        if let Some((table, count)) = needs {
            versions.parse_needs(Records::new(table), count, strings)?;
        }
        Ok(versions)
    }

    fn parse_definitions(
        &mut self,
        mut records: Records<'a>,
        count: usize,
        strings: &'a [u8],
    ) -> Result<(), Problem> {
        let mut at = 0;
        for _ in 0..count {
            records.check(at, "Verdef")?;
            let flags = records.half(at + 2)?;
            let index = records.half(at + 4)? & !HIDDEN;
            let aux = records.follow(at, at + 12)?;
            let name = name(strings, records.word(aux)?)?;
            // VER_FLG_BASE names the object itself, not a version of its symbols.
            if flags & 1 == 0 {
                let hash = u32_at(records.table, at + 8).ok_or(Problem::Outside)?;
                let hidden = false;
                self.insert(index, Version { name, hash, hidden });
            }
            self.defined.push(name);
            match records.follow(at, at + 16)? {
                next if next == at => break,
                next => at = next,
            }
        }
        Ok(())
    }

    fn parse_needs(
        &mut self,
        mut records: Records<'a>,
        count: usize,
        strings: &'a [u8],
    ) -> Result<(), Problem> {
        let mut at = 0;
        for _ in 0..count {
            records.check(at, "Verneed")?;
            let file = name(strings, records.word(at + 4)?)?;
            let mut aux = records.follow(at, at + 8)?;
            for _ in 0..records.half(at + 2)? {
                let hash = u32_at(records.table, aux).ok_or(Problem::Outside)?;
                let flags = records.half(aux + 4)?;
                let other = records.half(aux + 6)?;
                let name = name(strings, records.word(aux + 8)?)?;
                let hidden = other & HIDDEN != 0;
                self.insert(other & !HIDDEN, Version { name, hash, hidden });
                let weak = flags & 2 != 0;
                self.needed.push(Needed { file, name, weak });
                match records.follow(aux, aux + 12)? {
                    next if next == aux => break,
                    next => aux = next,
                }
            }
            match records.follow(at, at + 12)? {
                next if next == at => break,
                next => at = next,
            }
        }
        Ok(())
    }

    fn insert(&mut self, index: u16, version: Version<'a>) {
        let index = usize::from(index);
        if self.by_index.len() <= index {
            self.by_index.resize(index + 1, None);
        }
        if let Some(slot) = self.by_index.get_mut(index) {
            *slot = Some(version);
        }
    }

    /// Returns the version with this index of DT_VERSYM (hidden bit ignored).
    pub(crate) fn get(&self, index: u16) -> Option<Version<'a>> {
        self.by_index
            .get(usize::from(index & !HIDDEN))
            .copied()
            .flatten()
    }

    /// Says whether the object defines any versions.
    pub(crate) fn has_definitions(&self) -> bool {
        !self.defined.is_empty()
    }

    /// Says whether the object defines this very version.
    pub(crate) fn defines(&self, name: &[u8]) -> bool {
        self.defined.contains(&name)
    }

    /// Returns what the object needs of others.
    pub(crate) fn needed(&self) -> &[Needed<'a>] {
        &self.needed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes the bytes of a table from its 16-bit halves.
    fn table(halves: &[u16]) -> Vec<u8> {
        halves.iter().flat_map(|half| half.to_le_bytes()).collect()
    }

    const STRINGS: &[u8] = b"\0V1\0lib\0";

    #[test]
    fn a_version_is_found_by_its_index() {
        let definitions = table(&[1, 0, 2, 1, 7, 0, 20, 0, 0, 0, 1, 0, 0, 0]);
        let versions = Versions::parse(Some((&definitions, 1)), None, STRINGS).ok();
        let version = versions.and_then(|versions| versions.get(2));
        let (name, hash, hidden) = (&b"V1"[..], 7, false);
        assert_eq!(version, Some(Version { name, hash, hidden }));
    }

    #[test]
    fn another_format_is_named() {
        let needs = table(&[3, 1, 4, 0, 16, 0, 0, 0]);
        let (kind, format) = ("Verneed", 3);
        let problem = Versions::parse(None, Some((&needs, 1)), STRINGS).err();
        assert_eq!(problem, Some(Problem::Format { kind, format }));
    }

    #[test]
    fn records_that_overlap_do_not_take_for_ever() {
        // Every byte pair says 1: the next record is one byte further on, and so is the next in its list, 257 times.
        let needs = [1; 1 << 20];
        let definitions = [1, 0].repeat(1 << 19);
        for (definitions, needs) in [
            (None, Some((&needs[..], usize::MAX))),
            (Some((&definitions[..], usize::MAX)), None),
        ] {
            assert!(Versions::parse(definitions, needs, STRINGS).is_err());
        }
    }
}
