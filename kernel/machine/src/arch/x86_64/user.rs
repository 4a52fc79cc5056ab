//! Copies to and from the program's memory, which a bad address ends instead of the kernel: the page fault handler
//! makes them go on at [`fixup`], and they say so.

unsafe extern "C" {
    fn elfin_user_start();
    fn elfin_user_end();
    fn elfin_user_fault();
    fn elfin_user_copy(to: *mut u8, from: *const u8, len: usize) -> usize;
    fn elfin_user_zero(to: *mut u8, len: usize) -> usize;
    fn elfin_user_load_u32(addr: usize, value: *mut u32) -> usize;
    fn elfin_user_cmpxchg_u32(addr: usize, old: u32, new: u32, found: *mut u32) -> usize;
}

/// The access has met an address that is not there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BadAddress;

fn done(failed: usize) -> Result<(), BadAddress> {
    if failed == 0 { Ok(()) } else { Err(BadAddress) }
}

/// Where an access goes on that cannot be satisfied, if the instruction at `rip` is one of these routines'.
pub(crate) fn fixup(rip: usize) -> Option<usize> {
    let start = (elfin_user_start as *const ()).addr();
    let end = (elfin_user_end as *const ()).addr();
    (start..end)
        .contains(&rip)
        .then(|| (elfin_user_fault as *const ()).addr())
}

/// Copies `len` bytes.
///
/// # Safety
/// Each side must be valid for the copy or lie where faults are the program's: in its half of the address space.
pub(crate) unsafe fn copy(to: *mut u8, from: *const u8, len: usize) -> Result<(), BadAddress> {
    // SAFETY: the caller's promise; faults end the routine.
    done(unsafe { elfin_user_copy(to, from, len) })
}

/// Fills `len` bytes with zeros.
///
/// # Safety
/// As for the target of [`copy`].
pub(crate) unsafe fn zero(to: *mut u8, len: usize) -> Result<(), BadAddress> {
    // SAFETY: the caller's promise; faults end the routine.
    done(unsafe { elfin_user_zero(to, len) })
}

/// Loads an aligned word in one piece.
///
/// # Safety
/// As for the source of [`copy`].
pub(crate) unsafe fn load_u32(addr: usize) -> Result<u32, BadAddress> {
    let mut value = 0;
    // SAFETY: the caller's promise; faults end the routine.
    done(unsafe { elfin_user_load_u32(addr, &raw mut value) })?;
    Ok(value)
}

/// Stores `new` in an aligned word if it holds `old`, in one piece; what it held.
///
/// # Safety
/// As for the target of [`copy`].
pub(crate) unsafe fn compare_exchange_u32(
    addr: usize,
    old: u32,
    new: u32,
) -> Result<u32, BadAddress> {
    let mut found = 0;
    // SAFETY: the caller's promise; faults end the routine.
    done(unsafe { elfin_user_cmpxchg_u32(addr, old, new, &raw mut found) })?;
    Ok(found)
}
