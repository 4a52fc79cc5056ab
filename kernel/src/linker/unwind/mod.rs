//! Backtraces of the program for crash reports, from the unwind tables of its objects and of the code that it has
//! registered (`loader::unwind`).
//!
//! Everything read here is the program's memory and may be anything: reads go through `mm::user`, and what makes no
//! sense ends the backtrace. Names of C++ and Rust functions stay mangled, as the linker sees them.

mod kernel;
mod objects;
mod symbols;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use loader::unwind::{Memory, RIP, RSP, Registers};
use machine::arch::TrapFrame;
use machine::mm::user;
pub(super) use objects::Objects;

/// Frames that are shown at most.
const MOST: usize = 64;

/// The program's memory.
struct Program;

impl Memory for Program {
    fn copy(&self, address: u64, to: &mut [u8]) -> Option<()> {
        user::copy_in(usize::try_from(address).ok()?, to).ok()
    }
}

/// The registers of interrupted code, in DWARF's order.
fn registers(frame: &TrapFrame) -> Registers {
    Registers(frame.by_dwarf_number().map(Some))
}

/// One line of a backtrace.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Frame {
    address: usize,
    /// Whether the address is that of the instruction itself, and not of the one after a call.
    exact: bool,
}

impl Frame {
    /// An address within the instruction. A call may be a function's last instruction: its return address is somebody
    /// else's.
    fn within(self) -> usize {
        self.address.wrapping_sub(usize::from(!self.exact))
    }
}

/// Why a backtrace goes no further.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// A thread's first function.
    Outermost,
    NoTables,
    BadStack,
    NoProgress,
    TooMany,
}

impl End {
    fn text(self) -> Option<&'static str> {
        match self {
            Self::Outermost => None,
            Self::NoTables => Some("no unwind information for this address"),
            Self::BadStack => Some("the stack or the unwind information is corrupt"),
            Self::NoProgress => Some("the stack goes round in circles"),
            Self::TooMany => Some("more frames follow"),
        }
    }
}

/// The frames of interrupted code, from the innermost on.
pub(super) fn frames(objects: &Objects, frame: &TrapFrame) -> Vec<Frame> {
    walk(objects, registers(frame)).0
}

/// A backtrace from `frame`, with symbols and object names, for crash reports.
pub(crate) fn backtrace(frame: &TrapFrame) -> String {
    let objects = Objects::now();
    let (frames, end) = walk(&objects, registers(frame));
    let mut text = String::new();
    for (number, (frame, place)) in frames.iter().zip(objects.places(&frames)).enumerate() {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  #{number} {:#018x} {place}", frame.address);
    }
    if let Some(reason) = end.text() {
        let _ = writeln!(text, "  ({reason})");
    }
    text
}

/// All frames from the innermost on.
fn walk(objects: &Objects, mut registers: Registers) -> (Vec<Frame>, End) {
    let mut frames = Vec::new();
    let mut exact = true;
    while frames.len() < MOST {
        let address = match registers.0[RIP] {
            // Calling null is a way to crash; returning there is how a thread's first function would.
            Some(rip) if rip != 0 || exact => rip as usize,
            _ => return (frames, End::Outermost),
        };
        let frame = Frame { address, exact };
        frames.push(frame);
        let (caller, is_signal_frame) = match step(objects, &registers, frame) {
            Ok(next) => next,
            Err(end) => return (frames, end),
        };
        if (caller.0[RIP], caller.0[RSP]) == (registers.0[RIP], registers.0[RSP]) {
            return (frames, End::NoProgress);
        }
        (registers, exact) = (caller, is_signal_frame);
    }
    (frames, End::TooMany)
}

/// The caller's registers, and whether the frame was that of a signal.
fn step(objects: &Objects, registers: &Registers, frame: Frame) -> Result<(Registers, bool), End> {
    if kernel::has(frame.address) {
        let caller = kernel::caller(objects, registers, frame.address).ok_or(End::NoTables)?;
        return Ok((caller, false));
    }
    if frame.exact && !objects.is_executable(frame.address) {
        // A call through a bad pointer has pushed its return address.
        let caller = registers
            .returned(&Program)
            .filter(|caller| caller.0[RIP].is_some_and(|rip| kernel::may_return_to(objects, rip)))
            .ok_or(End::BadStack)?;
        return Ok((caller, false));
    }
    let within = frame.within();
    let row = objects
        .tables(within)
        .and_then(|tables| tables.row(&Program, within as u64))
        .ok_or(End::NoTables)?;
    let caller = registers.unwind(&Program, &row).ok_or(End::BadStack)?;
    Ok((caller, row.is_signal_frame))
}

/// Memory for tests.
#[cfg(test)]
mod testing {
    use super::Memory;

    /// Pieces: address and bytes.
    pub(super) struct Pieces(pub(super) Vec<(u64, Vec<u8>)>);

    impl Memory for Pieces {
        fn copy(&self, address: u64, to: &mut [u8]) -> Option<()> {
            let bytes = self.0.iter().find_map(|(start, bytes)| {
                let from = usize::try_from(address.checked_sub(*start)?).ok()?;
                bytes.get(from..from.checked_add(to.len())?)
            })?;
            to.copy_from_slice(bytes);
            Some(())
        }
    }
}
