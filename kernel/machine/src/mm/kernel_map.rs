//! Where the kernel has physical memory mapped: the direct map, into which devices and pmem are mapped on demand.

use super::PAGE;
use crate::arch::layout::{KERNEL_BASE, STACKS, direct_map, phys_to_virt};
use crate::arch::paging::{self, Flags};
use core::sync::atomic::Ordering;

/// Physical address of a direct-map (or kernel image) address.
pub fn virt_to_phys(virt: usize) -> u64 {
    if virt >= KERNEL_BASE {
        return (virt - KERNEL_BASE) as u64;
    }
    if virt >= STACKS {
        // Kernel stacks are not contiguous: page by page.
        let entry = paging::entry(virt, false).map_or(0, |entry| entry.load(Ordering::Relaxed));
        return paging::entry_address(entry) + (virt % PAGE) as u64;
    }
    (virt - direct_map()) as u64
}

/// Whether memory at this address is physically in one piece: that of the direct map and the kernel image is, stacks
/// and the program's are not.
pub fn is_contiguous(virt: usize) -> bool {
    (direct_map()..STACKS).contains(&virt) || virt >= KERNEL_BASE
}

/// Maps device memory (uncached) or a pmem range (cached) into the direct map and returns its address.
pub fn map_physical(phys: u64, len: usize, cached: bool) -> *mut u8 {
    let start = phys & !(PAGE as u64 - 1);
    let len = (phys - start) as usize + len;
    let mut flags = Flags::WRITABLE | Flags::NO_EXECUTE;
    if !cached {
        flags |= Flags::NO_CACHE | Flags::WRITE_THROUGH;
    }
    let mapped = paging::map_kernel(
        direct_map() + start as usize,
        start,
        len.next_multiple_of(PAGE),
        flags,
    );
    assert!(mapped.is_some(), "no memory to map a device at {phys:#x}");
    phys_to_virt(phys)
}
