//! Physical frames: allocator and handles.

/// One allocated 4 KiB frame; freed when dropped.
pub struct Frame {
    phys: u64,
}
impl Frame {
    /// Allocates a zeroed frame; `None` when memory is exhausted.
    pub fn zeroed() -> Option<Self> {
        unimplemented!()
    }
    /// Allocates a frame with unspecified contents.
    pub fn uninit() -> Option<Self> {
        unimplemented!()
    }
    /// Physical address.
    pub fn phys(&self) -> u64 {
        self.phys
    }
    /// Its bytes through the direct map.
    pub fn bytes(&self) -> *mut u8 {
        phys_to_virt(self.phys)
    }
}
/// Physically contiguous frames for DMA and tables; address of the first.
pub fn alloc_contiguous(count: usize) -> Option<u64> {
    unimplemented!("{count}")
}
/// Frees what [`alloc_contiguous`] gave.
///
/// # Safety
/// `phys` and `count` must come from one `alloc_contiguous`, and nothing may use the memory any more.
pub unsafe fn free_contiguous(phys: u64, count: usize) {
    unimplemented!("{phys} {count}")
}
/// Direct-map address of a physical address.
pub fn phys_to_virt(phys: u64) -> *mut u8 {
    unimplemented!("{phys}")
}
/// Physical address of a direct-map (or kernel image) address.
pub fn virt_to_phys(virt: usize) -> u64 {
    unimplemented!("{virt}")
}
/// Maps device memory (uncached) or a pmem range (cached) into the direct map and returns its address.
pub fn map_physical(phys: u64, len: usize, cached: bool) -> *mut u8 {
    unimplemented!("{phys} {len} {cached}")
}
/// Frames managed and frames free.
pub fn counts() -> (usize, usize) {
    unimplemented!()
}
/// Called once by boot with the usable ranges (start, end) of physical memory, kernel image, module and boot structures taken out.
pub fn init(usable: &[(u64, u64)]) {
    unimplemented!("{usable:?}")
}
