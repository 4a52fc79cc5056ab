//! The tables of processes and threads by their ids, and which threads a process has.
use super::{NAME_LEN, Pid, Process, ThreadState};
use crate::config;
use crate::process::LinuxThread;
use abi::Errno;
use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicU64, Ordering};
use machine::{
    sched::{Thread, Tid},
    sync::SpinLock,
};

/// All processes.
static PROCESSES: SpinLock<BTreeMap<Pid, Arc<Process>>> = SpinLock::new(BTreeMap::new());

/// Live user threads of all processes.
static THREADS: SpinLock<BTreeMap<Tid, Arc<Thread>>> = SpinLock::new(BTreeMap::new());

/// The threads of a process.
#[derive(Default)]
pub(super) struct Threads {
    /// Those that live.
    pub(super) live: SpinLock<BTreeMap<Tid, Arc<Thread>>>,
    /// CPU time of those that have ended, in nanoseconds.
    ended_cpu_ns: AtomicU64,
}

/// Enters a process.
pub(super) fn insert_process(process: &Arc<Process>) {
    PROCESSES.lock().insert(process.pid, process.clone());
}

/// The process `pid`.
pub fn find(pid: Pid) -> Option<Arc<Process>> {
    PROCESSES.lock().get(&pid).cloned()
}

/// Calls `f` with the process `pid`, which any of its threads' ids names, and 0 if it is the caller's; `ESRCH`.
pub fn with_process<R>(pid: Pid, f: impl FnOnce(&Process) -> R) -> Result<R, Errno> {
    let process = match pid {
        0 => return Ok(super::with_current(|process| f(process))),
        pid => find(pid).or_else(|| with_thread(pid, |thread| thread.linux().process.clone())),
    };
    process.map(|process| f(&process)).ok_or(Errno::ESRCH)
}

/// All processes, by their ids. Those that are made meanwhile may be missed.
pub fn processes() -> impl Iterator<Item = Arc<Process>> {
    let mut last = 0;
    core::iter::from_fn(move || {
        let next = PROCESSES.lock().range(last + 1..).next()?.1.clone();
        last = next.pid;
        Some(next)
    })
}

/// Enters the main thread, named after the program.
pub fn adopt_main(thread: &Arc<Thread>) {
    let path = config::get().args.first().map_or(&[][..], Vec::as_slice);
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
    thread
        .linux()
        .set_name(&name[..name.len().min(NAME_LEN - 1)]);
    insert(thread);
}

/// Enters a thread that has not run yet.
pub(super) fn insert(thread: &Arc<Thread>) {
    let threads = &thread.linux().process.threads;
    THREADS.lock().insert(thread.tid, Arc::clone(thread));
    threads.live.lock().insert(thread.tid, Arc::clone(thread));
}

/// Calls `f` with the thread `tid` (0: the calling one), if there is such a thread.
pub fn with_thread<R>(tid: Tid, f: impl FnOnce(&Thread) -> R) -> Option<R> {
    if tid == 0 {
        return Some(machine::sched::with_current(f));
    }
    let thread = THREADS.lock().get(&tid).map(Arc::clone)?;
    Some(f(&thread))
}

/// Whether there is a thread `tid`.
pub(super) fn contains(tid: Tid) -> bool {
    THREADS.lock().contains_key(&tid)
}

/// CPU time that the thread `tid` has used, in nanoseconds. May be called in interrupt context.
pub(super) fn thread_cpu_time_ns(tid: Tid) -> Option<u64> {
    // Under the lock: a reference of our own could be the last one.
    THREADS.lock().get(&tid).map(|thread| thread.cpu_time_ns())
}

/// CPU time that the process `pid` has used, in nanoseconds. May be called in interrupt context.
pub(super) fn process_cpu_time_ns(pid: Pid) -> Option<u64> {
    // As above.
    PROCESSES
        .lock()
        .get(&pid)
        .map(|process| process.cpu_time_ns())
}

/// Ids of the threads of all processes, ascending.
pub fn thread_ids() -> Vec<Tid> {
    THREADS.lock().keys().copied().collect()
}

impl Process {
    /// Takes an ending thread out; whether it was the last.
    pub(super) fn remove(&self, tid: Tid) -> bool {
        let thread = THREADS.lock().remove(&tid);
        let (removed, last) = {
            let mut threads = self.threads.live.lock();
            (threads.remove(&tid), threads.is_empty())
        };
        // Not under the locks: they may be the last references.
        drop(thread);
        if let Some(thread) = removed {
            let used = thread.cpu_time_ns();
            self.threads.ended_cpu_ns.fetch_add(used, Ordering::Relaxed);
        }
        last
    }

    /// Has all threads but `me` pass through `signal::deliver` soon.
    pub(super) fn kick_others(&self, me: Tid) {
        let threads = self.threads.live.lock();
        for thread in threads.values().filter(|thread| thread.tid != me) {
            thread.kick();
        }
    }

    /// Ids of its threads, ascending.
    pub fn thread_ids(&self) -> Vec<Tid> {
        self.threads.live.lock().keys().copied().collect()
    }

    /// CPU time that it has used, in nanoseconds. May be called in interrupt context.
    pub fn cpu_time_ns(&self) -> u64 {
        let threads = self.threads.live.lock();
        let live: u64 = threads.values().map(|thread| thread.cpu_time_ns()).sum();
        live + self.threads.ended_cpu_ns.load(Ordering::Relaxed)
    }
}

/// What a thread hands on to one that it starts: the process, the signal mask, the credentials and the name.
pub(super) fn inherited_state() -> ThreadState {
    machine::sched::with_current(|parent| ThreadState {
        signals: super::signal::ThreadSignals::new(parent.linux().signals.mask()),
        credentials: SpinLock::new(super::credentials::of(parent)),
        settings: parent.linux().settings.inherited(),
        name: SpinLock::new(*parent.linux().name.lock()),
        ..ThreadState::new(parent.linux().process.clone())
    })
}
