//! Which definitions of libc, `ld.so` and libelfin are replaced by functions of the loader.
//!
//! The replacement takes place *after* a look-up has found the definition inside one of these objects: a program that
//! interposes `dl_iterate_phdr` still gets its own. `dlopen` and its relatives are not in the list: libc's own pass
//! through a table of functions (`_dl_dlfcn_hook`) that the loader fills, and hand over the caller's address.

use crate::host::Gate;
use crate::object::Role;

/// Of libc and `ld.so`.
const GLIBC: [(&[u8], Gate); 8] = [
    (b"__tls_get_addr", Gate::TlsGetAddr),
    (b"_dl_allocate_tls", Gate::AllocateTls),
    (b"_dl_allocate_tls_init", Gate::AllocateTlsInit),
    (b"_dl_deallocate_tls", Gate::DeallocateTls),
    (b"_dl_find_dso_for_object", Gate::FindDsoForObject),
    (b"dl_iterate_phdr", Gate::IteratePhdr),
    (b"_dl_find_object", Gate::FindObject),
    (b"__cxa_thread_atexit_impl", Gate::ThreadAtexit),
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

/// Returns the names whose definitions in objects of a role are replaced, and by what.
pub(crate) fn overrides(role: Role) -> &'static [(&'static [u8], Gate)] {
    match role {
        Role::Libc | Role::Rtld => &GLIBC,
        Role::Elfin => &ELFIN,
        Role::Main | Role::Library => &[],
    }
}
