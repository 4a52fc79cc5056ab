//! Which definitions of libc, `ld.so` and libelfin are replaced by functions of the loader.
//!
//! The replacement takes place *after* a look-up has found the definition inside one of these objects: a program that
//! interposes `dl_iterate_phdr` still gets its own. `dlopen` and its relatives are not in the list: libc's own pass
//! through a table of functions (`_dl_dlfcn_hook`) that the loader fills, and hand over the caller's address.

use alloc::vec::Vec;

use crate::elf::hash::Name;
use crate::host::Gate;
use crate::object::{Object, Role};

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

/// Returns the symbols of an object that are replaced.
pub(crate) fn overrides(object: &Object) -> Vec<(usize, Gate)> {
    let table = match object.role() {
        Role::Libc | Role::Rtld => &GLIBC[..],
        Role::Elfin => &ELFIN,
        Role::Main | Role::Library => return Vec::new(),
    };
    let mut found = Vec::new();
    for &(name, gate) in table {
        if let Some(index) = defined(object, name) {
            found.push((index, gate));
        }
    }
    found
}

/// Returns the index of a symbol an object itself defines, whatever its version or visibility.
pub(crate) fn defined(object: &Object, name: &[u8]) -> Option<usize> {
    object.hash()?.candidates(&Name::new(name)).find(|&index| {
        object
            .symbol(index)
            .is_some_and(|symbol| symbol.st_shndx != 0 && object.symbol_name(symbol) == Some(name))
    })
}

/// Returns the address of a symbol an object itself defines.
pub(crate) fn address_of(object: &Object, name: &[u8]) -> Option<usize> {
    let symbol = object.symbol(defined(object, name)?)?;
    Some(object.real(crate::image::address(symbol.st_value)))
}
