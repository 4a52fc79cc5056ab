//! The halves of the address space, and the direct map of physical memory in the kernel's.

use core::sync::atomic::{AtomicUsize, Ordering};

/// Page size in bytes.
pub const PAGE: usize = 4096;
/// Lowest address a program may map.
pub const USER_START: usize = 0x1_0000;
/// End of the program's half of the address space.
pub const USER_END: usize = 0x7fff_ffff_f000;
/// Start of the direct map of physical memory in the kernel's half: the boot code has chosen it at random, from
/// 0xffff_8080_0000_0000 on. The first addresses of the half are never mapped.
pub(crate) static DIRECT_MAP: AtomicUsize = AtomicUsize::new(0);
/// Where kernel stacks are mapped.
pub const STACKS: usize = 0xffff_ff00_0000_0000;
/// What kernel addresses lie above their physical ones by, in the kernel image.
pub const KERNEL_BASE: usize = 0xffff_ffff_8000_0000;

#[cfg(hosted)]
pub use super::hosted::phys_to_virt;

/// Direct-map address of a physical address.
#[cfg(not(hosted))]
#[inline]
pub fn phys_to_virt(phys: u64) -> *mut u8 {
    core::ptr::with_exposed_provenance_mut(direct_map() + phys as usize)
}

/// Start of the direct map.
#[inline]
pub fn direct_map() -> usize {
    DIRECT_MAP.load(Ordering::Relaxed)
}
