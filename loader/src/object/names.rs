//! What an object defines, by name alone: for what the loader itself needs of libc, `ld.so` and others.

use alloc::vec::Vec;

use super::Object;
use crate::elf::address;
use crate::elf::hash::Name;
use crate::gates;
use crate::host::Gate;

impl Object {
    /// Returns the index of a symbol that the object itself defines, whatever its version or visibility.
    pub(crate) fn defined(&self, name: &[u8]) -> Option<usize> {
        self.hash()?.candidates(&Name::new(name)).find(|&index| {
            self.symbol(index).is_some_and(|symbol| {
                symbol.st_shndx != 0 && self.symbol_name(symbol) == Some(name)
            })
        })
    }

    /// Returns the address of a symbol that the object itself defines.
    pub(crate) fn address_of(&self, name: &[u8]) -> Option<usize> {
        let symbol = self.symbol(self.defined(name)?)?;
        Some(self.real(address(symbol.st_value)))
    }

    /// Returns the symbols whose definitions are replaced by gates.
    pub(super) fn replaced(&self) -> Vec<(usize, Gate)> {
        let overrides = gates::overrides(self.role).iter();
        let replaced = |&(name, gate)| Some((self.defined(name)?, gate));
        overrides.filter_map(replaced).collect()
    }
}
