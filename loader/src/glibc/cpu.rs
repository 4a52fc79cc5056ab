//! What `ld.so` has found out about the CPU.
//!
//! Its IRELATIVE relocation looks at the CPU, and at the tunables that mask features. What it decides is in
//! `_rtld_global_ro`: the features that count, the platform, and until 2.36 the legacy hardware capabilities.

use alloc::vec::Vec;

use crate::arch::{self, Features};
use crate::glibc::size_of_symbol;
use crate::glibc::tunables::Tunables;
use crate::host::Host;
use crate::hwcaps::{self, Hwcaps, PLATFORM};
use crate::object::Object;
use crate::signals;
use crate::stack::{self, InitialStack};

/// The last release that looks into directories for legacy hardware capabilities.
const LAST_LEGACY: u32 = 36;
/// `_FPU_DEFAULT`: what `_dl_fpu_control`, the field before `_dl_hwcap`, is from the beginning.
const FPU_DEFAULT: usize = 0x37f;
/// In `struct cpu_features`, behind its kind, highest leaf, family, model and stepping: what CPUID says and what of it
/// can be used, for each leaf four registers of both. The leaves are numbered in this order (`<sys/platform/x86.h>`).
const FEATURES: usize = 20;
const LEAF_1: usize = 0;
const LEAF_7: usize = 1;
const LEAF_80000001: usize = 2;

/// `_rtld_global_ro`, before the CPU has been looked at.
pub(crate) struct Before {
    at: usize,
    words: Vec<usize>,
}

impl Before {
    /// Notes what is there now; `None` if `ld.so` has no such data.
    pub(crate) fn of(rtld: &Object) -> Option<Self> {
        let at = rtld.address_of(b"_rtld_global_ro")?;
        let size = size_of_symbol(rtld, b"_rtld_global_ro")?;
        let words = rtld.is_writable(at, size).then(|| words(at, size / 8))?;
        Some(Self { at, words })
    }

    /// Returns what `ld.so` of glibc 2.`minor` has decided since.
    ///
    /// # Safety
    ///
    /// `ld.so` must be relocated as far as its own code needs it.
    pub(crate) unsafe fn decided(
        &self,
        host: &dyn Host,
        rtld: &Object,
        minor: u32,
        tunables: Option<&Tunables>,
        stack: &InitialStack,
    ) -> Option<Hwcaps> {
        let now = words(self.at, self.words.len());
        let changed = now
            .iter()
            .zip(&self.words)
            .filter(|(now, before)| now != before);
        let known = changed.filter(|(now, _)| rtld.span().contains(now) && !rtld.is_data(**now));
        // SAFETY: the resolver enters no address of the object's but a string's, and functions'; bytes end these, too.
        let mut known = known.map(|(&at, _)| unsafe { stack::c_bytes(at) });
        let platform = known.find(|&name| hwcaps::is_platform(name));
        // Where the resolver enters none, the kernel's name stays.
        let kernels = || stack.auxiliary(stack::AT_PLATFORM);
        // SAFETY: a C string of the initial stack.
        let platform = platform.or_else(|| kernels().map(|at| unsafe { stack::c_bytes(at) }));
        let legacy = (minor <= LAST_LEGACY).then(|| {
            let control = now.iter().position(|word| word & 0xffff == FPU_DEFAULT);
            let hwcap = control.and_then(|control| now.get(control + 1));
            let mask = tunables.and_then(|tunables| tunables.number(b"glibc.cpu.hwcap_mask"));
            hwcap.copied().unwrap_or(0) as u64 & mask.unwrap_or(usize::MAX) as u64
        });
        let function = rtld.address_of(b"_dl_x86_get_cpu_features")?;
        // SAFETY: the caller says that ld.so is ready for it; the function returns the address of a structure.
        let at = unsafe { signals::call_undisturbed(host, function, [0; 4]) };
        // SAFETY: `struct cpu_features`, whose leaves programs know by number, too.
        let usable =
            |leaf: usize| unsafe { *((at + FEATURES + 32 * leaf + 16) as *const [u32; 4]) };
        let ([_, _, ecx_1, edx_1], [_, ebx_7, ..]) = (usable(LEAF_1), usable(LEAF_7));
        let [_, _, ecx_80000001, _] = usable(LEAF_80000001);
        let level = arch::level_of(&Features {
            ecx_1,
            edx_1,
            ebx_7,
            ecx_80000001,
        });
        Some(Hwcaps::new(
            arch::hwcaps(level),
            platform.unwrap_or(PLATFORM),
            legacy,
        ))
    }
}

/// Reads `count` words of `ld.so`'s data.
fn words(at: usize, count: usize) -> Vec<usize> {
    let word = |index: usize| (at as *const usize).wrapping_add(index);
    // SAFETY: `Before::of` checked that they lie in the object. Code of `ld.so` writes to them between two readings.
    (0..count)
        .map(|index| unsafe { word(index).read_volatile() })
        .collect()
}
