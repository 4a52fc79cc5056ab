//! Fields that glibc describes itself: `_thread_db_*` symbols, exported for libthread_db since 2.34, each three words
//! (size in bits, number of elements, offset).

use core::ops::Range;

use crate::error::{Error, Foreign};
use crate::glibc::{minor_version, size_of_symbol};
use crate::object::Object;

/// Where things are in `struct pthread` (offsets) and in `ld.so`'s data (addresses).
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields {
    /// The release: 36 for glibc 2.36.
    pub(crate) minor: u32,
    pub(crate) pthread_size: usize,
    pub(crate) list: usize,
    pub(crate) tid: usize,
    pub(crate) specific: usize,
    pub(crate) report_events: usize,
    pub(crate) rtld_global: Range<usize>,
    pub(crate) rtld_global_ro: Range<usize>,
    pub(crate) stack_used: usize,
    pub(crate) stack_user: usize,
    pub(crate) stack_flags: usize,
}

impl Fields {
    /// Finds them in a mapped libc and `ld.so`, relocated or not.
    pub(crate) fn find(libc: &Object, rtld: &Object) -> Result<Self, Error> {
        let minor = minor_version(libc)?;
        Self::find_all(libc, rtld, minor).ok_or_else(|| {
            Error::Foreign(Foreign::Glibc(
                alloc::format!("2.{minor} (unknown layout)").into_bytes(),
            ))
        })
    }

    /// Returns the stack of a thread, without its guard; `None` if it is the main thread's, or memory of the program's own.
    ///
    /// # Safety
    ///
    /// There must be a thread with this thread pointer, or what libc keeps of one that has ended; glibc must be 2.40 or
    /// older.
    pub(crate) unsafe fn stack_of(&self, thread_pointer: usize) -> Option<Range<usize>> {
        // `user_stack` follows `report_events`.
        // SAFETY: a field of the thread's descriptor, which is there.
        let is_users = unsafe { *((thread_pointer + self.report_events + 1) as *const u8) } != 0;
        // stackblock, stackblock_size, guardsize: at 1680 in 2.34 to 2.43.
        // SAFETY: fields of the thread's descriptor, which is there.
        let [block, size, guard] = unsafe { *((thread_pointer + 1680) as *const [usize; 3]) };
        (!is_users).then_some(block + guard..block + size)
    }

    fn find_all(libc: &Object, rtld: &Object, minor: u32) -> Option<Self> {
        let offset = |name: &[u8]| {
            let vaddr = libc
                .address_of(&[b"_thread_db_", name].concat())?
                .wrapping_sub(libc.bias());
            let words = libc.halves(vaddr, 12)?;
            Some(*words.get(2)? as usize)
        };
        let size = libc.halves(
            libc.address_of(b"_thread_db_sizeof_pthread")?
                .wrapping_sub(libc.bias()),
            4,
        )?;
        let range = |name: &[u8]| {
            let start = rtld.address_of(name)?;
            let size = size_of_symbol(rtld, name)?;
            rtld.is_writable(start, size).then_some(start..start + size)
        };
        let rtld_global = range(b"_rtld_global")?;
        let slotinfo = rtld_global.start + offset(b"rtld_global__dl_tls_dtv_slotinfo_list")?;
        let inside =
            |at: usize, size: usize| rtld_global.contains(&at) && at + size <= rtld_global.end;
        let stack_used = rtld_global.start + offset(b"rtld_global__dl_stack_used")?;
        let stack_user = rtld_global.start + offset(b"rtld_global__dl_stack_user")?;
        if !inside(stack_used, 16) || !inside(stack_user, 32) || !inside(slotinfo - 32, 32) {
            return None;
        }
        // The default value of the stack flags, read+write+execute, a little before the list of TLS modules.
        let stack_flags = (slotinfo - 32..slotinfo).step_by(4).find(|&at| {
            // SAFETY: inside `_rtld_global`, which is mapped and aligned.
            unsafe { *(at as *const u32) == 7 }
        })?;
        Some(Self {
            minor,
            pthread_size: *size.first()? as usize,
            list: offset(b"pthread_list")?,
            tid: offset(b"pthread_tid")?,
            specific: offset(b"pthread_specific")?,
            report_events: offset(b"pthread_report_events")?,
            rtld_global,
            rtld_global_ro: range(b"_rtld_global_ro")?,
            stack_used,
            stack_user,
            stack_flags,
        })
    }
}
