//! Symbol versions: DT_VERSYM, DT_VERDEF and DT_VERNEED (LSB Core, "Symbol Versioning").

use alloc::vec::Vec;

use super::hash::sysv_hash;
use super::{string_at, u16_at, u32_at};

/// In a DT_VERSYM entry and in `vna_other`: the definition answers only references that name its version.
pub(crate) const HIDDEN: u16 = 0x8000;

/// A version's name, as a reference asks for it or as a definition has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

impl<'a> Versions<'a> {
    /// Reads the tables; either may be absent. `None` when an entry points outside them.
    pub(crate) fn parse(
        definitions: Option<(&'a [u8], usize)>,
        needs: Option<(&'a [u8], usize)>,
        strings: &'a [u8],
    ) -> Option<Self> {
        let mut versions = Self::default();
        if let Some((table, count)) = definitions {
            versions.parse_definitions(table, count, strings)?;
        }
        if let Some((table, count)) = needs {
            versions.parse_needs(table, count, strings)?;
        }
        Some(versions)
    }

    fn parse_definitions(
        &mut self,
        table: &'a [u8],
        count: usize,
        strings: &'a [u8],
    ) -> Option<()> {
        let mut at = 0usize;
        for _ in 0..count {
            let flags = u16_at(table, at + 2)?;
            let index = u16_at(table, at + 4)? & !HIDDEN;
            let aux = at.checked_add(u32_at(table, at + 12)? as usize)?;
            let name = string_at(strings, u32_at(table, aux)? as usize)?;
            // VER_FLG_BASE names the object itself, not a version of its symbols.
            if flags & 1 == 0 {
                self.insert(
                    index,
                    Version {
                        name,
                        hash: u32_at(table, at + 8)?,
                        hidden: false,
                    },
                );
            }
            self.defined.push(name);
            match u32_at(table, at + 16)? {
                0 => break,
                next => at = at.checked_add(next as usize)?,
            }
        }
        Some(())
    }

    fn parse_needs(&mut self, table: &'a [u8], count: usize, strings: &'a [u8]) -> Option<()> {
        let mut at = 0usize;
        for _ in 0..count {
            let file = string_at(strings, u32_at(table, at + 4)? as usize)?;
            let mut aux = at.checked_add(u32_at(table, at + 8)? as usize)?;
            for _ in 0..u16_at(table, at + 2)? {
                let hash = u32_at(table, aux)?;
                let flags = u16_at(table, aux + 4)?;
                let other = u16_at(table, aux + 6)?;
                let name = string_at(strings, u32_at(table, aux + 8)? as usize)?;
                self.insert(
                    other & !HIDDEN,
                    Version {
                        name,
                        hash,
                        hidden: other & HIDDEN != 0,
                    },
                );
                self.needed.push(Needed {
                    file,
                    name,
                    weak: flags & 2 != 0,
                });
                match u32_at(table, aux + 12)? {
                    0 => break,
                    next => aux = aux.checked_add(next as usize)?,
                }
            }
            match u32_at(table, at + 12)? {
                0 => break,
                next => at = at.checked_add(next as usize)?,
            }
        }
        Some(())
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

    /// Says whether the object defines this version, or defines no versions at all.
    pub(crate) fn provides(&self, name: &[u8]) -> bool {
        self.defined.is_empty() || self.defined.contains(&name)
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
