//! Exceptions, interrupts and system calls, once the assembly has saved the interrupted state on the kernel stack.

use super::{TrapFrame, apic, cpu, gate, interrupt, percpu};
use crate::mm::USER_END;
use crate::process::signal::{self, Exception};
use crate::{exec, mm, sched, syscall, time};
use core::sync::atomic::Ordering;
use x86_64::instructions::interrupts;
use x86_64::registers::control::Cr2;

const DEBUG: u64 = 1;
const INVALID_OPCODE: u64 = 6;
const PAGE_FAULT: u64 = 14;
const NMI: u64 = 2;
const DOUBLE_FAULT: u64 = 8;
const MACHINE_CHECK: u64 = 18;

const RFLAGS_TF: u64 = 1 << 8;
const RFLAGS_IF: u64 = 1 << 9;

unsafe extern "C" {
    fn elfin_trap_stubs();
}

/// Address of the gate's code for a vector.
pub(super) fn stub(vector: usize) -> usize {
    (elfin_trap_stubs as *const ()).addr() + 16 * vector
}

/// Comes from the assembly with interrupts off, and returns with interrupts off.
pub(super) extern "C" fn elfin_trap(frame: &mut TrapFrame) {
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
            interrupts::enable();
            let exception = Exception::Other {
                vector: u8::try_from(frame.vector).unwrap_or(0),
                error: frame.error,
            };
            signal::exception(frame, exception);
            interrupts::disable();
        }
        interrupt::TIMER => {
            apic::end_of_interrupt();
            time::timer::interrupt();
        }
        interrupt::RESCHEDULE => {
            apic::end_of_interrupt();
            percpu::this().need_resched.store(true, Ordering::Relaxed);
        }
        interrupt::CALL => {
            apic::end_of_interrupt();
            cpu::answer();
        }
        interrupt::SPURIOUS => {}
        vector => {
            interrupt::handle(vector);
            apic::end_of_interrupt();
        }
    }
    leave(frame);
}

/// Comes from the `syscall` instruction's entry with interrupts off.
pub(super) extern "C" fn elfin_syscall(frame: &mut TrapFrame) {
    interrupts::enable();
    syscall::entry(frame);
    interrupts::disable();
    leave(frame);
}

/// What has to be done before the program goes on: other threads, signals.
pub(crate) fn leave(frame: &mut TrapFrame) {
    if !frame.is_program() {
        return;
    }
    loop {
        if percpu::this().need_resched.load(Ordering::Relaxed) {
            sched::reschedule();
        } else if signal::pending() {
            interrupts::enable();
            signal::deliver(frame);
            interrupts::disable();
        } else {
            break;
        }
    }
}

fn page_fault(frame: &mut TrapFrame) {
    let addr = Cr2::read_raw() as usize;
    let error = frame.error;
    if frame.rflags & RFLAGS_IF != 0 {
        interrupts::enable();
    }
    let result = mm::fault::page_fault(addr, error, frame);
    if let Err(fault) = result {
        if !frame.is_program() {
            if addr < USER_END && frame.rflags & RFLAGS_IF != 0 {
                // The loader, at work in place of the program's ld.so, was given a bad pointer or a bad object.
                exec::loader_fault(addr);
            }
            interrupts::disable();
            fatal(frame);
        }
        interrupts::enable();
        signal::exception(frame, Exception::Page { addr, fault, error });
    }
    interrupts::disable();
}

fn fatal(frame: &TrapFrame) -> ! {
    let addr = Cr2::read_raw();
    panic!(
        "exception {} (error {:#x}, cr2 {addr:#x}) at {:#x}, rsp {:#x}\n{frame:x?}",
        frame.vector, frame.error, frame.rip, frame.rsp
    );
}
