//! Running QEMU: its sockets, the threads that carry bytes between them and our own streams, and
//! its end. The program's output is complete when this returns.

use std::fs::File;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::io::FdFlags;

use super::chart::{self, Received};
use super::control::Control;
use super::qemu::Prepared;
use super::{signals, terminal};

/// Bytes moved at a time.
const CHUNK: usize = 64 << 10;
/// How much of the kernel's log is kept for the case that something goes wrong.
const LOG_KEPT: usize = 1 << 20;

/// QEMU's ends of the sockets.
pub(super) struct Plugs {
    pub(super) stdin: OwnedFd,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
    pub(super) control: OwnedFd,
    pub(super) log: OwnedFd,
    /// Where it says what happened when, if it is to.
    pub(super) record: Option<OwnedFd>,
}

/// How a machine ended.
pub(super) struct Ended {
    /// QEMU's own exit status.
    pub(super) status: ExitStatus,
    /// When it was started.
    pub(super) start: Instant,
    /// What happened when, if that was asked for.
    pub(super) record: Option<Received>,
    /// The kernel's log.
    pub(super) log: String,
    /// What QEMU itself complained about.
    pub(super) complaints: String,
    /// Whether we have ended it.
    pub(super) killed: bool,
}

/// Runs QEMU to its end; with `show_log` the kernel's log appears on stderr as it comes. A program that is asked to
/// stop has `grace` for it. With `terminal` that is the program's meanwhile.
pub(super) fn run(
    prepared: Prepared,
    config: File,
    show_log: bool,
    grace: Duration,
    terminal: Option<terminal::Settings>,
) -> Result<Ended> {
    let (stdin, stdin_plug) = socket()?;
    let (stdout, stdout_plug) = socket()?;
    let (stderr, stderr_plug) = socket()?;
    let (control, control_plug) = socket()?;
    let (log, log_plug) = socket()?;
    let (record, record_plug) = match prepared.is_recorded() {
        true => socket().map(|(ours, theirs)| (Some(ours), Some(theirs)))?,
        false => (None, None),
    };
    let plugs = Plugs {
        stdin: stdin_plug,
        stdout: stdout_plug,
        stderr: stderr_plug,
        control: control_plug,
        log: log_plug,
        record: record_plug,
    };
    let signals = signals::Signals::catch(terminal.is_some())?;
    // Restored whatever happens from here on.
    let _restore = terminal
        .clone()
        .map(terminal::Settings::pass_on)
        .transpose()?;
    let start = Instant::now();
    let mut child = spawn(&prepared, &plugs, &config)?;
    // Only QEMU may hold these now, so that its end is the end of the streams.
    drop((plugs, config));
    let watch = signals.pass_on(&child, Control::new(control), grace, terminal)?;

    // Never joined: it may wait for input that nobody will give.
    thread::spawn(move || feed(stdin));
    let outputs = [
        thread::spawn(move || drain(stdout, std::io::stdout())),
        thread::spawn(move || drain(stderr, std::io::stderr())),
    ];
    let log = thread::spawn(move || collect(log, LOG_KEPT, show_log));
    let record = record.map(|socket| thread::spawn(move || chart::receive(socket)));
    let complaints = child
        .stderr
        .take()
        .map(|pipe| thread::spawn(move || collect(pipe, LOG_KEPT, false)));

    let status = child.wait().context("cannot wait for QEMU")?;
    for output in outputs {
        join(output);
    }
    Ok(Ended {
        status,
        start,
        record: record.map(join),
        log: join(log),
        complaints: complaints.map(join).unwrap_or_default(),
        killed: watch.has_killed(),
    })
}

fn join<T: Default>(thread: JoinHandle<T>) -> T {
    thread.join().unwrap_or_default()
}

fn socket() -> Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) = UnixStream::pair().context("cannot create a socket")?;
    Ok((ours, theirs.into()))
}

fn spawn(prepared: &Prepared, plugs: &Plugs, config: &File) -> Result<Child> {
    let mut command: Command = prepared.command(plugs);
    // No other process is started from here on, so none but QEMU inherits these.
    let streams = [
        &plugs.stdin,
        &plugs.stdout,
        &plugs.stderr,
        &plugs.control,
        &plugs.log,
    ];
    let optional = prepared.inherited().into_iter().chain(&plugs.record);
    for fd in streams.into_iter().chain(optional) {
        inherit(fd)?;
    }
    inherit(config)?;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // A Ctrl-C is ours to handle.
        .process_group(0);
    // SAFETY: between fork and exec the closure makes one system call (prctl), which is
    // async-signal-safe, allocates nothing and touches no memory of the parent.
    unsafe {
        command.pre_exec(|| {
            let kill = Some(rustix::process::Signal::KILL);
            Ok(rustix::process::set_parent_process_death_signal(kill)?)
        });
    }
    command.spawn().context("cannot start qemu-system-x86_64")
}

fn inherit(fd: impl AsFd) -> Result<()> {
    rustix::io::fcntl_setfd(fd, FdFlags::empty()).context("cannot pass a file to QEMU")
}

/// Carries our stdin to the program, up to its end.
fn feed(mut socket: UnixStream) {
    let mut stdin = std::io::stdin().lock();
    // A full close would make QEMU drop what the program has not read yet.
    let _ = copy(&mut stdin, &mut socket);
    let _ = socket.shutdown(Shutdown::Write);
    // Keep the other direction open until QEMU is gone.
    let _ = std::io::copy(&mut socket, &mut std::io::sink());
}

/// Carries one stream of the program's output to ours. When nobody reads ours any more, the
/// program's is closed.
fn drain(mut socket: UnixStream, mut stream: impl Write) {
    // An error here means that either side is gone; the exit status tells the rest.
    let _ = copy(&mut socket, &mut stream);
}

fn copy(from: &mut impl Read, to: &mut impl Write) -> std::io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                to.write_all(&buffer[..count])?;
                to.flush()?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Collects the last `most` bytes of a stream, showing them on stderr if asked to.
fn collect(mut from: impl Read, most: usize, show: bool) -> String {
    let mut kept = Vec::new();
    let mut buffer = vec![0; CHUNK];
    while let Ok(count) = from.read(&mut buffer) {
        if count == 0 {
            break;
        }
        if show {
            let _ = std::io::stderr().write_all(&buffer[..count]);
        }
        kept.extend_from_slice(&buffer[..count]);
        if kept.len() > 2 * most {
            kept.drain(..kept.len() - most);
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_tail_is_kept() {
        let text = "x".repeat(CHUNK * 3) + "end";
        let kept = collect(text.as_bytes(), 100, false);
        assert!(kept.ends_with("xend") && kept.len() < CHUNK * 2);
    }

    #[test]
    fn copies_are_complete() {
        let text = vec![7; CHUNK * 2 + 5];
        let mut out = Vec::new();
        copy(&mut &text[..], &mut out).unwrap();
        assert_eq!(out, text);
    }
}
