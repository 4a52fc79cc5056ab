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
    /// The vDSO's `gettimeofday`: libc would look for it in an object of `ld.so`'s.
    TimeOfDay,
    /// The vDSO's `time`.
    Time,
}

impl Substitute {
    /// Returns its address; `None` if the host has none.
    pub(crate) fn address(self, host: &dyn Host) -> Option<usize> {
        let address = match self {
            Self::Gate(Gate::TlsGetAddr) => host.function(arch::tls_get_addr()),
            Self::Gate(Gate::IteratePhdr) => host.function(arch::iterate_phdr()),
            Self::Gate(gate) => host.gate(gate),
            Self::TimeOfDay => host.vdso().gettimeofday,
            Self::Time => host.vdso().time,
        };
        (address != 0).then_some(address)
    }
}

/// Of libc and `ld.so`.
const GLIBC: [(&[u8], Substitute); 11] = [
    (b"__tls_get_addr", Substitute::Gate(Gate::TlsGetAddr)),
    (b"_dl_allocate_tls", Substitute::Gate(Gate::AllocateTls)),
    (
        b"_dl_allocate_tls_init",
        Substitute::Gate(Gate::AllocateTlsInit),
    ),
    (b"_dl_deallocate_tls", Substitute::Gate(Gate::DeallocateTls)),
    (
        b"_dl_find_dso_for_object",
        Substitute::Gate(Gate::FindDsoForObject),
    ),
    (b"dl_iterate_phdr", Substitute::Gate(Gate::IteratePhdr)),
    (b"_dl_find_object", Substitute::Gate(Gate::FindObject)),
    (
        b"__cxa_thread_atexit_impl",
        Substitute::Gate(Gate::ThreadAtexit),
    ),
    (b"_dl_audit_preinit", Substitute::Gate(Gate::AuditPreinit)),
    (b"gettimeofday", Substitute::TimeOfDay),
    (b"time", Substitute::Time),
];

/// Of libelfin (`include/elfin.h`).
const ELFIN: [(&[u8], Substitute); 12] = [
    (b"elfin_code_register", Substitute::Gate(Gate::CodeRegister)),
    (
        b"elfin_code_unregister",
        Substitute::Gate(Gate::CodeUnregister),
    ),
    (b"elfin_code_find", Substitute::Gate(Gate::CodeFind)),
    (b"elfin_code_count", Substitute::Gate(Gate::CodeCount)),
    (b"elfin_session_open", Substitute::Gate(Gate::SessionOpen)),
    (b"elfin_session_load", Substitute::Gate(Gate::SessionLoad)),
    (
        b"elfin_session_symbol",
        Substitute::Gate(Gate::SessionSymbol),
    ),
    (
        b"elfin_session_duplicates",
        Substitute::Gate(Gate::SessionDuplicates),
    ),
    (b"elfin_session_bind", Substitute::Gate(Gate::SessionBind)),
    (b"elfin_session_close", Substitute::Gate(Gate::SessionClose)),
    (b"elfin_symbols", Substitute::Gate(Gate::Symbols)),
    (
        b"dl_iterate_ns_phdr",
        Substitute::Gate(Gate::IterateNamespace),
    ),
];

/// Returns the names whose definitions in objects of a role are replaced, and by what.
pub(crate) fn overrides(role: Role) -> &'static [(&'static [u8], Substitute)] {
    match role {
        Role::Libc | Role::Rtld => &GLIBC,
        Role::Elfin => &ELFIN,
        Role::Main | Role::Library => &[],
    }
}
