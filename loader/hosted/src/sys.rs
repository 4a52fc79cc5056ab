//! Linux system calls, made directly: there is no libc here.

use core::arch::asm;

pub(crate) const READ: usize = 0;
pub(crate) const OPEN: usize = 2;
pub(crate) const CLOSE: usize = 3;
pub(crate) const FSTAT: usize = 5;
pub(crate) const MMAP: usize = 9;
pub(crate) const MPROTECT: usize = 10;
pub(crate) const MUNMAP: usize = 11;
pub(crate) const RT_SIGPROCMASK: usize = 14;
pub(crate) const PREAD64: usize = 17;
pub(crate) const WRITE: usize = 1;
pub(crate) const EXIT_GROUP: usize = 231;
pub(crate) const ARCH_PRCTL: usize = 158;
pub(crate) const FUTEX: usize = 202;
pub(crate) const SET_TID_ADDRESS: usize = 218;
pub(crate) const SET_ROBUST_LIST: usize = 273;
pub(crate) const GETCWD: usize = 79;
pub(crate) const READLINK: usize = 89;
pub(crate) const GETPID: usize = 39;
pub(crate) const SIGALTSTACK: usize = 131;
pub(crate) const PROCESS_VM_READV: usize = 310;

pub(crate) const O_CLOEXEC: usize = 0o2_000_000;
pub(crate) const ARCH_SET_FS: usize = 0x1002;
pub(crate) const SIG_SETMASK: usize = 2;
pub(crate) const FUTEX_WAIT_PRIVATE: usize = 128;
pub(crate) const FUTEX_WAKE_PRIVATE: usize = 129;

/// Makes a system call; returns what the kernel returns.
///
/// # Safety
///
/// The call must do nothing to memory that this program relies on.
pub(crate) unsafe fn call(number: usize, arguments: [usize; 6]) -> usize {
    let [a, b, c, d, e, f] = arguments;
    let result: usize;
    // SAFETY: `syscall` changes rax, rcx and r11, and memory as the caller knows.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// Makes a system call; an error becomes its (positive) number.
///
/// # Safety
///
/// As [`call`].
pub(crate) unsafe fn result(number: usize, arguments: [usize; 6]) -> Result<usize, i32> {
    // SAFETY: the system call may be made with these arguments, says the caller.
    let result = unsafe { call(number, arguments) };
    match i32::try_from(result.cast_signed()) {
        Ok(error @ -4095..=-1) => Err(-error),
        _ => Ok(result),
    }
}

/// Writes to standard error.
pub(crate) fn write_error(text: &[u8]) {
    // SAFETY: the kernel reads the text.
    unsafe {
        call(
            WRITE,
            [2, text.as_ptr().expose_provenance(), text.len(), 0, 0, 0],
        )
    };
}

/// Ends the process.
pub(crate) fn exit(status: usize) -> ! {
    // SAFETY: there is no return.
    unsafe { call(EXIT_GROUP, [status, 0, 0, 0, 0, 0]) };
    loop {
        core::hint::spin_loop();
    }
}
