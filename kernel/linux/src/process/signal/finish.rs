//! Finishing a call that a handler has interrupted, while the handler waits: for the loader, before it runs the
//! program's functions in a handler.
use super::{change_mask, fpstate::Area, frame::Context};
use abi::Errno;
use alloc::vec::Vec;
use core::ops::Range;
use machine::{
    arch::{TrapFrame, gate},
    mm::user,
};

/// Bytes below the gate's frame that are the gate's, too.
const GATE: usize = 128;

/// A call of the program's that a handler has interrupted.
pub struct InterruptedCall {
    /// Address of the handler's `ucontext_t`.
    pub context: usize,
    /// Address of the call's return address on the stack.
    pub slot: usize,
    /// What of the stack has to be afterwards as it is now.
    pub keep: Range<usize>,
    /// Whether the frame of a gate lies below that and is kept, too.
    pub keeps_gate: bool,
}

/// Goes on with the interrupted code until the call returns, and makes its state then the interrupted context. On an
/// error nothing has happened. `resume` goes on with code of the program in the state that it is given, until the code
/// returns to [`gate::call_finished`] with the stack pointer that it is given, and says what the state is then; `None`
/// without memory.
pub fn finish(
    call: &InterruptedCall,
    resume: impl FnOnce(&TrapFrame, usize) -> Option<TrapFrame>,
) -> Result<(), Errno> {
    let mut context: Context = user::read(call.context)?;
    let return_to: u64 = user::read(call.slot)?;
    let start = call.keep.start - if call.keeps_gate { GATE } else { 0 };
    let mut kept = Vec::new();
    let len = call.keep.end.saturating_sub(start);
    kept.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
    kept.resize(len, 0);
    user::copy_in(start, &mut kept)?;
    let (mut own, mut theirs) = (Area::new()?, Area::new()?);
    own.save(&TrapFrame::default());

    let mut frame = gate::program_frame();
    user::write(call.slot, &(gate::call_finished() as u64))?;
    // A call returns with its return address taken off the stack.
    let resumed = context
        .restore(&mut frame)
        .and_then(|()| resume(&frame, call.slot + 8).ok_or(Errno::ENOMEM));
    let mut after = match resumed {
        Ok(after) => after,
        Err(error) => {
            own.restore(&mut frame)?;
            user::write(call.slot, &return_to)?;
            return Err(error);
        }
    };
    after.rip = return_to;
    user::copy_out(start, &kept)?;
    context.save(&after, &mut theirs)?;
    // What the call has blocked, or not, is the interrupted code's.
    let mask = change_mask(|_| u64::MAX);
    if mask != !super::UNBLOCKABLE {
        context.mask = mask;
    }
    user::write(call.context, &context)?;
    own.restore(&mut after)
}
