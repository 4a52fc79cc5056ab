//! What libc and the program's allocator may take for granted when the first thread starts.
//!
//! `ld.so` takes a new thread's table of TLS blocks from the program's `calloc`. So by the time there is a second
//! thread, the allocator has been called, by the first: glibc's, before 2.43, is initialised by its first call
//! without a lock (`ptmalloc_init`), and others rely on it as well. Here tables come from the loader's own heap.

use core::sync::atomic::Ordering;

use crate::loader::Loader;
use crate::object::{Object, Role};
use crate::signals;

impl Loader {
    /// Has the program's `calloc`, as `ld.so` looks it up, called once before the first thread starts. No lock is held
    /// here.
    pub(crate) fn before_first_thread(&self) {
        if self.has_allocated().swap(true, Ordering::Relaxed) {
            return;
        }
        let main = self.world().get().and_then(|world| {
            let main = world.program().first()?;
            (main.object.role() == Role::Main).then(|| main.handle())
        });
        let Some(main) = main else { return };
        let symbol = |name| self.dlsym(main, name, None, 0);
        if let (Ok(calloc), Ok(free)) = (symbol(b"calloc"), symbol(b"free")) {
            // SAFETY: functions of the program or of libc, with these types.
            unsafe {
                let block = signals::call(self.host(), calloc, [1, 1, 0, 0]);
                signals::call(self.host(), free, [block, 0, 0, 0]);
            }
        }
    }

    /// Has a further libc's allocator called once: threads may come through either libc, and `ld.so` does not know
    /// this one's.
    pub(crate) fn initialise_allocator(&self, libc: &Object) {
        if let (Some(malloc), Some(free)) = (libc.address_of(b"malloc"), libc.address_of(b"free")) {
            // SAFETY: libc's own functions, after its early initialisation.
            unsafe {
                let block = signals::call(self.host(), malloc, [1, 0, 0, 0]);
                signals::call(self.host(), free, [block, 0, 0, 0]);
            }
        }
    }
}
