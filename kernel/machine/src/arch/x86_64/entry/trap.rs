//! Exceptions, interrupts and system calls, once the assembly has saved the interrupted state on the kernel stack.

use super::gate;
use crate::arch::layout::USER_END;
use crate::arch::user;
use crate::arch::{TrapFrame, apic, cpu, interrupt, percpu, vector};
use crate::mm::arena;
use crate::mm::fault::{Fault, Wanted};
use crate::mm::space;
use crate::upcall::{self, Exception};
use crate::{record, sched, time};
use core::sync::atomic::Ordering;
use x86_64::instructions::interrupts;
use x86_64::registers::control::Cr2;

const DEBUG: u64 = 1;
const INVALID_OPCODE: u64 = 6;
const GENERAL_PROTECTION: u64 = 13;
const PAGE_FAULT: u64 = 14;
const NMI: u64 = 2;
const DOUBLE_FAULT: u64 = 8;
const MACHINE_CHECK: u64 = 18;

/// Length of an `int` instruction.
const INT_LEN: u64 = 2;
/// Of a selector's error code: it names an entry of the IDT.
const IN_IDT: u64 = 2;

const RFLAGS_TF: u64 = 1 << 8;
const RFLAGS_IF: u64 = 1 << 9;

/// Comes from the assembly with interrupts off, and returns with interrupts off.
pub(super) extern "C" fn elfin_trap(frame: &mut TrapFrame) {
    if frame.is_program() {
        frame.turn_interrupts_on();
        handle(frame);
        sched::exit_to_program(frame);
    } else {
        // Whatever the interrupted code allocates from.
        arena::outside(|| handle(frame));
    }
}

fn handle(frame: &mut TrapFrame) {
    match frame.vector {
        PAGE_FAULT => page_fault(frame),
        NMI | DOUBLE_FAULT | MACHINE_CHECK => fatal(frame),
        // The program goes by single steps and has entered a gate.
        DEBUG if !frame.is_program() => frame.rflags &= !RFLAGS_TF,
        0..32 => {
            if !frame.is_program() {
                fatal(frame);
            }
            if frame.vector == INVALID_OPCODE {
                gate::finish(frame);
            }
            exception(frame);
        }
        vector::TIMER => {
            apic::end_of_interrupt();
            interrupt::count(&percpu::this().interrupts.timer);
            time::timer::expire();
            sched::tick(!frame.is_program());
            time::timer::rearm();
            if time::timer::samples() {
                sample(frame);
            }
        }
        vector::RESCHEDULE => {
            apic::end_of_interrupt();
            interrupt::count(&percpu::this().interrupts.reschedule);
            percpu::this().need_resched.store(true, Ordering::Relaxed);
        }
        vector::CALL => {
            apic::end_of_interrupt();
            interrupt::count(&percpu::this().interrupts.call);
            cpu::answer();
        }
        vector::SPURIOUS => {}
        number if interrupt::handle(number) => apic::end_of_interrupt(),
        // Nobody has asked for the vector: an `int` instruction.
        number if frame.is_program() => {
            frame.rip -= INT_LEN;
            frame.vector = GENERAL_PROTECTION;
            frame.error = number << 3 | IN_IDT;
            exception(frame);
        }
        number => log::warn!("interrupt on vector {number}, which nobody has asked for"),
    }
}

/// Looks at what the timer has interrupted.
fn sample(frame: &TrapFrame) {
    if frame.is_program() {
        interrupts::enable();
        upcall::traps().sample(frame);
        interrupts::disable();
    } else if !sched::is_idle() {
        record::kernel_sample(frame.rip);
    }
}

/// An exception of the program's.
fn exception(frame: &mut TrapFrame) {
    interrupts::enable();
    let exception = Exception::Other {
        vector: u8::try_from(frame.vector).unwrap_or(0),
        error: frame.error,
    };
    upcall::traps().exception(frame, exception);
    interrupts::disable();
}

/// Comes from the `syscall` instruction's entry with interrupts off.
pub(super) extern "C" fn elfin_syscall(frame: &mut TrapFrame) {
    frame.turn_interrupts_on();
    interrupts::enable();
    upcall::traps().system_call(frame);
    interrupts::disable();
    sched::exit_to_program(frame);
}

fn page_fault(frame: &mut TrapFrame) {
    let start = record::start();
    let addr = Cr2::read_raw() as usize;
    let error = frame.error;
    if frame.rflags & RFLAGS_IF != 0 {
        interrupts::enable();
    }
    let result = if frame.has_interrupts() {
        // It may take locks that who copies the arena holds.
        arena::waiting(|| satisfy(addr, error, frame))
    } else {
        satisfy(addr, error, frame)
    };
    if let Some(start) = start {
        record::fault(start);
    }
    if let Err(fault) = result {
        if !frame.is_program() {
            if addr < USER_END && frame.rflags & RFLAGS_IF != 0 {
                // The dynamic linker, at work in place of the program's ld.so, was given a bad pointer or a bad object,
                // or there is no memory.
                upcall::gates().bad_address(addr, fault);
            }
            interrupts::disable();
            fatal(frame);
        }
        interrupts::enable();
        upcall::traps().exception(frame, Exception::Page { addr, fault, error });
    }
    interrupts::disable();
}

/// Handles a page fault at `addr` (CR2). A
/// kernel access through `mm::user` that fails is turned into EFAULT by making `frame` go on elsewhere (then `Ok`).
fn satisfy(addr: usize, error: u64, frame: &mut TrapFrame) -> Result<(), Fault> {
    let wanted = if error & 0x10 != 0 {
        Wanted::Execute
    } else if error & 2 != 0 {
        Wanted::Write
    } else {
        Wanted::Read
    };
    let read = sched::with_current(|thread| thread.usage.bytes_read());
    // Under a spin lock nothing can be brought in.
    let result = if addr >= USER_END || !frame.has_interrupts() {
        Err(Fault::NotMapped)
    } else {
        loop {
            let result =
                space::with_current(|space| space.ok_or(Fault::NotMapped)?.fault(addr, wanted));
            if result != Err(Fault::OutOfMemory) || !upcall::traps().make_room() {
                break result;
            }
        }
    };
    if result.is_ok() {
        sched::with_current(|thread| thread.usage.count_fault(read));
    } else if let Some(fixup) = user::fixup(frame.instruction_pointer()) {
        if result == Err(Fault::OutOfMemory) {
            upcall::traps().copy_lacks_memory();
        }
        frame.set_instruction_pointer(fixup);
        return Ok(());
    }
    result
}

fn fatal(frame: &TrapFrame) -> ! {
    let addr = Cr2::read_raw();
    panic!(
        "exception {} (error {:#x}, cr2 {addr:#x}) at {:#x}, rsp {:#x}\n{frame:x?}",
        frame.vector, frame.error, frame.rip, frame.rsp
    );
}
