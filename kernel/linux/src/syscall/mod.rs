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

use crate::{config, process::ptrace};
use abi::{Errno, SysResult};
use core::sync::atomic::{AtomicU64, Ordering};
use machine::arch::TrapFrame;
use machine::{record, sched};

/// Numbers up to here are remembered once reported.
const KNOWN: usize = 512;
static REPORTED: [AtomicU64; KNOWN / 64] = [const { AtomicU64::new(0) }; KNOWN / 64];

/// A system call of the program's; the result goes into `frame`.
/// Runs on the thread's kernel stack with interrupts on.
pub fn entry(frame: &mut TrapFrame) {
    if config::watches_calls() {
        return watched(frame);
    }
    let result = table::dispatch(frame);
    finish(frame, result);
}

fn finish(frame: &mut TrapFrame, result: SysResult) {
    frame.set_result(match result {
        Ok(value) => value as i64,
        Err(errno) => i64::from(-errno.0),
    });
}

/// A call that somebody may want to know of.
#[cold]
fn watched(frame: &mut TrapFrame) {
    let result = if ptrace::begin_call(frame) {
        shown(frame)
    } else {
        Ok(frame.system_call())
    };
    finish(frame, result);
    ptrace::end_call(frame);
}

/// Makes a call, which is shown or recorded if that is to be.
fn shown(frame: &mut TrapFrame) -> SysResult {
    let (start, number) = (record::start(), frame.system_call());
    // What runs on the loader thread, before the program, is ld.so's part and not the program's.
    let result = if config::get().trace && sched::current_tid() != 0 {
        traced(frame)
    } else {
        table::dispatch(frame)
    };
    if let Some(start) = start {
        record::call(start, number);
    }
    result
}

fn traced(frame: &mut TrapFrame) -> SysResult {
    let (number, arguments) = (frame.system_call(), frame.arguments());
    let call = trace::call(number, &arguments);
    let result = table::dispatch(frame);
    trace::result(number, &arguments, &call, result);
    result
}

/// `ENOSYS`; names a call that is not there, once.
fn absent(number: usize) -> SysResult {
    let bit = 1 << (number % 64);
    let first = REPORTED
        .get(number / 64)
        .is_none_or(|word| word.fetch_or(bit, Ordering::Relaxed) & bit == 0);
    if first {
        log::warn!("system call {} is not there", table::name(number));
    }
    Err(Errno::ENOSYS)
}
