//! Access to user memory: a pointer from the program is an allegation, checked and copied through fault-catching
//! routines.
//!
//! With interrupts on, a page that is not there yet is brought in; with interrupts off (under a spin lock) the access
//! fails.

use super::{USER_END, USER_START};
use crate::arch::{interrupt_flag, user as arch};
use crate::sync::order;
use abi::Errno;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::mem::{MaybeUninit, size_of};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Checks that a range is in the program's half of the address space.
pub fn check(addr: usize, len: usize) -> Result<(), Errno> {
    let end = addr.checked_add(len).ok_or(Errno::EFAULT)?;
    if len == 0 || (addr >= USER_START && end <= USER_END) {
        Ok(())
    } else {
        Err(Errno::EFAULT)
    }
}

/// `EFAULT` unless a range can be the program's: it may lie where nothing can be mapped.
pub fn check_address(addr: usize, len: usize) -> Result<(), Errno> {
    match addr.checked_add(len) {
        Some(end) if end <= USER_END => Ok(()),
        _ => Err(Errno::EFAULT),
    }
}

impl From<arch::BadAddress> for Errno {
    fn from(_: arch::BadAddress) -> Self {
        Self::EFAULT
    }
}

/// Copies from the program.
pub fn copy_in(addr: usize, to: &mut [u8]) -> Result<(), Errno> {
    order::may_sleep();
    check(addr, to.len())?;
    let from = core::ptr::with_exposed_provenance(addr);
    // SAFETY: the source lies in the program's half, and faults there are caught; the target is a valid slice.
    Ok(unsafe { arch::copy(to.as_mut_ptr(), from, to.len()) }?)
}

/// Copies to the program.
pub fn copy_out(addr: usize, from: &[u8]) -> Result<(), Errno> {
    let to = target(addr, from.len())?;
    // SAFETY: the target lies in the program's half, and faults there are caught; the source is a valid slice.
    Ok(unsafe { arch::copy(to, from.as_ptr(), from.len()) }?)
}

/// Where to copy `len` bytes to the program that are not a slice, for [`arch::copy`].
pub(super) fn target(addr: usize, len: usize) -> Result<*mut u8, Errno> {
    order::may_sleep();
    check(addr, len)?;
    Ok(core::ptr::with_exposed_provenance_mut(addr))
}

/// Fills with zeros.
pub fn zero(addr: usize, len: usize) -> Result<(), Errno> {
    order::may_sleep();
    check(addr, len)?;
    // SAFETY: the target lies in the program's half, and faults there are caught.
    Ok(unsafe { arch::zero(core::ptr::with_exposed_provenance_mut(addr), len) }?)
}

/// Reads a value.
pub fn read<T: FromBytes>(addr: usize) -> Result<T, Errno> {
    order::may_sleep();
    check(addr, size_of::<T>())?;
    let mut value = MaybeUninit::<T>::uninit();
    let from = core::ptr::with_exposed_provenance(addr);
    // SAFETY: the source lies in the program's half, and faults there are caught; the target is as large as the type.
    unsafe { arch::copy(value.as_mut_ptr().cast(), from, size_of::<T>()) }?;
    // SAFETY: all bytes have been written, and `FromBytes` says that any pattern is valid.
    Ok(unsafe { value.assume_init() })
}

/// Reads as much of a structure as the program knows of, `size` bytes; the rest is zero. `E2BIG` if the program knows
/// more of it than `T` has, and says something there.
#[doc(alias = "copy_struct_from_user")]
pub fn read_struct<T: FromBytes + IntoBytes>(addr: usize, size: usize) -> Result<T, Errno> {
    const AT_ONCE: usize = 64;
    let known = size_of::<T>().min(size);
    for start in (known..size).step_by(AT_ONCE) {
        let mut rest = [0; AT_ONCE];
        let len = AT_ONCE.min(size - start);
        copy_in(addr.wrapping_add(start), &mut rest[..len])?;
        if rest != [0; AT_ONCE] {
            return Err(Errno::E2BIG);
        }
    }
    let mut value = T::new_zeroed();
    copy_in(addr, &mut value.as_mut_bytes()[..known])?;
    Ok(value)
}

/// Writes a value.
pub fn write<T: IntoBytes + Immutable>(addr: usize, value: &T) -> Result<(), Errno> {
    copy_out(addr, value.as_bytes())
}

/// Reads a NUL-terminated string of at most `max` bytes (`ENAMETOOLONG` beyond).
pub fn read_cstr(addr: usize, max: usize) -> Result<Vec<u8>, Errno> {
    let mut string = Vec::new();
    let mut at = addr;
    // Most names are short.
    let mut chunk = [0; 64];
    while string.len() <= max {
        // Never across a page: the next one need not be there.
        let len = (super::PAGE - at % super::PAGE).min(chunk.len());
        let chunk = &mut chunk[..len];
        copy_in(at, chunk)?;
        if let Ok(end) = CStr::from_bytes_until_nul(chunk) {
            string.extend_from_slice(end.to_bytes());
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
    // SAFETY: the word lies in the program's half, and faults there are caught.
    Ok(unsafe { arch::compare_exchange_u32(addr, old, new) }?)
}

/// Atomic load of an aligned u32.
pub fn load_u32(addr: usize) -> Result<u32, Errno> {
    check_word(addr)?;
    // SAFETY: the word lies in the program's half, and faults there are caught.
    Ok(unsafe { arch::load_u32(addr) }?)
}

/// Atomic load of an aligned u32 without bringing its page in: for use under a spin lock.
pub fn load_u32_nofault(addr: usize) -> Option<u32> {
    interrupt_flag::without(|| load_u32(addr).ok())
}
