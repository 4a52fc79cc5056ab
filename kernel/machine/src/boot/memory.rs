//! Physical memory at boot: who gets what, the direct map, the kernel's own page tables.
//!
//! The heap needs frames and frames need a table, so the first steps do without the heap: ranges are kept in fixed
//! arrays.

use super::pvh::{RAM, StartInfo};
use crate::arch::image;
use crate::arch::layout::{KERNEL_BASE, direct_map, phys_to_virt};
use crate::arch::paging::{self, Flags};
use crate::arch::smp::TRAMPOLINE;
use crate::log;
use crate::mm::{PAGE, frame};
use alloc::vec::Vec;
use core::slice;
use core::sync::atomic::AtomicU32;

/// What the allocator's tables have for each frame: a byte in one, an [`AtomicU32`] in the other.
const PER_FRAME: u64 = 1 + 4;

/// [`PAGE`], as addresses are.
const PAGE_LEN: u64 = PAGE as u64;
/// What the boot page tables map.
const EARLY: u64 = 1 << 30;
/// Below it lie the firmware's things, the start info and the trampoline.
const LOW: u64 = 1 << 20;
/// With less beside the kernel's image not even its own threads can start.
const LEAST: u64 = 512 << 10;

/// Calls `f` for each range of usable memory outside of what is taken.
fn usable(info: &StartInfo, taken: &[(u64, u64)], f: &mut impl FnMut(u64, u64)) {
    for range in info.map.iter().filter(|range| range.kind == RAM) {
        let end = (range.start + range.len) & !(PAGE_LEN - 1);
        outside(range.start.next_multiple_of(PAGE_LEN), end, taken, f);
    }
}

/// Calls `f` for the parts of `start..end` that are not taken.
fn outside(start: u64, end: u64, taken: &[(u64, u64)], f: &mut impl FnMut(u64, u64)) {
    match taken.split_first() {
        None if start < end => f(start, end),
        None => {}
        Some((&(from, to), rest)) => {
            outside(start, end.min(from), rest, f);
            outside(start.max(to), end, rest, f);
        }
    }
}

/// Takes all memory over: frame allocator, direct map, page tables.
pub(super) fn init(info: &StartInfo) {
    let kernel = (
        image::text().start - KERNEL_BASE,
        image::data().end - KERNEL_BASE,
    );
    let module = module_pages(info);
    let taken = [
        (0, LOW),
        (kernel.0 as u64, kernel.1 as u64),
        (module.start, module.end),
    ];
    let (mut most, mut total, mut left) = (0, 0, 0);
    usable(info, &[], &mut |start, end| {
        most = most.max(end);
        total += end - start;
    });
    usable(info, &taken, &mut |start, end| left += end - start);
    if left < LEAST {
        log::fatal(format_args!(
            "{} KiB of memory are too little; give more with --memory",
            total >> 10
        ));
    }
    // The allocator's two tables: the first place they fit.
    let count = (most / PAGE_LEN).next_multiple_of(PAGE_LEN);
    let tables = count * PER_FRAME;
    let mut place = None;
    usable(info, &taken, &mut |start, end| {
        let end = end.min(EARLY);
        if place.is_none() && end.saturating_sub(start) > tables {
            place = Some(start);
        }
    });
    let Some(place) = place else {
        log::fatal(format_args!("no room for the table of memory"));
    };
    let len = count as usize;
    let shares: *const AtomicU32 = phys_to_virt(place + count).cast();
    // SAFETY: the range is usable memory that nobody else is given, mapped by the boot page tables and, below, for
    // good. The first table, of bytes, ends at a page; whatever is there is a value of either, and the allocator does
    // not care which.
    let (states, shares) = unsafe {
        (
            slice::from_raw_parts_mut(phys_to_virt(place), len),
            slice::from_raw_parts(shares, len),
        )
    };
    frame::init(states, shares);
    let taken = [taken[0], taken[1], taken[2], (place, place + tables)];
    usable(info, &taken, &mut |start, end| {
        frame::expect(start, end.min(EARLY));
        frame::expect(start.max(EARLY), end);
    });
    within(info, module.start, module.end, &mut frame::expect);
    low(info, &mut frame::expect);
    usable(info, &taken, &mut |start, end| {
        frame::add(start, end.min(EARLY));
    });
    if map(info).is_none() {
        log::fatal(format_args!(
            "no memory for page tables; give more with --memory"
        ));
    }
    paging::switch();
    usable(info, &taken, &mut |start, end| {
        if end > EARLY {
            frame::add(start.max(EARLY), end);
        }
    });
}

/// Makes the kernel's page tables: its image by what the pages are for, and all memory.
fn map(info: &StartInfo) -> Option<()> {
    let data = Flags::WRITABLE | Flags::NO_EXECUTE;
    paging::set_root(frame::alloc_table()?);
    let sections = [
        (image::text(), Flags::empty()),
        (image::read_only(), Flags::NO_EXECUTE),
        (image::data(), data),
    ];
    for (pages, flags) in sections {
        let phys = (pages.start - KERNEL_BASE) as u64;
        paging::map_kernel(pages.start, phys, pages.len(), flags)?;
    }
    paging::map_kernel(direct_map(), 0, LOW as usize, data)?;
    let mut mapped = Some(());
    usable(info, &[(0, LOW)], &mut |start, end| {
        let len = (end - start) as usize;
        mapped = mapped
            .and_then(|()| paging::map_kernel(direct_map() + start as usize, start, len, data));
    });
    mapped?;
    // Firmware may keep the module's memory for itself, as microvm's of QEMU 10 does.
    for page in module_pages(info).step_by(PAGE) {
        let mut is_mapped = false;
        within(info, page, page + PAGE_LEN, &mut |_, _| is_mapped = true);
        if !is_mapped {
            paging::map_kernel(direct_map() + page as usize, page, PAGE, data)?;
        }
    }
    Some(())
}

/// The addresses of the pages that the first module lies in.
fn module_pages(info: &StartInfo) -> core::ops::Range<u64> {
    let (start, len) = info.module;
    start & !(PAGE_LEN - 1)..(start + len).next_multiple_of(PAGE_LEN)
}

/// Calls `f` for the usable memory in `start..end`.
fn within(info: &StartInfo, start: u64, end: u64, f: &mut impl FnMut(u64, u64)) {
    usable(info, &[(0, start), (end, u64::MAX)], f);
}

/// The contents of the first module.
pub(super) fn module(info: &StartInfo) -> &'static [u8] {
    let (start, len) = info.module;
    if len == 0 {
        return &[];
    }
    // SAFETY: `map` has mapped the module's memory, usable or not, and it is kept until `release_module`.
    unsafe { core::slice::from_raw_parts(phys_to_virt(start), len as usize) }
}

/// Calls `f` for each range of usable memory below [`LOW`] that is nobody's once the start info has been read: not for
/// the first page, whose address is 0, nor for where other CPUs start.
fn low(info: &StartInfo, f: &mut impl FnMut(u64, u64)) {
    let taken = [
        (0, PAGE_LEN),
        (TRAMPOLINE, TRAMPOLINE + PAGE_LEN),
        (LOW, u64::MAX),
    ];
    usable(info, &taken, f);
}

/// Gives the memory below [`LOW`] to the frame allocator: with it goes the start info, and all that it points to.
pub(super) fn release_low(info: StartInfo) {
    let mut ranges = Vec::new();
    low(&info, &mut |start, end| ranges.push((start, end)));
    for (start, end) in ranges {
        frame::add(start, end);
    }
}

/// Gives the module's memory, as far as it is usable, to the frame allocator; its contents have been copied.
pub(super) fn release_module(info: &StartInfo) {
    let pages = module_pages(info);
    within(info, pages.start, pages.end, &mut frame::add);
}
