//! Memory that devices read and write: whole frames, taken for good, and what the virtio-drivers crate asks of a
//! kernel.
//!
//! Only memory in the direct map or the kernel image is ever given to a device, so sharing it needs no copy. There is
//! no IOMMU: bus addresses are physical addresses.
use super::pci::Mmio;
use crate::arch::layout::phys_to_virt;
use crate::mm::{frame, kernel_map};
use core::{ops::Range, ptr::NonNull};
use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};

/// What the virtio-drivers crate needs of the kernel.
pub(super) struct DmaHal;

// SAFETY: `dma_alloc` gives zeroed frames that nothing else uses, `mmio_phys_to_virt` a mapping of the device's
// registers that stays for good.
unsafe impl Hal for DmaHal {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let memory = frame::alloc_contiguous(pages)
            .and_then(|phys| Some((phys, NonNull::new(phys_to_virt(phys))?)));
        let Some((phys, virt)) = memory else {
            return (0, NonNull::dangling());
        };
        // SAFETY: the frames were just allocated and lie in the direct map.
        unsafe { virt.write_bytes(0, pages * PAGE_SIZE) };
        (phys, virt)
    }

    unsafe fn dma_dealloc(phys: PhysAddr, _: NonNull<u8>, pages: usize) -> i32 {
        // SAFETY: the caller gives back what `dma_alloc` gave, which is what `alloc_contiguous` gave.
        unsafe { frame::free_contiguous(phys, pages) };
        0
    }

    unsafe fn mmio_phys_to_virt(phys: PhysAddr, size: usize) -> NonNull<u8> {
        Mmio::map(phys, size).start()
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        kernel_map::virt_to_phys(buffer.cast::<u8>().as_ptr() as usize)
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}

/// Physically contiguous frames that stay allocated for good, because a device may know of them.
///
/// It gives out pointers, not references: whoever makes a reference has to know that neither the device nor anyone else
/// is using those bytes.
pub(super) struct DmaBuffer {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: it is memory like any other; access goes through unsafe code that has to exclude races.
unsafe impl Send for DmaBuffer {}
// SAFETY: as above.
unsafe impl Sync for DmaBuffer {}

impl DmaBuffer {
    /// Zeroed memory for `len` bytes.
    pub(super) fn new(len: usize) -> Option<Self> {
        let pages = len.div_ceil(PAGE_SIZE);
        let (phys, start) = DmaHal::dma_alloc(pages, BufferDirection::Both);
        (phys != 0).then_some(Self { start, len })
    }

    fn at(&self, range: &Range<usize>) -> NonNull<u8> {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: the start of the range was just found to be within the buffer.
        unsafe { self.start.add(range.start) }
    }

    /// Part of the buffer to read.
    ///
    /// # Safety
    /// Nobody, the device included, may write to it as long as the reference lives.
    pub(super) unsafe fn slice(&self, range: Range<usize>) -> &[u8] {
        // SAFETY: the memory is initialised and within the buffer; the rest is the caller's promise.
        unsafe { core::slice::from_raw_parts(self.at(&range).as_ptr(), range.len()) }
    }

    /// Part of the buffer to write.
    ///
    /// # Safety
    /// Nobody else, the device included, may use it as long as the reference lives.
    #[expect(
        clippy::mut_from_ref,
        reason = "the caller promises that parts in use do not overlap"
    )]
    pub(super) unsafe fn slice_mut(&self, range: Range<usize>) -> &mut [u8] {
        // SAFETY: the memory is initialised and within the buffer; the rest is the caller's promise.
        unsafe { core::slice::from_raw_parts_mut(self.at(&range).as_ptr(), range.len()) }
    }
}
