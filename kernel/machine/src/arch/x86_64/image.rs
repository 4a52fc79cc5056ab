//! Where the kernel's image lies, by what its linker script says (kernel/link.ld).

use core::ops::Range;

unsafe extern "C" {
    static __kernel_start: u8;
    static __text_end: u8;
    static __rodata_end: u8;
    static __kernel_end: u8;
    static __eh_frame_hdr: u8;
}

/// Its code.
pub fn text() -> Range<usize> {
    (&raw const __kernel_start).addr()..(&raw const __text_end).addr()
}

/// What is neither written nor executed, unwind tables among it.
pub fn read_only() -> Range<usize> {
    (&raw const __text_end).addr()..(&raw const __rodata_end).addr()
}

/// What is written.
pub fn data() -> Range<usize> {
    (&raw const __rodata_end).addr()..(&raw const __kernel_end).addr()
}

/// Address of the table of its unwind information (LSB, `.eh_frame_hdr`).
pub fn eh_frame_hdr() -> usize {
    (&raw const __eh_frame_hdr).expose_provenance()
}

/// Copies from its code and read-only data; whether all of it lies there.
pub fn read(addr: usize, to: &mut [u8]) -> bool {
    let readable = text().start..read_only().end;
    let end = addr.saturating_add(to.len());
    if !readable.contains(&addr) || end > readable.end {
        return false;
    }
    let from = core::ptr::with_exposed_provenance::<u8>(addr);
    // SAFETY: the range was just found to lie in the kernel's code and read-only data, which nobody writes.
    unsafe { from.copy_to_nonoverlapping(to.as_mut_ptr(), to.len()) };
    true
}
