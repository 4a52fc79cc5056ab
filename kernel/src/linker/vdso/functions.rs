//! What Linux' vDSO offers: clocks that can be read without a system call. The functions run on the program's stack and
//! with its GS, may be interrupted like any of its own, take no lock, and leave the clocks they do not know to the
//! system call.

use core::arch::asm;
use linux_raw_sys::general::{
    __NR_clock_getres, __NR_clock_gettime, __NR_getcpu, CLOCK_BOOTTIME, CLOCK_MONOTONIC,
    CLOCK_MONOTONIC_COARSE, CLOCK_MONOTONIC_RAW, CLOCK_REALTIME, CLOCK_REALTIME_COARSE,
};
use machine::time::vdso_data;

const NANOSECONDS: u64 = 1_000_000_000;

/// Addresses of the functions, in the kernel's half.
pub(super) fn all() -> [usize; 5] {
    [
        clock_gettime as *const (),
        gettimeofday as *const (),
        time as *const (),
        getcpu as *const (),
        clock_getres as *const (),
    ]
    .map(|function| function.expose_provenance())
}

/// A system call from the program's side.
fn system_call(number: u32, a: usize, b: usize, c: usize) -> isize {
    let result;
    // SAFETY: the kernel checks what it is given; the instruction clobbers what is declared.
    unsafe {
        asm!("syscall", inlateout("rax") number as usize => result, in("rdi") a, in("rsi") b, in("rdx") c,
            out("rcx") _, out("r11") _);
    }
    result
}

extern "C" fn clock_gettime(clock: u32, to: *mut [u64; 2]) -> i32 {
    let (monotonic, real) = vdso_data();
    let now = match clock {
        CLOCK_REALTIME | CLOCK_REALTIME_COARSE => real,
        CLOCK_MONOTONIC | CLOCK_MONOTONIC_COARSE | CLOCK_MONOTONIC_RAW | CLOCK_BOOTTIME => {
            monotonic
        }
        _ => {
            return system_call(
                __NR_clock_gettime,
                clock as usize,
                to.expose_provenance(),
                0,
            ) as i32;
        }
    };
    // SAFETY: the program's pointer; a bad one is a fault of the program's.
    unsafe { to.write([now / NANOSECONDS, now % NANOSECONDS]) };
    0
}

extern "C" fn gettimeofday(to: *mut [u64; 2], zone: *mut [u32; 2]) -> i32 {
    let (_, real) = vdso_data();
    if !to.is_null() {
        // SAFETY: as above.
        unsafe { to.write([real / NANOSECONDS, real % NANOSECONDS / 1000]) };
    }
    if !zone.is_null() {
        // SAFETY: as above.
        unsafe { zone.write([0; 2]) };
    }
    0
}

extern "C" fn time(to: *mut u64) -> u64 {
    let seconds = vdso_data().1 / NANOSECONDS;
    if !to.is_null() {
        // SAFETY: as above.
        unsafe { to.write(seconds) };
    }
    seconds
}

extern "C" fn getcpu(cpu: *mut u32, node: *mut u32, _cache: usize) -> i32 {
    system_call(
        __NR_getcpu,
        cpu.expose_provenance(),
        node.expose_provenance(),
        0,
    ) as i32
}

extern "C" fn clock_getres(clock: u32, to: *mut [u64; 2]) -> i32 {
    system_call(__NR_clock_getres, clock as usize, to.expose_provenance(), 0) as i32
}
