//! execve(2): a process runs another program.
//!
//! The new program is loaded by a thread of the kernel's in an address space of its own, and enters it on a main thread
//! of its own. Everything that can fail for reasons that the caller is to hear of comes before the other threads end;
//! then the new ones take the caller's place.

use super::Process;
use crate::linker::{self, Command, Launch};
use abi::Errno;
use alloc::sync::Arc;
use core::convert::Infallible;
use core::sync::atomic::Ordering;
use machine::sched;

/// Replaces the program of the calling thread's process. It returns on an error only, and then nothing has happened.
pub fn execute(command: Command) -> Result<Infallible, Errno> {
    let launch = super::with_current(|process| linker::get().launch(process, command))?;
    if !super::with_current(|process| process.end_other_threads()) {
        drop(launch);
        super::stop_if_over();
        return Err(Errno::EINTR);
    }
    super::with_current(|process| process.start(launch));
    sched::exit_current()
}

impl Process {
    /// Starts a program in place of what the process runs, if anything. The calling thread is the only one, or none of
    /// the process'.
    pub fn start(self: &Arc<Self>, launch: Launch) {
        let Launch {
            main,
            loader,
            program,
            space,
        } = launch;
        self.files.close_on_exec();
        self.sighand.reset();
        self.end_posix_timers();
        self.settings.dumpable.store(1, Ordering::Relaxed);
        space.set_limits(self.limits.of_space());
        self.set_program(program);
        self.set_space(Some(space));
        self.replace_thread(sched::current_tid(), &main);
        self.set_executed();
        self.goes_on();
        self.release_parent();
        sched::start(loader);
    }
}
