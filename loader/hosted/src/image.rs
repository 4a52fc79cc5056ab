//! Where this program's own code lies, and its unwind tables, by its program headers (gABI, chapter 5).

use loader::HostCode;

const PT_LOAD: u32 = 1;
const PT_GNU_EH_FRAME: u32 = 0x6474_e550;
const PF_X: u32 = 1;

/// The ELF header, as far as it matters here.
#[repr(C)]
struct Header {
    ident: [u8; 32],
    headers_at: usize,
    rest: [u8; 16],
    count: u16,
}

/// A program header, as far as it matters here.
#[repr(C)]
struct Segment {
    kind: u32,
    flags: u32,
    offset: usize,
    address: usize,
    physical: usize,
    file_size: usize,
    memory_size: usize,
    align: usize,
}

unsafe extern "C" {
    /// Defined by the linker: the program's ELF header in memory.
    static __ehdr_start: Header;
}

/// Returns where the code lies.
pub(crate) fn code() -> Option<HostCode> {
    // SAFETY: the linker puts the header at the start of the first segment, and the program headers behind it.
    let segments = unsafe {
        let start = (&raw const __ehdr_start).expose_provenance();
        let first = (start + __ehdr_start.headers_at) as *const Segment;
        core::slice::from_raw_parts(first, usize::from(__ehdr_start.count))
    };
    let is_text = |segment: &&Segment| segment.kind == PT_LOAD && segment.flags & PF_X != 0;
    let text = segments.iter().find(is_text)?;
    let tables = segments
        .iter()
        .find(|segment| segment.kind == PT_GNU_EH_FRAME)?;
    // Linked at a fixed address: these are the real ones.
    Some(HostCode {
        range: text.address..text.address + text.memory_size,
        eh_frame_hdr: tables.address,
    })
}
