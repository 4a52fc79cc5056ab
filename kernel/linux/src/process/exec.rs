//! execve(2): a process runs another program.
//!
//! The new program is loaded by a thread of the kernel's in an address space of its own, and enters it on a main thread
//! of its own. Everything that can fail for reasons that the caller is to hear of comes before the other threads end;
//! then the new ones take the caller's place.

use super::{LinuxThread, Process, ThreadState, ptrace};
use crate::credentials::{
    Credentials,
    program::{Restraint, Runner},
};
use crate::fs::{
    File,
    permission::{self, Access},
    privileges::privileges,
};
use crate::linker::{self, Command, Launch};
use abi::Errno;
use alloc::sync::Arc;
use core::convert::Infallible;
use core::sync::atomic::Ordering;
use machine::{
    sched::{self, Thread},
    sync::SpinLock,
};

/// Replaces the program of the calling thread's process. It returns on an error only, and then nothing has happened.
pub fn execute(command: Command) -> Result<Infallible, Errno> {
    let launch = super::with_current(|process| linker::get().launch(process, command))?;
    if !super::with_current(|process| process.end_other_threads()) {
        drop(launch);
        super::stop_if_over();
        return Err(Errno::EINTR);
    }
    let loader = super::with_current(|process| process.replace(launch));
    // Once this thread has left the memory of the program that is no more: the new one may end before it has, and
    // nothing of the old one is to be in use then.
    sched::exit_current_with(|| sched::start(loader))
}

/// Whom a program is run as, and whether others of the same user may look into it (`PR_SET_DUMPABLE`).
pub struct Identity {
    /// Who it is.
    pub runner: Runner,
    /// Whether they may.
    pub is_dumpable: bool,
}

impl ThreadState {
    /// Has it, which the calling thread hands on, be the state of a main thread that runs `file`.
    pub fn run(&mut self, file: &dyn File) -> Result<Identity, Errno> {
        let old = self.credentials.lock().clone();
        let restraint = Restraint {
            no_new_privileges: self.settings.no_new_privileges.load(Ordering::Relaxed),
            shares_directories: self.process.parts.fs.is_shared(),
        };
        let runner = old.run(&privileges(file)?, restraint)?;
        self.credentials = SpinLock::new(runner.credentials.clone());
        let exceeds = runner.credentials.exceeds(&old);
        if !exceeds && !runner.is_secure {
            sched::with_current(|thread| self.settings.keep_death_signal(&thread.linux().settings));
        }
        let acts_as_itself = |one: &Credentials| {
            [one.user, one.group]
                .iter()
                .all(|ids| ids.effective == ids.real)
        };
        let is_readable =
            || (file.node()).is_none_or(|node| permission::check(node, Access::READ).is_ok());
        Ok(Identity {
            is_dumpable: !exceeds && acts_as_itself(&old) && is_readable(),
            runner,
        })
    }
}

impl Process {
    /// Starts a program in a process that runs none.
    pub fn start(self: &Arc<Self>, launch: Launch) {
        sched::start(self.replace(launch));
    }

    /// Makes a program the one that the process runs, in place of another, or none, and returns the thread that loads
    /// it, which has not started. The calling thread is the process' only one, or none of its.
    fn replace(self: &Arc<Self>, launch: Launch) -> Arc<Thread> {
        let Launch {
            main,
            loader,
            program,
            space,
            is_dumpable,
        } = launch;
        self.take_files();
        self.files().close_on_exec();
        self.take_dispositions();
        self.sighand().reset();
        self.end_posix_timers();
        let dumpable = &self.settings.dumpable;
        dumpable.store(is_dumpable.into(), Ordering::Relaxed);
        space.set_limits(self.limits.of_space());
        self.set_program(program);
        self.set_space(Some(space));
        self.replace_thread(sched::current_tid(), &main);
        self.find_takers();
        ptrace::execute(self, &main);
        self.set_executed();
        self.goes_on();
        self.release_parent();
        loader
    }
}
