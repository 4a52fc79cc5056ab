//! Sessions and lists of symbols as C has them (`include/elfin.h`): from addresses to values and back.

use alloc::sync::Arc;

use goblin::elf::sym;

use crate::elf::Sym;
use crate::elf::address;
use crate::error::Error;
use crate::host::Errno;
use crate::init::InitOn;
use crate::loader::Loader;
use crate::lookup;
use crate::namespace::NamespaceId;
use crate::object::Object;
use crate::signals;
use crate::stack::c_bytes;
use crate::world::Entry;

/// `ELFIN_INIT_ON_WORKER`, beside the bits of `dlopen`'s mode.
const INIT_ON_WORKER: usize = 0x10000;

/// `struct elfin_duplicate`.
#[repr(C)]
struct CDuplicate {
    symbol: usize,
    newer: usize,
    older: usize,
}

/// `struct elfin_symbol`.
#[repr(C)]
struct CSymbol {
    name: usize,
    version: usize,
    address: usize,
    size: usize,
    file: usize,
    handle: usize,
    kind: u32,
    binding: u32,
}

impl Loader {
    /// `elfin_session_open(shared, session*)`.
    ///
    /// # Safety
    ///
    /// `shared` must be 0 or the address of an array of C strings that ends with a null pointer; `session`, of a word.
    pub(crate) unsafe fn c_session_open(&self, shared: usize, session: usize) -> usize {
        let mut at = shared;
        let names = core::iter::from_fn(|| {
            if at == 0 {
                return None;
            }
            // SAFETY: the caller's promise; the null pointer ends the iteration.
            let name = unsafe { *(at as *const usize) };
            at += size_of::<usize>();
            // SAFETY: the caller's promise.
            (name != 0).then(|| unsafe { c_bytes(name) })
        });
        self.status(self.open_session(names.fuse()).map(|id| {
            // SAFETY: the caller's promise.
            unsafe { *(session as *mut usize) = id.lmid() };
        }))
    }

    /// `elfin_session_load(session, file, mode)`.
    pub(crate) fn c_session_load(
        &self,
        session: usize,
        file: &[u8],
        mode: usize,
    ) -> Result<usize, Error> {
        let init = if mode & INIT_ON_WORKER == 0 {
            InitOn::Caller
        } else {
            InitOn::Worker
        };
        self.session_load(
            NamespaceId::from_lmid(session),
            file,
            mode & !INIT_ON_WORKER,
            init,
        )
    }

    /// `elfin_session_duplicates(session, visit, data)`.
    ///
    /// # Safety
    ///
    /// `visit` must be a function of the program that takes `(duplicate*, data)`.
    pub(crate) unsafe fn c_session_duplicates(
        &self,
        session: usize,
        visit: usize,
        data: usize,
    ) -> usize {
        let id = NamespaceId::from_lmid(session);
        let listed = self.each_duplicate(id, |symbol, newer, older| {
            let duplicate = CDuplicate {
                // A name is followed by its end in the string table.
                symbol: symbol.as_ptr().addr(),
                newer: newer.path_address(),
                older: older.path_address(),
            };
            let duplicate = core::ptr::from_ref(&duplicate).expose_provenance();
            // SAFETY: the caller's promise.
            unsafe { signals::call(self.host(), visit, [duplicate, data, 0, 0]) & 0xffff_ffff == 0 }
        });
        self.status(listed)
    }

    /// `elfin_symbols(namespace, handle, visit, data)`.
    ///
    /// # Safety
    ///
    /// `visit` must be a function of the program that takes `(symbol*, data)`.
    pub(crate) unsafe fn c_symbols(
        &self,
        namespace: usize,
        handle: usize,
        visit: usize,
        data: usize,
    ) -> usize {
        let id = NamespaceId::from_lmid(namespace);
        let listed = self.with_world(None, |world| {
            let no_namespace = Error::Invalid("no such namespace");
            let entries = world.space(id).ok_or(no_namespace)?.entries.iter();
            let wanted = |entry: &&Arc<Entry>| handle == 0 || entry.handle() == handle;
            let mut entries = entries.filter(wanted).peekable();
            if handle != 0 && entries.peek().is_none() {
                return Err(Error::Invalid("invalid handle"));
            }
            for entry in entries {
                let symbols = entry.object.symbols().iter().enumerate();
                for (index, symbol) in symbols.filter(|(_, symbol)| lookup::is_exported(symbol)) {
                    let symbol = describe(entry, index, symbol);
                    let symbol = core::ptr::from_ref(&symbol).expose_provenance();
                    // SAFETY: the caller's promise.
                    let result = unsafe { signals::call(self.host(), visit, [symbol, data, 0, 0]) };
                    if result & 0xffff_ffff != 0 {
                        return Ok(());
                    }
                }
            }
            Ok(())
        });
        self.status(listed.unwrap_or(Ok(())))
    }

    /// Returns what a function that returns error numbers does, and keeps the text for `dlerror`.
    pub(crate) fn status(&self, result: Result<(), Error>) -> usize {
        let Err(error) = result else { return 0 };
        let errno = match error {
            Error::CannotOpen { errno, .. } | Error::Host { errno, .. } => errno,
            Error::Invalid(_) => Errno::EINVAL,
            _ => Errno::ENOEXEC,
        };
        self.set_error(error);
        usize::try_from(errno.0).unwrap_or(0)
    }
}

fn describe(entry: &Entry, index: usize, symbol: &Sym) -> CSymbol {
    let object: &Object = &entry.object;
    let version = object
        .version_index(index)
        .and_then(|index| object.versions().get(index));
    let value = address(symbol.st_value);
    let is_tls = sym::st_type(symbol.st_info) == sym::STT_TLS;
    let is_absolute = u32::from(symbol.st_shndx) == goblin::elf::section_header::SHN_ABS;
    CSymbol {
        name: object
            .symbol_name(symbol)
            .map_or(0, |name| name.as_ptr().addr()),
        version: version.map_or(0, |version| version.name.as_ptr().addr()),
        address: if is_tls || is_absolute {
            value
        } else {
            object.real(value)
        },
        size: address(symbol.st_size),
        file: object.path_address(),
        handle: entry.handle(),
        kind: u32::from(sym::st_type(symbol.st_info)),
        binding: u32::from(sym::st_bind(symbol.st_info)),
    }
}
