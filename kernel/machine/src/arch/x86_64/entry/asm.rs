//! The assembly files, with the names and offsets they use.

use super::{callout, gate, trap};
use crate::arch::TrapFrame;
use crate::arch::percpu::PerCpu;
use core::arch::global_asm;
use core::mem::{offset_of, size_of};

global_asm!(
    include_str!("../boot.S"),
    direct_map = sym crate::arch::layout::DIRECT_MAP,
);
global_asm!(include_str!("../memory.S"));
global_asm!(
    include_str!("entry.S"),
    kstack = const offset_of!(PerCpu, kernel_stack),
    scratch = const offset_of!(PerCpu, scratch),
    frame_size = const size_of::<TrapFrame>(),
    vector = const offset_of!(TrapFrame, vector),
    rax = const offset_of!(TrapFrame, rax),
    rbx = const offset_of!(TrapFrame, rbx),
    rcx = const offset_of!(TrapFrame, rcx),
    rdx = const offset_of!(TrapFrame, rdx),
    rsi = const offset_of!(TrapFrame, rsi),
    rdi = const offset_of!(TrapFrame, rdi),
    rbp = const offset_of!(TrapFrame, rbp),
    r8 = const offset_of!(TrapFrame, r8),
    r9 = const offset_of!(TrapFrame, r9),
    r10 = const offset_of!(TrapFrame, r10),
    r11 = const offset_of!(TrapFrame, r11),
    r12 = const offset_of!(TrapFrame, r12),
    r13 = const offset_of!(TrapFrame, r13),
    r14 = const offset_of!(TrapFrame, r14),
    r15 = const offset_of!(TrapFrame, r15),
    syscall_vector = const TrapFrame::SYSCALL,
    trap = sym trap::elfin_trap,
    syscall = sym trap::elfin_syscall,
    gate = sym gate::enter,
    gate_stack = sym callout::settle,
    gate_pending = sym gate::pending,
    called = sym callout::returned,
    thread_start = sym crate::sched::thread_start,
    user_start = sym crate::sched::user_start,
);
