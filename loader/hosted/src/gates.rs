//! The gates of this host: functions on the program's own stack, with a frame pointer by which the loader finds their caller.

use core::arch::naked_asm;

use loader::Gate;

use crate::{LOADER, stack};

/// Comes from the gates; `frame` is where `%rbp` has been saved.
extern "C" fn enter(a: usize, b: usize, c: usize, d: usize, number: usize, frame: usize) -> usize {
    let Some(gate) = Gate::from_number(number) else {
        return 0;
    };
    let has_left = |mark| stack::has_left(mark, frame);
    // SAFETY: the program called this gate with these arguments; `has_left` is right about its stacks.
    unsafe { LOADER.enter_from(frame, has_left, gate, [a, b, c, d], frame) }
}

macro_rules! gates {
    ($($gate:ident)*) => {
        /// Returns the address of a gate.
        pub(crate) fn address(gate: Gate) -> usize {
            match gate {
                $(Gate::$gate => {
                    #[unsafe(naked)]
                    extern "C" fn gate() {
                        naked_asm!(
                            ".cfi_startproc",
                            "push rbp",
                            ".cfi_adjust_cfa_offset 8",
                            ".cfi_offset rbp, -16",
                            "mov rbp, rsp",
                            ".cfi_def_cfa_register rbp",
                            "mov r8d, {number}",
                            "mov r9, rbp",
                            "call {enter}",
                            "pop rbp",
                            ".cfi_def_cfa rsp, 8",
                            "ret",
                            ".cfi_endproc",
                            number = const Gate::$gate as usize,
                            enter = sym enter,
                        )
                    }
                    (gate as *const ()).expose_provenance()
                })*
            }
        }
    };
}

loader::for_each_gate!(gates);
