//! Calls between the program and the kernel that are not system calls.
//!
//! In: a stub for each gate of the dynamic linker lies in the program's memory (the vDSO) and leads to one entry, which
//! has the C calling convention; it switches from the program's stack to the thread's kernel stack, calls [`enter`],
//! switches back, and makes a cheap system call if a signal is pending, so that it is handled at once. Out:
//! [`call_user`] runs program code (INIT functions, IFUNC resolvers, callbacks) on the program's stack. The thread's
//! kernel-stack pointer is moved below the frames in use meanwhile, so that system calls made inside nest; [`callout`]
//! keeps account of that.

use super::callout;
use crate::arch::{TrapFrame, interrupt_flag, percpu, tables};
use crate::{sched, upcall};
use core::ops::Range;

/// Below the program's stack pointer a leaf function may have data (psABI, "red zone"); a gate has its frame there.
const RED_ZONE: usize = 128;
/// Distance from the entry stack pointer to the word that holds the program's stack pointer, and in a gate the address
/// of the frame it has made on the program's stack.
const USER_STACK: usize = 16;

unsafe extern "C" {
    fn elfin_gate_common();
    fn elfin_enter_user(frame: *const TrapFrame) -> !;
    fn elfin_call_user(
        entry: usize,
        args: *const [usize; 4],
        stack: usize,
        entries: usize,
        kernel: *mut usize,
        gate: usize,
    ) -> usize;
    fn elfin_take_signals();
    fn elfin_resume_user(frame: *const TrapFrame, entries: usize, kernel: *mut usize);
    fn elfin_leave_user(kernel: usize) -> !;
    fn elfin_call_finished();
    fn elfin_switch(save: *mut usize, stack_pointer: usize);
}

/// Where gates lead to, with their number in `%r8d`.
pub fn entry() -> usize {
    (elfin_gate_common as *const ()).expose_provenance()
}

/// Kernel code that runs on the program's stack, by what it has put there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Code {
    /// Nothing: a gate that has just been called, or what takes signals.
    Entry,
    /// A gate's frame: `%rbp` has been pushed and points there.
    Gate,
    /// The kernel calls the program, and has its own frames elsewhere.
    CallUser,
    /// Compiled code.
    Other,
}

/// What the code at an address of the kernel's is, by the order of `entry.S`.
pub fn code_at(at: usize) -> Code {
    // Its first instruction pushes %rbp.
    let common = (elfin_gate_common as *const ()).addr();
    let call_user = (elfin_call_user as *const ()).addr();
    let take_signals = (elfin_take_signals as *const ()).addr();
    let end = (elfin_switch as *const ()).addr();
    let is_in = |range: Range<usize>| range.contains(&at);
    if is_in(common..common + 1) || is_in(take_signals..end) {
        Code::Entry
    } else if is_in(common..call_user) {
        Code::Gate
    } else if is_in(call_user..take_signals) {
        Code::CallUser
    } else {
        Code::Other
    }
}

/// Comes from the stubs, on the kernel stack.
pub(super) extern "C" fn enter(a: usize, b: usize, c: usize, d: usize, number: u32) -> usize {
    callout::drop_left();
    upcall::gates().enter(number as usize, [a, b, c, d], user_stack())
}

/// Whether something waits for the thread to go through the system call exit.
pub(super) extern "C" fn pending() -> bool {
    sched::has_exit_work()
}

/// Tells where the program's stack is, for a thread that has not come from the program: in use from `stack` to the end
/// of `own`, and free below. What the kernel calls there has no caller in the program.
pub fn set_user_stack(stack: usize, own: Range<usize>) {
    callout::set_own_stack(own);
    let frame = stack - size_of::<[usize; 2]>();
    // SAFETY: this part of the program's stack is free. It is the frame of a gate that nobody has called.
    unsafe { core::ptr::with_exposed_provenance_mut::<[usize; 2]>(frame).write([0; 2]) };
    interrupt_flag::without(|| {
        let at = percpu::kernel_stack() - USER_STACK;
        // SAFETY: the words just below the entry stack pointer belong to nobody but the entry code.
        unsafe { core::ptr::with_exposed_provenance_mut::<usize>(at).write(frame) };
    });
}

fn user_stack() -> usize {
    interrupt_flag::without(|| {
        let at = percpu::kernel_stack() - USER_STACK;
        // SAFETY: an entry from the program, or `set_user_stack`, has written the word.
        unsafe { core::ptr::with_exposed_provenance::<usize>(at).read() }
    })
}

/// Calls `entry` in the program with C arguments `args`, on the program's stack, and returns its result (rax). It does
/// not return if the program leaves the function in another way. `None` without memory for a kernel stack.
///
/// # Safety
/// `entry` must be a function of the program with the C calling convention taking at most these arguments, and the
/// thread must have a stack of the program's.
pub unsafe fn call_user(entry: usize, args: [usize; 4]) -> Option<usize> {
    let gate = user_stack();
    let stack = (gate - RED_ZONE) & !63;
    let start = callout::begin(stack, 0)?;
    // SAFETY: the caller's promise; the program's stack is free below the red zone, to which a gate's frame keeps. The
    // place for the kernel's stack pointer is written before anything else can happen to the record.
    let result = unsafe {
        let args = &raw const args;
        elfin_call_user(entry, args, stack, start.entries, start.kernel, gate)
    };
    callout::drop_left();
    Some(result)
}

/// Number of calls of the program by the current thread that have not been left, inside a gate.
pub fn depth() -> usize {
    callout::depth()
}

/// Whether the program, which is in a system call with its stack pointer at `stack`, may return to the kernel.
pub fn is_called(stack: usize) -> bool {
    callout::is_called(stack)
}

/// Has the program's handlers run for signals that are pending. As [`call_user`] it may not return.
///
/// # Safety
/// The thread must have a stack of the program's.
pub unsafe fn take_signals() -> Option<()> {
    let entry = (elfin_take_signals as *const ()).expose_provenance();
    // SAFETY: the caller's promise; this function can run anywhere.
    unsafe { call_user(entry, [0; 4]) }.map(|_| ())
}

/// The state of program code, with everything 0 that is the program's.
pub fn program_frame() -> TrapFrame {
    TrapFrame {
        cs: u64::from(tables::CODE),
        ss: u64::from(tables::DATA),
        rflags: 0x202,
        ..TrapFrame::default()
    }
}

/// The same at `entry`, with the stack pointer `stack`.
pub fn program_at(entry: usize, stack: usize) -> TrapFrame {
    TrapFrame {
        rip: entry as u64,
        rsp: stack as u64,
        ..program_frame()
    }
}

/// Where a call returns to that [`resume`] goes on with.
pub fn call_finished() -> usize {
    (elfin_call_finished as *const ()).expose_provenance()
}

/// Goes on with interrupted code of the program, until it returns to [`call_finished`], then with the stack pointer
/// `stack`; the state it has then. `None` without memory for a kernel stack.
///
/// # Safety
/// The frame must be that of code which can go on, on the current thread, and comes to that return.
pub unsafe fn resume(frame: &TrapFrame, stack: usize) -> Option<TrapFrame> {
    let mut state = frame.clone();
    let start = callout::begin(stack, (&raw mut state).expose_provenance())?;
    // SAFETY: the caller's promise; the frame is complete and lies above what entries use.
    unsafe { elfin_resume_user(frame, start.entries, start.kernel) };
    callout::drop_left();
    Some(state)
}

/// An invalid instruction of the program: does not return if it is that of [`call_finished`] and somebody waits for it.
/// Interrupts are off.
pub(super) fn finish(frame: &TrapFrame) {
    if frame.rip as usize == call_finished()
        && let Some(kernel) = callout::finished(frame)
    {
        // SAFETY: what `elfin_resume_user` has left for this.
        unsafe { elfin_leave_user(kernel) }
    }
}

/// Enters the program for the first time on the current thread: at `entry`, with the stack pointer `stack` and `%rdx` =
/// `rdx`, everything else 0 (psABI, "Process Initialization").
///
/// # Safety
/// `entry` and `stack` must be a program's that is ready to run, and nothing on this thread's kernel stack may be
/// needed.
pub unsafe fn enter_user(entry: usize, stack: usize, rdx: usize) -> ! {
    let frame = TrapFrame {
        rdx: rdx as u64,
        ..program_at(entry, stack)
    };
    // SAFETY: the frame is complete and lies on the kernel stack, which starts anew at the next entry.
    unsafe { elfin_enter_user(&raw const frame) }
}
