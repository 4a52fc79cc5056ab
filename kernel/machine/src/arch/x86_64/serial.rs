//! The first serial port (16550), as QEMU and Firecracker set it up: only writing is used.

use super::port;

const COM1: u16 = 0x3f8;
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
    // SAFETY: the port is the log's, whose writers may mix up their bytes but nothing else.
    unsafe { port::write(COM1, byte) };
}
