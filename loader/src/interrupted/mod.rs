//! Opening and closing in a signal handler that has interrupted `malloc`, or another function that INIT and FINI
//! functions may call but nobody may call twice at once.
//!
//! Before the load takes its first lock, such a call is *finished*: the interrupted code goes on, with signals blocked,
//! until the call returns. What it has left becomes what the handler returns to, as if the signal had come a little
//! later. Then INIT functions find the heap whole, and nothing locked by their own thread. A call that cannot be
//! finished makes loads with INIT functions, and unloading, fail ([`Error::Interrupted`](crate::Error::Interrupted)).

mod functions;
mod survey;

use core::ops::Range;

use crate::elf::address;
use crate::host::InterruptedCall;
use crate::loaded::Loaded;
use crate::namespace::BASE;
use crate::object::Role;
use crate::tls;
use crate::unwind::Memory;
use survey::Context;

/// Bytes below a stack pointer that belong to the running function (psABI, "red zone").
const RED_ZONE: u64 = 128;
/// Handlers that use more of the stack than this are taken for ones that run on another.
const MOST_KEPT: u64 = 8 << 20;

/// The program's memory.
struct Program<'a>(&'a Loaded);

impl Memory for Program<'_> {
    fn copy(&self, address: u64, to: &mut [u8]) -> Option<()> {
        let at = usize::try_from(address).ok()?;
        let snapshot = self.0.registry().snapshot();
        let object = snapshot
            .as_ref()
            .and_then(|snapshot| snapshot.object_at(at));
        if object.is_some_and(|object| object.is_read_only(at, to.len())) {
            // Tables and code: there are many reads of them, and the host's way may be a long one.
            // SAFETY: mapped as long as the object is loaded, and never written to.
            unsafe { (at as *const u8).copy_to_nonoverlapping(to.as_mut_ptr(), to.len()) };
            return Some(());
        }
        self.0.host().read(at, to).then_some(())
    }
}

impl Loaded {
    /// Does something that runs INIT or FINI functions, after what signal handlers of this thread have interrupted.
    ///
    /// # Safety
    ///
    /// No lock of the loader's may be held; `frame` must be as for [`enter`](Self::enter).
    pub(crate) unsafe fn with_interrupted_finished<R>(
        &self,
        frame: usize,
        work: impl FnOnce() -> R,
    ) -> R {
        let record = || tls::current(self.host().thread_pointer());
        if frame == 0 || !self.host().may_be_in_handler() || record().is_none() {
            return work();
        }
        // SAFETY: no lock is held and the frame is the gate's, says the caller.
        let interrupted = unsafe { self.finish_interrupted(frame) };
        let set = |value| record().map(|record| record.interrupted.replace(value));
        set(interrupted);
        let result = work();
        set(None);
        result
    }

    /// Returns the function that the calling thread is in the middle of, as far as that is known, and that INIT and
    /// FINI functions must not call.
    pub(crate) fn interrupted_call(&self) -> Option<&'static str> {
        tls::current(self.host().thread_pointer())?
            .interrupted
            .get()
    }

    /// Finishes what can be finished; returns what cannot.
    ///
    /// # Safety
    ///
    /// As [`with_interrupted_finished`](Self::with_interrupted_finished).
    unsafe fn finish_interrupted(&self, frame: usize) -> Option<&'static str> {
        let errno = self.errno_location();
        // SAFETY: libc's `errno` of this thread.
        let before = errno.map(|errno| unsafe { errno.read() });
        let left_over = loop {
            let contexts = self.survey(frame as u64);
            // What has been interrupted last comes first, as it would if the handlers returned.
            let Some(last) = contexts.iter().position(|context| context.call.is_some()) else {
                break None;
            };
            let contexts = &contexts[..=last];
            let Some((name, call)) = describe(contexts, frame as u64) else {
                break None;
            };
            // SAFETY: the survey has found the call on this thread's stack, and the caller says that no lock is held.
            if call.is_none_or(|call| unsafe { self.host().finish(&call) }.is_err()) {
                break Some(name);
            }
        };
        if let (Some(errno), Some(before)) = (errno, before) {
            // SAFETY: libc's `errno` of this thread. The handler keeps what it had.
            unsafe { errno.write(before) };
        }
        left_over
    }

    /// Returns where libc has the calling thread's `errno`.
    fn errno_location(&self) -> Option<*mut i32> {
        let world = self.world().get()?;
        let mut objects = world.objects();
        let libc =
            objects.find(|object| object.role() == Role::Libc && object.namespace() == BASE)?;
        let function = libc.address_of(b"__errno_location")?;
        // SAFETY: a function without arguments that returns an address and may be called anywhere.
        let errno = unsafe { self.host().call(function, [0; 4]) };
        Some(errno as *mut i32)
    }
}

/// Says how to finish the last context's call, and what function it is; the contexts before it are those of handlers
/// that run on top of it, and `frame` is the gate's. Nothing to finish it by if that cannot be.
fn describe(contexts: &[Context], frame: u64) -> Option<(&'static str, Option<InterruptedCall>)> {
    let context = contexts.last()?;
    let call = context.call.as_ref()?;
    let to_finish = || {
        let (keep, keeps_gate) = kept(contexts, frame)?;
        call.returns.then_some(InterruptedCall {
            context: address(context.at),
            slot: address(call.slot),
            keep: address(keep.start)..address(keep.end),
            keeps_gate,
        })
    };
    Some((call.name, to_finish()))
}

/// Returns what the last context's code may write over but the handlers on top of it need, and whether the gate's frame
/// is there. `None` if nobody knows.
fn kept(contexts: &[Context], frame: u64) -> Option<(Range<u64>, bool)> {
    let context = contexts.last()?;
    let end = context.rsp.wrapping_sub(RED_ZONE);
    let is_alternate = |at| context.alternate.contains(&at);
    // Where the handlers' parts of the stack begin, innermost first.
    let inner = contexts.split_last().map_or(&[][..], |(_, inner)| inner);
    let parts = inner.iter().map(|inner| inner.rsp.wrapping_sub(RED_ZONE));
    let (mut start, mut keeps_gate) = (end, false);
    for (index, part) in [frame].into_iter().chain(parts).enumerate() {
        if is_alternate(part) != is_alternate(context.rsp) || part >= end {
            continue;
        }
        if end - part > MOST_KEPT {
            return None;
        }
        keeps_gate |= index == 0;
        start = start.min(part);
    }
    Some((start..end, keeps_gate))
}

#[cfg(test)]
mod tests {
    use super::survey::Call;
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    const STACK: u64 = 0x7fff_0000;
    const ALTERNATE: Range<u64> = 0x5000_0000..0x5001_0000;

    fn context(rsp: u64, alternate: Range<u64>) -> Context {
        Context {
            at: 0x1000,
            rsp,
            alternate,
            call: Some(Call {
                name: "malloc",
                slot: rsp + 64,
                returns: true,
            }),
        }
    }

    #[test]
    fn what_lies_below_on_the_same_stack_is_kept() {
        let one = [context(STACK, 0..0)];
        let frame = STACK - 0x2000;
        assert_eq!(kept(&one, frame), Some((frame..STACK - 128, true)));
        // A handler within a handler.
        let two = [context(STACK - 0x1000, 0..0), context(STACK, 0..0)];
        assert_eq!(kept(&two, frame), Some((frame..STACK - 128, true)));
    }

    #[test]
    fn handlers_on_another_stack_are_left_alone() {
        let frame = ALTERNATE.end - 0x800;
        let nothing = Some((STACK - 128..STACK - 128, false));
        assert_eq!(kept(&[context(STACK, ALTERNATE)], frame), nothing);
        // The inner handler of two is on the alternate stack, the outer one is not.
        let inner = context(STACK - 0x1000, ALTERNATE);
        let both = [inner, context(STACK, ALTERNATE)];
        let outer = Some((STACK - 0x1000 - 128..STACK - 128, false));
        assert_eq!(kept(&both, frame), outer);
        // Both handlers on the alternate stack.
        let on = context(ALTERNATE.end - 0x400, ALTERNATE);
        let expected = Some((frame..ALTERNATE.end - 0x400 - 128, true));
        assert_eq!(kept(&[on], frame), expected);
    }

    #[test]
    fn stacks_that_are_too_far_apart_are_not_one() {
        assert_eq!(kept(&[context(STACK, 0..0)], 0x1000), None);
    }

    #[test]
    fn calls_that_do_not_return_are_named() {
        let mut contexts: Vec<_> = vec![context(STACK, 0..0)];
        let frame = STACK - 0x2000;
        assert!(describe(&contexts, frame).is_some_and(|(_, call)| call.is_some()));
        contexts[0].call = Some(Call {
            name: "exit",
            slot: 0,
            returns: false,
        });
        assert_eq!(describe(&contexts, frame), Some(("exit", None)));
    }
}
