//! `elfin run -d`: another elfin runs the machine, in a session of its own. Who has started it waits until the program
//! runs, and so hears of what goes wrong before.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use rustix::stdio::{dup2_stderr, dup2_stdout};

/// The hidden option by which it is told.
pub(crate) const OPTION: &str = "supervise";

/// Starts the other elfin with what this one was called with, and prints what that has to say.
pub(super) fn start() -> Result<u8> {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| "elfin".into());
    let mut command = Command::new("/proc/self/exe");
    // The subcommand comes first.
    command.args(arguments.next());
    command.arg(OsStr::new(&format!("--{OPTION}")));
    std::os::unix::process::CommandExt::arg0(&mut command, name);
    let mut child = command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start elfin")?;
    let mut said = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout
            .read_to_string(&mut said)
            .context("cannot hear elfin")?;
    }
    if !said.is_empty() {
        std::io::stdout()
            .write_all(said.as_bytes())
            .context("cannot print the machine's id")?;
        return Ok(0);
    }
    let status = child.wait().context("cannot wait for elfin")?;
    let status = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Ok(u8::try_from(status).unwrap_or(crate::FAILED))
}

/// The other elfin: leaves the session it was started in.
pub(super) fn leave_session() -> Result<()> {
    rustix::process::setsid().context("cannot make a session")?;
    Ok(())
}

/// The program runs: the one who waits is told the machine's name, and goes. Nobody hears us from now on.
pub(super) fn started(name: &str) -> Result<()> {
    // Who has been interrupted does not listen any more.
    let _ = writeln!(std::io::stdout(), "{name}");
    let null = File::options().write(true).open("/dev/null");
    let null = null.context("cannot open /dev/null")?;
    dup2_stdout(&null).context("cannot leave standard output")?;
    dup2_stderr(&null).context("cannot leave standard error")?;
    Ok(())
}
