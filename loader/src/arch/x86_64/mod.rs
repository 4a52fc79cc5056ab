//! x86-64: psABI, "Relocation" and "Procedure Linkage Table"; Drepper, *ELF Handling For Thread-Local Storage*.

mod plt;

use core::arch::global_asm;
use core::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use core::mem::offset_of;

use goblin::elf::reloc as r;

pub(crate) use self::plt::{PltCall, Results};
use crate::host::{Gate, Host};
use crate::tls::{DTV_LEN, DTV_SLOTS};

/// What a relocation wants, whatever its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing.
    None,
    /// Load bias plus addend.
    Relative,
    /// Symbol plus addend, 64 bits.
    Absolute,
    /// Symbol plus addend, 32 bits, zero-extended or sign-extended alike.
    Absolute32,
    /// Symbol plus addend minus place, 32 bits.
    PcRelative32,
    /// Symbol plus addend minus place, 64 bits.
    PcRelative64,
    /// Symbol, into the GOT.
    GlobDat,
    /// Symbol, into the GOT, for a PLT entry.
    JumpSlot,
    /// The symbol's initial content.
    Copy,
    /// The symbol's size plus addend.
    Size,
    /// What the resolver at bias plus addend returns.
    IRelative,
    /// The module id of the symbol's object.
    TlsModule,
    /// The symbol's offset in its TLS block.
    TlsOffset,
    /// The symbol's offset from the thread pointer.
    TlsPointerOffset,
    /// A TLS descriptor.
    TlsDescriptor,
    /// Something unknown.
    Unknown,
}

/// Returns the time-stamp counter: cycles, as far as anything counts them.
pub(crate) fn cycles() -> u64 {
    // SAFETY: every x86-64 processor has the instruction; programs use it too.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Returns the kind of a relocation type.
pub(crate) fn kind(r_type: u32) -> Kind {
    match r_type {
        r::R_X86_64_NONE => Kind::None,
        r::R_X86_64_RELATIVE | r::R_X86_64_RELATIVE64 => Kind::Relative,
        r::R_X86_64_64 => Kind::Absolute,
        r::R_X86_64_32 | r::R_X86_64_32S => Kind::Absolute32,
        r::R_X86_64_PC32 => Kind::PcRelative32,
        r::R_X86_64_PC64 => Kind::PcRelative64,
        r::R_X86_64_GLOB_DAT => Kind::GlobDat,
        r::R_X86_64_JUMP_SLOT => Kind::JumpSlot,
        r::R_X86_64_COPY => Kind::Copy,
        r::R_X86_64_SIZE64 => Kind::Size,
        r::R_X86_64_IRELATIVE => Kind::IRelative,
        r::R_X86_64_DTPMOD64 => Kind::TlsModule,
        r::R_X86_64_DTPOFF64 => Kind::TlsOffset,
        r::R_X86_64_TPOFF64 => Kind::TlsPointerOffset,
        r::R_X86_64_TLSDESC => Kind::TlsDescriptor,
        _ => Kind::Unknown,
    }
}

/// Addresses of the gates the code below calls. Written by [`install`], before any of that code can run.
static BIND: AtomicUsize = AtomicUsize::new(0);
static TLS_GET_ADDR: AtomicUsize = AtomicUsize::new(0);
static ITERATE_PHDR: AtomicUsize = AtomicUsize::new(0);
static BIND_AUDITED: AtomicUsize = AtomicUsize::new(0);
static PLT_EXIT: AtomicUsize = AtomicUsize::new(0);
/// The state components to save around those calls, and the room they take (a multiple of 64).
static SAVE_MASK: AtomicU32 = AtomicU32::new(0);
static SAVE_SIZE: AtomicUsize = AtomicUsize::new(576);
/// Where the upper halves of the first vector registers are among them, from 128 bits on and from 256 on; 0: nowhere.
static YMM_OFFSET: AtomicUsize = AtomicUsize::new(0);
static ZMM_OFFSET: AtomicUsize = AtomicUsize::new(0);

/// x87, SSE, AVX, the three of AVX-512 and APX's registers: whatever can hold an argument, and what C code may not lose.
const SAVED_COMPONENTS: u32 = 0b1110_0111 | 1 << 19;

/// Prepares the PLT entry and the TLS functions for a host and this CPU, the first time it is called.
pub(crate) fn install(host: &dyn Host) {
    if BIND.load(Ordering::Acquire) != 0 {
        return;
    }
    install_state_components();
    TLS_GET_ADDR.store(host.gate(Gate::TlsGetAddr), Ordering::Relaxed);
    ITERATE_PHDR.store(host.gate(Gate::IteratePhdr), Ordering::Relaxed);
    BIND_AUDITED.store(host.gate(Gate::BindAudited), Ordering::Relaxed);
    PLT_EXIT.store(host.gate(Gate::PltExit), Ordering::Relaxed);
    BIND.store(host.gate(Gate::Bind), Ordering::Release);
}

/// Finds out what to save around the calls of gates.
fn install_state_components() {
    let has_xsave = __cpuid(1).ecx & (1 << 27) != 0;
    if !has_xsave {
        return;
    }
    // SAFETY: OSXSAVE is set, so XGETBV exists and the system has enabled it.
    let enabled = unsafe { enabled_components() };
    let mask = SAVED_COMPONENTS & enabled;
    // Legacy area and header, then each component where the standard format has it.
    let mut size = 512 + 64;
    for component in 2..u32::BITS {
        if mask & (1 << component) != 0 {
            let leaf = __cpuid_count(0xd, component);
            size = size.max(leaf.ebx as usize + leaf.eax as usize);
            match component {
                2 => YMM_OFFSET.store(leaf.ebx as usize, Ordering::Relaxed),
                6 => ZMM_OFFSET.store(leaf.ebx as usize, Ordering::Relaxed),
                _ => {}
            }
        }
    }
    SAVE_SIZE.store(size.next_multiple_of(64), Ordering::Relaxed);
    SAVE_MASK.store(mask, Ordering::Relaxed);
}

/// Returns the low half of XCR0.
#[target_feature(enable = "xsave")]
fn enabled_components() -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the components that matter are in the low half"
    )]
    // SAFETY: register 0 exists wherever XGETBV does, which the target feature stands for.
    let low = unsafe { _xgetbv(0) } as u32;
    low
}

/// The CPU's micro-architecture level; 0: not asked yet. CPUID traps in virtual machines.
static LEVEL: AtomicUsize = AtomicUsize::new(0);

/// Returns the names of the glibc-hwcaps directories that a CPU of a micro-architecture level may use, best first.
pub(crate) fn hwcaps(level: usize) -> &'static [&'static [u8]] {
    const LEVELS: [&[u8]; 3] = [b"x86-64-v4", b"x86-64-v3", b"x86-64-v2"];
    LEVELS.get(4 - level..).unwrap_or(&[])
}

/// Returns the micro-architecture levels this CPU has, as GNU_PROPERTY_X86_ISA_1_NEEDED has them: a bit for each.
pub(crate) fn isa_levels() -> u32 {
    (1 << level()) - 1
}

/// Returns the number of the highest micro-architecture level this CPU and system support.
pub(crate) fn level() -> usize {
    let mut level = LEVEL.load(Ordering::Relaxed);
    if level == 0 {
        level = level_of(&Features::of_cpu());
        LEVEL.store(level, Ordering::Relaxed);
    }
    level
}

/// Registers that CPUID returns, without the features that cannot be used.
pub(crate) struct Features {
    pub(crate) ecx_1: u32,
    pub(crate) edx_1: u32,
    pub(crate) ebx_7: u32,
    pub(crate) ecx_80000001: u32,
}

impl Features {
    /// AVX, FMA, F16C; AVX2; AVX512 F, DQ, CD, BW, VL: features that need their registers' state kept.
    const YMM_1: u32 = 1 << 28 | 1 << 12 | 1 << 29;
    const YMM_7: u32 = 1 << 5;
    const ZMM_7: u32 = 1 << 16 | 1 << 17 | 1 << 28 | 1 << 30 | 1 << 31;

    /// Asks the CPU, and which state the system keeps.
    fn of_cpu() -> Self {
        let one = __cpuid(1);
        let mut features = Self {
            ecx_1: one.ecx,
            edx_1: one.edx,
            ebx_7: if __cpuid(0).eax >= 7 {
                __cpuid_count(7, 0).ebx
            } else {
                0
            },
            ecx_80000001: __cpuid(0x8000_0001).ecx,
        };
        let kept = if all(one.ecx, &[27]) {
            // SAFETY: OSXSAVE is set.
            unsafe { enabled_components() }
        } else {
            0
        };
        let ymm = all(kept, &[1, 2]);
        if !ymm {
            features.ecx_1 &= !Self::YMM_1;
            features.ebx_7 &= !Self::YMM_7;
        }
        if !(ymm && all(kept, &[5, 6, 7])) {
            features.ebx_7 &= !Self::ZMM_7;
        }
        features
    }
}

/// Says whether a word has all of these bits.
fn all(word: u32, bits: &[u32]) -> bool {
    bits.iter().all(|bit| word & (1 << bit) != 0)
}

/// Returns the number of the highest micro-architecture level with these features (psABI, "Micro-architecture levels"), or
/// 0 if not even what every x86-64 CPU has may be used.
pub(crate) fn level_of(features: &Features) -> usize {
    let Features {
        ecx_1,
        edx_1,
        ebx_7,
        ecx_80000001,
    } = *features;
    // CX8 CMOV MMX FXSR SSE SSE2; glibc does not say of the FPU whether it may be used.
    let v1 = all(edx_1, &[8, 15, 23, 24, 25, 26]);
    // SSE3 SSSE3 CX16 SSE4.1 SSE4.2 POPCNT; LAHF.
    let v2 = all(ecx_1, &[0, 9, 13, 19, 20, 23]) && all(ecx_80000001, &[0]);
    // FMA MOVBE AVX F16C; LZCNT; BMI1 AVX2 BMI2.
    let v3 = all(ecx_1, &[12, 22, 28, 29]) && all(ecx_80000001, &[5]) && all(ebx_7, &[3, 5, 8]);
    // AVX512 F DQ CD BW VL.
    let v4 = all(ebx_7, &[16, 17, 28, 30, 31]);
    [v1, v2, v3, v4].iter().take_while(|&&has| has).count()
}

global_asm!(
    include_str!("code.S"),
    bind = sym BIND,
    tls_get_addr = sym TLS_GET_ADDR,
    iterate_phdr = sym ITERATE_PHDR,
    bind_audited = sym BIND_AUDITED,
    plt_exit = sym PLT_EXIT,
    save_mask = sym SAVE_MASK,
    save_size = sym SAVE_SIZE,
    ymm_offset = sym YMM_OFFSET,
    zmm_offset = sym ZMM_OFFSET,
    record = const size_of::<PltCall>(),
    record_frame = const offset_of!(PltCall, frame_size),
    record_rbp = const offset_of!(PltCall, registers.rbp),
    len = const DTV_LEN,
    slots = const DTV_SLOTS,
    magic = const probe::MAGIC,
);

unsafe extern "C" {
    fn elfin_loader_plt_entry();
    fn elfin_loader_tls_get_addr();
    fn elfin_loader_iterate_phdr();
    fn elfin_loader_debug_state();
    fn elfin_loader_tlsdesc_static();
    fn elfin_loader_tlsdesc_undefined();
    fn elfin_loader_tlsdesc_dynamic();
    fn elfin_loader_audit_symbind();
    fn elfin_loader_audit_pltenter();
    fn elfin_loader_audit_pltexit();
    fn elfin_loader_plt_audited();
    fn elfin_loader_probe_dlerror();
    fn elfin_loader_probe_clock();
}

/// Returns the address lazy PLT entries go to.
pub(crate) fn plt_entry() -> usize {
    (elfin_loader_plt_entry as *const ()).addr()
}

/// Returns the address of what calls an auditor's `la_symbind64`.
pub(crate) fn audit_symbind() -> usize {
    (elfin_loader_audit_symbind as *const ()).addr()
}

/// Returns the address of what calls an auditor's `la_x86_64_gnu_pltenter`.
pub(crate) fn audit_pltenter() -> usize {
    (elfin_loader_audit_pltenter as *const ()).addr()
}

/// Returns the address of what calls an auditor's `la_x86_64_gnu_pltexit`.
pub(crate) fn audit_pltexit() -> usize {
    (elfin_loader_audit_pltexit as *const ()).addr()
}

/// Returns the address PLT entries go to whose calls auditors are told of.
pub(crate) fn plt_audited() -> usize {
    (elfin_loader_plt_audited as *const ()).addr()
}

/// Returns the address of `__tls_get_addr`.
pub(crate) fn tls_get_addr() -> usize {
    (elfin_loader_tls_get_addr as *const ()).addr()
}

/// Returns the address of `dl_iterate_phdr`.
pub(crate) fn iterate_phdr() -> usize {
    (elfin_loader_iterate_phdr as *const ()).addr()
}

/// Returns the address of the function debuggers stop at.
pub(crate) fn debug_state() -> usize {
    (elfin_loader_debug_state as *const ()).addr()
}

/// Returns the address of the descriptor function for blocks at a fixed offset.
pub(crate) fn tlsdesc_static() -> usize {
    (elfin_loader_tlsdesc_static as *const ()).addr()
}

/// Returns the address of the descriptor function for undefined weak symbols.
pub(crate) fn tlsdesc_undefined() -> usize {
    (elfin_loader_tlsdesc_undefined as *const ()).addr()
}

/// Returns the address of the descriptor function for dynamic blocks.
pub(crate) fn tlsdesc_dynamic() -> usize {
    (elfin_loader_tlsdesc_dynamic as *const ()).addr()
}

/// Functions whose calls can be recognised.
pub(crate) mod probe {
    /// What they return.
    pub(crate) const MAGIC: usize = 0x0e1f_1234;

    /// Returns the address of a function that returns [`MAGIC`].
    pub(crate) fn dlerror() -> usize {
        (super::elfin_loader_probe_dlerror as *const ()).addr()
    }

    /// Returns the address of a `clock_gettime` that stores [`MAGIC`] as the seconds.
    pub(crate) fn clock() -> usize {
        (super::elfin_loader_probe_clock as *const ()).addr()
    }
}
