//! Run queues and the switch from one thread to the next.
//!
//! A thread that is woken while some CPU still uses its stack goes to that CPU's queue, and nobody else takes it from
//! there: so a thread never runs on two stacks' worth of CPUs, and no CPU waits for another in the middle of a switch.

use super::thread::{Run, Thread, read_fs_base, write_fs_base};
use crate::arch::{TrapFrame, cpu, percpu, trap};
use crate::sync::SpinLock;
use crate::time::{Instant, timer};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use x86_64::instructions::interrupts;

/// How long a thread runs while others wait, in nanoseconds.
const SLICE: u64 = 4_000_000;

/// One CPU's part of the scheduler.
struct Local {
    queue: SpinLock<VecDeque<Arc<Thread>>>,
    /// Length of the queue, for those who look without the lock.
    waiting: AtomicUsize,
    /// When the running thread's slice ends; 0: nobody waits.
    slice_end: AtomicU64,
    idle: SpinLock<Option<Arc<Thread>>>,
    /// The thread that was running before, until it is off the CPU: address from `Arc::into_raw`.
    previous: AtomicUsize,
}

static LOCALS: [Local; cpu::MOST] = [const {
    Local {
        queue: SpinLock::new(VecDeque::new()),
        waiting: AtomicUsize::new(0),
        slice_end: AtomicU64::new(0),
        idle: SpinLock::new(None),
        previous: AtomicUsize::new(0),
    }
}; cpu::MOST];

unsafe extern "C" {
    fn elfin_switch(save: *mut usize, stack_pointer: usize);
}

fn local() -> &'static Local {
    &LOCALS[percpu::this().id]
}

/// Makes what runs now this CPU's idle thread. Interrupts are off.
pub(crate) fn init() {
    let idle = Thread::idle().unwrap_or_else(|| panic!("no memory for an idle thread"));
    let this = percpu::this().id;
    idle.cpu.store(this, Ordering::Relaxed);
    *LOCALS[this].idle.lock() = Some(idle.clone());
    percpu::set_current_address(Arc::into_raw(idle).expose_provenance());
}

/// Turns the code that runs into this CPU's idle thread.
pub(crate) fn become_idle() -> ! {
    if percpu::current_address() == 0 {
        init();
    }
    loop {
        interrupts::disable();
        cpu::enter_idle();
        let has_work = local().waiting.load(Ordering::SeqCst) != 0 || find_work();
        if has_work {
            percpu::this().need_resched.store(false, Ordering::Relaxed);
            schedule(Leaving::Ready);
        } else if !percpu::this().need_resched.swap(false, Ordering::Relaxed) {
            interrupts::enable_and_hlt();
        }
    }
}

/// Whether another CPU's queue holds a thread this CPU may take.
fn find_work() -> bool {
    let this = percpu::this().id;
    LOCALS[..cpu::count()]
        .iter()
        .enumerate()
        .any(|(index, other)| {
            index != this
                && other.waiting.load(Ordering::Relaxed) != 0
                && other
                    .queue
                    .lock()
                    .iter()
                    .any(|thread| stealable(thread, this))
        })
}

fn stealable(thread: &Thread, cpu: usize) -> bool {
    !thread.on_cpu.load(Ordering::Acquire) && thread.may_run_on(cpu)
}

impl Local {
    fn push(&self, thread: Arc<Thread>) {
        let mut queue = self.queue.lock();
        queue.push_back(thread);
        self.waiting.store(queue.len(), Ordering::SeqCst);
    }

    fn take(&self, wanted: impl Fn(&Thread) -> bool) -> Option<Arc<Thread>> {
        let mut queue = self.queue.lock();
        let place = queue.iter().position(|thread| wanted(thread))?;
        let thread = queue.remove(place);
        self.waiting.store(queue.len(), Ordering::SeqCst);
        thread
    }
}

/// Puts a thread that is ready on a queue, and sees to it that a CPU looks there.
pub(super) fn enqueue(thread: Arc<Thread>) {
    interrupts::without_interrupts(|| {
        let last = thread.cpu();
        let target = if thread.on_cpu.load(Ordering::Acquire) {
            last
        } else {
            choose(&thread, last)
        };
        thread.cpu.store(target, Ordering::Relaxed);
        LOCALS[target].push(thread);
        notify(target);
    });
}

/// The CPU a woken thread should run on: its last one if idle, else an idle one, else the one with the least to do.
fn choose(thread: &Thread, last: usize) -> usize {
    let is_idle = |index: usize| {
        thread.may_run_on(index)
            && LOCALS[index].waiting.load(Ordering::Relaxed) == 0
            && cpu::get(index).is_some_and(|cpu| cpu.idle.load(Ordering::Relaxed))
    };
    if is_idle(last) {
        return last;
    }
    let cpus = cpu::count();
    if let Some(idle) = (0..cpus).find(|&index| is_idle(index)) {
        return idle;
    }
    (0..cpus)
        .filter(|&index| thread.may_run_on(index))
        .min_by_key(|&index| (LOCALS[index].waiting.load(Ordering::Relaxed), index != last))
        .unwrap_or(last)
}

/// A CPU has something on its queue.
fn notify(target: usize) {
    let Some(cpu) = cpu::get(target) else { return };
    if target == percpu::this().id {
        if cpu.idle.load(Ordering::SeqCst) {
            cpu.need_resched.store(true, Ordering::Relaxed);
        } else {
            begin_slice();
        }
    } else {
        // Idle: it wakes. Busy: it begins a time slice (see `tick`).
        cpu::send_reschedule(cpu);
    }
}

/// Gives the running thread a time slice, if it has none yet.
fn begin_slice() {
    let local = local();
    if local.slice_end.load(Ordering::Relaxed) == 0 {
        local
            .slice_end
            .store(Instant::now().0 + SLICE, Ordering::Relaxed);
        timer::rearm();
    }
}

/// When this CPU's time slice ends, if others wait.
pub(crate) fn slice_end() -> Option<u64> {
    if percpu::current_address() == 0 {
        return None;
    }
    Some(local().slice_end.load(Ordering::Relaxed)).filter(|&end| end != 0)
}

/// The timer has fired: is the slice over?
pub(crate) fn tick() {
    if slice_end().is_some_and(|end| Instant::now().0 >= end) {
        local().slice_end.store(0, Ordering::Relaxed);
        percpu::this().need_resched.store(true, Ordering::Relaxed);
    }
}

/// Called on the way back to the program when something asked for it. Interrupts are off.
pub fn reschedule() {
    percpu::this().need_resched.store(false, Ordering::Relaxed);
    let local = local();
    if local.waiting.load(Ordering::SeqCst) == 0 {
        let allowed = super::with_current(|thread| thread.may_run_on(percpu::this().id));
        if allowed {
            return;
        }
    } else {
        let end = local.slice_end.load(Ordering::Relaxed);
        if end != 0 && Instant::now().0 < end {
            // A reschedule interrupt that came only to say that somebody waits.
            return;
        }
        if end == 0 && super::with_current(fresh) {
            begin_slice();
            return;
        }
    }
    schedule(Leaving::Ready);
}

/// Whether the running thread has not yet run for a slice's time.
fn fresh(thread: &Thread) -> bool {
    Instant::now()
        .0
        .saturating_sub(thread.since.load(Ordering::Relaxed))
        < SLICE
}

/// Lets others run.
pub fn yield_now() {
    interrupts::without_interrupts(|| {
        if local().waiting.load(Ordering::SeqCst) != 0 {
            schedule(Leaving::Ready);
        }
    });
}

/// Sleeps until [`Thread::unpark`], or not at all if that has been called since the last time. May return early.
pub fn park() {
    interrupts::without_interrupts(|| {
        let parked = super::with_current(|thread| {
            let mut run = thread.run.lock();
            if thread.token.swap(false, Ordering::SeqCst) {
                return false;
            }
            *run = Run::Parked;
            true
        });
        if parked {
            schedule(Leaving::Parked);
            super::with_current(|thread| thread.token.store(false, Ordering::SeqCst));
        }
    });
}

impl Thread {
    /// Ends the thread's [`park`], or its next one.
    pub fn unpark(&self) {
        let mut run = self.run.lock();
        self.token.store(true, Ordering::SeqCst);
        if *run == Run::Parked {
            *run = Run::Ready;
            drop(run);
            enqueue(self.handle());
        }
    }
}

/// Ends the current thread. Its kernel stack and FPU area are freed once it is off the CPU.
pub fn exit_current() -> ! {
    interrupts::disable();
    schedule(Leaving::Ended);
    unreachable!("a thread that has ended runs again")
}

/// Why a thread leaves the CPU.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaving {
    Ready,
    Parked,
    Ended,
}

/// Switches to the next thread. Interrupts are off, before and after.
fn schedule(leaving: Leaving) {
    let this = percpu::this().id;
    let local = &LOCALS[this];
    let current = percpu::current_thread();
    // SAFETY: the running thread's reference is the scheduler's.
    let previous = unsafe { &*current };
    // A thread that is ready and is not the idle one queues up behind the others; `take` may find it again.
    if leaving == Leaving::Ready && !previous.is_idle() {
        // Nobody else takes it from this queue before it is off this CPU. If it may not run here, `finish` moves it on.
        local.push(previous.handle());
    }
    let next = local
        .take(|thread| thread.may_run_on(this))
        .or_else(|| steal(this))
        .or_else(|| LOCALS[this].idle.lock().clone());
    let Some(next) = next else {
        return;
    };
    if core::ptr::eq(Arc::as_ptr(&next), current) {
        new_slice(local);
        return;
    }
    switch(previous, next, leaving);
}

fn steal(this: usize) -> Option<Arc<Thread>> {
    let cpus = cpu::count();
    (1..cpus)
        .map(|step| &LOCALS[(this + step) % cpus])
        .filter(|other| other.waiting.load(Ordering::Relaxed) != 0)
        .find_map(|other| other.take(|thread| stealable(thread, this)))
}

fn new_slice(local: &Local) {
    let now = Instant::now().0;
    let end = if local.waiting.load(Ordering::Relaxed) == 0 {
        0
    } else {
        now + SLICE
    };
    super::with_current(|thread| {
        let since = thread.since.swap(now, Ordering::Relaxed);
        thread
            .used
            .fetch_add(now.saturating_sub(since), Ordering::Relaxed);
    });
    if local.slice_end.swap(end, Ordering::Relaxed) != end {
        timer::rearm();
    }
}

fn switch(previous: &Thread, next: Arc<Thread>, leaving: Leaving) {
    let this = percpu::this().id;
    let now = Instant::now().0;
    let since = previous.since.load(Ordering::Relaxed);
    previous
        .used
        .fetch_add(now.saturating_sub(since), Ordering::Relaxed);
    next.since.store(now, Ordering::Relaxed);
    next.cpu.store(this, Ordering::Relaxed);
    next.on_cpu.store(true, Ordering::Relaxed);
    if previous.is_idle() {
        cpu::leave_idle();
    }
    if leaving != Leaving::Ended {
        previous.fpu.save();
    }
    next.fpu.load();
    let local = &LOCALS[this];
    local.previous.store(
        core::ptr::from_ref(previous).expose_provenance(),
        Ordering::Relaxed,
    );
    let end = if local.waiting.load(Ordering::Relaxed) == 0 || next.is_idle() {
        0
    } else {
        now + SLICE
    };
    let rearm = local.slice_end.swap(end, Ordering::Relaxed) != end;
    let saved = next.saved.get();
    // The reference goes with the CPU's `current`; the previous thread's is given up in `finish`.
    percpu::set_current_address(Arc::into_raw(next).expose_provenance());
    if rearm {
        timer::rearm();
    }
    // SAFETY: `previous` is the thread on this CPU and `next` is on none: both records are this CPU's to use. The next
    // thread's stack pointer was saved by this function, or prepared for a new thread.
    unsafe {
        let old = previous.saved.get();
        (*old).kernel_stack = percpu::kernel_stack();
        (*old).fs_base = read_fs_base();
        percpu::set_kernel_stack((*saved).kernel_stack);
        write_fs_base((*saved).fs_base);
        elfin_switch(&raw mut (*old).stack_pointer, (*saved).stack_pointer);
    }
    finish();
}

/// What a thread does first when it is on the CPU again: lets the one before go.
fn finish() {
    let previous: *const Thread =
        core::ptr::with_exposed_provenance(local().previous.swap(0, Ordering::Relaxed));
    if previous.is_null() {
        return;
    }
    // SAFETY: the address and the reference come from `switch`, where it was this CPU's running thread.
    let previous = unsafe { Arc::from_raw(previous) };
    let displaced = !previous.is_idle() && !previous.may_run_on(percpu::this().id);
    previous.on_cpu.store(false, Ordering::Release);
    if displaced {
        // It may no longer run here: if it waits in this queue, it moves.
        let moved = local().take(|thread| core::ptr::eq(thread, Arc::as_ptr(&previous)));
        if let Some(thread) = moved {
            enqueue(thread);
        }
    } else if local().waiting.load(Ordering::Relaxed) != 0 {
        offer();
    }
}

/// Somebody waits here: an idle CPU may take it.
fn offer() {
    let this = percpu::this().id;
    let mut target = None;
    cpu::each(|cpu| {
        if cpu.id != this && cpu.idle.load(Ordering::Relaxed) {
            target = Some(cpu);
        }
    });
    if let Some(cpu) = target {
        cpu::send_reschedule(cpu);
    }
}

/// Where a new kernel thread begins, with interrupts off.
pub(crate) extern "C" fn thread_start(_: usize) -> ! {
    finish();
    interrupts::enable();
    if let Some(body) = super::with_current(Thread::take_body) {
        body();
    }
    exit_current()
}

/// Where a new thread of the program begins, with interrupts off; the assembly then returns to its frame.
pub(crate) extern "C" fn user_start(frame: &mut TrapFrame) {
    finish();
    trap::leave(frame);
}
