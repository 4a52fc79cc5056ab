//! Signals and the loader's locks.
//!
//! A signal handler may call anything in here, so no handler may run while its thread holds a lock of the loader's, the
//! allocator's among them: all signals are blocked then. They are let through where the loader runs the program's code
//! or waits for other threads' loads, with no more blocked than the program had. What neither locks nor allocates (see
//! [`Loader::enter`](crate::loader::Loader::enter)) stays as it is, and makes no system call for it.

use core::sync::atomic::AtomicU32;

use crate::host::Host;
use crate::tls;

/// Does something that takes locks or allocates.
pub(crate) fn undisturbed<R>(host: &dyn Host, work: impl FnOnce() -> R) -> R {
    let blocked = tls::current(host.thread_pointer()).map(|record| &record.blocked);
    let Some(blocked) = blocked.filter(|blocked| blocked.get().is_none()) else {
        // In a thread that has no record no handler of the program's runs; elsewhere they are blocked already.
        return work();
    };
    let before = host.block_signals();
    blocked.set(Some(before));
    let result = work();
    // A thread that has freed its own control block has no record any more; else, calls of the program's functions may
    // have changed what it wants blocked.
    let before = tls::current(host.thread_pointer()).map_or(Some(before), |it| it.blocked.take());
    if let Some(before) = before {
        host.unblock_signals(before);
    }
    result
}

/// Does something that needs no lock which the thread holds, with signals as the program wants them.
pub(crate) fn disturbed<R>(host: &dyn Host, work: impl FnOnce() -> R) -> R {
    let record = tls::current(host.thread_pointer());
    let blocked = record.and_then(|record| record.blocked.take());
    if let Some(before) = blocked {
        host.unblock_signals(before);
    }
    let result = in_the_same_gate(host, work);
    if let (Some(record), Some(_)) = (record, blocked) {
        // The program may want others blocked by now.
        record.blocked.set(Some(host.block_signals()));
    }
    result
}

/// Runs code of the program, which may come into the loader again and leave it in the middle.
pub(crate) fn in_the_same_gate<R>(host: &dyn Host, work: impl FnOnce() -> R) -> R {
    let gate = tls::current(host.thread_pointer()).map(|record| (record, record.gate.get()));
    let result = work();
    if let Some((record, mark)) = gate {
        record.gate.set(mark);
    }
    result
}

/// Calls a function of the program; see [`Host::call`].
///
/// # Safety
///
/// As [`Host::call`].
pub(crate) unsafe fn call(host: &dyn Host, function: usize, arguments: [usize; 4]) -> usize {
    // SAFETY: the caller says that the function can take these arguments.
    disturbed(host, || unsafe { host.call(function, arguments) })
}

/// Calls a function of the program with all signals blocked.
///
/// # Safety
///
/// As [`Host::call`].
pub(crate) unsafe fn call_undisturbed(
    host: &dyn Host,
    function: usize,
    arguments: [usize; 4],
) -> usize {
    undisturbed(host, || {
        // SAFETY: the caller says that the function can take these arguments.
        in_the_same_gate(host, || unsafe { host.call(function, arguments) })
    })
}

/// Sleeps until another thread's load has come further; see [`Host::wait_with_handlers`].
pub(crate) fn wait(host: &dyn Host, word: &AtomicU32, value: u32) {
    disturbed(host, || host.wait_with_handlers(word, value));
}
