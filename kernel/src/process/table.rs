//! The thread table: every user thread by its id.
use super::{NAME_LEN, ThreadState};
use crate::{
    boot::config,
    sched::{Thread, Tid},
    sync::SpinLock,
};
use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicU64, Ordering};

/// Live user threads.
pub(super) static THREADS: SpinLock<BTreeMap<Tid, Arc<Thread>>> = SpinLock::new(BTreeMap::new());

/// CPU time of threads that have ended, in nanoseconds.
static ENDED_CPU_NS: AtomicU64 = AtomicU64::new(0);

/// Enters the main thread, named after the program.
pub fn adopt_main(thread: &Arc<Thread>) {
    let path = config::get().args.first().map_or(&[][..], Vec::as_slice);
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
    thread.state.set_name(&name[..name.len().min(NAME_LEN - 1)]);
    insert(thread);
}

/// Enters a thread that has not run yet.
pub(super) fn insert(thread: &Arc<Thread>) {
    THREADS.lock().insert(thread.tid, Arc::clone(thread));
}

/// Takes an ending thread out; whether it was the last.
pub(super) fn remove(tid: Tid) -> bool {
    let (removed, last) = {
        let mut threads = THREADS.lock();
        (threads.remove(&tid), threads.is_empty())
    };
    if let Some(thread) = removed {
        ENDED_CPU_NS.fetch_add(thread.cpu_time_ns(), Ordering::Relaxed);
    }
    last
}

/// Calls `f` with the thread `tid` (0: the calling one), if there is such a thread.
pub fn with_thread<R>(tid: Tid, f: impl FnOnce(&Thread) -> R) -> Option<R> {
    if tid == 0 {
        return Some(crate::sched::with_current(f));
    }
    let thread = THREADS.lock().get(&tid).map(Arc::clone)?;
    Some(f(&thread))
}

/// Whether there is a thread `tid`.
pub(super) fn contains(tid: Tid) -> bool {
    THREADS.lock().contains_key(&tid)
}

/// Has all threads but `me` pass through `signal::deliver` soon.
pub(super) fn kick_others(me: Tid) {
    let threads = THREADS.lock();
    for thread in threads.values().filter(|thread| thread.tid != me) {
        thread.kick();
    }
}

/// CPU time that the thread `tid` has used, in nanoseconds. May be called in interrupt context.
pub(super) fn thread_cpu_time_ns(tid: Tid) -> Option<u64> {
    // Under the lock: a reference of our own could be the last one.
    THREADS.lock().get(&tid).map(|thread| thread.cpu_time_ns())
}

/// Ids of all user threads, ascending.
pub fn thread_ids() -> Vec<Tid> {
    THREADS.lock().keys().copied().collect()
}

/// CPU time that the process has used, in nanoseconds.
pub fn cpu_time_ns() -> u64 {
    let threads = THREADS.lock();
    let live: u64 = threads.values().map(|thread| thread.cpu_time_ns()).sum();
    live + ENDED_CPU_NS.load(Ordering::Relaxed)
}

/// What a thread hands on to one that it starts: the signal mask, the credentials and the name.
pub(super) fn inherited_state() -> ThreadState {
    crate::sched::with_current(|parent| ThreadState {
        signals: super::signal::ThreadSignals::new(parent.state.signals.mask()),
        credentials: SpinLock::new(super::credentials::of(parent)),
        name: SpinLock::new(*parent.state.name.lock()),
        ..ThreadState::default()
    })
}
