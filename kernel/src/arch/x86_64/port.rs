//! I/O ports.

use x86_64::instructions::port::Port;

macro_rules! port {
    ($read:ident, $write:ident, $type:ty) => {
        /// Reads a port.
        ///
        /// # Safety
        /// Reading the device register must not break what anybody else relies on.
        pub unsafe fn $read(port: u16) -> $type {
            // SAFETY: forwarded to the caller.
            unsafe { Port::new(port).read() }
        }
        /// Writes a port.
        ///
        /// # Safety
        /// Writing the device register must not break what anybody else relies on.
        pub unsafe fn $write(port: u16, value: $type) {
            // SAFETY: forwarded to the caller.
            unsafe { Port::new(port).write(value) }
        }
    };
}

port!(in8, out8, u8);
port!(in16, out16, u16);
port!(in32, out32, u32);
