//! The way back to the program: what has to be done before it goes on.

use super::queue::{self, reschedule};
use super::{Thread, signal_pending, with_current};
use crate::arch::{TrapFrame, interrupt_flag, percpu};
use crate::upcall;
use core::sync::atomic::Ordering;

/// Whether something waits for the thread to pass through [`exit_to_program`].
pub(crate) fn has_exit_work() -> bool {
    percpu::this().need_resched.load(Ordering::Relaxed) || signal_pending()
}

/// Lets other threads run and delivers signals, until nothing is left to do. Does nothing if `frame` goes back to the
/// kernel. Interrupts are off before and after.
pub(crate) fn exit_to_program(frame: &mut TrapFrame) {
    if !frame.is_program() {
        return;
    }
    loop {
        if percpu::this().need_resched.load(Ordering::Relaxed) {
            reschedule();
        } else if signal_pending() {
            interrupt_flag::enable();
            upcall::traps().deliver_signals(frame);
            interrupt_flag::disable();
        } else {
            break;
        }
    }
}

/// Where a new thread of the program begins, with interrupts off; the assembly then returns to its frame.
pub(crate) extern "C" fn user_start(frame: &mut TrapFrame) {
    queue::finish();
    if let Some(first) = with_current(Thread::take_body) {
        interrupt_flag::enable();
        first();
        interrupt_flag::disable();
    }
    exit_to_program(frame);
}
