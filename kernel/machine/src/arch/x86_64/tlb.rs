//! This CPU's translation look-aside buffer.

use super::layout::PAGE;
use x86_64::VirtAddr;
use x86_64::instructions::tlb;

/// Makes this CPU forget the translations of `len` bytes at `start`.
pub(crate) fn flush_local(start: usize, len: usize) {
    if cfg!(hosted) {
        return;
    }
    if len > 32 * PAGE {
        tlb::flush_all();
        return;
    }
    for addr in (start..start + len).step_by(PAGE) {
        tlb::flush(VirtAddr::new_truncate(addr as u64));
    }
}
