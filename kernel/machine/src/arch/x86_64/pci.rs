//! PCI configuration space through I/O ports (PCI Local Bus 3.0, "Configuration Mechanism #1").

use super::port;
use crate::sync::SpinLock;

const ADDRESS: u16 = 0xcf8;
const DATA: u16 = 0xcfc;
const ENABLE: u32 = 1 << 31;

/// The two ports are used as a pair.
static PORTS: SpinLock<()> = SpinLock::new(());

fn select(address: u32) {
    // SAFETY: the port does nothing but select a register of the configuration space; `PORTS` is held.
    unsafe { port::write(ADDRESS, ENABLE | address) };
}

/// Whether the ports are there: the address register keeps what is written to it.
pub fn is_there() -> bool {
    let _guard = PORTS.lock();
    select(0);
    // SAFETY: reading the address register has no side effects.
    unsafe { port::read::<u32>(ADDRESS) == ENABLE }
}

/// Reads the 32-bit register at `address`: bus in bits 16-23, device 11-15, function 8-10, register 2-7.
pub fn read(address: u32) -> u32 {
    let _guard = PORTS.lock();
    select(address);
    // SAFETY: reading the configuration space has no side effects.
    unsafe { port::read(DATA) }
}

/// Writes the 32-bit register at `address`, given as for [`read`].
///
/// # Safety
/// What is written must not make a device use memory or addresses that are not its to use.
pub unsafe fn write(address: u32, value: u32) {
    let _guard = PORTS.lock();
    select(address);
    // SAFETY: the caller's promise is about what the register does.
    unsafe { port::write(DATA, value) };
}
