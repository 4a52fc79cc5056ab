//! Finishing a call that a handler has interrupted, while the handler waits: for the loader, before it runs the program's
//! functions in a handler (`loader::Unfinished`).
use super::{change_mask, fpstate::Area, frame::Context};
use crate::{
    arch::{TrapFrame, gate},
    mm::user,
    syscall::Errno,
};
use alloc::vec::Vec;
use loader::Unfinished;

/// Bytes below the gate's frame that are the gate's, too.
const GATE: usize = 128;

/// Goes on with the interrupted code until the call returns, and makes its state then the interrupted context. On an error nothing
/// has happened.
///
/// # Safety
/// The call must be one that the current thread is in, on the stack that it says.
pub unsafe fn finish(call: &Unfinished) -> Result<(), Errno> {
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
    let resumed = context.restore(&mut frame).and_then(|()| {
        // SAFETY: the caller's promise; a call returns with its return address taken off the stack.
        unsafe { gate::resume(&frame, call.slot + 8) }.ok_or(Errno::ENOMEM)
    });
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
