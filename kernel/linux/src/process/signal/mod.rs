//! Signals: dispositions, masks, sending and waiting. [`deliver`] has their delivery, [`x86_64`] the frames of
//! handlers, [`stop`] what stops a process. Signals that a process ignores are dropped when they are sent, unless they
//! are blocked, as in Linux.
//!
//! Order of locks, outermost first: timers, dispositions ([`Sighand`]), what is pending for the process, its threads,
//! what is pending for one of them.
mod action;
mod deliver;
mod finish;
pub mod itimer;
pub mod owner;
mod queue;
mod sets;
mod sighand;
mod stop;
mod taker;
pub mod timer;
mod x86_64;

pub use action::{Action, AltStack};
pub use deliver::{begin_program, copy_lacks_memory, deliver, exception};
pub use finish::{InterruptedCall, finish};
pub use queue::SigInfo;
pub(crate) use queue::{QUEUE_LIMIT, bit};
pub use sets::SignalSets;
pub use sighand::Sighand;
pub(crate) use stop::{Stop, is_blocked_or_ignored};
pub use taker::Recipient;
use x86_64::fpstate;
pub(crate) use x86_64::frame::{self, stack_flags};
pub use x86_64::frame::{frame_size, sigreturn};

use super::{LinuxThread, Process, ThreadState};
use abi::{Errno, SysResult};
use action::STOP;
use alloc::{collections::BTreeMap, sync::Arc};
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};
use linux_raw_sys::general as linux;
use machine::{
    sched::{self, Thread, Tid},
    sync::{Signals, SpinLock, WaitError, WaitQueue, Waiter},
    time::Instant,
};
use queue::{Account, Queue};

/// Highest signal number.
pub const LAST: i32 = 64;

/// `frame.error` of a system call that is not to be restarted (any more), as Linux' `orig_rax` of -1.
pub(crate) const NO_RESTART: u64 = u64::MAX;

/// Signals that cannot be blocked, caught or ignored.
pub(crate) const UNBLOCKABLE: u64 = bit(linux::SIGKILL as i32) | bit(linux::SIGSTOP as i32);

const CONTINUE: u64 = bit(linux::SIGCONT as i32);

/// One thread's signal state.
pub(crate) struct ThreadSignals {
    /// Whether there may be something to deliver; changed under the lock of what is pending for the process, cleared by
    /// the thread itself only.
    deliverable: AtomicBool,
    /// What else is to be seen to on the way to the program: bits of [`attention`].
    attention: AtomicU32,
    /// Which stop of its process it does not take part in any more, as its tracer has had it go on.
    passed_stop: AtomicU32,
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
            attention: AtomicU32::new(0),
            passed_stop: AtomicU32::new(0),
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

    /// Sets the alternate stack of a thread that does not run yet.
    pub(crate) fn set_altstack(&self, stack: AltStack) {
        self.state.lock().altstack = stack;
    }

    /// What is pending for `before` is pending for this one, whose thread takes its place, and is looked at.
    pub(super) fn succeed(&self, before: &Self) {
        let queue = core::mem::replace(&mut before.state.lock().queue, Queue::new());
        self.state.lock().queue = queue;
        self.deliverable.store(true, Ordering::Release);
    }

    /// It is to be stopped with its process, if that is.
    pub(super) fn forget_stop(&self) {
        self.passed_stop.store(0, Ordering::Relaxed);
    }

    /// The blocked signals.
    pub(crate) fn mask(&self) -> u64 {
        self.state.lock().mask
    }
}

/// What a thread has to see to beside signals.
mod attention {
    /// A system call has met memory that cannot be had.
    pub(super) const LACKS_MEMORY: u32 = 1;
    /// It is traced, or was.
    pub(super) const TRACER: u32 = 2;
}

/// What is pending for a process, and what it may have pending.
pub(crate) struct SharedPending {
    queue: SpinLock<Queue>,
    account: Account,
    /// The last thread that was chosen to take a signal.
    #[doc(alias = "curr_target")]
    taker: AtomicI32,
}

impl Default for SharedPending {
    fn default() -> Self {
        Self {
            queue: SpinLock::new(Queue::new()),
            account: Account::default(),
            taker: AtomicI32::new(0),
        }
    }
}

/// What the current thread may take, under the locks.
struct Locked<'a> {
    shared: &'a mut Queue,
    state: &'a mut State,
    account: &'a Account,
}

impl Locked<'_> {
    /// Takes a signal in `wanted`, the thread's own first.
    fn pop(&mut self, wanted: u64) -> Option<SigInfo> {
        self.state
            .queue
            .pop(wanted, self.account)
            .or_else(|| self.shared.pop(wanted, self.account))
    }

    /// All that is pending.
    fn set(&self) -> u64 {
        self.state.queue.set() | self.shared.set()
    }
}

/// The threads of a process by their ids.
type Threads = BTreeMap<Tid, Arc<Thread>>;

/// A signal that a thread does not block is pending: it is to deliver it soon.
fn rouse(thread: &Thread) {
    let signals = &thread.linux().signals;
    signals.deliverable.store(true, Ordering::Release);
    thread.kick();
}

/// Whether a thread, which is `tid`, has something to deliver, or is to stop, with its process or because that ends
/// (cheap; called at each return to the program and by waits).
pub(super) fn pending(thread: &ThreadState, tid: Tid) -> bool {
    let process = &thread.process;
    thread.signals.deliverable.load(Ordering::Acquire)
        || thread.signals.attention.load(Ordering::Relaxed) != 0
        || process.is_held_up() && (stop::holds(thread, tid) || process.is_over_for(tid))
}

/// Has a thread look at what its tracer wants, before it goes on in the program.
pub(super) fn attend(thread: &Thread) {
    let signals = &thread.linux().signals;
    signals
        .attention
        .fetch_or(attention::TRACER, Ordering::Release);
    thread.kick();
}

/// Whether SIGKILL is pending for a thread, or for its process and this thread takes it.
pub(super) fn kill_pending(thread: &ThreadState) -> bool {
    let signals = &thread.signals;
    signals.deliverable.load(Ordering::Acquire) && {
        let shared = thread.process.signals.queue.lock().set();
        (shared | signals.state.lock().queue.set()) & bit(linux::SIGKILL as i32) != 0
    }
}

/// Sends a signal of the kernel's to the calling thread (SIGPIPE).
pub fn send_current(signal: i32) {
    let info = SigInfo::from_kernel(signal, linux::SI_KERNEL as i32, 0);
    let tid = sched::current_tid();
    super::with_current(|process| {
        // Only a full queue of real-time signals is an error, and the kernel sends none of those.
        let _ = process.send(Recipient::Thread(tid), info);
    });
}

impl Process {
    /// Sends it a signal of the kernel's (SIGALRM). May be called in interrupt context.
    pub(super) fn send_kernel(&self, to: Recipient, signal: i32) {
        let info = SigInfo::from_kernel(signal, linux::SI_KERNEL as i32, 0);
        // As above; that all threads have ended is no error either.
        let _ = self.send(to, info);
    }

    /// Sends a signal to a thread of it, or to itself; whether it is pending now, and not ignored. `ESRCH` without the
    /// thread, `EAGAIN` when there are too many. May be called in interrupt context.
    pub fn send(&self, to: Recipient, info: SigInfo) -> Result<bool, Errno> {
        let wanted = bit(info.signal);
        if self.is_first() && wanted & UNBLOCKABLE != 0 && info.is_from_other(self.pid) {
            // As with the init of a PID namespace (pid_namespaces(7)): only from outside.
            return Ok(false);
        }
        let sighand = self.sighand();
        let mut actions = sighand.0.lock();
        let ignored = actions.of(info.signal).ignores(info.signal);
        let mut shared = self.signals.queue.lock();
        let threads = self.threads.live.lock();
        if wanted & STOP != 0 {
            self.discard(&mut shared, &threads, CONTINUE);
        } else if wanted == CONTINUE {
            self.discard(&mut shared, &threads, STOP);
            self.stop.end();
            for thread in threads.values() {
                if thread.linux().tracing.notify() {
                    attend(thread);
                }
            }
        }
        // Linux, too, lets the main thread's mask decide whether an ignored signal for the process is kept.
        let thread = match to.thread() {
            Some(tid) => threads.get(&tid),
            None => threads.values().next(),
        };
        let account = &self.signals.account;
        let limit = self.limits.soft(linux::RLIMIT_SIGPENDING) as usize;
        let Some(thread) = thread else {
            if to.thread().is_some() {
                return Err(Errno::ESRCH);
            }
            // One that is about to begin finds it then ([`Self::find_takers`]); of one that has ended nothing comes.
            if !ignored {
                shared.push(info, account, limit)?;
            }
            return Ok(false);
        };
        let mut state = thread.linux().signals.state.lock();
        let is_traced = thread.linux().tracing.is_traced();
        if ignored && !is_traced && (state.mask | state.awaited) & wanted == 0 {
            return Ok(false);
        }
        if to.thread().is_none() {
            drop(state);
            shared.push(info, account, limit)?;
            self.signals.complete(&threads, wanted, to, self.pid);
        } else {
            state.queue.push(info, account, limit)?;
            if state.mask & wanted == 0 {
                drop(state);
                rouse(thread);
            }
        }
        ARRIVALS.announce();
        if wanted == bit(linux::SIGKILL as i32) {
            self.stop.let_die();
            let traced = |thread: &&Arc<Thread>| thread.linux().tracing.is_traced();
            threads
                .values()
                .filter(traced)
                .for_each(|thread| thread.kick());
        }
        Ok(true)
    }

    /// Forgets pending signals of it and of its threads. Threads' flags stay set: only a thread itself, on its way to
    /// the program, finds that nothing is left to deliver, and restarts the system call that the signal interrupted.
    fn discard(&self, shared: &mut Queue, threads: &Threads, set: u64) {
        shared.discard(set, &self.signals.account);
        for thread in threads.values() {
            let mut state = thread.linux().signals.state.lock();
            state.queue.discard(set, &self.signals.account);
        }
    }

    /// Forgets the pending signal of a POSIX timer of its. Flags stay set, as in [`Process::discard`].
    fn discard_timer(&self, id: i32, signal: i32, to: Option<Tid>) {
        let mut shared = self.signals.queue.lock();
        match to {
            None => shared.discard_timer(id, signal),
            Some(tid) => {
                if let Some(thread) = self.threads.live.lock().get(&tid) {
                    let mut state = thread.linux().signals.state.lock();
                    state.queue.discard_timer(id, signal);
                }
            }
        }
    }

    /// A thread that was one of its, and is not found any more, has ended: what is pending for it is forgotten, and
    /// what is pending for the process finds other takers.
    pub(super) fn retarget(&self, ended: &Thread) {
        let shared = self.signals.queue.lock();
        let mut state = ended.linux().signals.state.lock();
        state.queue.clear(&self.signals.account);
        drop(state);
        let threads = self.threads.live.lock();
        self.signals.retarget(&shared, &threads, u64::MAX);
    }

    /// Whether it does not want to wait for its children.
    pub(super) fn ignores_children(&self) -> bool {
        let sighand = self.sighand();
        let mut actions = sighand.0.lock();
        let action = actions.of(linux::SIGCHLD as i32);
        action.handler == Action::IGNORE || action.has(linux::SA_NOCLDWAIT)
    }

    /// Whether it wants to know of children that stop or go on.
    pub(super) fn hears_of_stops(&self) -> bool {
        let sighand = self.sighand();
        let mut actions = sighand.0.lock();
        let action = actions.of(linux::SIGCHLD as i32);
        action.is_handler() && !action.has(linux::SA_NOCLDSTOP)
    }

    /// Whether its SIGCHLD tells of those that it traces, too.
    pub(super) fn minds_stops(&self) -> bool {
        let sighand = self.sighand();
        let mut actions = sighand.0.lock();
        let action = actions.of(linux::SIGCHLD.cast_signed());
        action.handler != Action::IGNORE && !action.has(linux::SA_NOCLDSTOP)
    }

    /// Sends it a signal of the kernel's.
    pub(crate) fn send_signal(&self, signal: i32) {
        self.send_kernel(Recipient::Process, signal);
    }

    /// Stops all its timers. Nobody arms them again: it has ended.
    pub(super) fn end_timers(self: &Arc<Self>) {
        self.end_posix_timers();
        self.set_real_timer(0, 0);
        use itimer::CpuTime;
        for which in [CpuTime::Virtual, CpuTime::Prof, CpuTime::Limit] {
            self.set_cpu_timer(which, 0, 0);
        }
    }

    /// Replaces the action for `signal`, if `new` is given; the old one. `EINVAL` for SIGKILL and SIGSTOP.
    pub fn set_action(&self, signal: i32, new: Option<Action>) -> Result<Action, Errno> {
        if !(1..=LAST).contains(&signal) || (new.is_some() && bit(signal) & UNBLOCKABLE != 0) {
            return Err(Errno::EINVAL);
        }
        let sighand = self.sighand();
        let mut actions = sighand.0.lock();
        let old = *actions.of(signal);
        if let Some(new) = new {
            *actions.of(signal) = Action {
                mask: new.mask & !UNBLOCKABLE,
                flags: new.flags & Action::KNOWN_FLAGS,
                ..new
            };
            if new.ignores(signal) {
                let mut shared = self.signals.queue.lock();
                self.discard(&mut shared, &self.threads.live.lock(), bit(signal));
            }
        }
        Ok(old)
    }
}

/// What descriptors of signalfd(2) wait for.
pub struct Arrivals {
    count: AtomicU64,
    queue: WaitQueue,
}

/// Signals that have become pending, whosever: a descriptor may be inherited, and shows what is pending for who looks.
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
    let mut info = with_state(|locked| locked.pop(set))?;
    taken(&mut info);
    Some(info)
}

/// Whether the current thread may be in a handler: one that is left by `longjmp` does not tell when.
pub fn has_run_handlers() -> bool {
    with_state(|locked| locked.state.has_run_handlers)
}

/// Signals pending for the current thread, blocked or not.
pub fn pending_set() -> u64 {
    with_state(|locked| locked.set())
}

/// To be called, without locks, for each signal that is taken out of a queue: a timer that sent it starts its next
/// interval, and a POSIX timer's says how many the program has missed.
pub(crate) fn taken(info: &mut SigInfo) {
    super::with_current(|process| {
        process.alarm_signal_taken(info);
        process.timer_signal_taken(info);
    });
}

/// Changes the current thread's mask; the old one.
pub fn change_mask(change: impl FnOnce(u64) -> u64) -> u64 {
    with_state(|Locked { state, .. }| {
        let old = state.mask;
        state.mask = change(old) & !UNBLOCKABLE;
        old
    })
}

/// Whether the current thread blocks a signal.
pub(crate) fn is_blocked(signal: i32) -> bool {
    with_state(|locked| locked.state.mask & bit(signal) != 0)
}

/// The current thread's mask, as tracers see it: the one that it is to have when a call with another has ended.
pub(super) fn shown_mask() -> u64 {
    with_state(|locked| locked.state.saved_mask.unwrap_or(locked.state.mask))
}

/// Sets that, if it is another.
pub(super) fn change_shown_mask(mask: u64) {
    let mask = mask & !UNBLOCKABLE;
    with_state(|Locked { state, .. }| match &mut state.saved_mask {
        Some(saved) => *saved = mask,
        None => state.mask = mask,
    });
}

/// Calls `f` with what is pending for the current thread and its process, locked. Afterwards the thread's flag is
/// right, and signals of the process that it has blocked meanwhile have other takers.
fn with_state<R>(f: impl FnOnce(&mut Locked<'_>) -> R) -> R {
    sched::with_current(|thread| {
        let process = &thread.linux().process;
        let signals = &thread.linux().signals;
        let mut shared = process.signals.queue.lock();
        let mut state = signals.state.lock();
        let before = state.mask;
        let mut locked = Locked {
            shared: &mut shared,
            state: &mut state,
            account: &process.signals.account,
        };
        let result = f(&mut locked);
        let ready = locked.set() & !locked.state.mask != 0;
        signals.deliverable.store(ready, Ordering::Release);
        let blocked = state.mask & !before;
        drop(state);
        if shared.set() & blocked != 0 {
            let threads = process.threads.live.lock();
            process.signals.retarget(&shared, &threads, blocked);
        }
        result
    })
}

/// Signals pending for the current thread that it blocks.
pub fn blocked_pending() -> u64 {
    with_state(|locked| locked.set() & locked.state.mask)
}

/// Runs `f`, which waits, with another signal mask (`ppoll`, `sigsuspend`). When a signal ends the wait, the old mask
/// is back only after the handlers have run.
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
        with_state(|locked| locked.state.saved_mask = Some(old));
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

/// Takes a pending signal out of `set`, waiting for one until `deadline`: `EAGAIN` then, `EINTR` when another signal
/// comes first.
pub fn wait_for(set: u64, deadline: Option<Instant>) -> Result<SigInfo, Errno> {
    let set = set & !UNBLOCKABLE;
    let first = with_state(|locked| {
        let info = locked.pop(set);
        if info.is_none() {
            locked.state.awaited = locked.state.mask & set;
            locked.state.mask &= !set;
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
    let mut info = with_state(|locked| {
        locked.state.mask |= locked.state.awaited;
        locked.state.awaited = 0;
        locked.pop(set)
    });
    if let Some(info) = &mut info {
        taken(info);
    }
    info.ok_or(error)
}

/// The current thread's alternate stack.
pub fn altstack() -> AltStack {
    with_state(|locked| locked.state.altstack)
}

/// Sets the current thread's alternate stack.
pub fn set_altstack(stack: AltStack) {
    with_state(|locked| locked.state.altstack = stack);
}
