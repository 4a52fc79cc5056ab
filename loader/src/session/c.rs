//! Sessions and lists of symbols as C has them (`include/elfin.h`): from addresses to values and back.

use alloc::sync::Arc;

use goblin::elf::sym;

use crate::c::{Callback, Out};
use crate::elf::Sym;
use crate::elf::address;
use crate::error::Error;
use crate::host::Errno;
use crate::init::InitOn;
use crate::loader::Loader;
use crate::lookup;
use crate::namespace::NamespaceId;
use crate::object::Object;
use crate::world::Entry;

/// `ELFIN_INIT_ON_WORKER`, beside the bits of `dlopen`'s mode.
const INIT_ON_WORKER: usize = 0x10000;

/// `struct elfin_duplicate`.
#[repr(C)]
pub(crate) struct CDuplicate {
    symbol: usize,
    newer: usize,
    older: usize,
}

/// `struct elfin_symbol`.
#[repr(C)]
pub(crate) struct CSymbol {
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
    pub(crate) fn c_session_open(
        &self,
        shared: impl Iterator<Item = &'static [u8]>,
        session: Out<usize>,
    ) -> usize {
        let opened = self.open_session(shared);
        self.status(opened.map(|id| session.put(id.lmid())))
    }

    /// `elfin_session_load(session, file, mode)`.
    pub(crate) fn c_session_load(
        &self,
        session: NamespaceId,
        file: &[u8],
        mode: usize,
    ) -> Result<usize, Error> {
        let init = if mode & INIT_ON_WORKER == 0 {
            InitOn::Caller
        } else {
            InitOn::Worker
        };
        self.session_load(session, file, mode & !INIT_ON_WORKER, init)
    }

    /// `elfin_session_duplicates(session, visit, data)`.
    pub(crate) fn c_session_duplicates(
        &self,
        session: NamespaceId,
        visit: Callback<CDuplicate>,
    ) -> usize {
        let listed = self.each_duplicate(session, |symbol, newer, older| {
            let duplicate = CDuplicate {
                // A name is followed by its end in the string table.
                symbol: symbol.as_ptr().addr(),
                newer: newer.path_address(),
                older: older.path_address(),
            };
            visit.visit(self.host(), &duplicate) & 0xffff_ffff == 0
        });
        self.status(listed)
    }

    /// `elfin_symbols(namespace, handle, visit, data)`.
    pub(crate) fn c_symbols(
        &self,
        namespace: NamespaceId,
        handle: usize,
        visit: Callback<CSymbol>,
    ) -> usize {
        let listed = self.with_world(None, |world| {
            let no_namespace = Error::Invalid("no such namespace");
            let entries = world.space(namespace).ok_or(no_namespace)?.entries.iter();
            let wanted = |entry: &&Arc<Entry>| handle == 0 || entry.handle() == handle;
            let mut entries = entries.filter(wanted).peekable();
            if handle != 0 && entries.peek().is_none() {
                return Err(Error::Invalid("invalid handle"));
            }
            for entry in entries {
                let symbols = entry.object.symbols().iter().enumerate();
                for (index, symbol) in symbols.filter(|(_, symbol)| lookup::is_exported(symbol)) {
                    let symbol = describe(entry, index, symbol);
                    if visit.visit(self.host(), &symbol) & 0xffff_ffff != 0 {
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
        self.threads().set_error(error);
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
