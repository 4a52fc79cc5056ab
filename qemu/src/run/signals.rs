//! Signals that we get are the program's: it deals with them as it likes. If it does not end when it is asked to, the
//! machine does, as with `docker stop`.

use std::io::IsTerminal;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};

use super::control::Control;
use super::terminal;

/// Those that ask a program to end: the second one ends the machine.
const ENDING: [i32; 3] = [SIGINT, SIGQUIT, SIGTERM];
/// Those that may mean something else to it.
const OTHERS: [i32; 3] = [SIGHUP, SIGUSR1, SIGUSR2];

/// Those that are about our terminal, and ours if that is the program's.
const TERMINAL: [i32; 2] = [SIGCONT, SIGWINCH];

/// Signals caught, but not yet acted upon.
pub(super) struct Signals {
    caught: signal_hook::iterator::Signals,
}

/// A machine that signals may end.
pub(super) struct Watch {
    has_killed: Arc<AtomicBool>,
}

impl Signals {
    /// Catches the signals that are the program's, and those of the terminal if that is.
    pub(super) fn catch(terminal: bool) -> Result<Self> {
        let of_terminal = TERMINAL.iter().filter(|_| terminal);
        let all = ENDING.iter().chain(&OTHERS).chain(of_terminal);
        let caught = signal_hook::iterator::Signals::new(all).context("cannot catch signals")?;
        Ok(Self { caught })
    }

    /// From now on the program gets them. `child`, which is QEMU, is killed by the second one that asks for the end,
    /// and `grace` after the first. At a terminal, where Ctrl-C is there to interrupt, it has all the time after that
    /// one.
    pub(super) fn pass_on(
        mut self,
        child: &Child,
        mut control: Control,
        grace: Duration,
        terminal: Option<terminal::Settings>,
    ) -> Result<Watch> {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.context("QEMU has no process id")?;
        // A descriptor cannot come to mean another process, as a number could.
        let process = pidfd_open(pid, PidfdFlags::empty()).context("cannot watch QEMU")?;
        let has_killed = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&has_killed);
        let kill = Arc::new(move || {
            flag.store(true, Ordering::Relaxed);
            // It fails only if QEMU has ended by itself.
            let _ = pidfd_send_signal(&process, Signal::KILL);
        });
        let interactive = std::io::stdin().is_terminal();
        thread::spawn(move || {
            let mut is_asked = false;
            for number in self.caught.forever() {
                if ENDING.contains(&number) {
                    if is_asked {
                        kill();
                        continue;
                    }
                    is_asked = true;
                    if number != SIGINT || !interactive {
                        let kill = Arc::clone(&kill);
                        thread::spawn(move || {
                            thread::sleep(grace);
                            kill();
                        });
                    }
                }
                // These fail only if QEMU has ended, or the terminal is gone.
                let _ = match number {
                    SIGWINCH => terminal::size()
                        .map_or(Ok(()), |(rows, columns)| control.resize(rows, columns)),
                    SIGCONT => terminal
                        .as_ref()
                        .map_or(Ok(()), |terminal| Ok(terminal.make_raw()?)),
                    _ => control.signal(number),
                };
            }
        });
        Ok(Watch { has_killed })
    }
}

impl Watch {
    /// Whether the machine has been ended so.
    pub(super) fn has_killed(&self) -> bool {
        self.has_killed.load(Ordering::Relaxed)
    }
}
