//! One frame's registers, and the step to its caller's by the rules of a row.

use super::Memory;
use super::tables::Row;
use gimli::{CfaRule, EvaluationResult, Location, Register, RegisterRule, UnwindExpression, Value};

/// Registers that are followed: the sixteen general ones, and the return address (psABI, "DWARF Register Number Mapping").
const COUNT: usize = 17;
/// Number of `%rbx`.
pub const RBX: usize = 3;
/// Number of `%rbp`.
pub const RBP: usize = 6;
/// Number of `%rsp`.
pub const RSP: usize = 7;
/// Number of `%r12`.
pub const R12: usize = 12;
/// Number of `%r13`.
pub const R13: usize = 13;
/// Number of `%r14`.
pub const R14: usize = 14;
/// Number of `%r15`.
pub const R15: usize = 15;
/// Number of `%rip`.
pub const RIP: usize = 16;

/// Operations an expression may take.
const MOST_OPERATIONS: u32 = 1000;

/// What is known of one frame's registers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registers(pub [Option<u64>; COUNT]);

impl Registers {
    fn get(&self, register: Register) -> Option<u64> {
        self.0.get(usize::from(register.0)).copied().flatten()
    }

    /// Returns the caller of a function that has done nothing yet.
    pub fn returned(&self, memory: &impl Memory) -> Option<Self> {
        let rsp = self.0[RSP]?;
        let mut caller = self.clone();
        caller.0[RIP] = Some(memory.word(rsp)?);
        caller.0[RSP] = Some(rsp.wrapping_add(8));
        Some(caller)
    }

    /// Returns the caller of a function that has pushed %rbp and points there with it.
    pub fn past_frame_pointer(&self, memory: &impl Memory) -> Option<Self> {
        let rbp = self.0[RBP]?;
        let mut caller = self.clone();
        caller.0[RBP] = Some(memory.word(rbp)?);
        caller.0[RIP] = Some(memory.word(rbp.wrapping_add(8))?);
        caller.0[RSP] = Some(rbp.wrapping_add(16));
        Some(caller)
    }

    /// Returns the caller by the rules that hold in this frame.
    pub fn unwind(&self, memory: &impl Memory, row: &Row) -> Option<Self> {
        let cfa = match &row.cfa {
            CfaRule::RegisterAndOffset { register, offset } => {
                self.get(*register)?.wrapping_add_signed(*offset)
            }
            CfaRule::Expression(expression) => self.evaluate(memory, row, expression, None)?,
        };
        // Registers nobody mentions are as they were; the stack pointer is the CFA by definition.
        let mut caller = self.clone();
        caller.0[RSP] = Some(cfa);
        caller.0[RIP] = None;
        for (register, rule) in &row.rules {
            let Some(slot) = caller.0.get_mut(usize::from(register.0)) else {
                continue;
            };
            let value = match rule {
                // The return address of a thread's first function.
                RegisterRule::Undefined => None,
                RegisterRule::SameValue => self.get(*register),
                RegisterRule::Offset(offset) => {
                    Some(memory.word(cfa.wrapping_add_signed(*offset))?)
                }
                RegisterRule::ValOffset(offset) => Some(cfa.wrapping_add_signed(*offset)),
                RegisterRule::Register(other) => self.get(*other),
                RegisterRule::Expression(expression) => {
                    Some(memory.word(self.evaluate(memory, row, expression, Some(cfa))?)?)
                }
                RegisterRule::ValExpression(expression) => {
                    Some(self.evaluate(memory, row, expression, Some(cfa))?)
                }
                RegisterRule::Constant(value) => Some(*value),
                _ => return None,
            };
            *slot = value;
        }
        Some(caller)
    }

    /// Runs a DWARF expression, with `initial` on its stack.
    fn evaluate(
        &self,
        memory: &impl Memory,
        row: &Row,
        expression: &UnwindExpression<usize>,
        initial: Option<u64>,
    ) -> Option<u64> {
        let expression = row.expression(expression)?;
        let mut evaluation = expression.evaluation(row.encoding);
        evaluation.set_max_iterations(MOST_OPERATIONS);
        if let Some(initial) = initial {
            evaluation.set_initial_value(initial);
        }
        let mut result = evaluation.evaluate().ok()?;
        loop {
            result = match result {
                EvaluationResult::Complete => break,
                EvaluationResult::RequiresRegister { register, .. } => {
                    let value = Value::Generic(self.get(register)?);
                    evaluation.resume_with_register(value).ok()?
                }
                EvaluationResult::RequiresMemory { address, size, .. } => {
                    let mut bytes = [0; 8];
                    memory.copy(address, bytes.get_mut(..usize::from(size))?)?;
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
}

#[cfg(test)]
mod tests {
    use super::super::tables::tests::{CODE, object};
    use super::super::tables::{Row, Tables};
    use super::super::testing::Pieces;
    use super::*;
    use alloc::vec;

    const STACK: u64 = 0x7000;

    /// An object, and a stack with the words 100, 101, ….
    fn memory() -> Pieces {
        let stack = (100..132u64).flat_map(u64::to_le_bytes).collect();
        Pieces(vec![object(), (STACK, stack)])
    }

    fn row(memory: &Pieces, at: u64) -> Row {
        let tables = Tables::of(memory, object().0, object().0).unwrap();
        tables.row(memory, at).unwrap()
    }

    fn registers(rip: u64, rsp: u64, rbp: u64) -> Registers {
        let mut registers = Registers::default();
        (registers.0[RIP], registers.0[RSP]) = (Some(rip), Some(rsp));
        registers.0[RBP] = Some(rbp);
        registers
    }

    fn caller(at: u64, rsp: u64, rbp: u64) -> Option<(u64, u64, u64)> {
        let memory = memory();
        let caller = registers(at, rsp, rbp).unwind(&memory, &row(&memory, at))?;
        Some((caller.0[RIP]?, caller.0[RSP]?, caller.0[RBP]?))
    }

    #[test]
    fn a_function_with_a_frame_pointer() {
        // At its start; %rbp pushed; %rbp set and more of the stack used.
        assert_eq!(caller(CODE, STACK + 8, 7), Some((101, STACK + 16, 7)));
        assert_eq!(caller(CODE + 1, STACK, 7), Some((101, STACK + 16, 100)));
        assert_eq!(
            caller(CODE + 4, STACK, STACK + 32),
            Some((105, STACK + 48, 104))
        );
    }

    #[test]
    fn a_stub_of_the_procedure_linkage_table() {
        // Each is 16 bytes long and has pushed a number from the 11th on.
        let plt = CODE + 0x20;
        assert_eq!(caller(plt + 10, STACK, 7), Some((100, STACK + 8, 7)));
        assert_eq!(caller(plt + 11, STACK, 7), Some((101, STACK + 16, 7)));
    }

    #[test]
    fn a_first_function_has_no_caller() {
        let memory = memory();
        let outermost = registers(CODE + 0x60, STACK, 7);
        let caller = outermost
            .unwind(&memory, &row(&memory, CODE + 0x60))
            .unwrap();
        assert_eq!((caller.0[RIP], caller.0[RSP]), (None, Some(STACK + 8)));
    }

    #[test]
    fn bad_stacks_end_it() {
        assert_eq!(caller(CODE, STACK - 8, 7), None);
        assert_eq!(caller(CODE + 4, STACK, u64::MAX), None);
        assert_eq!(registers(0, u64::MAX, 0).returned(&memory()), None);
        assert_eq!(
            registers(0, 0, STACK + 248).past_frame_pointer(&memory()),
            None
        );
        let gate = registers(0, 0, STACK)
            .past_frame_pointer(&memory())
            .unwrap();
        assert_eq!(gate, registers(101, STACK + 16, 100));
    }
}
