//! Calls between the program and the kernel that are not system calls.
//!
//! In: `user_gate!(symbol, rust_fn)` emits an asm stub `symbol` with the C calling convention (up to six integer
//! arguments) that switches from the program's stack to the thread's kernel stack, calls `rust_fn`, switches back and, if a
//! signal or reschedule is pending, makes a cheap system call so that it is handled at once.
//! Out: [`call_user`] runs program code (INIT functions, IFUNC resolvers, callbacks) on the program's stack.
//! The thread's kernel-stack pointer is moved below the frames in use meanwhile, so that system calls made inside nest.

/// Return address of the program code that entered the innermost gate (for `dlsym(RTLD_NEXT)`, RUNPATH of the caller).
pub fn caller() -> usize {
    unimplemented!()
}

/// Calls `entry` in the program with C arguments `args`, on the program's stack, and returns its result (rax).
/// A kernel thread has no program stack: there the call runs on the kernel stack below the current frames.
///
/// # Safety
/// `entry` must be a function of the program with the C calling convention taking at most these arguments.
pub unsafe fn call_user(entry: usize, args: [usize; 6]) -> usize {
    unimplemented!("{entry:#x} {args:?}")
}
