//! `dladdr1` and `dlinfo`: what programs ask about addresses and handles.

use alloc::vec::Vec;

use crate::address::DlInfo;
use crate::c::{Out, Untyped};
use crate::error::Error;
use crate::loader::Loader;
use crate::namespace::Key;
use crate::tls::Tls;

const FAILURE: usize = usize::MAX;

/// What else `dladdr1` is to tell.
const RTLD_DL_SYMENT: usize = 1;
const RTLD_DL_LINKMAP: usize = 2;

/// Requests of `dlinfo`.
const RTLD_DI_LMID: usize = 1;
const RTLD_DI_LINKMAP: usize = 2;
const RTLD_DI_SERINFO: usize = 4;
const RTLD_DI_SERINFOSIZE: usize = 5;
const RTLD_DI_ORIGIN: usize = 6;
const RTLD_DI_TLS_MODID: usize = 9;
const RTLD_DI_TLS_DATA: usize = 10;
const RTLD_DI_PHDR: usize = 11;

impl Loader {
    /// `dladdr1`.
    pub(crate) fn dladdr_into(
        &self,
        at: usize,
        info: Out<DlInfo>,
        extra: Option<Out<usize>>,
        flags: usize,
    ) -> usize {
        let Some((found, symbol, handle)) = self.loaded().dladdr(at) else {
            return 0;
        };
        info.put(found);
        let value = match flags {
            RTLD_DL_SYMENT => symbol,
            RTLD_DL_LINKMAP => handle,
            _ => return 1,
        };
        if let Some(extra) = extra {
            extra.put(value);
        }
        1
    }

    /// `dlinfo`.
    pub(crate) fn dlinfo(&self, handle: usize, request: usize, argument: &Untyped) -> usize {
        let Some(world) = self.world().get() else {
            return FAILURE;
        };
        let Some(entry) = world.by_handle(handle) else {
            self.threads().set_error(Error::Invalid("invalid handle"));
            return FAILURE;
        };
        let object = &entry.object;
        let value = match request {
            RTLD_DI_LMID => entry.namespace().lmid(),
            RTLD_DI_LINKMAP => entry.handle(),
            RTLD_DI_TLS_MODID => object.tls_module(),
            RTLD_DI_TLS_DATA => {
                Tls::existing_block(self.host().thread_pointer(), object.tls_module())
            }
            RTLD_DI_ORIGIN => {
                let origin = object.origin();
                let to = argument.address() as *mut u8;
                // SAFETY: RTLD_DI_ORIGIN is asked for with room for the string.
                unsafe { core::ptr::copy_nonoverlapping(origin.as_ptr(), to, origin.len()) };
                // SAFETY: and for its end.
                unsafe { *to.add(origin.len()) = 0 };
                return 0;
            }
            RTLD_DI_SERINFOSIZE => {
                let directories = self.search_path(Key::of(object));
                // SAFETY: RTLD_DI_SERINFOSIZE is asked for with a `Dl_serinfo`.
                unsafe { argument.out() }.put(SearchInfo::of(&directories));
                return 0;
            }
            RTLD_DI_SERINFO => {
                let directories = self.search_path(Key::of(object));
                // SAFETY: RTLD_DI_SERINFO is asked for with a `Dl_serinfo` of the size it gives.
                let fits = unsafe { fill_search_info(argument.address(), &directories) };
                if !fits {
                    self.threads()
                        .set_error(Error::Invalid("dlinfo: the search list has grown"));
                    return FAILURE;
                }
                return 0;
            }
            RTLD_DI_PHDR => {
                // SAFETY: RTLD_DI_PHDR is asked for with a pointer to a pointer.
                unsafe { argument.out() }.put(object.headers_address());
                return object.segments().len();
            }
            _ => {
                self.threads()
                    .set_error(Error::Invalid("unsupported dlinfo request"));
                return FAILURE;
            }
        };
        // SAFETY: the requests that have come here are made with a pointer to a word.
        unsafe { argument.out() }.put(value);
        0
    }

    /// Returns the directories that are searched for what an object needs, in order.
    fn search_path(&self, key: Key) -> Vec<Vec<u8>> {
        let mut state = self.state().lock(self.host());
        let wanted = state.wanted(Some(key));
        let search = state.search.get_or_insert_default();
        search.directories(&wanted)
    }
}

/// The head of a `Dl_serinfo`.
#[repr(C)]
struct SearchInfo {
    /// The size of the whole, with entries and names.
    size: usize,
    count: u32,
}

/// A `Dl_serpath`.
#[repr(C)]
struct SearchPath {
    name: usize,
    flags: u32,
}

impl SearchInfo {
    fn of(directories: &[Vec<u8>]) -> Self {
        let names: usize = directories.iter().map(|name| name.len() + 1).sum();
        Self {
            size: size_of::<Self>() + directories.len() * size_of::<SearchPath>() + names,
            count: u32::try_from(directories.len()).unwrap_or(u32::MAX),
        }
    }
}

/// Fills in a `Dl_serinfo`; says whether it has room.
///
/// # Safety
///
/// There must be as much memory as the structure's `dls_size` says.
unsafe fn fill_search_info(at: usize, directories: &[Vec<u8>]) -> bool {
    // SAFETY: the structure is there, says the caller.
    let given = unsafe { &*(at as *const SearchInfo) };
    let needed = SearchInfo::of(directories);
    if given.size < needed.size || given.count < needed.count {
        return false;
    }
    let mut entry = (at + size_of::<SearchInfo>()) as *mut SearchPath;
    let mut name = at + size_of::<SearchInfo>() + directories.len() * size_of::<SearchPath>();
    for directory in directories {
        // SAFETY: `needed.size` counts this entry.
        unsafe { *entry = SearchPath { name, flags: 0 } };
        // SAFETY: there is another entry, or the names.
        entry = unsafe { entry.add(1) };
        let to = name as *mut u8;
        // SAFETY: `needed.size` counts this name and its end.
        unsafe { core::ptr::copy_nonoverlapping(directory.as_ptr(), to, directory.len()) };
        // SAFETY: its end is counted with the name.
        unsafe { *to.add(directory.len()) = 0 };
        name += directory.len() + 1;
    }
    true
}
