//! What the program wants done with signals, and where.
use super::bit;
use linux_raw_sys::general as linux;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Signals without effect unless there is a handler.
const IGNORED_BY_DEFAULT: u64 = bit(linux::SIGCHLD as i32)
    | bit(linux::SIGURG as i32)
    | bit(linux::SIGWINCH as i32)
    | bit(linux::SIGCONT as i32);

/// Signals that terminals send to have a process stop.
pub(super) const JOB_CONTROL: u64 =
    bit(linux::SIGTSTP as i32) | bit(linux::SIGTTIN as i32) | bit(linux::SIGTTOU as i32);

/// Signals that stop a process that has no handler for them.
pub(super) const STOP: u64 = bit(linux::SIGSTOP as i32) | JOB_CONTROL;

/// What is done with a signal: `struct sigaction` as the system call has it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes)]
pub struct Action {
    /// Address, or `SIG_DFL` or `SIG_IGN`.
    pub handler: u64,
    /// `SA_*`
    pub flags: u64,
    /// Where the handler returns to.
    pub restorer: u64,
    /// Blocked while the handler runs.
    pub mask: u64,
}

impl Action {
    pub(super) const DEFAULT: Self = Self {
        handler: 0,
        flags: 0,
        restorer: 0,
        mask: 0,
    };
    pub(super) const IGNORE: u64 = 1;

    /// Flags that mean something; others are not kept, which is how a program finds out (sigaction(2),
    /// `SA_UNSUPPORTED`).
    pub(super) const KNOWN_FLAGS: u64 = (linux::SA_NOCLDSTOP
        | linux::SA_NOCLDWAIT
        | linux::SA_SIGINFO
        | linux::SA_ONSTACK
        | linux::SA_RESTART
        | linux::SA_NODEFER
        | linux::SA_RESETHAND
        | linux::SA_EXPOSE_TAGBITS
        | linux::SA_RESTORER) as u64;

    /// Whether `signal` has no effect.
    pub(super) fn ignores(&self, signal: i32) -> bool {
        self.handler == Self::IGNORE || (self.handler == 0 && IGNORED_BY_DEFAULT & bit(signal) != 0)
    }

    /// Whether `signal` stops the program.
    pub(super) fn stops(&self, signal: i32) -> bool {
        self.handler == 0 && STOP & bit(signal) != 0
    }

    /// Whether there is a handler to call.
    pub(super) fn is_handler(&self) -> bool {
        self.handler > Self::IGNORE
    }

    pub(super) fn has(&self, flag: u32) -> bool {
        self.flags & u64::from(flag) != 0
    }
}

/// An alternate signal stack; size 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AltStack {
    /// Lowest address.
    pub start: u64,
    /// `SS_AUTODISARM` or 0.
    pub flags: u32,
    /// In bytes.
    pub size: u64,
}

impl AltStack {
    /// Whether code with this stack pointer runs on it.
    pub fn contains(&self, rsp: u64) -> bool {
        self.flags & linux::SS_AUTODISARM == 0 && self.covers(rsp)
    }

    /// Whether this stack pointer is one on it.
    pub(crate) fn covers(&self, rsp: u64) -> bool {
        rsp > self.start && rsp - self.start <= self.size
    }
}
