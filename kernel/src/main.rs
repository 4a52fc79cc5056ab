//! The kernel's binary. The code is the library's; what has to be in a binary is here.
#![no_std]
#![no_main]

extern crate kernel;

use core::panic::PanicInfo;

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    kernel::panic(info)
}
