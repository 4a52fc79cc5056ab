//! The host's terminal under `-t`: it passes on every key as it is, and shows everything as it comes. What lines,
//! echo and signals are is the guest's business meanwhile.

use anyhow::{Context, Result, bail};
use rustix::stdio::stdin;
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

/// Our terminal while it is so; it is as before when this is dropped.
#[derive(Clone)]
pub(super) struct Settings {
    before: Termios,
}

/// Restores the terminal.
pub(super) struct Restore(Settings);

impl Settings {
    /// What the terminal has now. An error if there is none.
    pub(super) fn of_terminal() -> Result<Self> {
        if !isatty(stdin()) {
            bail!("--tty: standard input is no terminal");
        }
        let before = tcgetattr(stdin()).context("cannot read the terminal's settings")?;
        Ok(Self { before })
    }

    /// Has the terminal pass everything on from now on.
    pub(super) fn pass_on(self) -> Result<Restore> {
        self.make_raw()
            .context("cannot change the terminal's settings")?;
        Ok(Restore(self))
    }

    /// The same again, when somebody else has had the terminal.
    pub(super) fn make_raw(&self) -> rustix::io::Result<()> {
        let mut raw = self.before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &raw)
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        // Nothing is left to do if the terminal is gone.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.0.before);
    }
}

/// Rows and columns of our terminal.
pub(super) fn size() -> Option<(u16, u16)> {
    let size = tcgetwinsize(stdin()).ok()?;
    Some((size.ws_row, size.ws_col))
}
