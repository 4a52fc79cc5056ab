//! The first serial port (16550), as QEMU and Firecracker set it up: only writing is used. And QEMU's debug console.

use super::port;

const COM1: u16 = 0x3f8;
/// QEMU's debug console, where there is one: it takes whatever is written.
const DEBUG_CONSOLE: u16 = 0xe9;
const LINE_STATUS: u16 = COM1 + 5;
/// The transmitter takes a byte.
const EMPTY: u8 = 0x20;

/// Writes a byte. The wait for the port is bounded: without a port all bits of its status read as 1.
pub fn write(byte: u8) {
    for _ in 0..100_000 {
        // SAFETY: reading the line status takes nothing away from anybody but errors of reception, which nobody asks
        // for.
        if unsafe { port::read::<u8>(LINE_STATUS) } & EMPTY != 0 {
            break;
        }
    }
    put(COM1, byte);
}

/// Writes a byte to QEMU's debug console.
pub fn write_debug(byte: u8) {
    put(DEBUG_CONSOLE, byte);
}

fn put(port: u16, byte: u8) {
    // SAFETY: both ports only show people what is written, and who writes may mix up the bytes but nothing else.
    unsafe { port::write(port, byte) };
}
