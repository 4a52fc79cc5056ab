//! What glibc's `libc.so.6` wants of its `ld.so`, provided from outside.
//!
//! The image's own `ld-linux-x86-64.so.2` is mapped first of all. None of its loader code runs; it
//! *donates its data*: `_rtld_global` and `_rtld_global_ro`, which libc reads, and the CPU features, which its one
//! IRELATIVE relocation computes ([`cpu`]). What the real `ld.so` would have written there is written from here, at places that
//! are found at run time: glibc describes some of them itself, for libthread_db ([`fields`]), and others show
//! themselves when libc is called with marked memory ([`probe`]).

#[expect(unsafe_code, reason = "fields of ld.so's data")]
pub(crate) mod cpu;
#[expect(unsafe_code, reason = "fields of ld.so's data")]
pub(crate) mod fields;
#[expect(unsafe_code, reason = "the main thread's control block")]
pub(crate) mod main_thread;
#[expect(
    unsafe_code,
    reason = "functions of libc's are called to see what they read"
)]
pub(crate) mod probe;
#[expect(unsafe_code, reason = "fields of ld.so's data")]
pub(crate) mod tunables;

use alloc::boxed::Box;

use crate::arch;
use crate::elf::address;
use crate::error::{Error, Foreign};
use crate::host::{Gate, Host};
use crate::object::Object;
use crate::signals;
use crate::stack::InitialStack;
use crate::tls::Area;

pub(crate) use fields::Fields;
use tunables::Tunables;

/// Says whether the differences between a glibc version and its neighbours have been read.
///
/// 2.37 to 2.40 were not run, but lie between two versions that treat every field alike.
pub(crate) fn is_reviewed(version: &[u8]) -> Option<u32> {
    let minor = version.strip_prefix(b"2.")?;
    let digits = minor
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(minor.len());
    let minor: u32 = core::str::from_utf8(minor.get(..digits)?)
        .ok()?
        .parse()
        .ok()?;
    matches!(minor, 34..=43).then_some(minor)
}

/// Returns the version of a mapped libc, as it tells debuggers, who look before it is relocated.
pub(crate) fn minor_version(libc: &Object) -> Result<u32, Error> {
    let vaddr = libc.address_of(b"__nptl_version");
    let text = vaddr.and_then(|at| libc.text(at));
    reviewed_release(text)
}

/// Returns the version of a mapped `ld.so`. Works before relocation.
pub(crate) fn release_of(rtld: &Object) -> Result<u32, Error> {
    reviewed_release(find_release(rtld))
}

fn reviewed_release(text: Option<&[u8]>) -> Result<u32, Error> {
    text.and_then(is_reviewed).ok_or_else(|| {
        let version = text.unwrap_or(b"of unknown version").to_vec();
        Error::Foreign(Foreign::Glibc(version))
    })
}

/// What follows in `ld.so`'s banner: "ld.so (Debian GLIBC 2.36-9) stable release version 2.36.", a line of copyright,
/// and this. It is long, and so quickly found.
const CONDITIONS: &[u8; 131] = b"\nThis is free software; see the source for copying conditions.\n\
    There is NO warranty; not even for MERCHANTABILITY or FITNESS FOR A\n";

/// Returns the release number in `ld.so`'s banner.
fn find_release(object: &Object) -> Option<&[u8]> {
    const BEFORE: &[u8] = b"release version ";
    const SKIPS: [usize; 256] = skips(CONDITIONS);
    let data = object.read_only_bytes();
    data.iter().find_map(|bytes| {
        let banner = bytes.get(..find(bytes, CONDITIONS, &SKIPS)?)?;
        let is_before = |bytes: &[u8]| bytes == BEFORE;
        let at = banner.windows(BEFORE.len()).rposition(is_before)?;
        let rest = banner.get(at + BEFORE.len()..)?;
        let end = rest
            .iter()
            .position(|byte| !byte.is_ascii_digit() && *byte != b'.')?;
        let number = rest.get(..end)?;
        Some(number.strip_suffix(b".").unwrap_or(number))
    })
}

/// Returns by which byte lies at the end of where a text might be, how much further it must be at least.
const fn skips<const LEN: usize>(text: &[u8; LEN]) -> [usize; 256] {
    let mut skips = [LEN; 256];
    let mut index = 0;
    while index < LEN - 1 {
        skips[text[index] as usize] = LEN - 1 - index;
        index += 1;
    }
    skips
}

/// Finds a text, most bytes of which are not looked at (Horspool, *Practical fast searching in strings*, 1980).
fn find<const LEN: usize>(bytes: &[u8], text: &[u8; LEN], skips: &[usize; 256]) -> Option<usize> {
    let mut at = 0;
    loop {
        let last = *bytes.get(at + LEN - 1)?;
        if last == text[LEN - 1] && bytes.get(at..at + LEN) == Some(text) {
            return Some(at);
        }
        at += skips[usize::from(last)];
    }
}

/// Returns how much static TLS there is for objects loaded later: `_dl_tls_static_surplus_init` in `elf/dl-tls.c`, for
/// which tunables say how many namespaces there shall be, and what else shall have room.
pub(crate) fn static_tls_surplus(tunables: Option<&Tunables>) -> usize {
    const OF_NAMESPACE: usize = 144;
    const DEFAULT: (usize, usize) = (4, 512);
    const DEFAULT_SURPLUS: usize = 1664;
    let number = |name| tunables.and_then(|tunables| tunables.number(name));
    let namespaces = number(b"glibc.rtld.nns").unwrap_or(DEFAULT.0);
    let optional = number(b"glibc.rtld.optional_static_tls").unwrap_or(DEFAULT.1);
    let needed =
        |(namespaces, optional): (usize, usize)| (2 * namespaces - 1) * OF_NAMESPACE + optional;
    needed((namespaces, optional.min(1 << 30))) + DEFAULT_SURPLUS - needed(DEFAULT)
}

/// Sets the variables `ld.so` exports by name. Before relocation: the program may have copies of them.
pub(crate) fn set_exported_data(rtld: &Object, stack: &InitialStack, rseq_offset: Option<usize>) {
    let set = |name: &[u8], value: usize, size: usize| {
        let Some(at) = rtld
            .address_of(name)
            .filter(|&at| rtld.is_writable(at, size))
        else {
            return;
        };
        if size == 4 {
            #[expect(clippy::cast_possible_truncation, reason = "a C int")]
            // SAFETY: just checked to be writable memory of the object; libc reads it as an int.
            unsafe {
                *(at as *mut u32) = value as u32;
            }
        } else {
            // SAFETY: just checked to be writable memory of the object; libc reads it as a pointer.
            unsafe { *(at as *mut usize) = value };
        }
    };
    set(b"__libc_stack_end", stack.address(), 8);
    set(b"_dl_argv", stack.argv(), 8);
    set(b"__libc_enable_secure", stack.is_secure().into(), 4);
    if let Some(offset) = rseq_offset {
        set(b"__rseq_offset", offset, 8);
    }
}

/// The functions libc calls for `dlopen` and its relatives while `rtld_active()` is false.
#[repr(C)]
struct DlfcnHook([usize; 13]);

/// What libc is told of the base namespace.
pub(crate) struct BaseNamespace<'a> {
    pub(crate) main: &'a Object,
    /// How many objects there are.
    pub(crate) count: usize,
    /// Address of the search list.
    pub(crate) search_list: usize,
}

/// Tells libc how large static thread-local storage is.
pub(crate) fn tell_of_static_tls(
    fields: &Fields,
    offsets: &probe::Offsets,
    area: Area,
    surplus: usize,
) {
    let words = [
        (offsets.tls_static_size, area.size),
        (offsets.tls_static_align, area.align),
        (offsets.tls_static_align + 8, surplus),
    ];
    for (offset, value) in words {
        // SAFETY: `probe` found the offset inside `_rtld_global_ro`, which is writable until RELRO is applied.
        unsafe { *((fields.rtld_global_ro.start + offset) as *mut usize) = value };
    }
}

/// Tells libc of the base namespace: its list, its length, and its main search list.
pub(crate) fn tell_of_base(fields: &Fields, space: &BaseNamespace<'_>) {
    let words = [space.main.handle(), space.count, space.search_list];
    // SAFETY: `_rtld_global`, writable memory as `Fields::find` has checked, starts with the base namespace, whose
    // first fields these are. The second is an int, with padding behind it.
    unsafe { *(fields.rtld_global.start as *mut [usize; 3]) = words };
}

/// Fills in `_rtld_global_ro` and `_rtld_global`, but for what depends on the objects there are.
///
/// # Safety
///
/// libc must be relocated, ld.so as far as it refers to itself, and the thread pointer be that of the main thread.
pub(crate) unsafe fn fill(
    host: &dyn Host,
    fields: &Fields,
    offsets: &probe::Offsets,
    stack: &InitialStack,
    vdso: Option<&Object>,
) {
    use crate::stack as at;
    let ro = |offset: usize| (fields.rtld_global_ro.start + offset) as *mut usize;
    let auxiliary = |key| stack.auxiliary(key);
    let hook = Box::leak(Box::new(DlfcnHook(
        [
            Gate::Dlopen,
            Gate::Dlclose,
            Gate::Dlsym,
            Gate::Dlvsym,
            Gate::Dlerror,
            Gate::Dladdr,
            Gate::Dladdr1,
            Gate::Dlinfo,
            Gate::Dlmopen,
            Gate::LibcDlopen,
            Gate::LibcDlsym,
            Gate::LibcDlvsym,
            Gate::LibcDlclose,
        ]
        .map(|gate| host.gate(gate)),
    )));
    let vdso = |name: &[u8]| vdso?.address_of(name);
    let words = [
        (offsets.pagesize, auxiliary(at::AT_PAGESZ)),
        (offsets.minsigstacksize, auxiliary(at::AT_MINSIGSTKSZ)),
        (offsets.auxv, Some(stack.auxv())),
        (offsets.hwcap2, auxiliary(at::AT_HWCAP2)),
        (offsets.clock_gettime, vdso(b"__vdso_clock_gettime")),
        (offsets.clock_gettime + 8, vdso(b"__vdso_gettimeofday")),
        (offsets.clock_gettime + 16, vdso(b"__vdso_time")),
        (offsets.clock_gettime + 24, vdso(b"__vdso_getcpu")),
        (offsets.clock_gettime + 32, vdso(b"__vdso_clock_getres")),
        (offsets.dlfcn_hook, Some(core::ptr::from_ref(hook).addr())),
    ];
    for (offset, value) in words {
        if let Some(value) = value {
            // SAFETY: `probe` found the offset inside `_rtld_global_ro`, which is writable until RELRO is applied.
            unsafe { *ro(offset) = value };
        }
    }
    if let Some(ticks) = auxiliary(at::AT_CLKTCK) {
        #[expect(clippy::cast_possible_truncation, reason = "a C int")]
        // SAFETY: a field of ld.so's data, by an offset that was found; it is an int.
        unsafe {
            *ro(offsets.clktck).cast::<u32>() = ticks as u32;
        }
    }
    if fields.minor >= 42 {
        // Null in the image; `printf("%n")` with _FORTIFY_SOURCE would jump there.
        // SAFETY: a field of ld.so's data: the one before `_dl_dlfcn_hook`.
        unsafe { *ro(offsets.dlfcn_hook - 8) = host.gate(Gate::ReadonlyArea) };
    }
    // `_dl_libc_freeres`, since 2.35: it frees what `ld.so` has allocated, by an allocator that is not there. Behind it
    // come `_dl_find_object` and either, in 2.35, `_dl_discover_osversion`, or, since 2.42, `_dl_readonly_area`.
    let before_hook = match fields.minor {
        ..=34 => None,
        36..=41 => Some(16),
        _ => Some(24),
    };
    if let Some(distance) = before_hook {
        // SAFETY: a field of ld.so's data, by an offset that was found.
        unsafe { *ro(offsets.dlfcn_hook - distance) = host.function(arch::debug_state()) };
    }
    for list in [fields.stack_used, fields.stack_user, fields.stack_user + 16] {
        // An empty list points at itself, twice.
        // SAFETY: `Fields::find` checked that they lie inside `_rtld_global`.
        unsafe { *(list as *mut [usize; 2]) = [list, list] };
    }
}

/// Calls a function of libc by name, if it is there.
///
/// # Safety
///
/// libc must be relocated and the function take these arguments.
pub(crate) unsafe fn call(
    host: &dyn Host,
    libc: &Object,
    name: &[u8],
    arguments: [usize; 4],
) -> Option<usize> {
    let function = libc.address_of(name)?;
    // SAFETY: the caller says that libc's function can take these arguments.
    Some(unsafe { signals::call(host, function, arguments) })
}

/// Returns how large the array of a symbol is.
pub(crate) fn size_of_symbol(object: &Object, name: &[u8]) -> Option<usize> {
    let symbol = object.symbol(object.defined(name)?)?;
    Some(address(symbol.st_size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_wherever_they_lie() {
        fn find_in<const LEN: usize>(bytes: &[u8], text: &[u8; LEN]) -> Option<usize> {
            find(bytes, text, &skips(text))
        }
        let bytes = b"relrelease release version 2.36.\n";
        assert_eq!(find_in(bytes, b"release version "), Some(11));
        assert_eq!(find_in(bytes, b"rel"), Some(0));
        assert_eq!(find_in(bytes, b"6.\n"), Some(bytes.len() - 3));
        assert_eq!(find_in(bytes, b"6.\n."), None);
        assert_eq!(find_in(b"", b"x"), None);
    }
}
