//! Ctrl-C and its like: they end the machine first, and then us.

use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;

use anyhow::{Context, Result};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

/// Signals caught, but not yet acted upon.
pub(super) struct Signals {
    caught: signal_hook::iterator::Signals,
}

/// A machine that a signal will end.
pub(super) struct Watch {
    signal: Arc<AtomicI32>,
}

impl Signals {
    /// Catches the signals that ask a program to stop.
    pub(super) fn catch() -> Result<Self> {
        let caught = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM])
            .context("cannot catch signals")?;
        Ok(Self { caught })
    }

    /// From now on a signal kills `child`.
    pub(super) fn stop(mut self, child: &Child) -> Result<Watch> {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.context("QEMU has no process id")?;
        // A descriptor cannot come to mean another process, as a number could.
        let process = pidfd_open(pid, PidfdFlags::empty()).context("cannot watch QEMU")?;
        let signal = Arc::new(AtomicI32::new(0));
        let seen = Arc::clone(&signal);
        thread::spawn(move || {
            for number in self.caught.forever() {
                seen.store(number, Ordering::Relaxed);
                // It fails only if QEMU has ended by itself.
                let _ = pidfd_send_signal(&process, Signal::KILL);
            }
        });
        Ok(Watch { signal })
    }
}

impl Watch {
    /// The signal that came, if one did.
    pub(super) fn stopped_by(&self) -> Option<i32> {
        Some(self.signal.load(Ordering::Relaxed)).filter(|&signal| signal != 0)
    }
}
