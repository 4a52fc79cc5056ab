//! Page tables: entries, the walk to them, flushing.
//!
//! Hardware never writes to an entry: accessed and dirty are set from the start, so an entry changes only under the
//! lock of the address space. Which frames lie behind entries, and who owns them, is the memory management's business.

use super::layout::{PAGE, phys_to_virt};
use super::tlb;
use crate::mm::frame;
use bitflags::bitflags;
use core::sync::atomic::{AtomicU64, Ordering};
use x86_64::PhysAddr;
use x86_64::registers::control::{Cr3, Cr3Flags};
use x86_64::structures::paging::PhysFrame;

bitflags! {
    /// A page-table entry's flags (Intel SDM, volume 3, chapter "Paging").
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Flags: u64 {
        /// There is a page.
        const PRESENT = 1;
        /// It may be written.
        const WRITABLE = 1 << 1;
        /// Writes go through.
        const WRITE_THROUGH = 1 << 3;
        /// Not cached.
        const NO_CACHE = 1 << 4;
        /// Accessed.
        const ACCESSED = 1 << 5;
        /// Dirty.
        const DIRTY = 1 << 6;
        /// A large page.
        const HUGE = 1 << 7;
        /// Software: the frame belongs to the entry.
        const OWNED = 1 << 9;
        /// Software: the frame is a file's, and the address space holds a reference.
        const CACHED = 1 << 10;
        /// It may not be executed.
        const NO_EXECUTE = 1 << 63;
    }
}

const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const LARGE: usize = 2 << 20;

/// The physical address in an entry.
pub fn entry_address(entry: u64) -> u64 {
    entry & ADDRESS
}

/// The flags in an entry.
pub fn entry_flags(entry: u64) -> Flags {
    Flags::from_bits_retain(entry & !ADDRESS)
}

/// The root of the kernel's tables, which everything shares.
static ROOT: AtomicU64 = AtomicU64::new(0);

/// One table.
fn table(phys: u64) -> &'static [AtomicU64; 512] {
    // SAFETY: tables lie in frames that are mapped in the direct map and are never freed; entries are only ever
    // accessed atomically.
    unsafe { &*phys_to_virt(phys).cast() }
}

fn index(addr: usize, level: usize) -> usize {
    addr >> (12 + 9 * level) & 511
}

/// The lowest-level entry of a page, with the tables above it made if `make`. `None`: there is none (or no memory for
/// it, or a large page is in the way).
pub fn entry(addr: usize, make: bool) -> Option<&'static AtomicU64> {
    entry_at(addr, 0, make)
}

fn entry_at(addr: usize, level: usize, make: bool) -> Option<&'static AtomicU64> {
    let mut current = table(ROOT.load(Ordering::Relaxed));
    for above in (level + 1..4).rev() {
        let slot = &current[index(addr, above)];
        let mut value = slot.load(Ordering::Acquire);
        if value & Flags::HUGE.bits() != 0 && above < 3 {
            return None;
        }
        if value == 0 {
            if !make {
                return None;
            }
            let new = frame::alloc_table()?;
            value = new | (Flags::PRESENT | Flags::WRITABLE | Flags::ACCESSED).bits();
            slot.store(value, Ordering::Release);
        }
        current = table(entry_address(value));
    }
    Some(&current[index(addr, level)])
}

/// The first page at or after `addr` whose lowest-level table exists: lets walks skip what was never touched.
pub fn next_present_table(addr: usize, end: usize) -> usize {
    let mut addr = addr;
    while addr < end {
        let mut current = table(ROOT.load(Ordering::Relaxed));
        let mut level = 3;
        loop {
            let value = current[index(addr, level)].load(Ordering::Acquire);
            if value == 0 {
                // Nothing below this entry: on to the next one of this level.
                let size = PAGE << (9 * level);
                addr = (addr & !(size - 1)).saturating_add(size);
                break;
            }
            if level == 1 {
                return addr;
            }
            current = table(entry_address(value));
            level -= 1;
        }
    }
    end
}

/// Maps `len` bytes of physical memory at a kernel address, with large pages where they fit. What is mapped already
/// stays. `None` without memory for tables.
pub fn map_kernel(virt: usize, phys: u64, len: usize, flags: Flags) -> Option<()> {
    let flags = (flags | Flags::PRESENT | Flags::ACCESSED | Flags::DIRTY).bits();
    let mut done = 0;
    while done < len {
        let (virt, phys) = (virt + done, phys + done as u64);
        let fits = virt % LARGE == 0 && phys.is_multiple_of(LARGE as u64) && len - done >= LARGE;
        if fits {
            let slot = entry_at(virt, 1, true)?;
            if slot.load(Ordering::Acquire) == 0 {
                slot.store(phys | flags | Flags::HUGE.bits(), Ordering::Release);
            }
            done += LARGE;
        } else {
            if let Some(slot) = entry(virt, true)
                && slot.load(Ordering::Acquire) == 0
            {
                slot.store(phys | flags, Ordering::Release);
            }
            done += PAGE;
        }
    }
    Some(())
}

/// Takes a fresh table as the root. Called once, before [`switch`].
pub(crate) fn set_root(phys: u64) {
    ROOT.store(phys, Ordering::Relaxed);
}

/// Physical address of the root.
pub(crate) fn root() -> u64 {
    ROOT.load(Ordering::Relaxed)
}

/// Makes this CPU use the kernel's tables.
pub(crate) fn switch() {
    let root = PhysFrame::containing_address(PhysAddr::new_truncate(root()));
    // SAFETY: the tables map the kernel image and all memory where the boot tables have them.
    unsafe { Cr3::write(root, Cr3Flags::empty()) };
}

/// Makes every CPU forget them. Interrupts must be on; no `SpinLock` may be held.
pub fn flush(start: usize, len: usize) {
    tlb::flush_local(start, len);
    super::cpu::flush_others(start, len);
}
