//! Extended processor state (x87, SSE, AVX, AVX-512): XSAVE areas of threads and of signal frames.
use super::TrapFrame;
use crate::syscall::Errno;

/// Size in bytes of a standard-format XSAVE area with all enabled components.
pub fn area_size() -> usize {
    unimplemented!()
}
/// Enabled XCR0 components.
pub fn xcr0() -> u64 {
    unimplemented!()
}
/// Saves the interrupted program's state in standard format to `area` (64-byte aligned): the live state with the frame's xmm registers in place.
///
/// # Safety
/// `area` must be valid for writes of [`area_size`] bytes.
pub unsafe fn save(area: *mut u8, frame: &TrapFrame) {
    unimplemented!("{area:p} {frame:?}")
}
/// Restores from a standard-format area; the xmm registers go into `frame`. Invalid contents give an error.
///
/// # Safety
/// `area` must be valid for reads of [`area_size`] bytes.
pub unsafe fn restore(area: *const u8, frame: &mut TrapFrame) -> Result<(), Errno> {
    unimplemented!("{area:p} {frame:?}")
}
