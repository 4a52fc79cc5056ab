//! Access to user memory: a pointer from the program is an allegation, checked and copied through fault-catching routines.
use crate::syscall::Errno;
use alloc::vec::Vec;

/// Types that may be copied to and from the program as bytes.
///
/// # Safety
/// Any bit pattern must be valid and there must be no padding.
pub unsafe trait Plain: Copy {}

/// Copies from the program.
pub fn copy_in(addr: usize, to: &mut [u8]) -> Result<(), Errno> {
    unimplemented!("{addr} {to:?}")
}
/// Copies to the program.
pub fn copy_out(addr: usize, from: &[u8]) -> Result<(), Errno> {
    unimplemented!("{addr} {from:?}")
}
/// Fills with zeros.
pub fn zero(addr: usize, len: usize) -> Result<(), Errno> {
    unimplemented!("{addr} {len}")
}
/// Reads a value.
pub fn read<T: Plain>(addr: usize) -> Result<T, Errno> {
    unimplemented!("{addr}")
}
/// Writes a value.
pub fn write<T: Plain>(addr: usize, value: &T) -> Result<(), Errno> {
    let _ = value;
    unimplemented!("{addr}")
}
/// Reads a NUL-terminated string of at most `max` bytes (`ENAMETOOLONG` beyond).
pub fn read_cstr(addr: usize, max: usize) -> Result<Vec<u8>, Errno> {
    unimplemented!("{addr} {max}")
}
/// Atomic compare-exchange on an aligned u32 (futex, robust lists); the old value.
pub fn cmpxchg_u32(addr: usize, old: u32, new: u32) -> Result<u32, Errno> {
    unimplemented!("{addr} {old} {new}")
}
/// Atomic load of an aligned u32.
pub fn load_u32(addr: usize) -> Result<u32, Errno> {
    unimplemented!("{addr}")
}
