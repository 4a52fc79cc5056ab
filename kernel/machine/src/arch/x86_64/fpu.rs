//! Extended processor state (x87, SSE, AVX, AVX-512): XSAVE areas of threads and of signal frames.
//!
//! The kernel itself uses legacy SSE only, and entries save `xmm0`–`xmm15`: the rest of the program's state stays in
//! the registers until another thread runs.

use super::TrapFrame;
use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags};

/// x87, SSE, AVX and the three of AVX-512.
const WANTED: u64 = 0b1110_0111;
const X87: u64 = 1 << 0;
const SSE: u64 = 1 << 1;

/// CPUID's leaf about extended state.
const STATE_LEAF: u32 = 0xd;

const MXCSR: usize = 24;
const XMM: usize = 160;
const XSTATE_BV: usize = 512;
const HEADER: usize = 64;
/// Where the part every CPU has ends.
const LEGACY: usize = 512;

static XCR0: AtomicU64 = AtomicU64::new(0);
static SIZE: AtomicUsize = AtomicUsize::new(LEGACY + HEADER);

/// Turns the units of this CPU on.
pub(crate) fn init() {
    let features = __cpuid(1);
    // SAFETY: kernel code works with these on: SSE is part of x86-64, and no code relies on #NM or #UD.
    unsafe {
        let cr0 = Cr0::read();
        Cr0::write(
            (cr0 | Cr0Flags::MONITOR_COPROCESSOR
                | Cr0Flags::NUMERIC_ERROR
                | Cr0Flags::WRITE_PROTECT)
                - Cr0Flags::EMULATE_COPROCESSOR
                - Cr0Flags::TASK_SWITCHED,
        );
        Cr4::update(|cr4| *cr4 |= Cr4Flags::OSFXSR | Cr4Flags::OSXMMEXCPT_ENABLE);
    }
    assert!(features.ecx & (1 << 26) != 0, "the CPU has no XSAVE");
    let has_leaf = __cpuid(0).eax >= STATE_LEAF;
    assert!(
        has_leaf && __cpuid_count(STATE_LEAF, 1).eax != 0 || !is_translated(features.ecx),
        "the CPU has XSAVE, but not XSAVEOPT, without which QEMU's translator does not let it be used"
    );
    let mut units = Cr4Flags::OSXSAVE;
    units.set(
        Cr4Flags::FSGSBASE,
        __cpuid(0).eax >= 7 && __cpuid_count(7, 0).ebx & 1 != 0,
    );
    // SAFETY: as above; both are there. The bases of FS and GS are the program's while it runs.
    unsafe { Cr4::update(|cr4| *cr4 |= units) };
    let supported = if has_leaf {
        let leaf = __cpuid_count(STATE_LEAF, 0);
        u64::from(leaf.eax) | u64::from(leaf.edx) << 32
    } else {
        X87 | SSE
    };
    let mut wanted = supported & WANTED;
    if wanted & 0xe0 != 0xe0 {
        wanted &= 0x7;
    }
    #[expect(clippy::cast_possible_truncation, reason = "split into halves")]
    // SAFETY: only supported components are enabled, AVX-512's all or none, and SSE and x87 always.
    unsafe {
        asm!("xsetbv", in("ecx") 0, in("eax") wanted as u32, in("edx") (wanted >> 32) as u32,
            options(nomem, nostack));
    }
    XCR0.store(wanted, Ordering::Relaxed);
    if has_leaf {
        let size = __cpuid_count(STATE_LEAF, 0).ebx as usize;
        SIZE.store(size, Ordering::Relaxed);
    }
}

/// Whether QEMU translates, of a CPU with these features.
fn is_translated(features: u32) -> bool {
    const HYPERVISOR: u32 = 1 << 31;
    const VENDOR_LEAF: u32 = 0x4000_0000;
    /// The beginning of "TCGTCGTCGTCG".
    const TCG: u32 = u32::from_le_bytes(*b"TCGT");
    features & HYPERVISOR != 0 && __cpuid(VENDOR_LEAF).ebx == TCG
}

/// Size in bytes of a standard-format XSAVE area with all enabled components.
pub fn area_size() -> usize {
    SIZE.load(Ordering::Relaxed)
}

/// Enabled XCR0 components.
pub fn xcr0() -> u64 {
    XCR0.load(Ordering::Relaxed)
}

/// A thread's XSAVE area.
#[derive(Debug)]
pub(crate) struct Area(NonNull<u8>);

// SAFETY: the area is plain memory with one owner.
unsafe impl Send for Area {}
// SAFETY: it is written only by the CPU that runs, or has just run, its thread.
unsafe impl Sync for Area {}

impl Area {
    fn layout() -> Layout {
        // Cannot fail: the size is a few KiB.
        Layout::from_size_align(area_size(), 64).unwrap_or(Layout::new::<[u64; 1024]>())
    }

    /// An area with the initial state. `None` when there is no memory.
    pub(crate) fn new() -> Option<Self> {
        // SAFETY: the size is not zero.
        let area = NonNull::new(unsafe { alloc_zeroed(Self::layout()) })?;
        // SAFETY: the area is large enough; an area whose XSTATE_BV is 0 means the initial state, but MXCSR is taken
        // from it all the same when SSE or AVX are restored.
        unsafe { area.add(MXCSR).cast::<u32>().write(0x1f80) };
        Some(Self(area))
    }

    /// Saves this CPU's state.
    pub(crate) fn save(&self) {
        // SAFETY: the area is large enough and aligned; its thread is on this CPU.
        unsafe { xsave(self.0.as_ptr()) };
    }

    /// Loads this CPU's state.
    pub(crate) fn load(&self) {
        // SAFETY: the area was saved by XSAVE, or is the initial state.
        unsafe { xrstor(self.0.as_ptr()) };
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.0.as_ptr(), Self::layout()) };
    }
}

/// # Safety
/// `area` must be an aligned area of [`area_size`] bytes whose header is zero or what XSAVE wrote.
unsafe fn xsave(area: *mut u8) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!("xsave64 [{}]", in(reg) area, in("eax") u32::MAX, in("edx") u32::MAX, options(nostack));
    };
}

/// # Safety
/// `area` must be an aligned area of [`area_size`] bytes with a valid header and MXCSR.
unsafe fn xrstor(area: *const u8) {
    // SAFETY: the caller's promise; what the compiler may keep in SSE registers is declared lost.
    unsafe {
        asm!("xrstor64 [{}]", in(reg) area, in("eax") u32::MAX, in("edx") u32::MAX,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _,
            out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
            out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _, options(nostack));
    }
}

/// An XSAVE area in standard format that is no thread's, with room for something behind it: the state in a signal
/// frame.
#[derive(Debug)]
pub struct Image {
    memory: NonNull<u8>,
    layout: Layout,
}

/// The contents of an [`Image`] are none that XRSTOR takes.
#[derive(Clone, Copy, Debug)]
pub struct InvalidImage;

// SAFETY: the memory is plain bytes with one owner.
unsafe impl Send for Image {}

impl Image {
    /// A zeroed area of [`area_size`] bytes and `behind` more. `None` without memory.
    pub fn new(behind: usize) -> Option<Self> {
        let layout = Layout::from_size_align(area_size() + behind, 64).ok()?;
        // SAFETY: the size is not zero.
        let memory = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some(Self { memory, layout })
    }

    /// The area and what is behind it.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the memory is ours, of this size, initialised by `alloc_zeroed`, and changed through `&mut self`
        // only.
        unsafe { core::slice::from_raw_parts(self.memory.as_ptr(), self.layout.size()) }
    }

    /// The area and what is behind it, to change.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the memory is ours alone, of this size, initialised by `alloc_zeroed`.
        unsafe { core::slice::from_raw_parts_mut(self.memory.as_ptr(), self.layout.size()) }
    }

    /// Saves the interrupted program's state: this CPU's registers, with the frame's xmm registers in place.
    pub fn save(&mut self, frame: &TrapFrame) {
        let area = self.memory.as_ptr();
        // SAFETY: the area is `area_size` bytes long and aligned to 64; the header lies within it, and so do the legacy
        // part's xmm registers, which are 256 bytes.
        unsafe {
            area.add(XSTATE_BV).write_bytes(0, HEADER);
            xsave(area);
            let header = area.add(XSTATE_BV).cast::<u64>();
            header.write(header.read() | SSE);
            area.add(XMM)
                .copy_from_nonoverlapping(frame.xmm.as_ptr().cast(), 256);
        }
    }

    /// Makes it this CPU's state; the xmm registers go into `frame`. Contents that are none of a standard-format area
    /// with enabled components are refused, and nothing has changed.
    pub fn restore(&self, frame: &mut TrapFrame) -> Result<(), InvalidImage> {
        let area = self.memory.as_ptr();
        // SAFETY: the area is `area_size` bytes long and aligned to 64, and borrowed, so that nobody changes it. XRSTOR
        // faults on unknown components, on bits in the rest of the header, and on reserved bits of MXCSR, all of which
        // are refused first.
        unsafe {
            let header = area.add(XSTATE_BV).cast::<u64>();
            let components = header.read();
            let rest = (1..8).any(|word| header.add(word).read() != 0);
            let mxcsr = area.add(MXCSR).cast::<u32>().read();
            if components & !xcr0() != 0 || rest || mxcsr & !0xffff != 0 {
                return Err(InvalidImage);
            }
            xrstor(area);
            if components & SSE == 0 {
                frame.xmm = [0; 16];
            } else {
                area.add(XMM)
                    .copy_to_nonoverlapping(frame.xmm.as_mut_ptr().cast(), 256);
            }
        }
        Ok(())
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, and nothing refers to it any more.
        unsafe { dealloc(self.memory.as_ptr(), self.layout) };
    }
}
