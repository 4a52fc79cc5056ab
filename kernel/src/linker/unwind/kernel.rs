//! Frames of kernel code that runs on the program's stack: gates, calls of the program by the loader, and the vDSO's
//! functions. The kernel's unwind tables are not read for this: it goes by what `entry.S` does.

use super::Program;
use super::objects::Objects;
use loader::unwind::{Memory, R12, R13, R14, R15, RBP, RBX, RSP, Registers};
use machine::arch::gate::{self, Code};
use machine::arch::image;

/// The word of the stack that a return address is looked for in at most, behind the first one.
const MOST_WORDS: u64 = 64;
/// What a gate saves on the program's stack, beside %rbp, and how far below that.
const SAVED: [(usize, u64); 5] = [(RBX, 16), (R12, 24), (R13, 32), (R14, 40), (R15, 48)];

/// Whether an address is that of kernel code.
pub(super) fn has(address: usize) -> bool {
    image::text().contains(&address)
}

/// What to call the code at an address of the kernel's.
pub(super) fn name(address: usize) -> &'static str {
    match gate::code_at(address) {
        Code::Other => "(the kernel's vDSO)",
        Code::Entry | Code::Gate | Code::CallUser => "(the dynamic linker)",
    }
}

/// The program's function that has called kernel code.
pub(super) fn caller(objects: &Objects, registers: &Registers, at: usize) -> Option<Registers> {
    match gate::code_at(at) {
        Code::Entry => registers.returned(&Program),
        Code::Gate => registers.past_frame_pointer(&Program),
        Code::CallUser => past_call(&Program, registers.0[RSP]?),
        // These functions have small frames, and no frame pointers.
        Code::Other => {
            let mut caller = registers.clone();
            caller.0[RSP] = Some(find(objects, registers.0[RSP]?)?);
            caller.returned(&Program)
        }
    }
}

/// The caller of the gate through which the loader came to call the program: at the stack pointer of the call is where
/// that gate's frame is.
fn past_call(memory: &impl Memory, stack: u64) -> Option<Registers> {
    let gate = memory.word(stack)?;
    let mut registers = Registers::default();
    registers.0[RBP] = Some(gate);
    for (register, distance) in SAVED {
        registers.0[register] = Some(memory.word(gate.checked_sub(distance)?)?);
    }
    registers.past_frame_pointer(memory)
}

/// The first word of the stack from `start` on that is a return address.
fn find(objects: &Objects, start: u64) -> Option<u64> {
    (0..MOST_WORDS)
        .filter_map(|index| start.checked_add(index * 8))
        .find(|&place| {
            Program
                .word(place)
                .is_some_and(|word| may_return_to(objects, word))
        })
}

/// Whether an address can be a return address.
pub(super) fn may_return_to(objects: &Objects, address: u64) -> bool {
    objects.is_executable(address as usize) && follows_call(&Program, address)
}

/// Whether the instruction before an address is a call.
fn follows_call(memory: &impl Memory, address: u64) -> bool {
    let Some(bytes) = address
        .checked_sub(6)
        .and_then(|start| memory.array::<6>(start))
    else {
        return false;
    };
    // call rel32; call [rip+disp32] and others with a long displacement; call through a register or a plain pointer;
    // call with a short displacement.
    let indirect = |modrm: u8| modrm & 0x38 == 0x10;
    bytes[1] == 0xe8
        || (bytes[0] == 0xff && indirect(bytes[1]))
        || (bytes[4] == 0xff && indirect(bytes[5]))
        || (bytes[3] == 0xff && indirect(bytes[4]))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Pieces;
    use super::*;
    use loader::unwind::RIP;

    #[test]
    fn a_call_of_the_program_leads_to_the_caller_of_the_gate() {
        // At 0x1000 the called function has returned; the frame's words are named by their addresses.
        let frame = (0x2000..=0x2038u64).step_by(8).flat_map(u64::to_le_bytes);
        let stack = 0x2030u64.to_le_bytes().to_vec();
        let memory = Pieces(vec![(0x1000, stack), (0x2000, frame.collect())]);
        let caller = past_call(&memory, 0x1000).unwrap();
        let register = |number: usize| caller.0[number];
        assert_eq!(
            [RIP, RSP, RBP].map(register),
            [0x2038, 0x2040, 0x2030].map(Some)
        );
        let saved = [RBX, R12, R13, R14, R15].map(register);
        assert_eq!(saved, [0x2020, 0x2018, 0x2010, 0x2008, 0x2000].map(Some));
        assert_eq!(past_call(&memory, 0x3000), None);
    }

    #[test]
    fn calls_are_recognised() {
        let follows =
            |bytes: [u8; 6]| follows_call(&Pieces(vec![(0x1000, bytes.to_vec())]), 0x1006);
        assert!(follows([0x90, 0xe8, 1, 2, 3, 4]));
        assert!(follows([0xff, 0x15, 1, 2, 3, 4]));
        assert!(follows([0, 0, 0, 0, 0xff, 0xd0]));
        assert!(follows([0, 0, 0, 0xff, 0x50, 8]));
        assert!(!follows([0x90; 6]));
        assert!(!follows([0, 0, 0, 0, 0xff, 0xe0]));
        assert!(!follows_call(&Pieces(vec![]), 3));
    }
}
