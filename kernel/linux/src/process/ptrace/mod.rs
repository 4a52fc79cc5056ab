//! ptrace(2): a thread, the tracer, looks at another one, the tracee, and changes it while that is stopped.
//!
//! A tracee stops on its own kernel stack ([`stop`]), publishes what can be seen and changed of it ([`x86_64`]), and
//! takes that back when it goes on: no thread touches another one's stack. What tracer and tracee share, a [`Tracee`],
//! belongs to both: it outlives the thread until the tracer has heard of its end ([`wait`]). [`request`] has what the
//! tracer asks for, [`permission`] whom it may trace, [`events`] where system calls and what they do stop.
//!
//! Who traces whom changes under the lock of the table of processes. A tracee's state is the innermost lock.
mod events;
mod link;
mod permission;
mod request;
mod stop;
mod wait;
mod x86_64;

pub(crate) use events::{
    begin_call, begin_program, end_call, event, execute, exits, is_traced, of_clone, remember,
};
pub(crate) use link::{attach, end_of_tracer, follow, trace_me};
pub(crate) use permission::check_access;
pub(crate) use request::{detach, interrupt, kill, listen, resume, with_stopped};
pub(crate) use stop::{SIGTRAP, entered_handler, forget_step, group_stop, is_stepping, signal};
pub(crate) use x86_64::{ARCHITECTURE, Context, DEBUG_REGISTERS, Registers, USER, set_trap_flag};

use super::{Pid, Process, family::Status, signal::SigInfo};
use alloc::{boxed::Box, collections::BTreeMap, sync::Arc, sync::Weak};
use core::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use linux_raw_sys::ptrace as linux;
use machine::{
    arch::TrapFrame,
    sched::Tid,
    sync::{SpinLock, WaitQueue},
};

/// A thread that is traced.
pub(crate) struct Tracee {
    /// Its id, which execve(2) changes.
    tid: AtomicI32,
    process: Weak<Process>,
    tracer: Tracer,
    state: SpinLock<State>,
    /// Is woken when it is to go on.
    resumed: WaitQueue,
}

/// Who traces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tracer {
    pub(crate) tid: Tid,
    pub(crate) pid: Pid,
}

pub(crate) struct State {
    /// `PTRACE_O_*`
    pub(crate) options: u32,
    /// By PTRACE_SEIZE, which has other stops.
    pub(crate) is_seized: bool,
    /// It is to stop for its tracer to know.
    trap: bool,
    resume: Resume,
    pub(crate) stop: Option<Stop>,
    /// It is to go on, so.
    go: Option<Go>,
    is_detached: bool,
    /// Its id before it has begun to run another program, of which its tracer is to be told.
    former: Option<Tid>,
    /// Its registers when it last came into the kernel, if its tracer wants to see them when it ends.
    last: Option<Box<TrapFrame>>,
    /// How it has ended, if it was not its process' main thread.
    end: Option<Status>,
}

/// How far a tracee goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Resume {
    /// PTRACE_CONT
    Continue,
    /// To the next beginning or end of a system call.
    Syscall,
    /// One instruction.
    Step,
}

/// Where a stop is, for what the registers mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Point {
    /// At the beginning of a system call.
    Entry,
    /// Within one.
    Call,
    /// At the end of one.
    Exit,
    /// Between instructions of the program.
    Program,
}

/// A tracee that is stopped.
pub(crate) struct Stop {
    /// As wait(2) has it, a signal and an event.
    code: u32,
    /// The tracer has waited for it.
    is_told: bool,
    /// PTRACE_LISTEN: it is stopped with its process, and its tracer does not mind.
    is_listening: bool,
    /// What PTRACE_GETEVENTMSG says.
    pub(crate) message: u64,
    /// What PTRACE_GETSIGINFO says.
    pub(crate) info: Option<SigInfo>,
    pub(crate) point: Point,
    pub(crate) context: Box<Context>,
}

/// What a tracee goes on with.
struct Go {
    /// The signal that the tracer wants it to get; 0 for none.
    signal: i32,
    info: Option<SigInfo>,
    context: Box<Context>,
}

/// A process' threads' tracees, by their ids.
pub(crate) type Tracees = SpinLock<BTreeMap<Tid, Arc<Tracee>>>;

/// A thread's part in it.
#[derive(Default)]
pub(crate) struct Tracing {
    is_traced: AtomicBool,
    /// The trap flag is the tracer's. The thread's own.
    steps: AtomicBool,
    role: SpinLock<Role>,
}

/// What a thread is to tracers.
#[derive(Default)]
enum Role {
    #[default]
    Free,
    Traced(Arc<Tracee>),
    /// It has ended.
    Over,
}

impl Tracing {
    /// Whether it is traced.
    #[inline]
    pub(crate) fn is_traced(&self) -> bool {
        self.is_traced.load(Ordering::Acquire)
    }

    /// What its tracer and it share, if it is traced.
    pub(crate) fn tracee(&self) -> Option<Arc<Tracee>> {
        if !self.is_traced() {
            return None;
        }
        match &*self.role.lock() {
            Role::Traced(tracee) => Some(tracee.clone()),
            _ => None,
        }
    }

    /// Who traces it; 0 for nobody.
    pub(crate) fn tracer(&self) -> Tid {
        self.tracee().map_or(0, |tracee| tracee.tracer.tid)
    }

    /// Whether it is stopped for its tracer.
    pub(crate) fn is_held(&self) -> bool {
        self.tracee()
            .is_some_and(|tracee| tracee.state.lock().stop.is_some())
    }

    /// The thread's process stops, or goes on; whether its tracer wants to know, so that it has to be made to look.
    pub(crate) fn notify(&self) -> bool {
        self.tracee().is_some_and(|tracee| tracee.trap())
    }

    /// Makes it something else; what it was traced as.
    fn become_role(&self, role: Role) -> Option<Arc<Tracee>> {
        let is_traced = matches!(role, Role::Traced(_));
        let old = core::mem::replace(&mut *self.role.lock(), role);
        self.is_traced.store(is_traced, Ordering::Release);
        match old {
            Role::Traced(tracee) => Some(tracee),
            _ => None,
        }
    }
}

impl Tracee {
    /// Whether an option is set.
    fn has(&self, option: u32) -> bool {
        self.state.lock().options & option != 0
    }

    /// Has it go on.
    fn wake(&self, state: &mut State, signal: i32) {
        if let Some(stop) = state.stop.take() {
            state.go = Some(Go {
                signal,
                info: stop.info,
                context: stop.context,
            });
            self.resumed.wake_all();
        }
    }

    /// It is to stop soon for its tracer to know something, if that has seized it; whether it is. The thread has to be
    /// made to look.
    fn trap(&self) -> bool {
        let mut state = self.state.lock();
        if !state.is_seized {
            return false;
        }
        state.trap = true;
        if state.stop.as_ref().is_some_and(|stop| stop.is_listening) {
            self.wake(&mut state, 0);
        }
        true
    }

    /// Whether PTRACE_SEIZE has been used.
    fn is_seized(&self) -> bool {
        self.state.lock().is_seized
    }

    /// What [`Tracee::become_main`] has left.
    fn take_former(&self) -> Option<Tid> {
        self.state.lock().former.take()
    }

    /// Whether it was to stop; now it does.
    pub(crate) fn take_trap(&self) -> bool {
        core::mem::take(&mut self.state.lock().trap)
    }
}

impl Process {
    /// Who traces its main thread, if anybody does.
    pub(crate) fn tracer(&self) -> Option<Pid> {
        self.main_tracee.lock().as_ref().map(|one| one.tracer.pid)
    }
}

/// Whether these are options that there are.
pub(crate) fn are_options(options: u32) -> bool {
    const KNOWN: u32 = linux::PTRACE_O_TRACESYSGOOD
        | linux::PTRACE_O_TRACEFORK
        | linux::PTRACE_O_TRACEVFORK
        | linux::PTRACE_O_TRACECLONE
        | linux::PTRACE_O_TRACEEXEC
        | linux::PTRACE_O_TRACEVFORKDONE
        | linux::PTRACE_O_TRACEEXIT
        | linux::PTRACE_O_EXITKILL;
    options & !KNOWN == 0
}
