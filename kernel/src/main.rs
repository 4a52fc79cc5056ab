//! The kernel's binary. The code is the library's; what has to be in a binary is here.
#![no_std]
#![no_main]

use core::panic::PanicInfo;
use machine::boot::Boot;

#[global_allocator]
static HEAP: machine::mm::heap::Allocator = machine::mm::heap::Allocator;

/// The first Rust code, on the boot stack: `start_info` is the physical address of PVH's `hvm_start_info`.
#[unsafe(no_mangle)]
extern "C" fn elfin_boot_cpu(start_info: u64) -> ! {
    // SAFETY: called once, by the boot code, on the CPU that booted and with interrupts off.
    kernel::start(unsafe { Boot::begin(start_info) })
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    machine::panic(info)
}
