//! What the timer has a CPU look at: the slice, what its time counts as, the load.

use super::cputime::{CpuTimes, Kind};
use super::current::try_with_current;
use super::load;
use super::queue::{self, counts};
use crate::arch::percpu;
use crate::time::Instant;

/// What a CPU has done so far.
pub fn cpu_times(cpu: usize) -> CpuTimes {
    let local = counts::cpu_times(cpu).lock();
    local.at(Instant::now().0, counts::idle_ns(cpu))
}

/// This CPU's timer has fired, and has interrupted the kernel or the program.
pub(crate) fn tick(in_kernel: bool) {
    queue::tick();
    load::tick();
    try_with_current(|thread| {
        if thread.is_idle() {
            return;
        }
        // What links the program dynamically is part of the program elsewhere.
        let in_kernel = in_kernel && !thread.is_in_linker();
        thread.tick(in_kernel);
        let kind = match in_kernel {
            true => Kind::System,
            false if thread.nice() > 0 => Kind::Nice,
            false => Kind::User,
        };
        let this = percpu::this().id;
        let idle = counts::idle_ns(this);
        let mut local = counts::cpu_times(this).lock();
        local.tick(Instant::now().0, idle, kind);
    });
}
