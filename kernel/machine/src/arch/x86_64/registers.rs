//! Registers of a device in memory, 32 bits each.

use crate::mm::kernel_map::map_physical;

/// The registers of a device, mapped for good.
pub(crate) struct Registers {
    at: usize,
    len: usize,
}

impl Registers {
    /// Maps the registers at a physical address, which must be a device's.
    pub(crate) fn map(at: u64, len: usize) -> Self {
        Self {
            at: map_physical(at, len, false).expose_provenance(),
            len,
        }
    }

    /// Returns the register at an offset.
    pub(crate) fn read(&self, offset: usize) -> u32 {
        // SAFETY: `register` says that it lies in what `map` has mapped.
        unsafe { self.register(offset).read_volatile() }
    }

    /// Writes the register at an offset.
    pub(crate) fn write(&self, offset: usize, value: u32) {
        // SAFETY: `register` says that it lies in what `map` has mapped; what the device makes of it is its driver's
        // business.
        unsafe { self.register(offset).write_volatile(value) }
    }

    fn register(&self, offset: usize) -> *mut u32 {
        assert!(offset.is_multiple_of(4) && offset + 4 <= self.len);
        core::ptr::with_exposed_provenance_mut(self.at + offset)
    }
}
