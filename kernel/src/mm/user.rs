//! Access to user memory: a pointer from the program is an allegation, checked and copied through fault-catching routines.
//!
//! With interrupts on, a page that is not there yet is brought in; with interrupts off (under a spin lock) the access fails.

use super::{USER_END, USER_START, frame};
use crate::syscall::Errno;
use alloc::vec::Vec;
use core::mem::{MaybeUninit, size_of};

/// Types that may be copied to and from the program as bytes.
///
/// # Safety
/// Any bit pattern must be valid and there must be no padding.
pub unsafe trait Plain: Copy {}

macro_rules! plain {
    ($($type:ty)*) => { $(
        // SAFETY: an integer has no padding and no invalid values.
        unsafe impl Plain for $type {}
    )* };
}
plain!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize);

// SAFETY: an array has no padding but its elements'.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}

unsafe extern "C" {
    fn elfin_user_start();
    fn elfin_user_end();
    fn elfin_user_fault();
    fn elfin_user_copy(to: *mut u8, from: *const u8, len: usize) -> usize;
    fn elfin_user_zero(to: *mut u8, len: usize) -> usize;
    fn elfin_user_load_u32(addr: usize, value: *mut u32) -> usize;
    fn elfin_user_cmpxchg_u32(addr: usize, old: u32, new: u32, found: *mut u32) -> usize;
}

/// Where an access goes on that cannot be satisfied, if `rip` is in one of these routines.
pub(super) fn fixup(rip: usize) -> Option<usize> {
    let start = (elfin_user_start as *const ()).addr();
    let end = (elfin_user_end as *const ()).addr();
    (start..end)
        .contains(&rip)
        .then(|| (elfin_user_fault as *const ()).addr())
}

/// Checks that a range is the program's: in its half, or in the kernel heap, where the loader keeps what ld.so would have
/// kept in memory of its own (names, texts of errors, blocks of thread-local storage) and hands out pointers to.
pub fn check(addr: usize, len: usize) -> Result<(), Errno> {
    let end = addr.checked_add(len).ok_or(Errno::EFAULT)?;
    if len == 0 || (addr >= USER_START && end <= USER_END) || frame::is_heap(addr, len) {
        Ok(())
    } else {
        Err(Errno::EFAULT)
    }
}

fn done(failed: usize) -> Result<(), Errno> {
    if failed == 0 {
        Ok(())
    } else {
        Err(Errno::EFAULT)
    }
}

/// Copies from the program.
pub fn copy_in(addr: usize, to: &mut [u8]) -> Result<(), Errno> {
    check(addr, to.len())?;
    let from = core::ptr::with_exposed_provenance(addr);
    // SAFETY: the source lies in the program's half, and faults there are caught; the target is a valid slice.
    done(unsafe { elfin_user_copy(to.as_mut_ptr(), from, to.len()) })
}

/// Copies to the program.
pub fn copy_out(addr: usize, from: &[u8]) -> Result<(), Errno> {
    check(addr, from.len())?;
    let to = core::ptr::with_exposed_provenance_mut(addr);
    // SAFETY: the target lies in the program's half, and faults there are caught; the source is a valid slice.
    done(unsafe { elfin_user_copy(to, from.as_ptr(), from.len()) })
}

/// Fills with zeros.
pub fn zero(addr: usize, len: usize) -> Result<(), Errno> {
    check(addr, len)?;
    // SAFETY: the target lies in the program's half, and faults there are caught.
    done(unsafe { elfin_user_zero(core::ptr::with_exposed_provenance_mut(addr), len) })
}

/// Reads a value.
pub fn read<T: Plain>(addr: usize) -> Result<T, Errno> {
    check(addr, size_of::<T>())?;
    let mut value = MaybeUninit::<T>::uninit();
    let from = core::ptr::with_exposed_provenance(addr);
    // SAFETY: as in `copy_in`; the target is as large as the type.
    done(unsafe { elfin_user_copy(value.as_mut_ptr().cast(), from, size_of::<T>()) })?;
    // SAFETY: all bytes have been written, and any pattern is valid.
    Ok(unsafe { value.assume_init() })
}

/// Writes a value.
pub fn write<T: Plain>(addr: usize, value: &T) -> Result<(), Errno> {
    check(addr, size_of::<T>())?;
    let to = core::ptr::with_exposed_provenance_mut(addr);
    // SAFETY: as in `copy_out`; the source is a value without padding.
    done(unsafe { elfin_user_copy(to, core::ptr::from_ref(value).cast(), size_of::<T>()) })
}

/// Reads a NUL-terminated string of at most `max` bytes (`ENAMETOOLONG` beyond).
pub fn read_cstr(addr: usize, max: usize) -> Result<Vec<u8>, Errno> {
    let mut string = Vec::new();
    let mut at = addr;
    let mut chunk = [0; 256];
    while string.len() <= max {
        // Never across a page: the next one need not be there.
        let len = (super::PAGE - at % super::PAGE).min(chunk.len());
        let chunk = &mut chunk[..len];
        copy_in(at, chunk)?;
        if let Some(end) = chunk.iter().position(|&byte| byte == 0) {
            string.extend_from_slice(&chunk[..end]);
            if string.len() > max {
                break;
            }
            return Ok(string);
        }
        string.extend_from_slice(chunk);
        at += len;
    }
    Err(Errno::ENAMETOOLONG)
}

fn check_word(addr: usize) -> Result<(), Errno> {
    if !addr.is_multiple_of(4) {
        return Err(Errno::EINVAL);
    }
    check(addr, 4)
}

/// Atomic compare-exchange on an aligned u32 (futex, robust lists); the old value.
pub fn cmpxchg_u32(addr: usize, old: u32, new: u32) -> Result<u32, Errno> {
    check_word(addr)?;
    let mut found = 0;
    // SAFETY: the word lies in the program's half, and faults there are caught.
    done(unsafe { elfin_user_cmpxchg_u32(addr, old, new, &raw mut found) })?;
    Ok(found)
}

/// Atomic load of an aligned u32.
pub fn load_u32(addr: usize) -> Result<u32, Errno> {
    check_word(addr)?;
    let mut value = 0;
    // SAFETY: as above.
    done(unsafe { elfin_user_load_u32(addr, &raw mut value) })?;
    Ok(value)
}

/// Atomic load of an aligned u32 without bringing its page in: for use under a spin lock.
pub fn load_u32_nofault(addr: usize) -> Option<u32> {
    x86_64::instructions::interrupts::without_interrupts(|| load_u32(addr).ok())
}
