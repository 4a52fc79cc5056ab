//! What a thread has on its kernel stack while the kernel calls the program: one record a call.
//!
//! A call that returns ends its record. One that is left some other way (`longjmp`, an exception, `pthread_exit`) does
//! not, and its frames stay until the program comes in through a gate again: from where the program's stack is then,
//! [`Calls::settle`] tells which calls are over. A deep nest of calls goes on on further kernel stacks.

use crate::arch::{TrapFrame, interrupt_flag, percpu};
use crate::mm::stack::{KernelStack, SIZE};
use crate::sched::calls::{Call, Place, State};
use crate::{sched, upcall};
use core::ops::Range;

/// What is left of a kernel stack, at least, for what the called function asks of the kernel.
const RESERVE: usize = SIZE / 2;

fn with<R>(f: impl FnOnce(&mut State) -> R) -> R {
    sched::with_current(|thread| {
        // SAFETY: this is the thread's own record, no `f` below calls `with`, and interrupts do not come here.
        f(unsafe { &mut *thread.calls.0.get() })
    })
}

/// Sets the stack of a thread that has not got it from `clone`.
pub(super) fn set_own_stack(own: Range<usize>) {
    with(|state| state.own = own);
}

fn place(own: &Range<usize>, stack: usize) -> Place {
    if upcall::traps().is_on_signal_stack(stack) {
        Place::Alternate
    } else if own.contains(&stack) {
        Place::Own
    } else {
        Place::Other
    }
}

/// The program comes in through a gate, with interrupts off and its stack pointer at `stack`: says where on the kernel
/// stack the gate's frames go. What lies below and is not needed any more may still be in use by the caller: see
/// [`drop_left`].
pub(super) extern "C" fn settle(stack: usize) -> usize {
    with(|state| {
        if state.live != 0 {
            let now = place(&state.own, stack);
            let is_live = |call: &Call| !call.place.has_left(call.stack, now, stack);
            let live = state.calls.iter().rposition(is_live).map_or(0, |at| at + 1);
            if let Some(left) = state.calls.get(live) {
                percpu::set_kernel_stack(left.outer);
            }
            state.live = live;
        }
    });
    percpu::kernel_stack()
}

/// Frees what [`settle`] has found not to be needed any more.
pub(super) fn drop_left() {
    with(|state| state.calls.truncate(state.live));
}

/// How many calls are not over, once [`drop_left`] has seen to those that are.
pub(super) fn depth() -> usize {
    with(|state| state.depth())
}

/// Whether the program, with its stack pointer at `stack`, has been called by the kernel, and may return to it.
pub(super) fn is_called(stack: usize) -> bool {
    with(|state| {
        let now = place(&state.own, stack);
        let is_live = |call: &Call| !call.place.has_left(call.stack, now, stack);
        state.inherited != 0 || state.calls.iter().any(is_live)
    })
}

/// What the assembly needs for a call of the program.
pub(super) struct Start {
    /// Where entries from the program put their frames; 0 for below the caller's.
    pub(super) entries: usize,
    /// Takes the kernel's stack pointer to come back to.
    pub(super) kernel: *mut usize,
}

/// Begins a call at `stack` in the program; `into` is 0, or the address of what takes the program's state when
/// interrupted code has come so far. `None` without memory for another kernel stack.
pub(super) fn begin(stack: usize, into: usize) -> Option<Start> {
    let here = core::ptr::from_ref(&stack).addr();
    with(|state| {
        let top = state.calls.iter().rev().find_map(|call| call.own.as_ref());
        let top = top.map_or_else(
            || sched::with_current(|thread| thread.kernel_stack_top()),
            KernelStack::top,
        );
        let own = if here - (top - SIZE) < RESERVE {
            Some(KernelStack::new()?)
        } else {
            None
        };
        let entries = own.as_ref().map_or(0, KernelStack::top);
        state.calls.push(Call {
            stack,
            place: place(&state.own, stack),
            kernel: 0,
            outer: percpu::kernel_stack(),
            own,
            state: into,
        });
        state.live = state.calls.len();
        let call = state.calls.last_mut()?;
        Some(Start {
            entries,
            kernel: &raw mut call.kernel,
        })
    })
}

/// A function that the kernel has called returns, with the program's stack pointer at `stack`: the kernel's stack
/// pointer to go on with. Runs below all frames, with interrupts off.
pub(super) extern "C" fn returned(stack: usize) -> usize {
    let kernel = with(|state| {
        let at = state
            .calls
            .iter()
            .rposition(|call| call.state == 0 && call.stack == stack)?;
        let call = &state.calls[at];
        percpu::set_kernel_stack(call.outer);
        state.live = at;
        Some(call.kernel)
    });
    kernel.unwrap_or_else(|| {
        interrupt_flag::enable();
        upcall::gates().stack_lost()
    })
}

/// Interrupted code that the kernel has gone on with has come to its end, in the state `frame`: that is kept, and the
/// result is the kernel's stack pointer to go on with. `None` if there is no such code. Interrupts are off.
pub(super) fn finished(frame: &TrapFrame) -> Option<usize> {
    with(|state| {
        let at = state
            .calls
            .iter()
            .rposition(|call| call.state != 0 && call.stack as u64 == frame.rsp)?;
        let call = &state.calls[at];
        // SAFETY: `gate::resume` waits for it, with the place on its stack.
        unsafe {
            core::ptr::with_exposed_provenance_mut::<TrapFrame>(call.state).write(frame.clone());
        };
        percpu::set_kernel_stack(call.outer);
        state.live = at;
        Some(call.kernel)
    })
}
