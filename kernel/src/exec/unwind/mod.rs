//! Backtraces of the program for crash reports, from the unwind tables of its objects (DWARF 4, 6.4; Linux Standard Base,
//! "Exception Frames").
//!
//! Everything read here is the program's memory and may be anything: reads go through `mm::user`, and what makes no sense
//! ends the backtrace. Names are those of dynamic symbols, as the linker sees them (C++ and Rust names stay mangled).

mod tables;

use super::LOADER;
use crate::arch::TrapFrame;
use crate::mm::{USER_END, user};
use alloc::format;
use alloc::string::String;
use core::fmt::Write;
use gimli::{CfaRule, EvaluationResult, Location, Register, RegisterRule, UnwindExpression, Value};
use tables::{Row, Tables};

/// Frames that are shown at most.
const MOST: usize = 64;

/// Registers that are followed: the sixteen general ones, and the return address (psABI, "DWARF Register Number Mapping").
const REGISTERS: usize = 17;
const RSP: usize = 7;
const RIP: usize = 16;

/// What is known of one frame's registers.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Registers([Option<u64>; REGISTERS]);

impl Registers {
    fn get(&self, register: Register) -> Option<u64> {
        self.0.get(usize::from(register.0)).copied().flatten()
    }
}

impl From<&TrapFrame> for Registers {
    fn from(frame: &TrapFrame) -> Self {
        Self(
            [
                frame.rax, frame.rdx, frame.rcx, frame.rbx, frame.rsi, frame.rdi, frame.rbp,
                frame.rsp, frame.r8, frame.r9, frame.r10, frame.r11, frame.r12, frame.r13,
                frame.r14, frame.r15, frame.rip,
            ]
            .map(Some),
        )
    }
}

/// A backtrace from `frame`, with symbols and object names, for crash reports.
pub fn backtrace(frame: &TrapFrame) -> String {
    let mut text = String::new();
    let mut registers = Registers::from(frame);
    // Whether the address is that of the instruction itself, and not of the one after a call.
    let mut exact = true;
    for number in 0..MOST {
        let Some(address) = registers.0[RIP].map(|rip| rip as usize) else {
            break;
        };
        line(&mut text, number, address, exact);
        let next = step(&registers, address, exact);
        let Some((caller, is_signal_frame)) = next else {
            break;
        };
        // No progress is no frame; a thread's first function returns to 0.
        if caller == registers || (caller.0[RIP] == Some(0) && !is_signal_frame) {
            break;
        }
        (registers, exact) = (caller, is_signal_frame);
    }
    text
}

/// The caller's registers, and whether the frame was that of a signal.
fn step(registers: &Registers, address: usize, exact: bool) -> Option<(Registers, bool)> {
    if address >= USER_END {
        return Some((through_gate(registers)?, false));
    }
    let lookup = if exact { address } else { address - 1 };
    let Some(tables) = Tables::of(lookup) else {
        // A call through a bad pointer has pushed its return address.
        return (exact && user::read::<u8>(address).is_err())
            .then(|| returned(registers))
            .flatten()
            .map(|caller| (caller, false));
    };
    let row = tables.row(lookup as u64)?;
    Some((unwind(registers, &row)?, row.is_signal_frame))
}

fn word(at: u64) -> Option<u64> {
    user::read(usize::try_from(at).ok()?).ok()
}

/// The caller of a function that has done nothing yet.
fn returned(registers: &Registers) -> Option<Registers> {
    let rsp = registers.0[RSP]?;
    let mut caller = registers.clone();
    caller.0[RIP] = Some(word(rsp)?);
    caller.0[RSP] = Some(rsp.wrapping_add(8));
    Some(caller)
}

/// The caller of a gate of the kernel's, which runs on the program's stack and has pushed %rbp.
fn through_gate(registers: &Registers) -> Option<Registers> {
    const RBP: usize = 6;
    let rbp = registers.0[RBP]?;
    let mut caller = registers.clone();
    caller.0[RIP] = Some(word(rbp.wrapping_add(8))?);
    caller.0[RSP] = Some(rbp.wrapping_add(16));
    caller.0[RBP] = word(rbp);
    Some(caller)
}

fn unwind(registers: &Registers, row: &Row) -> Option<Registers> {
    let cfa = match &row.cfa {
        CfaRule::RegisterAndOffset { register, offset } => {
            registers.get(*register)?.wrapping_add_signed(*offset)
        }
        CfaRule::Expression(expression) => evaluate(registers, row, expression, None)?,
    };
    // Registers nobody mentions are as they were; the stack pointer is the CFA by definition.
    let mut caller = registers.clone();
    caller.0[RSP] = Some(cfa);
    caller.0[RIP] = None;
    for (register, rule) in &row.rules {
        let Some(slot) = caller.0.get_mut(usize::from(register.0)) else {
            continue;
        };
        *slot = match rule {
            RegisterRule::Undefined => None,
            RegisterRule::SameValue => registers.get(*register),
            RegisterRule::Offset(offset) => word(cfa.wrapping_add_signed(*offset)),
            RegisterRule::ValOffset(offset) => Some(cfa.wrapping_add_signed(*offset)),
            RegisterRule::Register(other) => registers.get(*other),
            RegisterRule::Expression(expression) => {
                word(evaluate(registers, row, expression, Some(cfa))?)
            }
            RegisterRule::ValExpression(expression) => {
                Some(evaluate(registers, row, expression, Some(cfa))?)
            }
            RegisterRule::Constant(value) => Some(*value),
            _ => None,
        };
    }
    Some(caller)
}

/// Runs a DWARF expression, with `initial` on its stack.
fn evaluate(
    registers: &Registers,
    row: &Row,
    expression: &UnwindExpression<usize>,
    initial: Option<u64>,
) -> Option<u64> {
    let expression = row.expression(expression)?;
    let mut evaluation = expression.evaluation(row.encoding);
    evaluation.set_max_iterations(1000);
    if let Some(initial) = initial {
        evaluation.set_initial_value(initial);
    }
    let mut result = evaluation.evaluate().ok()?;
    loop {
        result = match result {
            EvaluationResult::Complete => break,
            EvaluationResult::RequiresRegister { register, .. } => {
                let value = Value::Generic(registers.get(register)?);
                evaluation.resume_with_register(value).ok()?
            }
            EvaluationResult::RequiresMemory { address, size, .. } => {
                let mut bytes = [0; 8];
                let to = bytes.get_mut(..usize::from(size))?;
                user::copy_in(usize::try_from(address).ok()?, to).ok()?;
                let value = Value::Generic(u64::from_le_bytes(bytes));
                evaluation.resume_with_memory(value).ok()?
            }
            _ => return None,
        };
    }
    match evaluation.result().first()?.location {
        Location::Address { address } => Some(address),
        Location::Value { value } => value.to_u64(u64::MAX).ok(),
        _ => None,
    }
}

fn line(text: &mut String, number: usize, address: usize, exact: bool) {
    // A call may be a function's last instruction: its return address is somebody else's.
    let within = if exact {
        address
    } else {
        address.wrapping_sub(1)
    };
    let shift = address.wrapping_sub(within);
    let place = if address >= USER_END {
        String::from("(the dynamic linker)")
    } else if let Some(place) = LOADER.symbolise(within) {
        let object = String::from_utf8_lossy(&place.object).into_owned();
        let offset = place.object_offset.wrapping_add(shift);
        match place.symbol {
            Some((name, distance)) => {
                let name = String::from_utf8_lossy(&name).into_owned();
                format!("{name}+{:#x} ({object}+{offset:#x})", distance + shift)
            }
            None => format!("({object}+{offset:#x})"),
        }
    } else {
        mapped(address)
    };
    // Writing to a string does not fail.
    let _ = writeln!(text, "  #{number} {address:#018x} {place}");
}

/// What is mapped at an address that is in no object of the loader's: a static program, generated code, nothing.
fn mapped(address: usize) -> String {
    let maps = crate::mm::space::maps();
    match maps
        .iter()
        .find(|line| (line.start..line.end).contains(&address))
    {
        Some(line) if line.name.is_empty() => String::from("(anonymous memory)"),
        Some(line) => {
            let offset = (address - line.start) as u64 + line.offset;
            format!("({}, file offset {offset:#x})", line.name)
        }
        None => String::from("(nothing is mapped here)"),
    }
}
