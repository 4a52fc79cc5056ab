//! Floor 3 of the kernel, its top: the order of boot, the dynamic linker's host, the start of the program.
//!
//! It imports the floors below (`linux`, `machine`, `abi`) and the `loader`, and puts them together: what they call
//! upwards is registered here.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

extern crate alloc;

mod end;
#[expect(
    unsafe_code,
    reason = "the loader works on the program's memory in place"
)]
pub mod linker;
mod open;
#[expect(unsafe_code, reason = "the program is entered")]
pub mod program;
mod programs;

use alloc::boxed::Box;
use linux::process::ThreadState;
use linux::{config, control, net};
use machine::boot::{self, Boot};
use machine::{
    drivers, record,
    sched::{self, NoState},
    time, upcall,
};

/// The kernel's life on the CPU that booted.
pub fn start(mut boot: Boot) -> ! {
    boot.take_module(config::set);
    if config::get().record {
        record::begin(boot.entered());
        time::sample_every(config::get().sample.unwrap_or(0));
    }
    machine::log::init(config::get().log.unwrap_or(log::LevelFilter::Warn));
    upcall::register(&linux::Linux, &linker::Entry);
    linux::linker::register(&programs::Programs);
    boot.finish(config::get().tsc);
    sched::spawn_kernel("boot", Box::new(NoState), Box::new(run));
    boot::become_idle()
}

/// What needs interrupts, waiting, and a thread to do so on. The program is loaded by a thread of its process.
fn run() {
    record::phase("devices");
    drivers::init();
    let asked = control::ask_time();
    record::phase("network, file systems");
    net::init();
    linux::boot::init(&net::FILES).unwrap_or_else(|reason| fail(&reason));
    record::phase("process");
    let process = program::make_process(config::get());
    let process = process.unwrap_or_else(|reason| fail(&reason));
    // What goes wrong from here on is the program's to tell, and a thread of its process' tells it.
    let state = Box::new(ThreadState::new(process));
    sched::spawn_kernel(
        "first",
        state,
        Box::new(move || program::start_first(asked)),
    );
}

/// Ends the machine before there is a program; what has been said on standard error before that is seen.
fn fail(reason: &str) -> ! {
    drivers::console::flush();
    machine::log::fatal(format_args!("{reason}"))
}
