//! Fields of `_rtld_global_ro` that show themselves: fill it with marks, call a function of libc that reads the field,
//! and see which mark comes back. Then everything is put back as it was.

use alloc::vec::Vec;

use crate::arch::probe as function;
use crate::error::{Error, Foreign};
use crate::glibc::{Fields, call};
use crate::host::Host;
use crate::object::Object;

/// Offsets into `_rtld_global_ro`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Offsets {
    pub(crate) pagesize: usize,
    pub(crate) clktck: usize,
    pub(crate) minsigstacksize: usize,
    pub(crate) hwcap2: usize,
    pub(crate) auxv: usize,
    pub(crate) tls_static_size: usize,
    pub(crate) tls_static_align: usize,
    pub(crate) clock_gettime: usize,
    pub(crate) dlfcn_hook: usize,
}

const MARK: usize = 0x10000;
const SC_CLK_TCK: usize = 2;
const SC_MINSIGSTKSZ: usize = 249;
const AT_HWCAP2: usize = 26;
/// A key no auxiliary vector has.
const AT_MARK: usize = 7777;

/// Finds the offsets.
///
/// # Safety
///
/// libc and `ld.so` must be relocated, libc eagerly, and the thread pointer be that of the main thread.
pub(crate) unsafe fn find(
    host: &dyn Host,
    fields: &Fields,
    libc: &Object,
    rtld: &Object,
) -> Result<Offsets, Error> {
    let area = fields.rtld_global_ro.clone();
    let words = area.len() / 8;
    let word = |index: usize| (area.start as *mut usize).wrapping_add(index);
    let set = |index: usize, value: usize| {
        // SAFETY: `Fields::find` checked that the symbol is aligned, writable memory of this size, and `index` stays
        // below `words`. Nobody uses it yet but the functions called below, which is why the access is volatile.
        unsafe { word(index).write_volatile(value) };
    };
    // SAFETY: `index` stays below `words`, and nobody uses the memory meanwhile.
    let saved: Vec<usize> = (0..words)
        .map(|index| unsafe { word(index).read_volatile() })
        .collect();
    let restore = || {
        saved
            .iter()
            .enumerate()
            .for_each(|(index, &value)| set(index, value));
    };
    // SAFETY: libc is relocated, says the caller, and these functions of its only read fields and compute.
    let ask = |name: &[u8], argument: usize| unsafe { call(host, libc, name, [argument, 0, 0, 0]) };

    for index in 0..words {
        set(index, (MARK + 2 * index) | (MARK + 2 * index + 1) << 32);
    }
    let place = |value: Option<usize>| {
        let mark = value? & 0xffff_ffff;
        mark.checked_sub(MARK)
            .map(|index| index * 4)
            .filter(|&offset| offset < area.len())
    };
    let pagesize = place(ask(b"getpagesize", 0));
    let clktck = place(ask(b"sysconf", SC_CLK_TCK));
    let minsigstacksize = place(ask(b"sysconf", SC_MINSIGSTKSZ));
    let hwcap2 = place(ask(b"getauxval", AT_HWCAP2));
    let mut sizes = [0usize; 2];
    let [size, align] = &mut sizes;
    let pointers = [
        core::ptr::from_mut(size).expose_provenance(),
        core::ptr::from_mut(align).expose_provenance(),
        0,
        0,
    ];
    // SAFETY: ld.so is relocated, says the caller, and this function of its stores two words.
    let called = unsafe { call(host, rtld, b"_dl_get_tls_static_info", pointers) };
    let tls = called.map(|_| sizes.map(|size| place(Some(size))));

    let vectors: Vec<[usize; 4]> = (0..words).map(|index| [AT_MARK, index * 8, 0, 0]).collect();
    for (index, vector) in vectors.iter().enumerate() {
        set(index, vector.as_ptr().expose_provenance());
    }
    let auxv = ask(b"getauxval", AT_MARK).filter(|&offset| offset < area.len());
    restore();

    let hook = [function::dlerror(); 13];
    let mut dlfcn_hook = None;
    let mut clock_gettime = None;
    // The functions have come after the sizes in every glibc so far, and each try may be a system call. The hook has
    // been followed by two words, and `dlerror` of 2.34 dies if it is missing.
    let likely = tls.map_or(0, |[_, align]| align.unwrap_or(0) / 8);
    let slots = words.checked_sub(3).into_iter();
    let slots = slots.chain(likely..words).chain(0..likely);
    for index in slots.filter(|&index| saved.get(index) == Some(&0)) {
        if dlfcn_hook.is_none() {
            set(index, hook.as_ptr().expose_provenance());
            if ask(b"dlerror", 0) == Some(function::MAGIC) {
                dlfcn_hook = Some(index * 8);
            }
        }
        if clock_gettime.is_none() {
            set(index, function::clock());
            let mut time = [0usize; 2];
            let arguments = [1, time.as_mut_ptr().expose_provenance(), 0, 0];
            // SAFETY: libc is relocated, says the caller; it gets CLOCK_MONOTONIC and room for a `struct timespec`.
            unsafe { call(host, libc, b"clock_gettime", arguments) };
            if time[0] == function::MAGIC {
                clock_gettime = Some(index * 8);
            }
        }
        set(index, 0);
    }
    // Tries that were system calls may have failed; a program starts without an error.
    if let Some(errno) = ask(b"__errno_location", 0) {
        // SAFETY: libc says that the main thread's `errno` is there.
        unsafe { (errno as *mut i32).write(0) };
    }
    let all = || {
        let [size, align] = tls?;
        Some(Offsets {
            pagesize: pagesize?,
            clktck: clktck?,
            minsigstacksize: minsigstacksize?,
            hwcap2: hwcap2?,
            auxv: auxv?,
            tls_static_size: size?,
            tls_static_align: align?,
            clock_gettime: clock_gettime?,
            dlfcn_hook: dlfcn_hook?,
        })
    };
    all().ok_or_else(|| {
        let what = alloc::format!("2.{} (fields not found)", fields.minor);
        Error::Foreign(Foreign::Glibc(what.into_bytes()))
    })
}
