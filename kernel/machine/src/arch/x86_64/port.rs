//! I/O ports, for the modules of `arch` that know what is behind them.

use x86_64::instructions::port::{Port, PortRead, PortWrite};

/// Reads a port.
///
/// # Safety
/// Reading the device register must not break what anybody else relies on.
pub(super) unsafe fn read<T: PortRead>(port: u16) -> T {
    // SAFETY: forwarded to the caller.
    unsafe { Port::new(port).read() }
}

/// Writes a port.
///
/// # Safety
/// Writing the device register must not break what anybody else relies on.
pub(super) unsafe fn write<T: PortWrite>(port: u16, value: T) {
    // SAFETY: forwarded to the caller.
    unsafe { Port::new(port).write(value) }
}
