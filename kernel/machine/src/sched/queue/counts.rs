//! What the queues and switches of all CPUs come to, for who wants to know how busy they are.

use super::LOCALS;
use crate::arch::cpu;
use crate::sched::cputime;
use crate::sync::SpinLock;
use core::sync::atomic::Ordering;

/// How many threads run or wait for a CPU.
pub fn active_count() -> usize {
    let mut count = 0;
    cpu::each(|cpu| count += LOCALS[cpu.id].queue.len() + usize::from(!cpu.is_idle()));
    count
}

/// How often all CPUs have gone from one thread to another.
pub fn switch_count() -> u64 {
    let locals = LOCALS[..cpu::count()].iter();
    locals
        .map(|local| local.switches.load(Ordering::Relaxed))
        .sum()
}

/// How long a CPU has been idle, in nanoseconds.
pub(in crate::sched) fn idle_ns(cpu: usize) -> u64 {
    let idle = LOCALS[cpu].idle.lock();
    idle.as_ref().map_or(0, |thread| thread.cpu_time_ns())
}

/// What is kept of what a CPU does.
pub(in crate::sched) fn cpu_times(cpu: usize) -> &'static SpinLock<cputime::Local> {
    &LOCALS[cpu].times
}
