//! Signals that we get are the program's: it deals with them as it likes. If it does not end when it is asked to, the
//! machine does, as with `docker stop`.

use std::io::IsTerminal;
use std::thread;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};

use super::control::Control;
use super::terminal;

/// Those that ask a program to end: the second one ends the machine.
const ENDING: [i32; 3] = [SIGINT, SIGQUIT, SIGTERM];
/// Those that may mean something else to it.
const OTHERS: [i32; 3] = [SIGHUP, SIGUSR1, SIGUSR2];

/// Those that are about our terminal, and ours if that is the program's.
const TERMINAL: [i32; 2] = [SIGCONT, SIGWINCH];

/// Catches the signals that are a program's, and those of the terminal if that is.
pub(super) fn catch(terminal: bool) -> Result<signal_hook::iterator::Signals> {
    let of_terminal = TERMINAL.iter().filter(|_| terminal);
    let all = ENDING.iter().chain(&OTHERS).chain(of_terminal);
    signal_hook::iterator::Signals::new(all).context("cannot catch signals")
}

/// Signals caught, but not yet acted upon.
pub(super) struct Signals {
    caught: signal_hook::iterator::Signals,
}

impl Signals {
    /// Catches the signals that are the program's, and those of the terminal if that is.
    pub(super) fn catch(terminal: bool) -> Result<Self> {
        Ok(Self {
            caught: catch(terminal)?,
        })
    }

    /// From now on the program gets them. The second one that asks for the end ends the machine, and so does the
    /// first when the program has had the time that it has. At a terminal, where Ctrl-C is there to interrupt, it has
    /// all the time after that one.
    pub(super) fn pass_on(mut self, control: Control, terminal: Option<terminal::Settings>) {
        let interactive = std::io::stdin().is_terminal();
        thread::spawn(move || {
            let mut is_asked = false;
            for number in self.caught.forever() {
                if ENDING.contains(&number) {
                    if is_asked {
                        control.end();
                        continue;
                    }
                    is_asked = true;
                    if number != SIGINT || !interactive {
                        control.end_after(None);
                    }
                }
                // These fail only if QEMU has ended, or the terminal is gone.
                let _ = match number {
                    SIGWINCH => terminal::size()
                        .map_or(Ok(()), |(rows, columns)| control.resize(rows, columns)),
                    SIGCONT => terminal
                        .as_ref()
                        .map_or(Ok(()), |terminal| Ok(terminal.make_raw()?)),
                    // The terminal has sent it to its foreground group; who that is there, the kernel knows.
                    SIGINT | SIGQUIT if interactive => control.key(number),
                    _ => control.signal(number),
                };
            }
        });
    }
}
