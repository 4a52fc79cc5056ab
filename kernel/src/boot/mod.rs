//! Start of day: PVH start info, memory map, boot configuration, order of initialisation.

pub mod acpi;
pub mod config;
mod memory;
mod pvh;

use crate::arch::{cpu, smp};
use crate::{drivers, exec, fs, log, sched, time};
use alloc::boxed::Box;
use x86_64::instructions::interrupts;

/// The kernel's life on the CPU that booted; `start_info` is the physical address of `hvm_start_info`.
pub(crate) fn start(start_info: u64) -> ! {
    // SAFETY: the boot code passes on what the hypervisor gave it.
    let info = unsafe { pvh::StartInfo::read(start_info) };
    let Some(info) = info else {
        log::fatal(format_args!("not started by PVH"));
    };
    memory::init(&info);
    let (bytes, phys, len) = memory::module(&info);
    config::set(bytes);
    memory::release_module(phys, len);
    let config = config::get();
    log::init(config.log.unwrap_or(::log::LevelFilter::Warn));
    smp::init_boot_cpu();
    time::init();
    sched::init();
    let (cpus, rsdp) = (acpi::init(info.rsdp), info.rsdp);
    ::log::debug!("ACPI tables at {rsdp:#x}, {} CPUs", cpus.len());
    interrupts::enable();
    smp::start_others(&cpus);
    ::log::info!(
        "{} CPUs, {} MiB free",
        cpu::count(),
        crate::mm::frame::counts().1 >> 8
    );
    sched::spawn_kernel("loader", Box::new(run));
    sched::become_idle()
}

/// The loader thread: what needs interrupts, waiting, and a thread to do so on.
fn run() {
    drivers::init();
    if let Err(reason) = fs::init() {
        log::fatal(format_args!("{reason}"));
    }
    exec::start();
}
