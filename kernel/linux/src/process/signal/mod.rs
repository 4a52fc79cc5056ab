//! Signals: dispositions, masks, sending and waiting. [`deliver`] has their delivery, [`frame`] the frames of handlers, [`stop`] what
//! stops the program. Signals that the program ignores are dropped when they are sent, unless they are blocked, as in Linux.
mod action;
mod deliver;
mod finish;
mod fpstate;
pub(crate) mod frame;
pub mod itimer;
mod queue;
mod stop;
pub mod timer;

pub use action::{Action, AltStack};
pub use deliver::{deliver, exception};
pub use finish::{InterruptedCall, finish};
pub(crate) use frame::stack_flags;
pub use frame::{frame_size, sigreturn};
pub use queue::SigInfo;
pub use queue::set_limit;
pub(crate) use queue::{QUEUE_LIMIT, bit};

use super::{exit, table::THREADS};
use crate::process::LinuxThread;
use abi::{Errno, SysResult};
use alloc::{collections::BTreeMap, sync::Arc};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use linux_raw_sys::general as linux;
use machine::{
    sched::{self, Thread, Tid},
    sync::{Signals, SpinLock, WaitError, WaitQueue, Waiter},
    time::Instant,
};
use queue::Queue;
use stop::STOP;

/// Highest signal number.
pub const LAST: i32 = 64;

/// `frame.error` of a system call that is not to be restarted (any more), as Linux' `orig_rax` of -1.
pub(crate) const NO_RESTART: u64 = u64::MAX;

/// Signals that cannot be blocked, caught or ignored.
pub(crate) const UNBLOCKABLE: u64 = bit(linux::SIGKILL as i32) | bit(linux::SIGSTOP as i32);

const CONTINUE: u64 = bit(linux::SIGCONT as i32);

/// One thread's signal state.
pub(crate) struct ThreadSignals {
    /// Whether there may be something to deliver; changed under the lock of `SHARED`, cleared by the thread itself only.
    deliverable: AtomicBool,
    state: SpinLock<State>,
}

struct State {
    /// Blocked signals.
    mask: u64,
    /// Signals that `rt_sigtimedwait` has unblocked for its wait.
    awaited: u64,
    /// The mask to put back once the signals that ended a `with_mask` have been delivered.
    saved_mask: Option<u64>,
    queue: Queue,
    altstack: AltStack,
    /// Whether a handler has ever been called.
    has_run_handlers: bool,
    /// The last exception that became a signal: signal frames show it, whatever their signal.
    trap: Trap,
}

/// An exception as signal frames have it.
#[derive(Clone, Copy, Debug, Default)]
struct Trap {
    vector: u64,
    error: u64,
    /// CR2 of the last one that was a page fault.
    addr: u64,
}

impl ThreadSignals {
    /// No signals pending, `mask` blocked.
    pub(crate) fn new(mask: u64) -> Self {
        Self {
            deliverable: AtomicBool::new(false),
            state: SpinLock::new(State {
                mask,
                awaited: 0,
                saved_mask: None,
                queue: Queue::new(),
                altstack: AltStack::default(),
                has_run_handlers: false,
                trap: Trap::default(),
            }),
        }
    }

    /// The blocked signals.
    pub(crate) fn mask(&self) -> u64 {
        self.state.lock().mask
    }
}

/// What all threads share.
struct Shared {
    actions: [Action; LAST as usize],
    queue: Queue,
}

static SHARED: SpinLock<Shared> = SpinLock::new(Shared {
    actions: [Action::DEFAULT; LAST as usize],
    queue: Queue::new(),
});

impl Shared {
    fn action(&mut self, signal: i32) -> &mut Action {
        &mut self.actions[(signal - 1) as usize]
    }

    /// Sets the thread's flag to whether it has something to deliver.
    fn update(&self, thread: &Thread, state: &State) {
        let ready = (state.queue.set() | self.queue.set()) & !state.mask != 0;
        thread
            .linux()
            .signals
            .deliverable
            .store(ready, Ordering::Release);
    }

    /// Forgets pending signals of the process and of its threads. Threads' flags stay set: only a thread itself, on its way to the
    /// program, finds that nothing is left to deliver, and restarts the system call that the signal interrupted.
    fn discard(&mut self, threads: &BTreeMap<Tid, Arc<Thread>>, set: u64) {
        self.queue.discard(set);
        for thread in threads.values() {
            thread.linux().signals.state.lock().queue.discard(set);
        }
    }

    /// Has a thread that does not block it take each of the process's pending signals in `set`.
    fn assign(threads: &BTreeMap<Tid, Arc<Thread>>, mut set: u64) {
        while set != 0 {
            let lowest = set & set.wrapping_neg();
            set &= !lowest;
            let taker = threads
                .values()
                .find(|thread| thread.linux().signals.state.lock().mask & lowest == 0);
            if let Some(thread) = taker {
                rouse(thread);
            }
        }
    }
}

/// A signal that a thread does not block is pending: it is to deliver it soon.
fn rouse(thread: &Thread) {
    let signals = &thread.linux().signals;
    signals.deliverable.store(true, Ordering::Release);
    thread.kick();
}

/// Whether a thread has something to deliver, or is to stop, with the program or because that ends (cheap; called at each
/// return to the program and by waits).
pub(super) fn pending(thread: &Thread) -> bool {
    thread.linux().signals.deliverable.load(Ordering::Acquire)
        || stop::holds(thread.tid)
        || exit::is_over_for(thread.tid)
}

/// Sends a signal of the kernel's to the process (the terminal's SIGINT, SIGALRM). May be called in interrupt context.
pub fn send_process(signal: i32) {
    // Only a full queue of real-time signals is an error, and the kernel sends none of those.
    let _ = send(
        None,
        SigInfo::from_kernel(signal, linux::SI_KERNEL as i32, 0),
    );
}

/// Sends a signal of the kernel's to one thread, if it is still there (SIGPIPE).
pub fn send_thread(tid: Tid, signal: i32) {
    let info = SigInfo::from_kernel(signal, linux::SI_KERNEL as i32, 0);
    // The error is that the thread has ended: nobody is left to be told.
    let _ = send(Some(tid), info);
}

/// Sends a signal to one thread, or to the process; whether it is pending now, and not ignored. `ESRCH` without the thread, `EAGAIN`
/// when the queue is full.
pub fn send(to: Option<Tid>, info: SigInfo) -> Result<bool, Errno> {
    let wanted = bit(info.signal);
    let mut shared = SHARED.lock();
    let ignored = shared.action(info.signal).ignores(info.signal);
    let threads = THREADS.lock();
    if wanted & STOP != 0 {
        shared.discard(&threads, CONTINUE);
    } else if wanted == CONTINUE {
        shared.discard(&threads, STOP);
        stop::end();
    }
    // Linux, too, lets the main thread's mask decide whether an ignored signal for the process is kept.
    let thread = match to {
        Some(tid) => threads.get(&tid),
        None => threads.values().next(),
    };
    let thread = thread.ok_or(Errno::ESRCH)?;
    let mut state = thread.linux().signals.state.lock();
    if ignored && (state.mask | state.awaited) & wanted == 0 {
        return Ok(false);
    }
    if to.is_none() {
        drop(state);
        shared.queue.push(info)?;
        Shared::assign(&threads, wanted);
    } else {
        state.queue.push(info)?;
        if state.mask & wanted == 0 {
            drop(state);
            rouse(thread);
        }
    }
    ARRIVALS.announce();
    if wanted == bit(linux::SIGKILL as i32) {
        stop::let_die();
    }
    Ok(true)
}

/// What descriptors of signalfd(2) wait for.
pub struct Arrivals {
    count: AtomicU64,
    queue: WaitQueue,
}

/// Signals that have become pending.
pub static ARRIVALS: Arrivals = Arrivals {
    count: AtomicU64::new(0),
    queue: WaitQueue::new(),
};

impl Arrivals {
    fn announce(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.queue.wake_all();
    }

    /// How many there have been.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Is woken when there is another.
    pub fn queue(&self) -> &WaitQueue {
        &self.queue
    }
}

/// Takes a signal in `set` that is pending for the current thread, if there is one.
pub fn take(set: u64) -> Option<SigInfo> {
    let set = set & !UNBLOCKABLE;
    let mut info =
        with_state(|shared, state| state.queue.pop(set).or_else(|| shared.queue.pop(set)))?;
    taken(&mut info);
    Some(info)
}

/// Whether the current thread may be in a handler: one that is left by `longjmp` does not tell when.
pub fn has_run_handlers() -> bool {
    with_state(|_, state| state.has_run_handlers)
}

/// Signals pending for the current thread, blocked or not.
pub fn pending_set() -> u64 {
    with_state(|shared, state| state.queue.set() | shared.queue.set())
}

/// Forgets the pending signal of a POSIX timer. Flags stay set, as in [`Shared::discard`].
fn discard_timer(id: i32, signal: i32, to: Option<Tid>) {
    let mut shared = SHARED.lock();
    match to {
        None => shared.queue.discard_timer(id, signal),
        Some(tid) => {
            if let Some(thread) = THREADS.lock().get(&tid) {
                let mut state = thread.linux().signals.state.lock();
                state.queue.discard_timer(id, signal);
            }
        }
    }
}

/// To be called, without locks, for each signal that is taken out of a queue: a timer that sent it starts its next interval, and a
/// POSIX timer's says how many the program has missed.
pub(crate) fn taken(info: &mut SigInfo) {
    itimer::taken(info);
    timer::taken(info);
}

/// Finds takers for the process's pending signals after a thread has ended.
pub(super) fn retarget_all() {
    let shared = SHARED.lock();
    Shared::assign(&THREADS.lock(), shared.queue.set());
}

/// Replaces the action for `signal`, if `new` is given; the old one. `EINVAL` for SIGKILL and SIGSTOP.
pub fn set_action(signal: i32, new: Option<Action>) -> Result<Action, Errno> {
    if !(1..=LAST).contains(&signal) || (new.is_some() && bit(signal) & UNBLOCKABLE != 0) {
        return Err(Errno::EINVAL);
    }
    let mut shared = SHARED.lock();
    let old = *shared.action(signal);
    if let Some(new) = new {
        *shared.action(signal) = Action {
            mask: new.mask & !UNBLOCKABLE,
            flags: new.flags & Action::KNOWN_FLAGS,
            ..new
        };
        if new.ignores(signal) {
            shared.discard(&THREADS.lock(), bit(signal));
        }
    }
    Ok(old)
}

/// Changes the current thread's mask; the old one.
pub fn change_mask(change: impl FnOnce(u64) -> u64) -> u64 {
    with_state(|_, state| {
        let old = state.mask;
        state.mask = change(old) & !UNBLOCKABLE;
        old
    })
}

/// Calls `f` with the locked signal state of the process and of the current thread. Afterwards the thread's flag is right, and
/// signals of the process that it has blocked meanwhile have other takers.
fn with_state<R>(f: impl FnOnce(&mut Shared, &mut State) -> R) -> R {
    let mut shared = SHARED.lock();
    let (result, blocked) = sched::with_current(|thread| {
        let mut state = thread.linux().signals.state.lock();
        let before = state.mask;
        let result = f(&mut shared, &mut state);
        shared.update(thread, &state);
        (result, state.mask & !before)
    });
    let orphaned = shared.queue.set() & blocked;
    if orphaned != 0 {
        Shared::assign(&THREADS.lock(), orphaned);
    }
    result
}

/// Signals pending for the current thread that it blocks.
pub fn blocked_pending() -> u64 {
    with_state(|shared, state| (state.queue.set() | shared.queue.set()) & state.mask)
}

/// Runs `f`, which waits, with another signal mask (`ppoll`, `sigsuspend`). When a signal ends the wait, the old mask is back only
/// after the handlers have run.
pub fn with_mask(mask: Option<u64>, f: impl FnOnce() -> SysResult) -> SysResult {
    let Some(mask) = mask else {
        return f();
    };
    let old = change_mask(|_| mask);
    let result = f();
    let interrupted = matches!(
        result,
        Err(Errno::EINTR
            | Errno::ERESTARTSYS
            | Errno::ERESTARTNOINTR
            | Errno::ERESTARTNOHAND
            | Errno::ERESTART_RESTARTBLOCK)
    );
    if interrupted && sched::signal_pending() {
        with_state(|_, state| state.saved_mask = Some(old));
    } else {
        change_mask(|_| old);
    }
    result
}

/// Waits until a signal has a handler to run or ends the program.
pub fn pause() -> SysResult {
    let waiter = Waiter::new();
    // A wake-up without a signal is not the end of the wait.
    while waiter.wait(None, Signals::Interrupt).is_ok() {}
    Err(Errno::ERESTARTNOHAND)
}

/// Takes a pending signal out of `set`, waiting for one until `deadline`: `EAGAIN` then, `EINTR` when another signal comes first.
pub fn wait_for(set: u64, deadline: Option<Instant>) -> Result<SigInfo, Errno> {
    let set = set & !UNBLOCKABLE;
    let take = |shared: &mut Shared, state: &mut State| {
        state.queue.pop(set).or_else(|| shared.queue.pop(set))
    };
    let first = with_state(|shared, state| {
        let info = take(shared, state);
        if info.is_none() {
            state.awaited = state.mask & set;
            state.mask &= !set;
        }
        info
    });
    if let Some(mut info) = first {
        taken(&mut info);
        return Ok(info);
    }
    let waiter = Waiter::new();
    let error = loop {
        match waiter.wait(deadline, Signals::Interrupt) {
            Ok(()) => {}
            Err(WaitError::TimedOut) => break Errno::EAGAIN,
            Err(WaitError::Interrupted) => break Errno::EINTR,
        }
    };
    let mut info = with_state(|shared, state| {
        state.mask |= state.awaited;
        state.awaited = 0;
        take(shared, state)
    });
    if let Some(info) = &mut info {
        taken(info);
    }
    info.ok_or(error)
}

/// The current thread's alternate stack.
pub fn altstack() -> AltStack {
    with_state(|_, state| state.altstack)
}

/// Sets the current thread's alternate stack.
pub fn set_altstack(stack: AltStack) {
    with_state(|_, state| state.altstack = stack);
}
