//! What the scheduler knows of a thread.

use super::calls::Calls;
use super::cputime::SystemTime;
use super::current;
use super::fair;
use super::parking::Parking;
use super::place::Place;
use super::policy::Scheduling;
use super::space::AddressSpace;
use super::state::{NoState, ThreadState, Tid};
use super::usage::{Usage, Used};
use crate::arch::fpu::Area;
use crate::arch::{TrapFrame, context, cpu, interrupt_flag, percpu};
use crate::mm::stack::KernelStack;
use crate::sync::SpinLock;
use crate::time::Instant;
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::any::{Any, TypeId};
use core::cell::UnsafeCell;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Number of threads there are, the kernel's own included, idle ones not.
pub fn thread_count() -> usize {
    COUNT.load(Ordering::Relaxed)
}

/// The registers of a thread that is off the CPU, and what goes with it. Touched by the CPU that switches only.
#[derive(Debug)]
pub(super) struct Saved {
    pub(super) stack_pointer: usize,
    pub(super) kernel_stack: usize,
    pub(super) thread_pointer: u64,
    pub(super) gs: u64,
}

/// How a thread of a program starts.
pub struct Start {
    /// Its registers.
    pub frame: TrapFrame,
    /// Its stack; empty for the caller's.
    pub stack: Range<usize>,
    /// Its thread pointer.
    pub thread_pointer: u64,
    /// Its address space.
    pub space: Arc<dyn AddressSpace>,
    /// What it does in the kernel first.
    pub first: Option<Body>,
}

/// What a kernel thread runs.
pub type Body = Box<dyn FnOnce() + Send>;

/// A thread, kernel or user.
pub struct Thread {
    /// Its id.
    pub tid: Tid,
    state: Box<dyn ThreadState>,
    /// The type of `state`: to ask it each time would cost as much as a short system call.
    kind: TypeId,
    /// The address space it runs in. Only the thread itself changes it, and who switches to it looks at it.
    pub(super) space: UnsafeCell<Option<Arc<dyn AddressSpace>>>,
    pub(super) parking: Parking,
    pub(super) place: Place,
    affinity: AtomicU64,
    pub(super) scheduling: Scheduling,
    pub(super) used: AtomicU64,
    pub(super) system: SystemTime,
    pub(crate) usage: Usage,
    pub(super) since: AtomicU64,
    /// How much it has had of the CPU it is at, in that CPU's virtual time.
    pub(super) virtual_time: AtomicU64,
    pub(super) saved: UnsafeCell<Saved>,
    pub(super) fpu: Area,
    stack: KernelStack,
    pub(crate) calls: Calls,
    /// It allocates from the arena: see [`crate::mm::arena`].
    pub(crate) uses_arena: AtomicBool,
    /// It counts as inside the arena.
    pub(crate) is_inside: AtomicBool,
    body: SpinLock<Option<Body>>,
    /// Where it enters the program when its body has returned: see [`super::enter_program`].
    pub(super) entry: SpinLock<Option<[usize; 3]>>,
    is_idle: bool,
}

// SAFETY: `saved` is touched only by the CPU that takes the thread off or puts it on, which `place` and the queues'
// locks make one at a time; so is `space`, by the same and, between the two, by the thread itself.
unsafe impl Sync for Thread {}

impl core::fmt::Debug for Thread {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "thread {}", self.tid)
    }
}

impl Thread {
    fn build(
        tid: Tid,
        space: Option<Arc<dyn AddressSpace>>,
        state: Box<dyn ThreadState>,
        body: Option<Body>,
        is_idle: bool,
    ) -> Option<Self> {
        let stack = KernelStack::new()?;
        let saved = Saved {
            stack_pointer: 0,
            kernel_stack: stack.top(),
            thread_pointer: 0,
            gs: 0,
        };
        if !is_idle {
            COUNT.fetch_add(1, Ordering::Relaxed);
        }
        let any: &dyn Any = &*state;
        let kind = any.type_id();
        Some(Self {
            tid,
            state,
            kind,
            space: UnsafeCell::new(space),
            parking: Parking::new(),
            place: Place::new(),
            affinity: AtomicU64::new(u64::MAX),
            scheduling: Scheduling::default(),
            used: AtomicU64::new(0),
            system: SystemTime::default(),
            usage: Usage::default(),
            since: AtomicU64::new(0),
            virtual_time: AtomicU64::new(0),
            saved: UnsafeCell::new(saved),
            fpu: Area::new()?,
            stack,
            calls: Calls::default(),
            uses_arena: AtomicBool::new(false),
            is_inside: AtomicBool::new(false),
            body: SpinLock::new(body),
            entry: SpinLock::new(None),
            is_idle,
        })
    }

    /// What it has used beside CPU time.
    pub fn used(&self) -> Used {
        self.usage.get()
    }

    /// Whether it waits for something.
    pub fn is_waiting(&self) -> bool {
        self.parking.is_parked()
    }

    /// Whether some CPU runs it, or is about to put it aside.
    pub fn is_running(&self) -> bool {
        self.place.is_on_cpu()
    }

    /// A kernel thread, whose id is 0, or a program's main thread before it enters the program.
    pub(super) fn kernel(
        tid: Tid,
        body: Body,
        space: Option<Arc<dyn AddressSpace>>,
        state: Box<dyn ThreadState>,
    ) -> Option<Arc<Self>> {
        let mut thread = Self::build(tid, space, state, Some(body), false)?;
        // SAFETY: the stack is this thread's, which does not run yet.
        thread.saved.get_mut().stack_pointer =
            unsafe { context::kernel_thread(thread.stack.top()) };
        if tid != 0 && current::current_tid() != 0 {
            // A program's thread has another program run in its place.
            thread.run_as_current();
        }
        Some(Arc::new(thread))
    }

    /// A thread that is on the CPU already: the idle thread of the CPU this runs on.
    pub(super) fn idle() -> Option<Arc<Self>> {
        let thread = Self::build(0, None, Box::new(NoState), None, true)?;
        thread.place.enter(percpu::this().id);
        Some(Arc::new(thread))
    }

    /// A thread of a program's; see [`super::new_user`].
    pub(super) fn user(tid: Tid, start: Start, state: Box<dyn ThreadState>) -> Option<Arc<Self>> {
        let Start {
            frame,
            stack,
            thread_pointer,
            space,
            first,
        } = start;
        let is_copy = !current::with_space(|own| own.is_some_and(|own| Arc::ptr_eq(own, &space)));
        let mut thread = Self::build(tid, Some(space), state, first, false)?;
        thread.calls = current::with_current(|parent| parent.calls.of_child(stack, is_copy));
        if current::current_tid() != 0 {
            interrupt_flag::without(|| {
                thread.fpu.save();
                thread.saved.get_mut().gs = context::program_gs(None);
            });
        }
        // SAFETY: the stack is this thread's, which does not run yet.
        thread.saved.get_mut().stack_pointer =
            unsafe { context::user_thread(thread.stack.top(), frame) };
        thread.saved.get_mut().thread_pointer = thread_pointer;
        thread.run_as_current();
        Some(Arc::new(thread))
    }

    /// Where and how it runs is as the calling thread does.
    fn run_as_current(&mut self) {
        current::with_current(|parent| {
            self.affinity = AtomicU64::new(parent.affinity());
            self.scheduling = Scheduling::of_child(parent.policy(), parent.nice());
            // It has had as much as who starts it.
            let time = parent.virtual_time_at(Instant::now().0);
            self.virtual_time = AtomicU64::new(time);
            self.place.queue_at(parent.cpu());
        });
    }

    /// The state that a floor above has given it; `None` if it has given another type of state, or none.
    #[inline]
    pub fn state_as<T: ThreadState>(&self) -> Option<&T> {
        // SAFETY: that is its type, as nobody changes either.
        (self.kind == TypeId::of::<T>()).then(|| unsafe { &*(&raw const *self.state).cast() })
    }

    /// A part of that state by its type ([`ThreadState::part`]).
    #[inline]
    pub fn part_as<T: Any>(&self) -> Option<&T> {
        self.state.part(TypeId::of::<T>())?.downcast_ref()
    }

    /// Whether a signal has to be looked at before it goes back to the program ([`ThreadState::signal_pending`]).
    #[inline]
    pub fn signal_pending(&self) -> bool {
        self.state.signal_pending(self.tid)
    }

    /// Whether it is to end ([`ThreadState::kill_pending`]).
    pub(super) fn kill_pending(&self) -> bool {
        self.state.kill_pending(self.tid)
    }

    /// Another reference to the thread.
    pub(super) fn handle(&self) -> Arc<Self> {
        // SAFETY: the constructors give threads out in `Arc`s only, and somebody holds one for this borrow to live.
        unsafe {
            Arc::increment_strong_count(self);
            Arc::from_raw(self)
        }
    }

    /// It runs this in the kernel next.
    pub(super) fn set_body(&self, body: Body) {
        *self.body.lock() = Some(body);
    }

    /// What it runs in the kernel.
    pub(super) fn take_body(&self) -> Option<Body> {
        self.body.lock().take()
    }

    /// Whether this is some CPU's idle thread.
    pub(super) fn is_idle(&self) -> bool {
        self.is_idle
    }

    /// CPU time used, in nanoseconds.
    pub fn cpu_time_ns(&self) -> u64 {
        let used = self.used.load(Ordering::Relaxed);
        if self.place.is_on_cpu() {
            used + Instant::now()
                .0
                .saturating_sub(self.since.load(Ordering::Relaxed))
        } else {
            used
        }
    }

    /// What of [`Thread::cpu_time_ns`] was spent in the kernel, and that time itself.
    pub fn system_and_cpu_time_ns(&self) -> (u64, u64) {
        let used = self.cpu_time_ns();
        (self.system.at(used), used)
    }

    /// The timer has interrupted it, in the kernel or in the program.
    pub(super) fn tick(&self, in_kernel: bool) {
        self.system.tick(self.cpu_time_ns(), in_kernel);
    }

    /// Whether it is in the dynamic linker.
    pub(super) fn is_in_linker(&self) -> bool {
        self.is_inside.load(Ordering::Relaxed)
    }

    /// Its virtual time if it has run until now.
    pub(super) fn virtual_time_at(&self, ns: u64) -> u64 {
        let ran = ns.saturating_sub(self.since.load(Ordering::Relaxed));
        self.virtual_time.load(Ordering::Relaxed) + fair::passed(ran, self.weight())
    }

    /// It has run until now.
    pub(super) fn charge(&self, ns: u64) {
        if self.level() == 0 && !self.is_idle {
            let time = self.virtual_time_at(ns);
            self.virtual_time.store(time, Ordering::Relaxed);
        }
        let since = self.since.swap(ns, Ordering::Relaxed);
        let ran = ns.saturating_sub(since);
        self.used.fetch_add(ran, Ordering::Relaxed);
    }

    /// CPUs it may run on, bit n = CPU n.
    pub fn affinity(&self) -> u64 {
        self.affinity.load(Ordering::Relaxed)
    }

    /// Sets the mask; moves the thread if need be.
    pub fn set_affinity(&self, mask: u64) {
        self.affinity.store(mask, Ordering::Relaxed);
        if mask >> (self.cpu() % 64) & 1 == 0 {
            // It is moved when it leaves its CPU.
            super::queue::look_again(self);
        }
    }

    /// Whether the mask allows a CPU.
    pub(super) fn may_run_on(&self, cpu: usize) -> bool {
        self.affinity() >> (cpu % 64) & 1 != 0
    }

    /// The end of its kernel stack.
    pub(crate) fn kernel_stack_top(&self) -> usize {
        self.stack.top()
    }

    /// Index of the CPU it runs on or ran on last.
    pub fn cpu(&self) -> usize {
        self.place.cpu()
    }

    /// Makes the thread pass through [`super::exit_to_program`] soon: wakes it from an interruptible wait, or
    /// interrupts the CPU it runs on.
    pub fn kick(&self) {
        self.unpark();
        if self.place.is_on_cpu()
            && let Some(cpu) = cpu::get(self.cpu())
            && cpu.id != cpu::current().0 as usize
        {
            cpu::send_reschedule(cpu);
        }
    }

    /// Thread pointer (FS base).
    pub fn thread_pointer(&self) -> u64 {
        if core::ptr::eq(self, current::address()) {
            return context::thread_pointer();
        }
        // SAFETY: a word that is written while the thread is switched; for a running thread of another CPU the value is
        // the one it started its time slice with.
        unsafe { (&raw const (*self.saved.get()).thread_pointer).read_volatile() }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        if !self.is_idle {
            COUNT.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
