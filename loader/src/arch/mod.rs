//! What depends on the machine: relocation numbers, the code that PLT slots and TLS descriptors point at, CPU levels.
//!
//! There is one architecture; a second one would be a second module with the same names.

#[expect(
    unsafe_code,
    reason = "registers, and code that PLT slots and TLS descriptors point at"
)]
mod x86_64;

pub(crate) use x86_64::{
    Features, Kind, PltCall, Results, audit_pltenter, audit_pltexit, audit_symbind, cycles,
    debug_state, hwcaps, install, isa_levels, iterate_phdr, kind, level, level_of, plt_audited,
    plt_entry, probe, tls_get_addr, tlsdesc_dynamic, tlsdesc_static, tlsdesc_undefined,
};

/// Returns the addresses of the functions whose addresses programs are given: by `dlsym`, in GOTs and TLS descriptors.
/// The last [`PLT_ENTRIES`] of them are jumped to by PLTs, which have pushed two words.
pub fn functions() -> [usize; 7] {
    [
        tls_get_addr(),
        iterate_phdr(),
        tlsdesc_static(),
        tlsdesc_undefined(),
        tlsdesc_dynamic(),
        plt_entry(),
        plt_audited(),
    ]
}

/// How many of [`functions`] are jumped to by PLTs.
pub const PLT_ENTRIES: usize = 2;
