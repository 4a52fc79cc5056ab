//! Processes: threads as Linux sees them, signals, futexes, exit.
//!
//! A [`Process`] has everything that its threads share, in parts that another may share or copy. A thread knows its
//! process, and so every system call finds what is meant ([`with_current`]). [`clone`] makes processes and threads,
//! [`exec`] has a process run another program, [`exit`] ends both, [`family`] has who is whose child, and waiting for
//! it. Lock order, outermost first: timers, the table of processes, signal dispositions ([`signal`]), the thread table,
//! one thread's signal state.
pub mod clock;
pub mod clone;
pub mod exec;
mod exit;
pub mod family;
pub mod futex;
pub mod limits;
mod out_of_memory;
pub mod ptrace;
pub(crate) mod restart;
pub mod settings;
mod sharing;
pub mod signal;
mod table;
pub mod transfers;
pub mod usage;
pub mod user;
mod vfork;

pub(crate) use exit::{claim_exit, stop_if_over};
pub use exit::{exit_by_signal, exit_group, exit_thread, stop_if_killed};
pub use table::{
    FIRST, find, inherited_state, made_count, most_threads, process_of, processes, thread_ids,
    with_process, with_thread,
};

use crate::credentials;
use crate::fs::{File, aio::Contexts, context::FsContext, descriptor::Files};
use crate::tty::Tty;
use alloc::{sync::Arc, vec::Vec};
use core::any::{Any, TypeId};
use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicUsize, Ordering};
use limits::Limits;
use machine::mm::space::{self, Space};
use machine::sched::{self, Thread, Tid};
use machine::sync::{SpinLock, WaitQueue};
use machine::time::Instant;
use restart::Restart;

/// A process id, which is also the main thread's id.
pub type Pid = Tid;

/// What threads of a program share.
#[doc(alias = "task_struct")]
#[doc(alias = "signal_struct")]
pub struct Process {
    /// Its id.
    pub pid: Pid,
    /// When it was made.
    pub started: Instant,
    kin: SpinLock<family::Kin>,
    /// Who waits for its children.
    children: WaitQueue,
    /// Who waits for its end by a descriptor.
    ended: WaitQueue,
    /// What it may have with others.
    pub parts: sharing::Parts,
    space: SpinLock<Option<Arc<Space>>>,
    /// What its parent waits for while it uses its memory.
    vfork: SpinLock<Option<Arc<vfork::Vfork>>>,
    /// Resource limits.
    pub limits: Limits,
    /// personality(2)'s: it is remembered and changes nothing.
    pub personality: AtomicU32,
    /// Whether a thread of its has ever waited for a futex with priority inheritance.
    pub(crate) waits_for_owners: AtomicBool,
    /// What prctl(2) sets of it.
    pub settings: settings::ProcessSettings,
    program: SpinLock<Arc<Program>>,
    threads: table::Threads,
    /// What its children that it has waited for have used.
    children_usage: SpinLock<usage::Usage>,
    signals: signal::SharedPending,
    stop: signal::Stop,
    /// Whom its threads trace.
    tracees: ptrace::Tracees,
    /// What its main thread and whoever traces that share.
    main_tracee: SpinLock<Option<Arc<ptrace::Tracee>>>,
    /// The terminal of its session.
    #[doc(alias = "controlling terminal")]
    terminal: SpinLock<Option<Arc<Tty>>>,
    /// The foreground group of a terminal that has hung up, if this leads the session.
    old_foreground: AtomicI32,
    timers: signal::timer::PosixTimers,
    itimers: signal::itimer::IntervalTimers,
    /// What it has asked for by io_submit(2).
    pub aio: Contexts,
    /// Who ends it, or is about to have it run another program.
    ending: exit::Ending,
}

/// What a process runs, as /proc shows it.
#[derive(Clone, Default)]
pub struct Program {
    /// Absolute path of the executable.
    pub exe: Vec<u8>,
    /// The executable: there may be another at its path by now, or none, or it has never had one.
    pub file: Option<Arc<dyn File>>,
    /// The arguments, each with a NUL.
    pub cmdline: Vec<u8>,
    /// The environment, each setting with a NUL.
    pub environ: Vec<u8>,
    /// The auxiliary vector.
    pub auxv: Vec<u8>,
    /// Where the arguments lie in its memory, once they do: it may write to them, to be shown so.
    pub arguments: Range<usize>,
    /// Where the environment does.
    pub environment: Range<usize>,
}

impl Program {
    /// Its name, as it was called.
    pub fn name(&self) -> &[u8] {
        self.cmdline.split(|&byte| byte == 0).next().unwrap_or(&[])
    }
}

impl Process {
    /// Says whether it is the machine's first, whose end is the machine's.
    pub(crate) fn is_first(&self) -> bool {
        self.pid == table::FIRST
    }

    /// Makes a process that nobody is the parent of, the first one among them: of a session of its own, without
    /// threads, memory and open files.
    pub fn leader(fs: FsContext) -> Arc<Self> {
        let pid = table::new_id();
        let parts = sharing::Parts {
            files: sharing::Part::new(Files::default()),
            fs: sharing::Part::new(fs),
            sighand: sharing::Part::new(signal::Sighand::default()),
        };
        let process = Arc::new(Self::new(pid, family::Kin::leader(pid), parts));
        table::insert_process(&process);
        process
    }

    /// Takes one that has never had a thread out of the world again.
    pub fn abandon(&self) {
        let gone = table::with_processes(|all| all.remove(&self.pid));
        // Not under the lock: it may be the last reference.
        drop(gone);
    }

    fn new(pid: Pid, kin: family::Kin, parts: sharing::Parts) -> Self {
        Self {
            pid,
            started: Instant::now(),
            kin: SpinLock::new(kin),
            children: WaitQueue::new(),
            ended: WaitQueue::new(),
            parts,
            space: SpinLock::new(None),
            vfork: SpinLock::new(None),
            limits: Limits::default(),
            personality: AtomicU32::new(0),
            waits_for_owners: AtomicBool::new(false),
            settings: settings::ProcessSettings::default(),
            program: SpinLock::default(),
            threads: table::Threads::default(),
            children_usage: SpinLock::default(),
            signals: signal::SharedPending::default(),
            stop: signal::Stop::default(),
            tracees: ptrace::Tracees::default(),
            main_tracee: SpinLock::new(None),
            terminal: SpinLock::new(None),
            old_foreground: AtomicI32::new(0),
            timers: signal::timer::PosixTimers::default(),
            itimers: signal::itimer::IntervalTimers::default(),
            aio: Contexts::default(),
            ending: exit::Ending::default(),
        }
    }

    /// Makes one that has what this one has, a child's, before it is anybody's: of its parts those that are asked for,
    /// and copies of the others.
    fn copy(&self, pid: Pid, kin: family::Kin, request: &clone::Request) -> Self {
        Self {
            limits: self.limits.copy(),
            personality: AtomicU32::new(self.personality.load(Ordering::Relaxed)),
            settings: self.settings.inherited(),
            program: SpinLock::new(self.program()),
            terminal: SpinLock::new(self.terminal()),
            ..Self::new(pid, kin, self.parts.for_child(request))
        }
    }

    /// The address space; `None` when it has ended.
    pub fn space(&self) -> Option<Arc<Space>> {
        self.space.lock().clone()
    }

    /// Gives it another address space, or none.
    fn set_space(&self, space: Option<Arc<Space>>) {
        self.aio.clear();
        let old = core::mem::replace(&mut *self.space.lock(), space);
        if let Some(old) = &old {
            self.left_space(old.most_resident());
        }
        // Not under the lock: it may be the last reference.
        drop(old);
    }

    /// What it runs.
    pub fn program(&self) -> Arc<Program> {
        self.program.lock().clone()
    }

    /// It runs another program from now on.
    pub fn set_program(&self, program: Program) {
        let old = core::mem::replace(&mut *self.program.lock(), Arc::new(program));
        // Not under the lock: it may be the last reference.
        drop(old);
    }
}

/// Calls `f` with the calling thread's process.
///
/// # Panics
/// If the thread is one of the kernel's own, which has none.
pub fn with_current<R>(f: impl FnOnce(&Arc<Process>) -> R) -> R {
    sched::with_current(|thread| f(&thread.linux().process))
}

/// Calls `f` with the calling thread's address space; as [`with_current`].
pub fn with_space<R>(f: impl FnOnce(&Space) -> R) -> R {
    space::with_current(|space| f(space.expect("whoever asks runs for the program")))
}

/// Longest thread name, with its NUL.
pub const NAME_LEN: usize = 16;

/// What a user thread carries beside the scheduler's state.
pub struct ThreadState {
    /// Whose thread it is.
    pub process: Arc<Process>,
    /// When it was made.
    pub started: Instant,
    /// Mask, pending signals, alternate stack.
    pub(crate) signals: signal::ThreadSignals,
    /// Address that is zeroed and woken when the thread ends; 0 for none.
    pub(crate) clear_child_tid: AtomicUsize,
    /// Head of the robust futex list; 0 for none.
    pub(crate) robust_list: AtomicUsize,
    /// What it has read and written.
    pub(crate) transfers: transfers::Counters,
    /// The interrupted system call that restart_syscall(2) goes on with.
    pub(crate) restart: SpinLock<Option<Restart>>,
    /// Who it is to checks of permission.
    pub(crate) credentials: credentials::Own,
    /// What prctl(2) sets of it.
    pub(crate) settings: settings::ThreadSettings,
    /// Whether somebody traces it.
    pub(crate) tracing: ptrace::Tracing,
    /// Name as `PR_SET_NAME` sets it, NUL padded.
    pub(crate) name: SpinLock<[u8; NAME_LEN]>,
    /// Its thread pointer, and what the dynamic linker knows by it, are those of the thread that started it.
    borrows_thread_pointer: bool,
}

impl sched::ThreadState for ThreadState {
    fn signal_pending(&self, tid: Tid) -> bool {
        signal::pending(self, tid)
    }

    fn kill_pending(&self, tid: Tid) -> bool {
        self.process.is_over_for(tid) || signal::kill_pending(self)
    }

    fn part(&self, part: TypeId) -> Option<&dyn Any> {
        (part == TypeId::of::<credentials::Own>()).then_some(&self.credentials)
    }
}

/// A thread's part that is Linux'.
pub trait LinuxThread {
    /// That part.
    ///
    /// # Panics
    /// If the thread never enters the program and has none.
    fn linux(&self) -> &ThreadState;
}

impl LinuxThread for Thread {
    #[inline]
    fn linux(&self) -> &ThreadState {
        self.state_as().expect("whoever asks runs for the program")
    }
}

impl ThreadState {
    /// What a thread of `process` starts with.
    pub fn new(process: Arc<Process>) -> Self {
        Self {
            process,
            started: Instant::now(),
            signals: signal::ThreadSignals::new(0),
            clear_child_tid: AtomicUsize::new(0),
            robust_list: AtomicUsize::new(0),
            transfers: transfers::Counters::default(),
            restart: SpinLock::new(None),
            credentials: SpinLock::default(),
            settings: settings::ThreadSettings::default(),
            tracing: ptrace::Tracing::default(),
            name: SpinLock::new([0; NAME_LEN]),
            borrows_thread_pointer: false,
        }
    }

    /// What a thread that loads `process`' program starts with. It runs resolvers of the program's, and leaves signals
    /// to the main thread, whose mask it is that counts.
    pub fn of_loader(process: Arc<Process>) -> Self {
        Self {
            signals: signal::ThreadSignals::new(!signal::UNBLOCKABLE),
            ..Self::new(process)
        }
    }

    /// What set_tid_address(2) and set_robust_list(2) would set, for the main thread, whose C library does not call
    /// them.
    pub fn register(&self, clear_child_tid: usize, robust_list: usize) {
        self.clear_child_tid
            .store(clear_child_tid, Ordering::Relaxed);
        self.robust_list.store(robust_list, Ordering::Relaxed);
    }

    /// The thread's name without padding, as `/proc/self/comm` shows it.
    pub fn name(&self) -> Vec<u8> {
        let name = *self.name.lock();
        name.iter().copied().take_while(|&byte| byte != 0).collect()
    }

    /// Sets the name, cut to what fits.
    pub fn set_name(&self, name: &[u8]) {
        let mut padded = [0; NAME_LEN];
        let len = name.len().min(NAME_LEN - 1);
        padded[..len].copy_from_slice(&name[..len]);
        *self.name.lock() = padded;
    }
}
