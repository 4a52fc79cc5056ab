//! Calls upwards: what this floor wants done by those above it, as traits that they implement and register once, at
//! boot, before the first thread of the program runs.
//!
//! [`Traps`] is for whoever is Linux to the program, [`Gates`] for whoever is its dynamic linker. What is kept with a
//! thread is [`crate::sched::ThreadState`].

use crate::arch::TrapFrame;
use crate::mm::{fault::Fault, space::Space};
use spin::Once;

/// An exception in the program.
#[derive(Clone, Copy, Debug)]
pub enum Exception {
    /// A page fault that paging cannot satisfy.
    Page {
        /// The address that was accessed.
        addr: usize,
        /// What is wrong.
        fault: Fault,
        /// The hardware's error code.
        error: u64,
    },
    /// Any other.
    Other {
        /// Vector number.
        vector: u8,
        /// The hardware's error code, or 0.
        error: u64,
    },
}

/// What the program's traps are given to. All of it runs on the thread's kernel stack with interrupts on.
pub trait Traps: Sync {
    /// A system call; number and arguments are in the frame, and so goes the result.
    fn system_call(&self, frame: &mut TrapFrame);
    /// An exception in the program, which is to become a signal.
    fn exception(&self, frame: &mut TrapFrame, exception: Exception);
    /// The thread goes back to the program, and its state says that a signal is pending.
    fn deliver_signals(&self, frame: &mut TrapFrame);
    /// No frame is left for the program: whether some could be had after all. Whoever runs has no locks but sleeping
    /// ones, and none that memory is given back under.
    fn make_room(&self) -> bool;
    /// Kernel code has copied from or to memory of the program's that cannot be had, and goes on as if it were not
    /// there. To be seen to when the thread goes back to the program.
    fn copy_lacks_memory(&self);
    /// Calls `f` with the address space of each process.
    fn each_space(&self, f: &mut dyn FnMut(&Space));
    /// The program is to be asked where it is, for a profile.
    fn sample(&self, frame: &TrapFrame);
    /// Whether an address of a stack of the current thread is on its alternate signal stack.
    fn is_on_signal_stack(&self, addr: usize) -> bool;
}

/// What is called through the program's gates: direct calls into the kernel (see [`crate::arch::gate`]).
pub trait Gates: Sync {
    /// The program has called a gate with these arguments, and has saved `%rbp` on its stack at `frame`.
    fn enter(&self, number: usize, arguments: [usize; 4], frame: usize) -> usize;
    /// Kernel code that works on the program's memory in place has met an address where nothing is, or can be now.
    fn bad_address(&self, addr: usize, fault: Fault) -> !;
    /// A function of the program that the kernel has called has returned with another stack pointer than it was called
    /// with.
    fn stack_lost(&self) -> !;
}

static TRAPS: Once<&'static dyn Traps> = Once::new();
static GATES: Once<&'static dyn Gates> = Once::new();

/// Registers the floors above. The first call counts.
pub fn register(traps: &'static dyn Traps, gates: &'static dyn Gates) {
    TRAPS.call_once(|| traps);
    GATES.call_once(|| gates);
}

/// Calls `f` with every address space that a program may have something mapped in.
pub fn each_space(mut f: impl FnMut(&Space)) {
    if let Some(traps) = TRAPS.get() {
        traps.each_space(&mut f);
    }
}

/// What traps are given to.
///
/// # Panics
/// If the program runs before [`register`].
pub(crate) fn traps() -> &'static dyn Traps {
    *TRAPS.get().expect("registered before the program runs")
}

/// What gates lead to.
///
/// # Panics
/// If the program runs before [`register`].
pub(crate) fn gates() -> &'static dyn Gates {
    *GATES.get().expect("registered before the program runs")
}
