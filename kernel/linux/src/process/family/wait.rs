//! Waiting for children: wait4(2), waitid(2). Of those that it traces, a process hears in [`crate::process::ptrace`].
use super::{Change, Kin, Report, SIGCHLD};
use crate::credentials;
use crate::process::{Pid, Process, table};
use abi::Errno;
use machine::sched;
use machine::sync::Signals;

/// Children that are waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// All.
    Any,
    /// One.
    Process(Pid),
    /// Those of a group.
    Group(Pid),
}

/// How children are waited for.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether to come back at once.
    pub nonblocking: bool,
    /// Whether those that have ended are meant.
    pub ended: bool,
    /// Whether those that have been stopped are.
    pub stopped: bool,
    /// Whether those that have gone on are.
    pub continued: bool,
    /// Whether the child stays a zombie, or is told of again.
    pub keep: bool,
    /// Whether those that send SIGCHLD are meant, or the others; `None`: both.
    pub sends_sigchld: Option<bool>,
    /// Whether only those that the calling thread has made, or traces, are meant.
    pub own_only: bool,
}

impl Target {
    fn covers(self, pid: Pid, kin: &Kin) -> bool {
        match self {
            Self::Any => true,
            Self::Process(one) => one == pid,
            Self::Group(group) => group == kin.group,
        }
    }
}

impl Process {
    /// What there is to tell of it that its parent waits for.
    fn news(&self, kin: &Kin, options: Options) -> Option<Report> {
        let ended = self.report(kin);
        if ended.is_some() {
            return ended.filter(|_| options.ended);
        }
        let job = kin.job.filter(|job| match job {
            Change::Stopped(_) => options.stopped,
            _ => options.continued,
        })?;
        let main = self.main_thread();
        let uid = main.map_or(0, |thread| credentials::of(&thread).user.real);
        Some(self.report_of(job, uid))
    }

    /// The same, as far as who traces it leaves that to its parent: a tracer hears of stops by itself, and of the end
    /// first.
    fn news_to_parent(&self, kin: &Kin, mut options: Options) -> Option<Report> {
        match self.tracer() {
            Some(tracer) if tracer == kin.parent => {
                (options.stopped, options.continued) = (false, false);
            }
            Some(_) if kin.end.is_some() => return None,
            _ => {}
        }
        self.news(kin, options)
    }

    /// Waits for a child; `None` if none has ended and that is not waited for. `ECHILD` without such a child.
    pub fn wait(&self, target: Target, options: Options) -> Result<Option<Report>, Errno> {
        let look = || match self.look(target, options) {
            Ok(None) if !options.nonblocking => None,
            found => Some(found),
        };
        let found = self.children.wait_until(None, Signals::Interrupt, look);
        // Often it is the end of a child that interrupts.
        found.ok().or_else(look).ok_or(Errno::ERESTARTSYS)?
    }

    fn look(&self, target: Target, options: Options) -> Result<Option<Report>, Errno> {
        let (found, gone) = table::with_processes(|all| {
            let mut found = Err(Errno::ECHILD);
            for child in all.values() {
                let kin = child.kin();
                let sends = kin.exit_signal == SIGCHLD;
                let is_meant = kin.parent == self.pid
                    && target.covers(child.pid, &kin)
                    && options.sends_sigchld.is_none_or(|wanted| wanted == sends)
                    && (!options.own_only || kin.maker == sched::current_tid());
                if is_meant {
                    found = Ok(child.news_to_parent(&kin, options));
                    if matches!(found, Ok(Some(_))) {
                        break;
                    }
                }
            }
            let gone = match found {
                Ok(Some(report)) if !options.keep && !matches!(report.status, Change::Ended(_)) => {
                    if let Some(child) = all.get(&report.pid) {
                        child.kin.lock().job = None;
                    }
                    None
                }
                Ok(Some(report)) if !options.keep => {
                    self.add_child(report.usage);
                    all.remove(&report.pid)
                }
                _ => None,
            };
            (found, gone)
        });
        if let Some(child) = &gone {
            self.add_transfers(child.transfers());
            child.forget_tracer();
        }
        // Not under the lock: it may be the last reference.
        drop(gone);
        match found {
            Ok(Some(_)) => found,
            _ => self.look_at_tracees(target, options).or(found),
        }
    }
}
