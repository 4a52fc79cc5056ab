//! Which definitions of libc, `ld.so` and libelfin are replaced by functions of the loader or of the vDSO.
//!
//! The replacement takes place *after* a look-up has found the definition inside one of these objects: a program that
//! interposes `dl_iterate_phdr` still gets its own. `dlopen` and its relatives are not in the list: libc's own pass
//! through a table of functions (`_dl_dlfcn_hook`) that the loader fills, and hand over the caller's address.

use crate::arch;
use crate::host::{Gate, Host};
use crate::object::Role;

/// What stands in for a definition.
#[derive(Clone, Copy)]
pub(crate) enum Substitute {
    /// A gate, or the loader's own way to it.
    Gate(Gate),
    /// A function of the vDSO's, at this address.
    Vdso(usize),
}

impl Substitute {
    /// Returns its address.
    pub(crate) fn address(self, host: &dyn Host) -> usize {
        match self {
            Self::Gate(Gate::TlsGetAddr) => host.function(arch::tls_get_addr()),
            Self::Gate(Gate::IteratePhdr) => host.function(arch::iterate_phdr()),
            Self::Gate(gate) => host.gate(gate),
            Self::Vdso(address) => address,
        }
    }
}

/// Of libc and `ld.so`.
const GLIBC: [(&[u8], Gate); 9] = [
    (b"__tls_get_addr", Gate::TlsGetAddr),
    (b"_dl_allocate_tls", Gate::AllocateTls),
    (b"_dl_allocate_tls_init", Gate::AllocateTlsInit),
    (b"_dl_deallocate_tls", Gate::DeallocateTls),
    (b"_dl_find_dso_for_object", Gate::FindDsoForObject),
    (b"dl_iterate_phdr", Gate::IteratePhdr),
    (b"_dl_find_object", Gate::FindObject),
    (b"__cxa_thread_atexit_impl", Gate::ThreadAtexit),
    (b"_dl_audit_preinit", Gate::AuditPreinit),
];

/// Of libc: functions that it would look for in the vDSO, by `ld.so`'s functions, and what they are called there.
const OF_VDSO: [(&[u8], &[u8]); 2] = [
    (b"gettimeofday", b"__vdso_gettimeofday"),
    (b"time", b"__vdso_time"),
];

/// Of libelfin (`include/elfin.h`).
const ELFIN: [(&[u8], Gate); 12] = [
    (b"elfin_code_register", Gate::CodeRegister),
    (b"elfin_code_unregister", Gate::CodeUnregister),
    (b"elfin_code_find", Gate::CodeFind),
    (b"elfin_code_count", Gate::CodeCount),
    (b"elfin_session_open", Gate::SessionOpen),
    (b"elfin_session_load", Gate::SessionLoad),
    (b"elfin_session_symbol", Gate::SessionSymbol),
    (b"elfin_session_duplicates", Gate::SessionDuplicates),
    (b"elfin_session_bind", Gate::SessionBind),
    (b"elfin_session_close", Gate::SessionClose),
    (b"elfin_symbols", Gate::Symbols),
    (b"dl_iterate_ns_phdr", Gate::IterateNamespace),
];

/// Returns the names whose definitions in objects of a role are replaced, and by which gates.
pub(crate) fn overrides(role: Role) -> &'static [(&'static [u8], Gate)] {
    match role {
        Role::Libc | Role::Rtld => &GLIBC,
        Role::Elfin => &ELFIN,
        Role::Main | Role::Vdso | Role::Library => &[],
    }
}

/// Returns the names whose definitions in objects of a role are replaced by the vDSO's, and the names there.
pub(crate) fn of_vdso(role: Role) -> &'static [(&'static [u8], &'static [u8])] {
    match role {
        Role::Libc => &OF_VDSO,
        _ => &[],
    }
}
