//! `hvm_start_info`, by which a PVH boot protocol's hypervisor tells where things are (Xen,
//! public/arch-x86/hvm/start_info.h).

use crate::arch::layout::phys_to_virt;

const MAGIC: u32 = 0x336e_c578;

/// Usable memory, in a memory map.
pub(super) const RAM: u32 = 1;

#[repr(C)]
#[derive(Clone, Copy)]
struct Raw {
    magic: u32,
    version: u32,
    flags: u32,
    modules: u32,
    module_list: u64,
    command_line: u64,
    rsdp: u64,
    memory_map: u64,
    memory_map_entries: u32,
    reserved: u32,
}

/// A range of the memory map.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) start: u64,
    pub(super) len: u64,
    pub(super) kind: u32,
    reserved: u32,
}

/// The parts that matter.
pub(super) struct StartInfo {
    pub(super) map: &'static [Range],
    /// Address and length of the first module; length 0: none.
    pub(super) module: (u64, u64),
    pub(super) rsdp: u64,
}

impl StartInfo {
    /// Reads the structure through the boot page tables. `None` when it is not one.
    ///
    /// # Safety
    /// `at` must be the address that the boot protocol passes.
    pub(super) unsafe fn read(at: u64) -> Option<Self> {
        // SAFETY: the hypervisor's structure, in the first GiB like everything it points to.
        let raw = unsafe { phys_to_virt(at).cast::<Raw>().read_unaligned() };
        if raw.magic != MAGIC || raw.version == 0 || raw.memory_map_entries == 0 {
            return None;
        }
        let module = if raw.modules == 0 {
            (0, 0)
        } else {
            // SAFETY: as above; a list entry is address, size, command line, reserved.
            let [start, len] = unsafe {
                phys_to_virt(raw.module_list)
                    .cast::<[u64; 2]>()
                    .read_unaligned()
            };
            (start, len)
        };
        // SAFETY: as above: so many entries.
        let map = unsafe {
            core::slice::from_raw_parts(
                phys_to_virt(raw.memory_map).cast(),
                raw.memory_map_entries as usize,
            )
        };
        Some(Self {
            map,
            module,
            rsdp: raw.rsdp,
        })
    }
}
