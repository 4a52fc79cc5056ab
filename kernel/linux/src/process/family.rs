//! Who is whose child, groups and sessions: setpgid(2), setsid(2). [`wait`] has waiting for children.
//!
//! A process that has ended stays in the table, as a zombie, until its parent has heard of it. Children of one that
//! ends are those of the nearest ancestor that has asked for them (`PR_SET_CHILD_SUBREAPER`), else the first process',
//! as in a container. Many programs do not know that they may be the first: of what they have so come by, and do not
//! wait for, a few are kept. All of it happens under the lock of the table of processes.

mod wait;

pub use wait::{Options, Target};

use super::signal::{Recipient, SigInfo};
use super::usage::Usage;
use super::{LinuxThread, Pid, Process, table};
use crate::tty::Tty;
use abi::Errno;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use linux_raw_sys::general as linux;
use machine::sched::{self, Tid};
use machine::sync::WaitQueue;

const SIGCHLD: i32 = linux::SIGCHLD as i32;

/// What a process is to others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kin {
    /// The parent's id; 0 for none.
    parent: Pid,
    /// Which of its threads has made it.
    maker: Tid,
    /// The parent is the first process because the real one has ended.
    is_adopted: bool,
    /// The group's: who leads that has the same id.
    group: Pid,
    /// The session's.
    session: Pid,
    /// What the parent is sent at the end; 0 for nothing.
    exit_signal: i32,
    /// It has run another program since it was made.
    has_executed: bool,
    /// It has ended, so, as this user.
    end: Option<(Status, u32)>,
    /// It has stopped or gone on, so, and nobody has waited for that.
    job: Option<Change>,
}

/// How a process has ended, as wait(2) tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// By itself, with this status.
    Exited(u8),
    /// By this signal.
    Killed(i32),
}

/// What has become of a process that others may wait for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// It has ended.
    Ended(Status),
    /// This signal has stopped it.
    Stopped(i32),
    /// It goes on.
    Continued,
    /// It is traced and has stopped, for this signal and event.
    Trapped(u32),
}

/// What there is to tell of a child.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// Which.
    pub pid: Pid,
    /// Its user.
    pub uid: u32,
    /// What has become of it.
    pub status: Change,
    /// What it and its children have used.
    pub usage: Usage,
}

impl Change {
    /// As wait4(2) gives it. No core is ever dumped.
    pub fn word(self) -> i32 {
        match self {
            Self::Ended(Status::Exited(status)) => i32::from(status) << 8,
            Self::Ended(Status::Killed(signal)) => signal,
            Self::Stopped(signal) => signal << 8 | 0x7f,
            Self::Continued => 0xffff,
            Self::Trapped(code) => (code << 8 | 0x7f).cast_signed(),
        }
    }

    /// `si_code` and `si_status` of SIGCHLD.
    pub fn code(self) -> (i32, i32) {
        let (code, status) = match self {
            Self::Ended(Status::Exited(status)) => (linux::CLD_EXITED, status.into()),
            Self::Ended(Status::Killed(signal)) => (linux::CLD_KILLED, signal),
            Self::Stopped(signal) => (linux::CLD_STOPPED, signal),
            Self::Continued => (linux::CLD_CONTINUED, linux::SIGCONT.cast_signed()),
            Self::Trapped(code) => (linux::CLD_TRAPPED, code.cast_signed()),
        };
        (code.cast_signed(), status)
    }
}

/// As [`Process::is_orphaned`].
fn is_orphaned(all: &BTreeMap<Pid, Arc<Process>>, group: Pid) -> bool {
    !all.values().any(|one| {
        let kin = one.kin();
        let parent = all.get(&kin.parent).map(|parent| parent.kin());
        let is_elsewhere = |parent: Kin| parent.session == kin.session && parent.group != group;
        kin.group == group && kin.end.is_none() && parent.is_some_and(is_elsewhere)
    })
}

/// A process that ends may have been the last that could have let the stopped processes of these groups go on: they are
/// told.
fn let_go_of_groups(all: &BTreeMap<Pid, Arc<Process>>, groups: &[Pid]) {
    for &group in groups.iter().filter(|group| is_orphaned(all, **group)) {
        let members = || {
            all.values().filter(|one| {
                let kin = one.kin();
                kin.group == group && kin.end.is_none()
            })
        };
        let has_stopped = members().any(|one| one.stop.is_stopped());
        for member in members().filter(|_| has_stopped) {
            member.send_signal(linux::SIGHUP.cast_signed());
            member.send_signal(linux::SIGCONT.cast_signed());
        }
    }
}

/// How many processes that have ended the first one may leave unwaited for, of those that are its children because
/// their parents have ended.
const MOST_FORGOTTEN: usize = 64;

/// Those that are too many.
fn forgotten(all: &BTreeMap<Pid, Arc<Process>>) -> Vec<Pid> {
    let ended = |one: &&Arc<Process>| {
        let kin = one.kin();
        kin.is_adopted && kin.end.is_some()
    };
    let count = all.values().filter(ended).count();
    let too_many = count.saturating_sub(MOST_FORGOTTEN);
    let oldest = all.values().filter(ended).take(too_many);
    oldest.map(|one| one.pid).collect()
}

/// Sends all processes of a group a signal of the kernel's.
pub(crate) fn signal_group(group: Pid, signal: i32) {
    for process in table::processes().filter(|process| process.pgid() == group) {
        process.send_signal(signal);
    }
}

/// The session that a group belongs to, if there is such a group.
pub(crate) fn session_of(group: Pid) -> Option<Pid> {
    let mut members = table::processes().filter(|process| process.pgid() == group);
    members.next().map(|process| process.sid())
}

impl Report {
    /// The signal, usually SIGCHLD, that tells the parent.
    pub fn info(&self, signal: i32) -> SigInfo {
        /// What `si_utime` counts in.
        const TICK_NS: u64 = 10_000_000;
        let (code, status) = self.status.code();
        // si_pid and si_uid, si_status, si_utime, si_stime.
        let id = u64::from(self.pid.cast_unsigned()) | u64::from(self.uid) << 32;
        let status = u64::from(status.cast_unsigned());
        SigInfo {
            signal,
            code,
            fields: [
                id,
                status,
                self.usage.user_ns() / TICK_NS,
                self.usage.system_ns / TICK_NS,
            ],
            errno: 0,
        }
    }
}

impl Kin {
    /// That of one without a parent: it leads its group and its session.
    pub(super) fn leader(pid: Pid) -> Self {
        Self {
            parent: 0,
            maker: 0,
            is_adopted: false,
            group: pid,
            session: pid,
            exit_signal: SIGCHLD,
            has_executed: false,
            end: None,
            job: None,
        }
    }

    /// A child's, which belongs to the same group; at the end the parent is sent `exit_signal`.
    /// The calling thread is one of the parent's.
    pub(super) fn child(&self, parent: Pid, exit_signal: i32) -> Self {
        Self {
            parent,
            maker: sched::current_tid(),
            exit_signal,
            group: self.group,
            session: self.session,
            ..Self::leader(0)
        }
    }
}

impl Process {
    /// What it is to others, now.
    pub(super) fn kin(&self) -> Kin {
        *self.kin.lock()
    }

    /// Its parent's id; 0 for none.
    pub fn ppid(&self) -> Pid {
        self.kin().parent
    }

    /// Its group's id.
    pub fn pgid(&self) -> Pid {
        self.kin().group
    }

    /// Its session's id.
    pub fn sid(&self) -> Pid {
        self.kin().session
    }

    /// How it has ended, if it has.
    pub fn status(&self) -> Option<Status> {
        self.kin().end.map(|(status, _)| status)
    }

    /// Whether it has ended, and its parent has not been told.
    pub fn is_zombie(&self) -> bool {
        self.kin().end.is_some()
    }

    /// Whose it was, if it has ended.
    pub fn zombie_user(&self) -> u32 {
        self.kin().end.map_or(0, |(_, user)| user)
    }

    /// The signal that its parent is sent when it ends; 0 for none.
    pub fn exit_signal(&self) -> i32 {
        self.kin().exit_signal
    }

    /// It runs another program from now on.
    pub(super) fn set_executed(&self) {
        let mut kin = self.kin.lock();
        kin.has_executed = true;
        if kin.exit_signal != 0 {
            // What else was asked for was about the program before.
            kin.exit_signal = SIGCHLD;
        }
    }

    fn report(&self, kin: &Kin) -> Option<Report> {
        let (status, uid) = kin.end?;
        Some(self.report_of(Change::Ended(status), uid))
    }

    /// Its parent, and which of that one's threads has made it.
    pub(super) fn parent_and_maker(&self) -> (Pid, Tid) {
        let kin = self.kin();
        (kin.parent, kin.maker)
    }

    /// Somebody who waits may have something to hear.
    pub(super) fn wake_who_waits(&self) {
        self.children.wake_all();
    }

    fn report_of(&self, status: Change, uid: u32) -> Report {
        Report {
            pid: self.pid,
            uid,
            status,
            usage: self.usage_with_children(),
        }
    }

    /// It has been stopped, or goes on: its parent is told, if that wants to know.
    pub(super) fn tell_job(&self, status: Change) {
        table::with_processes(|all| {
            self.kin.lock().job = Some(status);
            let kin = self.kin();
            let Some(parent) = all.get(&kin.parent) else {
                return;
            };
            if parent.hears_of_stops() {
                let report = self.report_of(status, 0);
                let _ = parent.send(
                    Recipient::Process,
                    report.info(linux::SIGCHLD.cast_signed()),
                );
            }
            parent.children.wake_all();
        });
    }

    /// What is woken when it has ended.
    pub fn end_queue(&self) -> &WaitQueue {
        &self.ended
    }

    /// Its last thread, of the user `uid`, has ended: its parent is told, and its children become somebody else's.
    pub(super) fn become_zombie(&self, status: Status, uid: u32) {
        let gone = table::with_processes(|all| {
            self.kin.lock().end = Some((status, uid));
            let heir = self.heir(all);
            let mut gone = Vec::new();
            let own = self.kin();
            let parent = all.get(&own.parent).map(|parent| parent.kin());
            // Those in which somebody has, or is, a parent elsewhere in the session that ends.
            let mut groups: Vec<Pid> = parent
                .filter(|parent| parent.session == own.session && parent.group != own.group)
                .map(|_| own.group)
                .into_iter()
                .collect();
            for child in all.values().filter(|child| child.ppid() == self.pid) {
                child.parent_ended(self.pid, uid);
                let has_ended = {
                    let mut kin = child.kin.lock();
                    kin.parent = heir.unwrap_or(table::FIRST);
                    kin.is_adopted = heir.is_none();
                    kin.exit_signal = SIGCHLD;
                    if kin.session == own.session && kin.group != own.group {
                        groups.push(kin.group);
                    }
                    kin.end.is_some()
                };
                if has_ended && !child.tell_parent(all) {
                    gone.push(child.pid);
                }
            }
            let_go_of_groups(all, &groups);
            if !self.tell_parent(all) {
                gone.push(self.pid);
            } else if own.is_adopted || heir.is_none() {
                gone.extend(forgotten(all));
            }
            gone.iter().map(|pid| all.remove(pid)).collect::<Vec<_>>()
        });
        self.ended.wake_all();
        // Not under the lock: they may be the last references.
        drop(gone);
    }

    /// Whether nobody could let processes of its group go on that stop: those who might are of the same session, and of
    /// another group.
    pub fn is_orphaned(&self) -> bool {
        table::with_processes(|all| is_orphaned(all, self.kin().group))
    }

    /// The nearest ancestor that has asked for its children.
    fn heir(&self, all: &BTreeMap<Pid, Arc<Self>>) -> Option<Pid> {
        let mut at = self.ppid();
        while let Some(ancestor) = all.get(&at) {
            let kin = ancestor.kin();
            let asks = ancestor.settings.child_subreaper.load(Ordering::Relaxed);
            if asks && kin.end.is_none() {
                return Some(at);
            }
            at = kin.parent;
        }
        None
    }

    /// The thread `tid` of it has ended, and others have not: children that it has made are told as those of a process
    /// that ends (`PR_SET_PDEATHSIG`), and are the main thread's from then on.
    pub(super) fn maker_ended(&self, tid: Tid, uid: u32) {
        table::with_processes(|all| {
            for child in all.values() {
                let is_meant = {
                    let mut kin = child.kin.lock();
                    let is_meant = kin.parent == self.pid && kin.maker == tid;
                    if is_meant {
                        kin.maker = self.pid;
                    }
                    is_meant
                };
                if is_meant {
                    child.parent_ended(self.pid, uid);
                }
            }
        });
    }

    /// Sends it what its threads want to be sent at the end of its parent, a process of the user `uid`.
    fn parent_ended(&self, parent: Pid, uid: u32) {
        let wanted: Vec<i32> = {
            let threads = self.threads.live.lock();
            let signals = threads.values().map(|thread| {
                let settings = &thread.linux().settings;
                settings.death_signal.load(Ordering::Relaxed)
            });
            signals.filter(|&signal| signal != 0).collect()
        };
        for signal in wanted {
            let info = SigInfo::from_program(signal, linux::SI_USER as i32, parent, uid);
            // Only a full queue of real-time signals is an error.
            let _ = self.send(Recipient::Process, info);
        }
    }

    /// Tells the parent of the end; whether it may wait.
    pub(super) fn tell_parent(&self, all: &BTreeMap<Pid, Arc<Self>>) -> bool {
        let mut kin = self.kin();
        let tracer = self.tracer().filter(|tracer| all.contains_key(tracer));
        if let Some(tracer) = tracer.filter(|&tracer| tracer != kin.parent) {
            // It comes first, and the parent hears of the end when it has.
            (kin.parent, kin.exit_signal) = (tracer, SIGCHLD);
        }
        let Some((parent, report)) = all.get(&kin.parent).zip(self.report(&kin)) else {
            return false;
        };
        let ignored = tracer.is_none() && kin.exit_signal == SIGCHLD && parent.ignores_children();
        if kin.exit_signal != 0 {
            // Only a full queue of real-time signals is an error.
            let _ = parent.send(Recipient::Process, report.info(kin.exit_signal));
        }
        // Even if it is ignored: who waits learns that there is no such child.
        parent.children.wake_all();
        !ignored
    }

    /// setpgid(2): moves the process `pid`, this one or a child of it, to a group.
    pub fn set_group(&self, pid: Pid, group: Pid) -> Result<(), Errno> {
        let pid = if pid == 0 { self.pid } else { pid };
        let group = if group == 0 { pid } else { group };
        if group < 0 {
            return Err(Errno::EINVAL);
        }
        table::with_processes(|all| {
            let session = self.kin().session;
            let process = all.get(&pid).ok_or(Errno::ESRCH)?;
            let kin = process.kin();
            if pid != self.pid {
                if kin.parent != self.pid {
                    return Err(Errno::ESRCH);
                }
                if kin.session != session {
                    return Err(Errno::EPERM);
                }
                if kin.has_executed {
                    return Err(Errno::EACCES);
                }
            }
            let has_group = |one: &Kin| one.group == group && one.session == session;
            let exists = group == pid || all.values().any(|one| has_group(&one.kin()));
            if kin.session == pid || !exists {
                return Err(Errno::EPERM);
            }
            process.kin.lock().group = group;
            Ok(())
        })
    }

    /// setsid(2): makes a session with this process alone; its id.
    pub fn set_session(&self) -> Result<Pid, Errno> {
        table::with_processes(|all| {
            if all.values().any(|one| one.kin().group == self.pid) {
                return Err(Errno::EPERM);
            }
            let mut kin = self.kin.lock();
            (kin.group, kin.session) = (self.pid, self.pid);
            drop(kin);
            self.set_terminal(None);
            Ok(self.pid)
        })
    }

    /// The terminal of its session.
    pub fn terminal(&self) -> Option<Arc<Tty>> {
        self.terminal.lock().clone()
    }

    pub(crate) fn set_terminal(&self, terminal: Option<Arc<Tty>>) {
        let old = core::mem::replace(&mut *self.terminal.lock(), terminal);
        // Not under the lock: it may be the last reference.
        drop(old);
    }

    /// What the foreground group of its terminal was when that hung up.
    pub(crate) fn set_old_foreground(&self, group: Pid) {
        self.old_foreground.store(group, Ordering::Relaxed);
    }

    pub(crate) fn take_old_foreground(&self) -> Pid {
        self.old_foreground.swap(0, Ordering::Relaxed)
    }

    /// Whether it, its group or its session has this id.
    pub(super) fn uses(&self, id: Pid) -> bool {
        let kin = self.kin();
        self.pid == id || kin.group == id || kin.session == id
    }
}
