//! System calls: the table, dispatch, trace.
pub mod fs;
pub mod ipc;
pub mod mm;
pub mod net;
pub mod process;
pub(crate) mod restart;
pub mod signal;
mod table;
pub(crate) use table::name;
pub mod time;
mod trace;

use crate::config;
use abi::Errno;
use core::sync::atomic::{AtomicU64, Ordering};
use machine::arch::TrapFrame;
use machine::{record, sched};

/// Numbers up to here are remembered once reported.
const KNOWN: usize = 512;
static REPORTED: [AtomicU64; KNOWN / 64] = [const { AtomicU64::new(0) }; KNOWN / 64];

/// A system call of the program's; the result goes into `frame`.
/// Runs on the thread's kernel stack with interrupts on.
pub fn entry(frame: &mut TrapFrame) {
    let number = frame.system_call();
    let arguments = frame.arguments();
    // What runs on the loader thread, before the program, is ld.so's part and not the program's.
    let traced =
        (config::get().trace && sched::current_tid() != 0).then(|| trace::call(number, &arguments));
    let start = record::start();
    let result = table::dispatch(number, &arguments, frame).unwrap_or_else(|| {
        report(number);
        Err(Errno::ENOSYS)
    });
    if let Some(start) = start {
        record::call(start, number);
    }
    if let Some(call) = traced {
        trace::result(number, &arguments, &call, result);
    }
    frame.set_result(match result {
        Ok(value) => value as i64,
        Err(errno) => i64::from(-errno.0),
    });
}

/// Names a call that is not there, once.
fn report(number: usize) {
    let bit = 1 << (number % 64);
    let first = REPORTED
        .get(number / 64)
        .is_none_or(|word| word.fetch_or(bit, Ordering::Relaxed) & bit == 0);
    if first {
        log::warn!("system call {} is not there", table::name(number));
    }
}
