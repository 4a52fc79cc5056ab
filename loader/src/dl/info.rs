//! `dladdr1` and `dlinfo`: what programs ask about addresses and handles.

use crate::address::DlInfo;
use crate::error::Error;
use crate::loader::Loader;
use crate::tls::Tls;

const FAILURE: usize = usize::MAX;

/// Requests of `dlinfo`.
const RTLD_DI_LMID: usize = 1;
const RTLD_DI_LINKMAP: usize = 2;
const RTLD_DI_ORIGIN: usize = 6;
const RTLD_DI_TLS_MODID: usize = 9;
const RTLD_DI_TLS_DATA: usize = 10;
const RTLD_DI_PHDR: usize = 11;

impl Loader {
    /// # Safety
    ///
    /// As `dladdr1`.
    pub(crate) unsafe fn dladdr_into(
        &self,
        at: usize,
        info: usize,
        extra: usize,
        flags: usize,
    ) -> usize {
        let Some((found, symbol, handle)) = self.dladdr(at) else {
            return 0;
        };
        // SAFETY: the caller's promise.
        unsafe { *(info as *mut DlInfo) = found };
        let extra_value = match flags {
            1 => symbol,
            2 => handle,
            _ => return 1,
        };
        if extra != 0 {
            // SAFETY: the caller's promise.
            unsafe { *(extra as *mut usize) = extra_value };
        }
        1
    }

    /// # Safety
    ///
    /// As `dlinfo`.
    pub(crate) unsafe fn dlinfo(&self, handle: usize, request: usize, argument: usize) -> usize {
        let Some(world) = self.world().get() else {
            return FAILURE;
        };
        let Some(entry) = world.by_handle(handle) else {
            self.set_error(&Error::Invalid("invalid handle"));
            return FAILURE;
        };
        let object = &entry.object;
        let word = argument as *mut usize;
        let value = match request {
            RTLD_DI_LMID => entry.namespace().lmid(),
            RTLD_DI_LINKMAP => entry.handle(),
            RTLD_DI_TLS_MODID => object.tls_module(),
            RTLD_DI_TLS_DATA => {
                Tls::existing_block(self.host().thread_pointer(), object.tls_module())
            }
            RTLD_DI_ORIGIN => {
                let origin = object.origin();
                // SAFETY: the caller's promise: room for the string.
                unsafe {
                    core::ptr::copy_nonoverlapping(
                        origin.as_ptr(),
                        argument as *mut u8,
                        origin.len(),
                    );
                }
                // SAFETY: as above.
                unsafe { *((argument + origin.len()) as *mut u8) = 0 };
                return 0;
            }
            RTLD_DI_PHDR => {
                // SAFETY: the caller's promise: a pointer to a pointer.
                unsafe { *word = object.headers_address() };
                return object.segments().len();
            }
            _ => {
                self.set_error(&Error::Invalid("unsupported dlinfo request"));
                return FAILURE;
            }
        };
        // SAFETY: the caller's promise: a pointer to a word.
        unsafe { *word = value };
        0
    }
}
