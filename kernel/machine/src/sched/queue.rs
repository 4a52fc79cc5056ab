//! Run queues and the switch from one thread to the next.
//!
//! The thread of the highest level runs, on whatever CPU it may: one that becomes ready goes to a CPU that runs what is
//! lower, and a CPU that looks for its next thread looks at what waits for real-time on others. Threads of one
//! real-time level take turns; those of level 0 share the CPU fairly ([`fair`]), and one that is woken takes it from
//! another that has had more.
//!
//! A thread that is woken while some CPU still uses its stack goes to that CPU's queue, and nobody else takes it from
//! there: so a thread never runs on two stacks' worth of CPUs, and no CPU waits for another in the middle of a switch.

pub(super) mod counts;

use super::cputime;
use super::current::{self, with_current};
use super::fair::{self, Running};
use super::ranked::{Level, Order};
use super::run_queue::{End, RunQueue, View};
use super::space;
use super::thread::{Body, Thread};
use super::usage;
use crate::arch::{context, cpu, gate, interrupt_flag, percpu};
use crate::sync::{SpinLock, order};
use crate::time::{Instant, timer};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// One CPU's part of the scheduler.
struct Local {
    queue: RunQueue<Thread>,
    /// Level of the running thread.
    running: AtomicU32,
    idle: SpinLock<Option<Arc<Thread>>>,
    /// The thread that was running before, until it is off the CPU: address from `Arc::into_raw`.
    previous: AtomicUsize,
    /// How often it has gone from one thread to another.
    switches: AtomicU64,
    times: SpinLock<cputime::Local>,
}

static LOCALS: [Local; cpu::MOST] = [const {
    Local {
        queue: RunQueue::new(),
        running: AtomicU32::new(0),
        idle: SpinLock::new(None),
        previous: AtomicUsize::new(0),
        switches: AtomicU64::new(0),
        times: SpinLock::new(cputime::Local::new()),
    }
}; cpu::MOST];

fn local() -> &'static Local {
    &LOCALS[percpu::this().id]
}

/// Makes what runs now this CPU's idle thread. Interrupts are off.
pub(crate) fn init() {
    let idle = Thread::idle().unwrap_or_else(|| panic!("no memory for an idle thread"));
    let this = percpu::this().id;
    *LOCALS[this].idle.lock() = Some(idle.clone());
    percpu::set_current_address(Arc::into_raw(idle).expose_provenance());
}

/// Turns the code that runs into this CPU's idle thread.
pub(crate) fn become_idle() -> ! {
    if percpu::current_address() == 0 {
        init();
    }
    loop {
        interrupt_flag::disable();
        cpu::enter_idle();
        let has_work = local().queue.len() != 0 || find_work();
        if has_work {
            percpu::this().need_resched.store(false, Ordering::Relaxed);
            schedule(Leaving::Ready);
        } else if !percpu::this().need_resched.swap(false, Ordering::Relaxed) {
            interrupt_flag::enable_and_wait();
        }
    }
}

/// Whether another CPU's queue holds a thread this CPU may take.
fn find_work() -> bool {
    let this = percpu::this().id;
    LOCALS[..cpu::count()]
        .iter()
        .enumerate()
        .any(|(index, other)| index != this && other.queue.has(|thread| stealable(thread, this)))
}

fn stealable(thread: &Thread, cpu: usize) -> bool {
    !thread.place.is_on_cpu() && thread.may_run_on(cpu)
}

/// Where a thread is queued, by its level and its virtual time.
fn order(thread: &Thread) -> Order {
    match thread.level() {
        0 => (0, thread.virtual_time.load(Ordering::Relaxed)),
        level => (level, 0),
    }
}

/// As [`order`], of a thread that comes to a CPU from where the virtual time is `least`.
fn order_of_arrival(thread: &Thread, least: u64, now: u64) -> Order {
    let own = thread.virtual_time.load(Ordering::Relaxed);
    let time = fair::arrival(own, least, now);
    thread.virtual_time.store(time, Ordering::Relaxed);
    order(thread)
}

/// As [`order`], of a thread that lets the others run first.
fn order_of_yielding(thread: &Thread, view: &View) -> Order {
    thread.virtual_time.fetch_max(view.last, Ordering::Relaxed);
    order(thread)
}

/// Whether a thread that waits at a place is to run instead of the running one.
fn wins(thread: &Thread, (top, time): Order, running: &Thread, ns: u64) -> bool {
    top > running.level()
        || top == 0
            && (running.is_idle() || thread.preempts(time, running, running.virtual_time_at(ns)))
}

impl Local {
    /// Notes that a thread runs on this CPU from now on.
    fn run(&self, thread: &Thread, ns: u64) {
        let shares = !thread.is_idle() && thread.level() == 0;
        let running = shares.then(|| Running {
            start: thread.virtual_time.load(Ordering::Relaxed),
            since: ns,
            weight: thread.weight(),
        });
        self.queue.run(ns, running);
    }

    /// Whether the first that waits is to run instead of the running thread, not only after it.
    fn is_preempted(&self, running: &Thread, ns: u64) -> bool {
        let wins = |order, thread: &Thread| wins(thread, order, running, ns);
        self.queue.of_first(wins).unwrap_or(false)
    }

    /// How long a thread may run for those that wait; `None`: as long as it likes.
    fn slice_of(&self, thread: &Thread) -> Option<u64> {
        let contends = self.queue.top().is_some_and(|top| top >= thread.level());
        (contends && !thread.is_idle())
            .then(|| thread.slice())
            .flatten()
    }
}

/// Puts a thread that is ready on a queue, and sees to it that a CPU looks there.
pub(super) fn enqueue(thread: Arc<Thread>) {
    enqueue_at(thread, End::Back);
}

fn enqueue_at(thread: Arc<Thread>, end: End) {
    interrupt_flag::without(|| {
        let place = &thread.place;
        let bound = place.bound_to();
        let target = bound.unwrap_or_else(|| choose(&thread, place.cpu()));
        let from = &LOCALS[place.cpu()].queue;
        place.queue_at(target);
        let queue = &LOCALS[target].queue;
        let (is_here, now) = (target == percpu::this().id, Instant::now().0);
        let mut comes_first = false;
        let order = |thread: &Thread, view: &View| {
            let stays = core::ptr::eq(from, queue);
            let least = if stays { view.now } else { from.time() };
            let order = order_of_arrival(thread, least, view.now);
            // Of those that wait already it was asked when they came.
            comes_first = is_here && with_current(|running| wins(thread, order, running, now));
            order
        };
        queue.push(thread, end, now, order);
        if !is_here {
            // Idle: it wakes. Busy: it lets the other run or begins a time slice (see `reschedule`).
            cpu::get(target).into_iter().for_each(cpu::send_reschedule);
        } else if comes_first {
            percpu::this().need_resched.store(true, Ordering::Relaxed);
        } else {
            with_current(|running| begin_slice(running, now));
        }
    });
}

/// The CPU a woken thread should run on: its last one if idle, else an idle one, else the one that runs what comes
/// first for the least, or with the least to do.
fn choose(thread: &Thread, last: usize) -> usize {
    let is_idle = |index: usize| {
        thread.may_run_on(index)
            && LOCALS[index].queue.len() == 0
            && cpu::get(index).is_some_and(|cpu| cpu.is_idle())
    };
    if is_idle(last) {
        return last;
    }
    let cpus = cpu::count();
    if let Some(idle) = (0..cpus).find(|&index| is_idle(index)) {
        return idle;
    }
    let level = thread.level();
    (0..cpus)
        .filter(|&index| thread.may_run_on(index))
        .min_by_key(|&index| {
            let local = &LOCALS[index];
            let before = local
                .running
                .load(Ordering::Relaxed)
                .max(local.queue.top().unwrap_or(0));
            // Of CPUs that run what is lower anyway a real-time thread takes the one with the lowest; others do not
            // wait behind real-time threads if they need not.
            let rank = if level == 0 { before.min(1) } else { before };
            (rank, local.queue.len(), index != last)
        })
        .unwrap_or(last)
}

/// Gives the running thread a time slice, if it is to have one and has none yet.
fn begin_slice(thread: &Thread, now: u64) {
    let local = local();
    if timer::slice_end().load(Ordering::Relaxed) == 0
        && let Some(slice) = local.slice_of(thread)
        && timer::set_slice_end(now + slice)
    {
        timer::rearm();
    }
}

/// A thread has another level than before: it is queued anew if it is queued.
pub(super) fn requeue(thread: &Thread, end: End) {
    interrupt_flag::without(|| {
        let queued = LOCALS[thread.cpu()]
            .queue
            .take(|_, other| core::ptr::eq(other, thread));
        match queued {
            Some(thread) => enqueue_at(thread, end),
            None => look_again(thread),
        }
    });
}

/// What a thread has had counts from now on by another weight: it does not wait for what it has had by the old one.
pub(super) fn settle(thread: &Thread) {
    interrupt_flag::without(|| {
        let now = LOCALS[thread.cpu()].queue.time();
        order_of_arrival(thread, now, now);
    });
}

/// If the thread runs: its CPU looks whether it may go on, and how long.
pub(super) fn look_again(thread: &Thread) {
    if !thread.place.is_on_cpu() {
        return;
    }
    if let Some(cpu) = cpu::get(thread.cpu()) {
        cpu.need_resched.store(true, Ordering::Relaxed);
        if cpu.id != cpu::current().0 as usize {
            cpu::send_reschedule(cpu);
        }
    }
}

/// The timer has fired: is the slice over?
pub(super) fn tick() {
    let end = timer::slice_end().load(Ordering::Relaxed);
    if end != 0 && Instant::now().0 >= end {
        timer::set_slice_end(0);
        percpu::this().need_resched.store(true, Ordering::Relaxed);
    }
}

/// Called on the way back to the program when something asked for it. Interrupts are off.
pub fn reschedule() {
    percpu::this().need_resched.store(false, Ordering::Relaxed);
    let this = percpu::this().id;
    let local = local();
    let leaving = with_current(|thread| {
        let level = thread.level();
        local.running.store(level, Ordering::Relaxed);
        if !thread.may_run_on(this) {
            return Some(Leaving::Ready);
        }
        let now = Instant::now().0;
        if local.is_preempted(thread, now) || waits_elsewhere(this, level) {
            return Some(Leaving::Preempted);
        }
        // Without a slice nobody of this level waits, or it is not to be interrupted.
        let slice = local.slice_of(thread)?;
        let end = timer::slice_end().load(Ordering::Relaxed);
        if end != 0 {
            // Not over: a reschedule interrupt that came only to say that somebody waits.
            return (now >= end).then_some(Leaving::Ready);
        }
        let since = thread.since.load(Ordering::Relaxed);
        if now.saturating_sub(since) < slice {
            begin_slice(thread, now);
            return None;
        }
        Some(Leaving::Ready)
    });
    match leaving {
        Some(leaving) => schedule(leaving),
        None => offer(),
    }
}

/// Lets all others run that wait at this CPU.
pub fn yield_now() {
    interrupt_flag::without(|| {
        if local().queue.len() != 0 {
            schedule(Leaving::Yielding);
        }
    });
}

/// Sleeps until [`Thread::unpark`], or not at all if that has been called since the last time. May return early.
pub fn park() {
    order::may_sleep();
    interrupt_flag::without(|| {
        if with_current(|thread| thread.parking.begin()) {
            schedule(Leaving::Parked);
            with_current(|thread| thread.parking.end());
        }
    });
}

impl Thread {
    /// Ends the thread's [`park`], or its next one.
    pub fn unpark(&self) {
        if self.parking.unpark() {
            enqueue(self.handle());
        }
    }
}

/// Ends the current thread, and its use of the address space. Its kernel stack and FPU area are freed once it is off
/// the CPU.
pub fn exit_current() -> ! {
    exit_current_with(|| {})
}

/// As [`exit_current`]; `last` is called when the address space has been left.
pub fn exit_current_with(last: impl FnOnce()) -> ! {
    current::leave_space();
    last();
    interrupt_flag::disable();
    schedule(Leaving::Ended);
    unreachable!("a thread that has ended runs again")
}

/// Why a thread leaves the CPU.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaving {
    /// Its turn is over.
    Ready,
    /// It lets the others run.
    Yielding,
    /// Somebody comes before it.
    Preempted,
    Parked,
    Ended,
}

/// Switches to the next thread. Interrupts are off, before and after.
fn schedule(leaving: Leaving) {
    let this = percpu::this().id;
    let local = &LOCALS[this];
    let current = current::address();
    // SAFETY: the running thread's reference is the scheduler's.
    let previous = unsafe { &*current };
    let now = Instant::now().0;
    previous.charge(now);
    let pick = || {
        steal(this, Some(local.queue.top().unwrap_or(0)))
            .or_else(|| local.queue.take(|_, thread| thread.may_run_on(this)))
    };
    // Who takes the CPU from another gets it, whoever has had less.
    let level = previous.level();
    let comes_first =
        |other, thread: &Thread| other >= level && thread.may_run_on(this) && !previous.is_idle();
    let mut next = None;
    if leaving == Leaving::Preempted && local.is_preempted(previous, now) {
        next = local.queue.take(comes_first);
    }
    // A thread that is ready and is not the idle one queues up with the others; `pick` may find it again.
    if !previous.is_idle() {
        let push = |end, order: fn(&Thread, &View) -> Order| {
            local.queue.push(previous.handle(), end, now, order);
        };
        // Nobody else takes it from this queue before it is off this CPU. If it may not run here, `finish` moves it on.
        match leaving {
            Leaving::Ready => push(End::Back, |thread, _| order(thread)),
            Leaving::Yielding => push(End::Back, order_of_yielding),
            Leaving::Preempted => push(End::Front, |thread, _| order(thread)),
            Leaving::Parked | Leaving::Ended => {}
        }
    }
    next = next
        .or_else(pick)
        .or_else(|| steal(this, None))
        .or_else(|| LOCALS[this].idle.lock().clone());
    let Some(next) = next else {
        return;
    };
    if core::ptr::eq(Arc::as_ptr(&next), current) {
        new_slice(local, now);
        return;
    }
    if next.cpu() != this && !next.is_idle() {
        order_of_arrival(&next, LOCALS[next.cpu()].queue.time(), local.queue.time());
    }
    previous
        .usage
        .count_switch(matches!(leaving, Leaving::Parked | Leaving::Ended));
    switch(previous, next, leaving, now);
}

/// Takes what waits on another CPU: anything, or the first of what is above a level.
fn steal(this: usize, above: Option<Level>) -> Option<Arc<Thread>> {
    let cpus = cpu::count();
    let others = (1..cpus)
        .map(|step| &LOCALS[(this + step) % cpus])
        .filter(|other| {
            other
                .queue
                .top()
                .is_some_and(|top| above.is_none_or(|above| top > above))
        });
    let wanted =
        |level, thread: &Thread| above.is_none_or(|above| level > above) && stealable(thread, this);
    if above.is_none() {
        let mut others = others;
        return others.find_map(|other| other.queue.take(wanted));
    }
    others
        .max_by_key(|other| other.queue.top())?
        .queue
        .take(wanted)
}

/// Whether a real-time thread waits on another CPU that comes before `level`.
fn waits_elsewhere(this: usize, level: Level) -> bool {
    let mut others = LOCALS[..cpu::count()].iter().enumerate();
    others.any(|(index, other)| index != this && other.queue.top().is_some_and(|top| top > level))
}

fn new_slice(local: &Local, now: u64) {
    with_current(|thread| {
        local.run(thread, now);
        let end = local.slice_of(thread).map_or(0, |slice| now + slice);
        if timer::set_slice_end(end) {
            timer::rearm();
        }
    });
}

fn switch(previous: &Thread, next: Arc<Thread>, leaving: Leaving, now: u64) {
    order::may_sleep();
    let this = percpu::this().id;
    next.since.store(now, Ordering::Relaxed);
    next.place.enter(this);
    if previous.is_idle() {
        cpu::leave_idle();
    }
    if leaving != Leaving::Ended {
        previous.fpu.save();
    }
    next.fpu.load();
    // SAFETY: `next` is on no CPU, so its record is this CPU's to use.
    if let Some(space) = unsafe { &*next.space.get() } {
        space::switch_to(&**space);
    }
    let local = &LOCALS[this];
    local.previous.store(
        core::ptr::from_ref(previous).expose_provenance(),
        Ordering::Relaxed,
    );
    let end = local.slice_of(&next).map_or(0, |slice| now + slice);
    let level = if next.is_idle() { 0 } else { next.level() };
    local.running.store(level, Ordering::Relaxed);
    local.run(&next, now);
    usage::count(&local.switches);
    let mut rearm = timer::set_slice_end(end);
    if previous.is_idle() {
        rearm |= !timer::ticks_from(now);
    }
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
        (*old).thread_pointer = context::thread_pointer();
        (*old).gs = context::program_gs(None);
        percpu::set_kernel_stack((*saved).kernel_stack);
        context::set_thread_pointer((*saved).thread_pointer);
        if (*saved).gs != (*old).gs {
            context::program_gs(Some((*saved).gs));
        }
        context::switch(&raw mut (*old).stack_pointer, (*saved).stack_pointer);
    }
    finish();
}

/// What a thread does first when it is on the CPU again: lets the one before go.
pub(super) fn finish() {
    let previous: *const Thread =
        core::ptr::with_exposed_provenance(local().previous.swap(0, Ordering::Relaxed));
    if previous.is_null() {
        return;
    }
    // SAFETY: the address and the reference come from `switch`, where it was this CPU's running thread.
    let previous = unsafe { Arc::from_raw(previous) };
    let displaced = !previous.is_idle() && !previous.may_run_on(percpu::this().id);
    previous.place.leave();
    if displaced {
        // It may no longer run here: if it waits in this queue, it moves.
        let moved = local()
            .queue
            .take(|_, thread| core::ptr::eq(thread, Arc::as_ptr(&previous)));
        if let Some(thread) = moved {
            enqueue(thread);
        }
    } else {
        offer();
    }
}

/// If somebody waits here: an idle CPU may take it, or one that runs what comes after it. Ordinary threads do not wait
/// behind a real-time thread if there is a CPU that runs ordinary ones.
fn offer() {
    let this = percpu::this().id;
    let local = &LOCALS[this];
    let Some(top) = local.queue.top() else { return };
    let level = |index: usize| LOCALS[index].running.load(Ordering::Relaxed);
    let (mut idle, mut lower) = (None, None);
    cpu::each(|cpu| {
        if cpu.id == this {
        } else if cpu.is_idle() {
            idle = Some(cpu);
        } else if level(cpu.id) < top {
            lower = Some(cpu);
        }
    });
    if let Some(cpu) = idle.or(lower) {
        cpu::send_reschedule(cpu);
    }
    if level(this) == 0 {
        return;
    }
    let has_place = |thread: &Thread| {
        let mut cpus = 0..cpu::count();
        cpus.any(|index| index != this && level(index) == 0 && stealable(thread, index))
    };
    while let Some(thread) = local
        .queue
        .take(|level, thread| level == 0 && has_place(thread))
    {
        enqueue(thread);
    }
}

/// Has the running thread, one of the kernel's, call `last` once its body has returned and it has left its address
/// space.
pub fn when_left(last: Body) {
    with_current(|thread| thread.set_body(last));
}

/// Has the running thread, once its body has returned, enter the program for the first time: at `entry`, with the stack
/// pointer `stack` and `%rdx` = `rdx`, everything else 0 (psABI, "Process Initialization").
///
/// # Safety
/// `entry` and `stack` must be a program's that is ready to run.
pub unsafe fn enter_program(entry: usize, stack: usize, rdx: usize) {
    with_current(|thread| *thread.entry.lock() = Some([entry, stack, rdx]));
}

/// Where a new kernel thread begins, with interrupts off.
pub(crate) extern "C" fn thread_start(_: usize) -> ! {
    finish();
    interrupt_flag::enable();
    if let Some(body) = with_current(Thread::take_body) {
        body();
    }
    let entry = with_current(|thread| thread.entry.lock().take());
    if let Some([entry, stack, rdx]) = entry {
        // SAFETY: by the word of who has called `enter_program`; nothing is left on this stack.
        unsafe { gate::enter_user(entry, stack, rdx) }
    }
    let last = with_current(Thread::take_body);
    exit_current_with(|| last.into_iter().for_each(|last| last()))
}
