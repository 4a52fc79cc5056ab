//! Start of day: PVH's start info, the memory map, the order in which the machine comes up.

mod memory;
mod pvh;

use crate::arch::clock::time_stamp;
use crate::arch::{cpu, interrupt_flag, smp, watchdog};
use crate::{acpi, mm, sched, time};
use pvh::StartInfo;

/// What the hypervisor has handed over.
pub struct Boot {
    info: StartInfo,
    entered: u64,
}

impl Boot {
    /// Takes all memory over; from here on there is a heap. `start_info` is the physical address of `hvm_start_info`,
    /// which the boot code passes on. Without it, or without memory, the machine ends with a line that says so.
    ///
    /// # Safety
    /// Only the boot code calls this, once, on the CPU that booted, with interrupts off.
    pub unsafe fn begin(start_info: u64) -> Self {
        let entered = time_stamp();
        // First: locks ask which CPU this is.
        smp::begin();
        // SAFETY: the boot code passes on what the hypervisor gave it.
        let info = unsafe { StartInfo::read(start_info) };
        let Some(info) = info else {
            crate::log::fatal(format_args!("not started by PVH"));
        };
        memory::init(&info);
        Self { info, entered }
    }

    /// Returns the time-stamp at which the kernel was entered.
    pub fn entered(&self) -> u64 {
        self.entered
    }

    /// Runs `read` on the contents of the first module, and frees its memory.
    pub fn take_module<T>(&mut self, read: impl FnOnce(&[u8]) -> T) -> T {
        let bytes = memory::module(&self.info);
        let result = read(bytes);
        memory::release_module(&self.info);
        self.info.module = (0, 0);
        result
    }

    /// Brings the machine up: this CPU's tables, clocks, the scheduler, interrupts, the other CPUs. `host_tsc`: what
    /// the host's time-stamp counter counts in a second, if somebody has said so.
    pub fn finish(self, host_tsc: Option<u64>) {
        smp::init_boot_cpu();
        time::init(host_tsc);
        sched::init();
        let rsdp = self.info.rsdp;
        let cpus = acpi::init(rsdp);
        log::debug!("ACPI tables at {rsdp:#x}, {} CPUs", cpus.len());
        interrupt_flag::enable();
        smp::start_others(&cpus);
        watchdog::start();
        memory::release_low(self.info);
        log::info!(
            "{} CPUs, {} MiB free",
            cpu::count(),
            mm::frame::counts().1 >> 8
        );
    }
}

/// Turns what runs into this CPU's idle thread.
pub fn become_idle() -> ! {
    sched::become_idle()
}
