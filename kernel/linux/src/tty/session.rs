//! Job control: whose terminal it is, and who may use it (credentials(7), tty_ioctl(4)).
use super::Tty;
use crate::credentials;
use crate::process::family::{self, signal_group as send};
use crate::process::signal::is_blocked_or_ignored;
use crate::process::{self, Pid, Process};
use abi::Errno;
use alloc::sync::Arc;
use linux_raw_sys::general as linux;

/// Sends all processes of a group a signal of the kernel's.
pub(super) fn signal_group(group: Pid, signal: u32) {
    if group != 0 {
        send(group, signal.cast_signed());
    }
}

impl Tty {
    fn is_terminal_of(self: &Arc<Self>, process: &Process) -> bool {
        let terminal = process.terminal();
        terminal.is_some_and(|terminal| Arc::ptr_eq(&terminal, self))
    }

    /// Whether it is the terminal of the caller's session.
    pub(super) fn is_callers(self: &Arc<Self>) -> bool {
        process::with_current(|process| self.is_terminal_of(process))
    }

    /// Lets the caller use its terminal if it is in the foreground. If not its group is sent the signal, SIGTTIN or
    /// SIGTTOU; where nobody could let it go on it is an error.
    pub(super) fn check_foreground(self: &Arc<Self>, signal: u32) -> Result<(), Errno> {
        process::with_current(|process| {
            let (group, foreground) = (process.pgid(), self.foreground());
            if group == foreground || foreground == 0 || !self.is_terminal_of(process) {
                return Ok(());
            }
            if is_blocked_or_ignored(signal.cast_signed()) {
                return match signal {
                    linux::SIGTTIN => Err(Errno::EIO),
                    _ => Ok(()),
                };
            }
            if process.is_orphaned() {
                return Err(Errno::EIO);
            }
            signal_group(group, signal);
            Err(Errno::ERESTARTSYS)
        })
    }

    /// Makes it the terminal of a session that has none, and the group of its leader the foreground.
    pub fn adopt(self: &Arc<Self>, process: &Process) {
        let mut state = self.state.lock();
        (state.session, state.foreground) = (process.sid(), process.pgid());
        drop(state);
        process.set_terminal(Some(self.clone()));
    }

    /// Opening without `O_NOCTTY`: a session's leader that has no terminal gets it, if nobody has.
    pub(super) fn opened(self: &Arc<Self>) {
        process::with_current(|process| {
            let leads = process.sid() == process.pid;
            if leads && process.terminal().is_none() && self.state.lock().session == 0 {
                self.adopt(process);
            }
        });
    }

    /// `TIOCSCTTY`
    pub(super) fn take(self: &Arc<Self>, steals: bool) -> Result<(), Errno> {
        process::with_current(|process| {
            let session = self.state.lock().session;
            if process.sid() == process.pid && session == process.sid() {
                return Ok(());
            }
            if process.sid() != process.pid || process.terminal().is_some() {
                return Err(Errno::EPERM);
            }
            if session != 0 {
                if !steals {
                    return Err(Errno::EPERM);
                }
                credentials::require(linux::CAP_SYS_ADMIN)?;
                self.forget(session);
            }
            self.adopt(process);
            Ok(())
        })
    }

    /// No process of a session has it any more.
    fn forget(self: &Arc<Self>, session: Pid) {
        let members = process::processes().filter(|process| process.sid() == session);
        for process in members.filter(|process| self.is_terminal_of(process)) {
            process.set_terminal(None);
        }
        let mut state = self.state.lock();
        (state.session, state.foreground) = (0, 0);
    }

    /// `TIOCNOTTY`
    pub(super) fn give_up(self: &Arc<Self>) -> Result<(), Errno> {
        process::with_current(|process| {
            if !self.is_terminal_of(process) {
                return Err(Errno::ENOTTY);
            }
            if process.sid() == process.pid {
                leave(process);
            }
            process.set_terminal(None);
            Ok(())
        })
    }

    /// `TIOCSPGRP`
    pub(super) fn set_foreground(self: &Arc<Self>, group: Pid) -> Result<(), Errno> {
        self.check_foreground(linux::SIGTTOU)?;
        let sid = process::with_current(|process| process.sid());
        if !self.is_callers() || self.state.lock().session != sid {
            return Err(Errno::ENOTTY);
        }
        if group < 0 {
            return Err(Errno::EINVAL);
        }
        match family::session_of(group) {
            None => Err(Errno::ESRCH),
            Some(session) if session != sid => Err(Errno::EPERM),
            Some(_) => {
                self.state.lock().foreground = group;
                Ok(())
            }
        }
    }

    /// Nobody types or looks any more: the leader of its session hears of it, whose terminal it is no more.
    pub(crate) fn hang_up(self: &Arc<Self>) {
        let mut state = self.state.lock();
        state.is_hung_up = true;
        state.output.clear();
        state.discipline.flush();
        let (session, foreground) = (state.session, state.foreground);
        drop(state);
        self.changed();
        if session == 0 {
            return;
        }
        self.forget(session);
        if let Some(leader) = process::find(session) {
            leader.set_old_foreground(foreground);
            leader.send_signal(linux::SIGHUP.cast_signed());
            leader.send_signal(linux::SIGCONT.cast_signed());
        }
    }
}

/// The leader of a session gives up its terminal, or ends: the foreground group hears of it.
pub fn leave(process: &Process) {
    if process.sid() != process.pid {
        return;
    }
    let foreground = match process.terminal() {
        Some(terminal) => {
            let foreground = terminal.foreground();
            terminal.forget(process.sid());
            foreground
        }
        None => process.take_old_foreground(),
    };
    signal_group(foreground, linux::SIGHUP);
    signal_group(foreground, linux::SIGCONT);
}
