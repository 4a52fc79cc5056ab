//! What an object defines, by name alone, for what the loader itself needs of libc, `ld.so` and others; and by address.

use alloc::vec::Vec;

use goblin::elf::sym;

use super::Object;
use crate::elf::address;
use crate::elf::hash::Name;
use crate::gates;
use crate::gates::Substitute;

impl Object {
    /// Returns the index of a symbol that the object itself defines, whatever its version or visibility.
    pub(crate) fn defined(&self, name: &[u8]) -> Option<usize> {
        self.hash()?.candidates(&Name::new(name)).find(|&index| {
            self.symbol(index)
                .is_some_and(|symbol| symbol.st_shndx != 0 && self.is_named(symbol, name))
        })
    }

    /// Returns the address of a symbol that the object itself defines.
    pub(crate) fn address_of(&self, name: &[u8]) -> Option<usize> {
        let symbol = self.symbol(self.defined(name)?)?;
        Some(self.real(address(symbol.st_value)))
    }

    /// Returns the index of the symbol that an address lies in, as far as its size says; `dladdr` has it the same way.
    pub(crate) fn symbol_at(&self, at: usize) -> Option<usize> {
        let vaddr = at.wrapping_sub(self.bias());
        let mut best: Option<(usize, usize)> = None;
        for (index, symbol) in self.symbols().iter().enumerate() {
            let value = address(symbol.st_value);
            let size = address(symbol.st_size);
            let defined = symbol.st_shndx != 0 || symbol.st_value != 0;
            if value == 0
                || value > vaddr
                || !defined
                || sym::st_type(symbol.st_info) == sym::STT_TLS
            {
                continue;
            }
            let inside = if symbol.st_shndx == 0 || size == 0 {
                vaddr == value
            } else {
                vaddr - value < size
            };
            if inside && best.is_none_or(|(_, so_far)| so_far < value) {
                best = Some((index, value));
            }
        }
        best.map(|(index, _)| index)
    }

    /// Returns the symbols whose definitions are replaced, and by what.
    pub(super) fn replaced(&self, vdso: Option<&Self>) -> Vec<(usize, Substitute)> {
        let by_gate = |&(name, gate)| Some((self.defined(name)?, Substitute::Gate(gate)));
        let by_vdso = |&(name, there): &(&[u8], &[u8])| {
            let address = vdso?.address_of(there)?;
            Some((self.defined(name)?, Substitute::Vdso(address)))
        };
        let by_gate = gates::overrides(self.role).iter().filter_map(by_gate);
        let by_vdso = gates::of_vdso(self.role).iter().filter_map(by_vdso);
        by_gate.chain(by_vdso).collect()
    }
}
