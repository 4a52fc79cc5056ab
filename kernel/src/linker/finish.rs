//! Finishing a call that a handler has interrupted, before INIT functions run in the handler (decision 10).

use abi::Errno;
use linux::process::signal::{self, InterruptedCall};
use machine::arch::gate;

/// Goes on with the interrupted code until the call returns, and makes its state then the interrupted context. On an
/// error nothing has happened.
///
/// # Safety
/// The call must be one that the current thread is in, on the stack that it says.
pub(super) unsafe fn finish(call: &loader::InterruptedCall) -> Result<(), Errno> {
    let call = InterruptedCall {
        context: call.context,
        slot: call.slot,
        keep: call.keep.clone(),
        keeps_gate: call.keeps_gate,
    };
    signal::finish(&call, |frame, stack| {
        // SAFETY: the frame is that of the interrupted code, which can go on and, the caller promises, returns from the
        // call; its return address has been replaced by `call_finished`.
        unsafe { gate::resume(frame, stack) }
    })
}
