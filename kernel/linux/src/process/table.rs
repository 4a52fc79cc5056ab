//! The tables of processes and threads by their ids, and which threads a process has.
use super::{Pid, Process, ThreadState, transfers::Transfers, usage::Usage};
use crate::credentials::{self, Ids};
use crate::process::LinuxThread;
use abi::Errno;
use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use linux_raw_sys::general::{CAP_SYS_ADMIN, CAP_SYS_RESOURCE, RLIMIT_NPROC};
use machine::{
    mm::frame,
    sched::{Thread, Tid},
    sync::SpinLock,
};

/// The first process, with which the machine ends.
pub const FIRST: Pid = 1;

/// Ids are below this (`/proc/sys/kernel/pid_max`).
const MOST: Tid = 1 << 22;

/// Ids of processes and threads.
struct Numbers {
    /// The one to be tried next.
    next: AtomicI32,
    /// How many have been given.
    given: AtomicU64,
}

static NUMBERS: Numbers = Numbers {
    next: AtomicI32::new(FIRST),
    given: AtomicU64::new(0),
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
    /// What those that have ended have used, and the address spaces that there were.
    ended: SpinLock<Usage>,
    /// What those have read and written, and the process' children that it has waited for.
    ended_transfers: SpinLock<Transfers>,
}

impl Threads {
    /// Adds what one that has been taken out has used.
    fn ended(&self, thread: &Thread) {
        self.ended.lock().add(Usage::of_thread(thread));
        let transfers = &thread.linux().transfers;
        self.ended_transfers.lock().add_thread(transfers);
    }
}

/// An id for a new process or thread: one that was not used of late.
pub(super) fn new_id() -> Tid {
    loop {
        let next = |id| Some(if id + 1 == MOST { FIRST + 1 } else { id + 1 });
        let (Ok(id) | Err(id)) =
            NUMBERS
                .next
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        let is_used = contains(id) || PROCESSES.lock().values().any(|one| one.uses(id));
        if !is_used {
            NUMBERS.given.fetch_add(1, Ordering::Relaxed);
            return id;
        }
    }
}

/// How many processes and threads have been made since the machine was started.
pub fn made_count() -> u64 {
    NUMBERS.given.load(Ordering::Relaxed)
}

/// How many threads there may be: an eighth of memory for what the kernel needs for each, as on Linux.
pub fn most_threads() -> usize {
    /// Pages of a thread: its stack.
    const PAGES: usize = 4;
    (frame::counts().0 / (8 * PAGES)).max(20)
}

/// How many processes there may be, zombies among them: each is so large by itself that half of memory is taken then.
/// A copy of the dynamic linker, tables, stacks and the pages that a child changes first are some 200 KiB.
fn most_processes() -> usize {
    /// Pages of a process.
    const PAGES: usize = 64;
    (frame::counts().0 / (2 * PAGES)).max(20)
}

/// Whether the caller may make another thread or process; `EAGAIN`.
pub(super) fn check_count(is_process: bool) -> Result<(), Errno> {
    let most = most_threads();
    let is_full =
        THREADS.lock().len() >= most || (is_process && PROCESSES.lock().len() >= most_processes());
    let limit = super::with_current(|process| process.limits.soft(RLIMIT_NPROC));
    if is_full || usize::try_from(limit).is_ok_and(|limit| limit < most && is_over(limit)) {
        return Err(Errno::EAGAIN);
    }
    Ok(())
}

/// Whether the calling thread's user has `limit` threads, and must not have more. Root may, and who administers.
fn is_over(limit: usize) -> bool {
    let user = credentials::current().user.real;
    if user == 0 || [CAP_SYS_RESOURCE, CAP_SYS_ADMIN].map(credentials::capable) != [false; 2] {
        return false;
    }
    let threads = THREADS.lock();
    let own = threads
        .values()
        .filter(|thread| credentials::of(thread).user.real == user);
    own.count() >= limit
}

/// Calls `f` with the table of processes, locked.
pub(super) fn with_processes<R>(f: impl FnOnce(&mut BTreeMap<Pid, Arc<Process>>) -> R) -> R {
    f(&mut PROCESSES.lock())
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

/// The process of the thread `tid`. May be called in interrupt context.
pub fn process_of(tid: Tid) -> Option<Arc<Process>> {
    // Under the lock: a reference of our own to the thread could be the last one.
    let threads = THREADS.lock();
    threads
        .get(&tid)
        .map(|thread| thread.linux().process.clone())
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
    // As above. A zombie's time does not pass.
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
    /// Takes an ending thread out; whether it was the last. Without an id it is the one that loads the program: the
    /// main thread, which has not begun, ends with it.
    pub(super) fn remove(&self, tid: Tid) -> bool {
        let tid = if tid == 0 { self.pid } else { tid };
        let thread = THREADS.lock().remove(&tid);
        let (removed, last) = {
            let mut threads = self.threads.live.lock();
            (threads.remove(&tid), threads.is_empty())
        };
        // Not under the locks: they may be the last references.
        drop(thread);
        if let Some(thread) = removed {
            self.threads.ended(&thread);
        }
        last
    }

    /// The thread `old`, its only one, hands over to another one.
    pub(super) fn replace_thread(&self, old: Tid, new: &Arc<Thread>) {
        let removed = {
            let mut all = THREADS.lock();
            let mut threads = self.threads.live.lock();
            let removed = (all.remove(&old), threads.remove(&old));
            if let Some(before) = &removed.1 {
                new.linux().signals.succeed(&before.linux().signals);
            }
            all.insert(new.tid, Arc::clone(new));
            threads.insert(new.tid, Arc::clone(new));
            removed
        };
        if let Some(thread) = &removed.1 {
            self.threads.ended(thread);
        }
        // Not under the locks, as above.
        drop(removed);
    }

    /// Has all threads but `me` pass through `signal::deliver` soon.
    pub(super) fn kick_others(&self, me: Tid) {
        let threads = self.threads.live.lock();
        for thread in threads.values().filter(|thread| thread.tid != me) {
            thread.kick();
        }
    }

    /// Its main thread, if that has not ended.
    pub fn main_thread(&self) -> Option<Arc<Thread>> {
        self.threads.live.lock().get(&self.pid).cloned()
    }

    /// Who its main thread, if that has not ended, is to checks of permission. May be called in interrupt context.
    pub fn user(&self) -> Option<Ids> {
        let threads = self.threads.live.lock();
        let main = threads.get(&self.pid)?;
        Some(credentials::of(main).user)
    }

    /// Ids of its threads, ascending.
    pub fn thread_ids(&self) -> Vec<Tid> {
        self.threads.live.lock().keys().copied().collect()
    }

    /// CPU time that it has used, in nanoseconds. May be called in interrupt context.
    pub fn cpu_time_ns(&self) -> u64 {
        let threads = self.threads.live.lock();
        let live: u64 = threads.values().map(|thread| thread.cpu_time_ns()).sum();
        live + self.threads.ended.lock().cpu_ns
    }

    /// What its threads have used.
    pub(super) fn usage_of_threads(&self) -> Usage {
        let threads = self.threads.live.lock();
        let mut all = self.usage_of_ended();
        for thread in threads.values() {
            all.add(Usage::of_thread(thread));
        }
        all
    }

    /// What those that have ended have used.
    pub(super) fn usage_of_ended(&self) -> Usage {
        *self.threads.ended.lock()
    }

    /// It does not use an address space any more that had so many bytes in memory at most.
    pub(super) fn left_space(&self, most_resident: usize) {
        let mut ended = self.threads.ended.lock();
        ended.most_resident = ended.most_resident.max(most_resident);
    }

    /// What it has read and written, and its children that it has waited for.
    pub fn transfers(&self) -> Transfers {
        let mut all = Transfers::default();
        for thread in self.threads.live.lock().values() {
            all.add_thread(&thread.linux().transfers);
        }
        all.add(*self.threads.ended_transfers.lock());
        all
    }

    /// Adds what a child that it has waited for has read and written.
    pub(super) fn add_transfers(&self, child: Transfers) {
        self.threads.ended_transfers.lock().add(child);
    }
}

/// What a thread hands on to one that it starts, of this process: the signal mask, the credentials and the name.
pub fn inherited_state(process: Arc<Process>) -> ThreadState {
    machine::sched::with_current(|parent| ThreadState {
        signals: super::signal::ThreadSignals::new(parent.linux().signals.mask()),
        credentials: SpinLock::new(credentials::of(parent)),
        settings: parent.linux().settings.inherited(),
        name: SpinLock::new(*parent.linux().name.lock()),
        ..ThreadState::new(process)
    })
}
