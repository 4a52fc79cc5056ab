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

/// Returns the addresses of the functions whose addresses programs may ask for.
pub fn functions() -> [usize; 2] {
    [tls_get_addr(), iterate_phdr()]
}
