//! Page tables: entry format, the direct map, mapping and unmapping of pages, local TLB flush.
//! Owned by MM; ARCH's boot code sets up the initial tables (direct map, kernel image) that this module takes over.

/// Start of the direct map of physical memory in the kernel's half.
pub const DIRECT_MAP: usize = 0xffff_8000_0000_0000;
