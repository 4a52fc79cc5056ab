//! What the scheduler knows of a thread.

use super::policy::Scheduling;
use crate::arch::callout::Calls;
use crate::arch::fpu::Area;
use crate::arch::{TrapFrame, cpu, percpu};
use crate::mm::stack::KernelStack;
use crate::process::ThreadState;
use crate::sync::SpinLock;
use crate::time::Instant;
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::cell::UnsafeCell;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering};
use x86_64::VirtAddr;
use x86_64::registers::control::{Cr4, Cr4Flags};
use x86_64::registers::model_specific::FsBase;
use x86_64::registers::segmentation::{FS, Segment64};

/// Thread id as Linux numbers them; the first user thread is 1 and equals the process id.
pub type Tid = i32;

static NEXT_TID: AtomicI32 = AtomicI32::new(1);
static COUNT: AtomicUsize = AtomicUsize::new(0);

fn next_tid() -> Tid {
    NEXT_TID.fetch_add(1, Ordering::Relaxed)
}

/// Number of threads there are, the kernel's own included, idle ones not.
pub fn thread_count() -> usize {
    COUNT.load(Ordering::Relaxed)
}

/// Where a thread is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Run {
    /// On a CPU, or on a queue.
    Ready,
    /// Waiting for [`Thread::unpark`].
    Parked,
}

/// The registers of a thread that is off the CPU, and what goes with it. Touched by the CPU that switches only.
#[derive(Debug)]
pub(super) struct Saved {
    pub(super) stack_pointer: usize,
    pub(super) kernel_stack: usize,
    pub(super) fs_base: u64,
}

type Body = Box<dyn FnOnce() + Send>;

/// A thread, kernel or user.
pub struct Thread {
    /// Its id.
    pub tid: Tid,
    /// What `process` keeps per thread (signals, robust list, …).
    pub state: ThreadState,
    pub(super) run: SpinLock<Run>,
    /// A wake-up that has not been used yet.
    pub(super) token: AtomicBool,
    /// Whether some CPU still uses its stack.
    pub(super) on_cpu: AtomicBool,
    pub(super) cpu: AtomicUsize,
    affinity: AtomicU64,
    pub(super) scheduling: Scheduling,
    pub(super) used: AtomicU64,
    pub(super) since: AtomicU64,
    pub(super) saved: UnsafeCell<Saved>,
    pub(super) fpu: Area,
    stack: KernelStack,
    pub(crate) calls: Calls,
    body: SpinLock<Option<Body>>,
    is_idle: bool,
}

// SAFETY: `saved` is touched only by the CPU that takes the thread off or puts it on, which `on_cpu` and the queues' locks
// make one at a time.
unsafe impl Sync for Thread {}

impl core::fmt::Debug for Thread {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "thread {}", self.tid)
    }
}

unsafe extern "C" {
    fn elfin_kernel_thread_start();
    fn elfin_user_thread_start();
}

/// Words that `elfin_switch` pops: r15, r14, r13, r12, rbx, rbp and the return address.
const SWITCH_WORDS: usize = 7;
/// Below the entry stack pointer: the program's stack pointer, as in a trap frame, and room for alignment.
const TOP_WORDS: usize = 4;

impl Thread {
    fn build(tid: Tid, state: ThreadState, body: Option<Body>, is_idle: bool) -> Option<Self> {
        let stack = KernelStack::new()?;
        let saved = Saved {
            stack_pointer: 0,
            kernel_stack: stack.top(),
            fs_base: 0,
        };
        if !is_idle {
            COUNT.fetch_add(1, Ordering::Relaxed);
        }
        Some(Self {
            tid,
            state,
            run: SpinLock::new(Run::Ready),
            token: AtomicBool::new(false),
            on_cpu: AtomicBool::new(false),
            cpu: AtomicUsize::new(0),
            affinity: AtomicU64::new(u64::MAX),
            scheduling: Scheduling::default(),
            used: AtomicU64::new(0),
            since: AtomicU64::new(0),
            saved: UnsafeCell::new(saved),
            fpu: Area::new()?,
            stack,
            calls: Calls::default(),
            body: SpinLock::new(body),
            is_idle,
        })
    }

    /// Whether it waits for something.
    pub fn is_waiting(&self) -> bool {
        *self.run.lock() == Run::Parked
    }

    /// Writes what `elfin_switch` finds, `words` below the top of the stack.
    fn prepare(&mut self, below_top: usize, start: usize, r12: usize) {
        let at = self.stack.top() - below_top - SWITCH_WORDS * 8;
        let words = [0, 0, 0, r12, 0, 0, start];
        // SAFETY: the stack is this thread's, which does not run yet.
        unsafe { core::ptr::with_exposed_provenance_mut::<[usize; SWITCH_WORDS]>(at).write(words) };
        self.saved.get_mut().stack_pointer = at;
    }

    /// A kernel thread, whose id is no user thread's, or the program's main thread before it enters the program.
    pub(super) fn kernel(body: Body, is_main: bool) -> Option<Arc<Self>> {
        let tid = if is_main { next_tid() } else { 0 };
        let mut thread = Self::build(tid, ThreadState::default(), Some(body), false)?;
        let top = thread.stack.top() - TOP_WORDS * 8;
        // SAFETY: as in `prepare`.
        unsafe {
            core::ptr::with_exposed_provenance_mut::<[usize; TOP_WORDS]>(top).write([0; TOP_WORDS]);
        }
        let start = (elfin_kernel_thread_start as *const ()).expose_provenance();
        thread.prepare(TOP_WORDS * 8, start, 0);
        Some(Arc::new(thread))
    }

    /// A thread that is on the CPU already: the idle thread of the CPU this runs on.
    pub(super) fn idle() -> Option<Arc<Self>> {
        let thread = Self::build(0, ThreadState::default(), None, true)?;
        thread.on_cpu.store(true, Ordering::Relaxed);
        Some(Arc::new(thread))
    }

    /// A thread of the program's, which starts on `stack`.
    pub(super) fn user(
        frame: TrapFrame,
        stack: Range<usize>,
        fs_base: u64,
        state: ThreadState,
    ) -> Option<Arc<Self>> {
        let mut thread = Self::build(next_tid(), state, None, false)?;
        thread.calls = Calls::new(stack);
        if super::current_tid() != 0 {
            interrupts_off(|| thread.fpu.save());
        }
        let size = size_of::<TrapFrame>();
        let at = thread.stack.top() - size;
        // SAFETY: as in `prepare`; the top is 16-byte aligned and so is the frame's size.
        unsafe { core::ptr::with_exposed_provenance_mut::<TrapFrame>(at).write(frame) };
        let start = (elfin_user_thread_start as *const ()).expose_provenance();
        thread.prepare(size, start, 0);
        thread.saved.get_mut().fs_base = fs_base;
        thread.affinity = AtomicU64::new(super::with_current(Self::affinity));
        thread.scheduling = Scheduling::of_child(super::with_current(Self::policy));
        Some(Arc::new(thread))
    }

    /// Another reference to the thread.
    pub(super) fn handle(&self) -> Arc<Self> {
        // SAFETY: the constructors give threads out in `Arc`s only, and somebody holds one for this borrow to live.
        unsafe {
            Arc::increment_strong_count(self);
            Arc::from_raw(self)
        }
    }

    /// What a kernel thread runs.
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
        if self.on_cpu.load(Ordering::Relaxed) {
            used + Instant::now()
                .0
                .saturating_sub(self.since.load(Ordering::Relaxed))
        } else {
            used
        }
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
        self.cpu.load(Ordering::Relaxed)
    }

    /// Makes the thread pass through `process::signal::deliver` soon: wakes it from an interruptible wait, or interrupts
    /// the CPU it runs on.
    pub fn kick(&self) {
        self.unpark();
        if self.on_cpu.load(Ordering::SeqCst)
            && let Some(cpu) = cpu::get(self.cpu())
            && cpu.id != cpu::current().0 as usize
        {
            cpu::send_reschedule(cpu);
        }
    }

    /// Thread pointer (FS base).
    pub fn fs_base(&self) -> u64 {
        if core::ptr::eq(self, percpu::current_thread()) {
            return read_fs_base();
        }
        // SAFETY: a word that is written while the thread is switched; for a running thread of another CPU the value is
        // the one it started its time slice with.
        unsafe { (&raw const (*self.saved.get()).fs_base).read_volatile() }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        if !self.is_idle {
            COUNT.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn interrupts_off<R>(f: impl FnOnce() -> R) -> R {
    x86_64::instructions::interrupts::without_interrupts(f)
}

fn has_fsgsbase() -> bool {
    Cr4::read().contains(Cr4Flags::FSGSBASE)
}

/// This CPU's FS base.
pub(super) fn read_fs_base() -> u64 {
    if has_fsgsbase() {
        FS::read_base().as_u64()
    } else {
        FsBase::read().as_u64()
    }
}

/// Sets this CPU's FS base.
pub(super) fn write_fs_base(base: u64) {
    let base = VirtAddr::new_truncate(base);
    if has_fsgsbase() {
        // SAFETY: FS is the program's; the kernel does not use it.
        unsafe { FS::write_base(base) };
    } else {
        FsBase::write(base);
    }
}
