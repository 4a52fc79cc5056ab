//! Page tables: entries, the walk to them, flushing.
//!
//! Each address space has tables of its own for the program's half, [`Tables`]; the kernel's half is the same in all:
//! the roots have the same entries there, and the kernel's root has all of them before the first other one is made.
//!
//! Hardware never writes to an entry: accessed and dirty are set from the start, so an entry changes only under the
//! lock of the address space. Which frames lie behind entries, and who owns them, is the memory management's business.

use super::layout::{PAGE, USER_END, phys_to_virt};
use crate::mm::frame;
use bitflags::bitflags;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
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

/// Entries of a table.
const ENTRIES: usize = 512;
/// Level of the root.
const ROOT: usize = 3;

/// The root of the kernel's tables, on which threads without an address space run.
static KERNEL: AtomicU64 = AtomicU64::new(0);
/// Others have copies of the entries of the kernel's root, which can have no more.
static IS_COPIED: AtomicBool = AtomicBool::new(false);

/// One table.
fn table(phys: u64) -> &'static [AtomicU64; ENTRIES] {
    // SAFETY: tables lie in frames that are mapped in the direct map; those of the kernel's half are never freed, those
    // of the program's when `Tables` is dropped, whose users keep a reference to it; entries are only ever accessed
    // atomically.
    unsafe { &*phys_to_virt(phys).cast() }
}

fn index(addr: usize, level: usize) -> usize {
    addr >> (12 + 9 * level) & (ENTRIES - 1)
}

/// The lowest-level entry of a kernel's page, with the tables above it made if `make`. `None`: there is none (or no
/// memory for it, or a large page is in the way).
pub fn entry(addr: usize, make: bool) -> Option<&'static AtomicU64> {
    entry_at(KERNEL.load(Ordering::Relaxed), addr, 0, make)
}

fn entry_at(root: u64, addr: usize, level: usize, make: bool) -> Option<&'static AtomicU64> {
    entry_table(root, addr, level, make).map(|entries| &entries[index(addr, level)])
}

/// The lowest-level entries of `count` pages of the kernel's from `addr` on, which have one table, made if it is not
/// there. `None` without memory.
pub fn entries(addr: usize, count: usize) -> Option<&'static [AtomicU64]> {
    let first = index(addr, 0);
    let table = entry_table(KERNEL.load(Ordering::Relaxed), addr, 0, true)?;
    Some(&table[first..first + count])
}

/// The table in which [`entry_at`] finds it.
fn entry_table(
    root: u64,
    addr: usize,
    level: usize,
    make: bool,
) -> Option<&'static [AtomicU64; ENTRIES]> {
    let mut current = table(root);
    for above in (level + 1..=ROOT).rev() {
        let slot = &current[index(addr, above)];
        let mut value = slot.load(Ordering::Acquire);
        if value & Flags::HUGE.bits() != 0 && above < ROOT {
            return None;
        }
        if value == 0 {
            let is_late = addr > USER_END && above == ROOT && IS_COPIED.load(Ordering::Relaxed);
            if !make || is_late {
                return None;
            }
            let new = frame::alloc_table()?;
            let made = new | (Flags::PRESENT | Flags::WRITABLE | Flags::ACCESSED).bits();
            // What lies in one table may be guarded by several locks.
            value = match slot.compare_exchange(0, made, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => made,
                Err(other) => {
                    // SAFETY: it was taken above and is in no table.
                    unsafe { frame::free_contiguous(new, 1) };
                    other
                }
            };
        }
        current = table(entry_address(value));
    }
    Some(current)
}

/// The tables of one address space. Who has a CPU use them keeps a reference meanwhile.
#[derive(Debug)]
pub struct Tables {
    root: u64,
    /// CPUs that use them, bit n = CPU n: their TLBs may hold translations.
    cpus: AtomicU64,
}

impl Tables {
    /// Tables without a page in the program's half. `None` without memory.
    pub fn new() -> Option<Self> {
        let root = frame::alloc_table()?;
        IS_COPIED.store(true, Ordering::Relaxed);
        let kernel = table(KERNEL.load(Ordering::Relaxed));
        for (to, from) in table(root).iter().zip(kernel).skip(ENTRIES / 2) {
            to.store(from.load(Ordering::Acquire), Ordering::Relaxed);
        }
        Some(Self {
            root,
            cpus: AtomicU64::new(0),
        })
    }

    /// The lowest-level entry of a page of the program's half, as [`entry`].
    pub fn entry(&self, addr: usize, make: bool) -> Option<&AtomicU64> {
        entry_at(self.root, addr, 0, make)
    }

    /// The first page from `addr` to `end` whose lowest-level table exists, and the entries of it and of those that
    /// follow it there, up to `end`: lets walks skip what was never touched.
    pub fn next_entries(&self, addr: usize, end: usize) -> Option<(usize, &[AtomicU64])> {
        let mut addr = addr;
        while addr < end {
            let mut current = table(self.root);
            let mut level = ROOT;
            loop {
                let first = index(addr, level);
                let mut value = current[first].load(Ordering::Acquire);
                if value == 0 {
                    // Nothing below these entries: on to the one behind them, or to the next table.
                    let skipped = empty(&current[first..]);
                    let size = PAGE << (9 * level);
                    addr = (addr & !(size - 1)).saturating_add(skipped * size);
                    if first + skipped == ENTRIES || addr >= end {
                        break;
                    }
                    value = current[first + skipped].load(Ordering::Acquire);
                }
                current = table(entry_address(value));
                level -= 1;
                if level == 0 {
                    let count = (end - addr).div_ceil(PAGE);
                    let entries = &current[index(addr, 0)..];
                    return Some((addr, &entries[..count.min(entries.len())]));
                }
            }
        }
        None
    }

    /// The entries of `count` pages from `addr` on, which have one lowest-level table, made if it is not there. `None`
    /// without memory.
    pub fn entries(&self, addr: usize, count: usize) -> Option<&[AtomicU64]> {
        let first = index(addr, 0);
        Some(&entry_table(self.root, addr, 0, true)?[first..first + count])
    }

    /// Makes every CPU that uses the tables forget the translations of `len` bytes at `start`. Interrupts must be on;
    /// no `SpinLock` may be held.
    pub fn flush(&self, start: usize, len: usize) {
        // A CPU enters itself before it uses the tables: if it is not seen here, it sees what has been changed.
        fence(Ordering::SeqCst);
        super::cpu::flush(self.cpus.load(Ordering::SeqCst), start, len);
    }

    /// Physical address of the root.
    pub(crate) fn root(&self) -> u64 {
        self.root
    }

    /// Makes this CPU, with interrupts off, use these tables instead of `old`, or the kernel's.
    pub(crate) fn switch(&self, cpu: usize, old: Option<&Self>) {
        self.cpus.fetch_or(1 << cpu, Ordering::SeqCst);
        load(self.root);
        if let Some(old) = old {
            old.cpus.fetch_and(!(1 << cpu), Ordering::SeqCst);
        }
    }
}

impl Drop for Tables {
    /// Frees the tables of the program's half, in which no frame is left that is anybody's.
    fn drop(&mut self) {
        let below = &table(self.root)[..ENTRIES / 2];
        free(below, ROOT);
        // SAFETY: `new` took it, and no CPU uses it: who does has a reference.
        unsafe { frame::free_contiguous(self.root, 1) };
    }
}

/// Frees the tables that entries of a table of this level refer to.
fn free(entries: &[AtomicU64], level: usize) {
    let mut rest = entries;
    while let Some((entry, behind)) = rest[empty(rest)..].split_first() {
        let below = entry_address(entry.load(Ordering::Acquire));
        if level > 1 {
            free(table(below), level - 1);
        }
        // SAFETY: `entry_at` took it, and only the tables above, which nobody uses any more, refer to it.
        unsafe { frame::free_contiguous(below, 1) };
        rest = behind;
    }
}

/// How many entries are empty before the first that is not. Most tables have hardly any: looks at several at once.
pub fn empty(entries: &[AtomicU64]) -> usize {
    let (chunks, _) = entries.as_chunks();
    let skipped = chunks.iter().take_while(|some| all_empty(some)).count() * AT_ONCE;
    let rest = &entries[skipped..];
    let is_used = |entry: &AtomicU64| entry.load(Ordering::Relaxed) != 0;
    skipped + rest.iter().position(is_used).unwrap_or(rest.len())
}

/// Entries that are looked at together.
pub const AT_ONCE: usize = 16;

/// Whether these are.
#[inline]
pub fn all_empty(entries: &[AtomicU64; AT_ONCE]) -> bool {
    let any = |bits, entry: &AtomicU64| bits | entry.load(Ordering::Relaxed);
    entries.iter().fold(0, any) == 0
}

/// Maps `len` bytes of physical memory at a kernel address, with large pages where they fit. What is mapped already
/// stays. `None` without memory for tables.
pub fn map_kernel(virt: usize, phys: u64, len: usize, flags: Flags) -> Option<()> {
    let flags = (flags | Flags::PRESENT | Flags::ACCESSED | Flags::DIRTY).bits();
    let mut done = 0;
    while done < len {
        let (virt, phys) = (virt + done, phys + done as u64);
        let fits = virt % LARGE == 0 && phys.is_multiple_of(LARGE as u64) && len - done >= LARGE;
        let (level, flags, left) = match fits {
            true => (1, flags | Flags::HUGE.bits(), (len - done) / LARGE),
            // As far as a large page may come next.
            false => (
                0,
                flags,
                (len - done).div_ceil(PAGE).min(ENTRIES - index(virt, 0)),
            ),
        };
        let size = PAGE << (9 * level);
        let first = index(virt, level);
        let count = left.min(ENTRIES - first);
        done += count * size;
        let entries = match entry_table(KERNEL.load(Ordering::Relaxed), virt, level, true) {
            Some(entries) => &entries[first..first + count],
            None if level == 0 => continue,
            None => return None,
        };
        for (entry, phys) in entries.iter().zip((phys..).step_by(size)) {
            if entry.load(Ordering::Acquire) == 0 {
                entry.store(phys | flags, Ordering::Release);
            }
        }
    }
    Some(())
}

/// Takes a fresh table as the kernel's root. Called once, before [`switch`].
pub(crate) fn set_root(phys: u64) {
    KERNEL.store(phys, Ordering::Relaxed);
}

/// Physical address of the kernel's root.
pub(crate) fn root() -> u64 {
    KERNEL.load(Ordering::Relaxed)
}

/// Makes this CPU use the kernel's tables.
pub(crate) fn switch() {
    load(root());
}

/// Makes this CPU, which has used `old`, use the kernel's tables, with interrupts off.
pub(crate) fn leave(cpu: usize, old: &Tables) {
    switch();
    old.cpus.fetch_and(!(1 << cpu), Ordering::SeqCst);
}

/// Makes this CPU use the tables of a root. It forgets all translations.
fn load(root: u64) {
    if cfg!(hosted) {
        return;
    }
    let root = PhysFrame::containing_address(PhysAddr::new_truncate(root));
    // SAFETY: the tables map the kernel image and all memory where the boot tables have them.
    unsafe { Cr3::write(root, Cr3Flags::empty()) };
}
