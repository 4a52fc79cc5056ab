//! One step up a stack by unwind tables (DWARF 4, 6.4; Linux Standard Base Core, "Exception Frames"): for crash reports, and
//! to find out what a signal handler has interrupted.
//!
//! Everything read here is the program's and may be anything: reads go through [`Memory`], and what makes no sense gives
//! nothing.

mod registers;
mod tables;

pub use registers::{R12, R13, R14, R15, RBP, RBX, RIP, RSP, Registers};
pub use tables::{Row, Tables, segments};

/// What is unwound.
pub trait Memory {
    /// Fills `to` with what is at `address`; `None` if there is nothing.
    fn copy(&self, address: u64, to: &mut [u8]) -> Option<()>;

    /// Reads bytes.
    fn array<const N: usize>(&self, address: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.copy(address, &mut bytes)?;
        Some(bytes)
    }

    /// Reads a word.
    fn word(&self, address: u64) -> Option<u64> {
        self.array(address).map(u64::from_le_bytes)
    }
}

/// Memory for tests.
#[cfg(test)]
pub(crate) mod testing {
    use alloc::vec::Vec;

    use super::Memory;

    /// Pieces: address and bytes.
    pub(crate) struct Pieces(pub(crate) Vec<(u64, Vec<u8>)>);

    impl Memory for Pieces {
        fn copy(&self, address: u64, to: &mut [u8]) -> Option<()> {
            let bytes = self.0.iter().find_map(|(start, bytes)| {
                let from = usize::try_from(address.checked_sub(*start)?).ok()?;
                bytes.get(from..from.checked_add(to.len())?)
            })?;
            to.copy_from_slice(bytes);
            Some(())
        }
    }
}
