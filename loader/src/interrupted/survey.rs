//! What the signal handlers that a thread is in have interrupted: a walk up its stack from the gate on.

use alloc::vec::Vec;
use core::ops::Range;

use super::Program;
use super::functions::{Functions, Kind};
use crate::loaded::Loaded;
use crate::object::Role;
use crate::registry::{LINKER, Occupant};
use crate::unwind::{Memory, RBP, RIP, RSP, Registers, Tables};

/// Frames that are looked at at most.
const MOST: usize = 1 << 14;

/// Offsets in Linux' signal frame from the `ucontext_t` on: `uc_stack`, the registers, `si_signo` and `si_code`.
const STACK_START: u64 = 16;
const STACK_FLAGS: u64 = 24;
const STACK_SIZE: u64 = 32;
const CONTEXT_RSP: u64 = 160;
const CONTEXT_RIP: u64 = 168;
const CONTEXT_TRAP: u64 = 200;
const SIGNAL: u64 = 304;
const SIGNAL_CODE: u64 = 312;

/// `SS_DISABLE`
const DISABLED: u32 = 2;
/// SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV and SIGSYS.
const FAULTS: u64 = 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 11 | 1 << 31;

/// What a handler has interrupted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Context {
    /// The address of its `ucontext_t`.
    pub(super) at: u64,
    /// Its stack pointer.
    pub(super) rsp: u64,
    /// The alternate signal stack it had.
    pub(super) alternate: Range<u64>,
    /// The outermost call that must be finished before INIT functions may run.
    pub(super) call: Option<Call>,
}

/// A call that has been interrupted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) name: &'static str,
    /// The address of its return address.
    pub(super) slot: u64,
    /// Whether it returns if it goes on.
    pub(super) returns: bool,
}

/// What has been seen of the frames that one handler has interrupted, from the innermost on.
struct Seen {
    /// Whether what was interrupted does not simply go on: it faults again, or it has called the loader in vain.
    stuck: bool,
    /// Whether all of it is libc's.
    only_libc: bool,
    /// Whether some of it is the program's.
    program: bool,
}

/// Whose code is at an address.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Libc,
    Program,
    /// The loader itself, and its host.
    Loader,
}

impl Loaded {
    /// Returns what the calling thread's handlers have interrupted, innermost first, as far as its stack can be unwound.
    pub(super) fn survey(&self, frame: u64) -> Vec<Context> {
        let mut contexts = Vec::new();
        // Ends with the first frame that makes no sense.
        let _ = self.walk(frame, &mut contexts);
        contexts
    }

    fn walk(&self, frame: u64, contexts: &mut Vec<Context>) -> Option<()> {
        let memory = Program(self);
        let mut functions = None;
        let mut registers = Registers::default();
        registers.0[RBP] = Some(frame);
        let mut registers = registers.past_frame_pointer(&memory)?;
        // Whether the address is that of the next instruction, and not behind a call.
        let mut exact = false;
        let mut seen = Seen::first(false);
        for _ in 0..MOST {
            let within = registers.0[RIP]?.checked_sub(u64::from(!exact))?;
            let header = self.unwind_header(usize::try_from(within).ok()?)?;
            let row = Tables::at(&memory, header as u64)?.row(&memory, within)?;
            let caller = registers.unwind(&memory, &row)?;
            if row.is_signal_frame {
                // Handlers return to a function that finds the context on top of the stack.
                let context = Context::read(&memory, registers.0[RSP]?, &caller)?;
                seen = Seen::first(is_fault(&memory, context.at)?);
                contexts.push(context);
            } else if let Some(context) = contexts.last_mut() {
                let functions = functions.get_or_insert_with(|| Functions::of(self));
                let slot = caller.0[RSP]?.checked_sub(8)?;
                let returns_there = memory.word(slot) == caller.0[RIP];
                seen.note(self.owner(within));
                let call = seen.call(functions.get(row.function.start), slot, returns_there);
                context.call = call.or(context.call.take());
            }
            if !row.is_signal_frame && caller.0[RSP]? <= registers.0[RSP]? {
                return None;
            }
            (registers, exact) = (caller, row.is_signal_frame);
        }
        Some(())
    }

    fn owner(&self, at: u64) -> Owner {
        let snapshot = self.registry().snapshot();
        let entry = snapshot
            .as_ref()
            .and_then(|snapshot| snapshot.at(usize::try_from(at).ok()?));
        match entry.map(|entry| &entry.value) {
            Some(Occupant::Object(object)) if object.role() == Role::Libc => Owner::Libc,
            None | Some(Occupant::Code(LINKER, _)) => Owner::Loader,
            Some(_) => Owner::Program,
        }
    }
}

impl Seen {
    fn first(stuck: bool) -> Self {
        Self {
            stuck,
            only_libc: true,
            program: false,
        }
    }

    /// Takes notice of the next frame.
    fn note(&mut self, owner: Owner) {
        // The loader has been called, and has called the program: its frames cannot be left behind.
        self.stuck |= owner == Owner::Loader && self.program;
        self.program |= owner != Owner::Loader;
        self.only_libc &= owner == Owner::Libc;
    }

    /// Says whether the frame last noted is that of a call to be finished.
    fn call(
        &mut self,
        function: Option<(&'static str, Kind)>,
        slot: u64,
        returns_there: bool,
    ) -> Option<Call> {
        let (name, kind) = function?;
        match kind {
            Kind::Abort => {
                self.stuck = true;
                return None;
            }
            Kind::FinishUnlessOut | Kind::Refuse if !self.only_libc => return None,
            _ => {}
        }
        Some(Call {
            name,
            slot,
            returns: !self.stuck && kind != Kind::Refuse && returns_there,
        })
    }
}

impl Context {
    /// Reads the context at an address; nothing if its registers are not those that were found by unwinding.
    fn read(memory: &Program<'_>, at: u64, unwound: &Registers) -> Option<Self> {
        let word = |offset| memory.word(at.checked_add(offset)?);
        let rsp = word(CONTEXT_RSP)?;
        if (Some(rsp), word(CONTEXT_RIP)) != (unwound.0[RSP], unwound.0[RIP]) {
            return None;
        }
        let flags = u32::from_le_bytes(memory.array(at.checked_add(STACK_FLAGS)?)?);
        let start = word(STACK_START)?;
        let size = if flags & DISABLED == 0 {
            word(STACK_SIZE)?
        } else {
            0
        };
        Some(Self {
            at,
            rsp,
            alternate: start..start.checked_add(size)?,
            call: None,
        })
    }
}

/// Whether the signal of the context at an address tells that its next instruction has faulted. Linux leaves the information
/// out for handlers that do not ask for it; but then only what it says of the last fault is believed.
fn is_fault(memory: &Program<'_>, context: u64) -> Option<bool> {
    let field = |offset| {
        Some(i32::from_le_bytes(
            memory.array(context.checked_add(offset)?)?,
        ))
    };
    let (signal, code) = (field(SIGNAL)?, field(SIGNAL_CODE)?);
    let has_faulted = memory.word(context.checked_add(CONTEXT_TRAP)?)? != 0;
    let is_one = u32::try_from(signal).is_ok_and(|signal| signal < 64 && FAULTS >> signal & 1 == 1);
    Some(has_faulted && is_one && code > 0)
}
