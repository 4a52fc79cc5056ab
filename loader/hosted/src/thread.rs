//! The calling thread: its thread pointer, what it has blocked, and memory that it may read.

use core::arch::asm;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::sys;

/// Returns the calling thread's thread pointer, or 0.
pub(crate) fn thread_pointer() -> usize {
    if !HAS_THREAD_POINTER.load(Ordering::Relaxed) {
        return 0;
    }
    let thread_pointer;
    // SAFETY: every thread has a control block by now, whose first word is its own address (psABI).
    unsafe {
        asm!("mov {}, fs:0", out(reg) thread_pointer, options(nostack, readonly, preserves_flags));
    }
    thread_pointer
}

/// Reads memory that may not be there.
pub(crate) fn read(address: usize, to: &mut [u8]) -> bool {
    let local = [to.as_mut_ptr().expose_provenance(), to.len()];
    let remote = [address, to.len()];
    let vector = |vector: &[usize; 2]| core::ptr::from_ref(vector).expose_provenance();
    // SAFETY: the kernel writes into the buffer.
    unsafe {
        let process = sys::call(sys::GETPID, [0; 6]);
        let arguments = [process, vector(&local), 1, vector(&remote), 1, 0];
        sys::call(sys::PROCESS_VM_READV, arguments) == to.len()
    }
}

/// Sets which signals the calling thread has blocked; returns which it had.
pub(crate) fn set_blocked_signals(blocked: u64) -> u64 {
    let mut before = 0u64;
    let arguments = [
        sys::SIG_SETMASK,
        core::ptr::from_ref(&blocked).expose_provenance(),
        core::ptr::from_mut(&mut before).expose_provenance(),
        size_of::<u64>(),
        0,
        0,
    ];
    // SAFETY: the kernel reads one word and writes the other.
    unsafe { sys::call(sys::RT_SIGPROCMASK, arguments) };
    before
}

/// Whether the program's threads have thread pointers: from the moment the first is set.
pub(crate) static HAS_THREAD_POINTER: AtomicBool = AtomicBool::new(false);
