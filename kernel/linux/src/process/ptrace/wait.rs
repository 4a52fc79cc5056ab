//! What wait(2) tells a tracer of its tracees, whoever's children they are, and the SIGCHLD that says that there is
//! something to hear.
use super::{Role, Tracee};
use crate::credentials;
use crate::process::{
    LinuxThread, Pid, Process,
    family::{Change, Options, Report, Status, Target},
    signal::{Recipient, SigInfo},
    table,
};
use abi::Errno;
use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};
use linux_raw_sys::general as linux;
use machine::sched::{self, Thread};

type Processes = BTreeMap<Pid, Arc<Process>>;

impl Tracee {
    fn report(&self, process: &Process, status: Change) -> Report {
        let thread = table::with_thread(self.tid(), credentials::of);
        Report {
            pid: self.tid(),
            uid: thread.map_or(0, |who| who.user.real),
            status,
            usage: process.usage_with_children(),
        }
    }

    /// Whether the tracer waits for it, when it waits for `target`.
    fn is_meant(&self, process: &Process, target: Target, options: Options) -> bool {
        let is_own = !options.own_only || self.tracer.tid == sched::current_tid();
        is_own
            && match target {
                Target::Any => true,
                Target::Process(one) => one == self.tid(),
                Target::Group(group) => group == process.pgid(),
            }
    }

    /// What there is to tell of it.
    fn news(&self, process: &Process, options: Options) -> Option<Report> {
        let is_main = self.tid() == process.pid;
        let mut state = self.state.lock();
        let end = if is_main { process.status() } else { state.end };
        let status = if let Some(status) = end {
            options.ended.then_some(Change::Ended(status))?
        } else {
            let stop = state.stop.as_mut()?;
            if stop.is_told || stop.is_listening {
                return None;
            }
            stop.is_told = !options.keep;
            Change::Trapped(stop.code)
        };
        drop(state);
        Some(self.report(process, status))
    }

    /// Tells the tracer of it.
    fn tell(&self, all: &Processes, change: Change, code: u32) {
        let Some(tracer) = all.get(&self.tracer.pid) else {
            return;
        };
        let Some(process) = self.process.upgrade() else {
            return;
        };
        if matches!(change, Change::Ended(_)) || tracer.minds_stops() {
            let report = self.report(&process, change);
            let mut info: SigInfo = report.info(linux::SIGCHLD.cast_signed());
            if let Change::Trapped(status) = change {
                info.code = code.cast_signed();
                info.fields[1] = u64::from(status & 0x7f);
            }
            let _ = tracer.send(Recipient::Process, info);
        }
        tracer.wake_who_waits();
    }

    /// Tells the tracer that it is stopped; `code` is `si_code`.
    pub(super) fn tell_stop(&self, all: &Processes, status: u32, code: u32) {
        self.tell(all, Change::Trapped(status), code);
    }

    /// The tracer does not want to know more of it. If it is a process that has ended its parent is told, or it goes.
    pub(super) fn hand_over(&self, all: &mut Processes) -> Option<Arc<Process>> {
        let process = self.process.upgrade()?;
        let is_over = self.tid() == process.pid && process.is_zombie();
        if is_over && !process.tell_parent(all) {
            return all.remove(&process.pid);
        }
        None
    }
}

impl Process {
    /// What there is to tell of those that its threads trace, as `wait` has it; `ECHILD` without any that is meant.
    pub(in crate::process) fn look_at_tracees(
        &self,
        target: Target,
        options: Options,
    ) -> Result<Option<Report>, Errno> {
        let mut gone = Vec::new();
        let found = table::with_processes(|all| {
            let mut found = Err(Errno::ECHILD);
            let tracees: Vec<_> = self.tracees.lock().values().cloned().collect();
            for tracee in tracees {
                let Some(process) = tracee.process.upgrade() else {
                    tracee.unlink(None, all);
                    continue;
                };
                if !tracee.is_meant(&process, target, options) {
                    continue;
                }
                let is_own = tracee.tid() == process.pid && process.ppid() == self.pid;
                if is_own && process.is_zombie() {
                    // That is for the parent to hear.
                    continue;
                }
                let news = tracee.news(&process, options);
                found = Ok(news);
                let Some(report) = news else { continue };
                if matches!(report.status, Change::Ended(_)) && !options.keep {
                    tracee.unlink(None, all);
                    gone.extend(tracee.hand_over(all));
                }
                break;
            }
            found
        });
        // Not under the lock: they may be the last references.
        drop(gone);
        found
    }

    /// It has ended, and whoever traced it has been told.
    pub(in crate::process) fn forget_tracer(&self) {
        table::with_processes(|all| {
            let tracee = self.main_tracee.lock().clone();
            if let Some(tracee) = tracee {
                tracee.unlink(None, all);
            }
        });
    }

    /// A thread of its, the last or not, has ended: nobody traces it from now on, and who did is told.
    pub(in crate::process) fn tracee_ended(&self, thread: &Thread, status: Status) {
        table::with_processes(|all| {
            let tracee = thread.linux().tracing.become_role(Role::Over);
            let Some(tracee) = tracee.filter(|_| thread.tid != self.pid) else {
                // A main thread ends, to others, when its process does.
                return;
            };
            tracee.state.lock().end = Some(status);
            tracee.tell(all, Change::Ended(status), 0);
        });
    }
}
