//! The switch from one thread to another, how a new thread's stack is prepared for it, and the thread pointer.

use super::TrapFrame;
use x86_64::VirtAddr;
use x86_64::registers::control::{Cr4, Cr4Flags};
use x86_64::registers::model_specific::{FsBase, KernelGsBase};
use x86_64::registers::segmentation::{FS, GS, Segment64};

unsafe extern "C" {
    fn elfin_switch(save: *mut usize, stack_pointer: usize);
    fn elfin_kernel_thread_start();
    fn elfin_user_thread_start();
}

/// Words that `elfin_switch` pops: r15, r14, r13, r12, rbx, rbp and the return address.
const SWITCH_WORDS: usize = 7;
/// Below the entry stack pointer: the program's stack pointer, as in a trap frame, and room for alignment.
const TOP_WORDS: usize = 4;

/// Saves the callee-saved registers on this stack and its pointer in `save`, and goes on where `stack_pointer` was
/// saved so or was prepared by [`kernel_thread`] or [`user_thread`].
///
/// # Safety
/// Interrupts are off. `stack_pointer` must belong to a thread that is on no CPU, and `save` be this thread's.
pub(crate) unsafe fn switch(save: *mut usize, stack_pointer: usize) {
    #[cfg(hosted)]
    unreachable!("a switch from {save:?} to {stack_pointer:#x} on the build host");
    // SAFETY: the caller's promise; what the C calling convention lets a function clobber is dead here.
    #[cfg(not(hosted))]
    unsafe {
        elfin_switch(save, stack_pointer);
    }
}

/// Writes what [`switch`] finds on a stack, and returns the stack pointer to give it.
///
/// # Safety
/// `[at - SWITCH_WORDS * 8, at)` must be memory of a stack that nobody uses.
unsafe fn prepare(at: usize, start: unsafe extern "C" fn()) -> usize {
    let start = (start as *const ()).expose_provenance();
    let pointer = at - SWITCH_WORDS * 8;
    // SAFETY: the caller's promise; stacks are 16-byte aligned and so is everything above in words.
    unsafe {
        core::ptr::with_exposed_provenance_mut::<[usize; SWITCH_WORDS]>(pointer)
            .write([0, 0, 0, 0, 0, 0, start]);
    }
    pointer
}

/// Prepares the stack that ends at `top` for a thread that starts in the kernel, in `sched::thread_start`.
///
/// # Safety
/// The stack must be a kernel stack that nobody uses.
pub(crate) unsafe fn kernel_thread(top: usize) -> usize {
    let at = top - TOP_WORDS * 8;
    // SAFETY: the stack is free, and far larger than this.
    unsafe {
        core::ptr::with_exposed_provenance_mut::<[usize; TOP_WORDS]>(at).write([0; TOP_WORDS]);
        prepare(at, elfin_kernel_thread_start)
    }
}

/// Prepares the stack that ends at `top` for a thread that starts in the program, with `frame`, after
/// `sched::user_start`.
///
/// # Safety
/// The stack must be a kernel stack that nobody uses.
pub(crate) unsafe fn user_thread(top: usize, frame: TrapFrame) -> usize {
    let at = top - size_of::<TrapFrame>();
    // SAFETY: the stack is free and far larger than this; its top is 16-byte aligned and so is the frame's size.
    unsafe {
        core::ptr::with_exposed_provenance_mut::<TrapFrame>(at).write(frame);
        prepare(at, elfin_user_thread_start)
    }
}

/// Whether the program may read and write the FS and GS bases itself.
pub fn has_fsgsbase() -> bool {
    Cr4::read().contains(Cr4Flags::FSGSBASE)
}

/// This CPU's thread pointer (FS base).
pub(crate) fn thread_pointer() -> u64 {
    if has_fsgsbase() {
        FS::read_base().as_u64()
    } else {
        FsBase::read().as_u64()
    }
}

/// Sets this CPU's thread pointer.
pub(crate) fn set_thread_pointer(base: u64) {
    let base = VirtAddr::new_truncate(base);
    if has_fsgsbase() {
        // SAFETY: FS is the program's; the kernel does not use it.
        unsafe { FS::write_base(base) };
    } else {
        FsBase::write(base);
    }
}

/// The program's GS base, and makes it another one if there is a `new` one. While the kernel runs it is where `swapgs`
/// takes it from. Interrupts are off.
pub(crate) fn program_gs(new: Option<u64>) -> u64 {
    let new = new.map(VirtAddr::new_truncate);
    if !has_fsgsbase() {
        let old = KernelGsBase::read();
        new.inspect(|&base| KernelGsBase::write(base));
        return old.as_u64();
    }
    // SAFETY: between the two exchanges nothing looks for the per-CPU block, and no interrupt comes. The base is
    // canonical, and the program's.
    unsafe {
        GS::swap();
        let old = GS::read_base();
        if let Some(base) = new {
            GS::write_base(base);
        }
        GS::swap();
        old.as_u64()
    }
}

/// Whether an address is one that the processor takes for a base (canonical form).
pub fn is_canonical(addr: u64) -> bool {
    VirtAddr::try_new(addr).is_ok()
}
