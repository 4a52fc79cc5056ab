//! Running QEMU: its sockets, the threads that carry bytes between them and our own streams, and
//! its end. The program's output is complete when this returns.

use std::fs::File;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use rustix::io::FdFlags;

use super::chart::{self, Received};
use super::control::Control;
use super::qemu::{Plugs, Prepared};
use super::{detach, serve, signals, terminal};
use crate::machines::{Entry, Stream};
use crate::message::{self, Message};

/// Bytes moved at a time.
const CHUNK: usize = 64 << 10;
/// How much of the kernel's log is kept for the case that something goes wrong.
const LOG_KEPT: usize = 1 << 20;

/// What a machine is to the one who runs it.
pub(super) struct Front<'a> {
    /// Whether the kernel's log appears on stderr as it comes.
    pub(super) show_log: bool,
    /// How long a program may go on that is asked to stop.
    pub(super) grace: Duration,
    /// Our terminal, if it is the program's meanwhile.
    pub(super) terminal: Option<terminal::Settings>,
    /// What others know it by.
    pub(super) entry: Option<&'a mut Entry>,
    /// Where its output goes if it is detached.
    pub(super) log: Option<[Stream; 2]>,
    /// Whether a detached one's input stays open.
    pub(super) interactive: bool,
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
    /// Why output of the program's could not be written, if that is so.
    pub(super) lost: Option<std::io::Error>,
    /// Whether we have ended it.
    pub(super) killed: bool,
    /// Whether the kernel has said that the program runs; it is asked to if the machine is detached.
    pub(super) started: bool,
}

/// Runs QEMU to its end.
pub(super) fn run(prepared: Prepared, config: File, front: Front) -> Result<Ended> {
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
    let Front {
        show_log,
        grace,
        terminal,
        entry,
        log: kept,
        interactive,
    } = front;
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
    let reports = control.try_clone().context("cannot hear the kernel")?;
    let control = Control::new(control, &child, grace)?;
    signals.pass_on(control.clone(), terminal);
    let has_started = Arc::new(AtomicBool::new(false));
    let name = entry.as_ref().filter(|_| kept.is_some());
    let hearer = Hearer {
        control: control.clone(),
        sessions: serve::Sessions::default(),
        has_started: Arc::clone(&has_started),
        name: name.map(|entry| entry.id.clone()),
    };
    if let Some(listener) = entry.and_then(Entry::listener) {
        serve::listen(listener, control.clone(), hearer.sessions.clone());
    }
    thread::spawn(move || hearer.hear(reports));

    // Never joined: it may wait for input that nobody will give.
    let silent = kept.is_some() && interactive;
    thread::spawn(move || match silent {
        true => hold(stdin),
        false => feed(stdin),
    });
    let [out, err] = match kept {
        Some([out, err]) => [Sink::Kept(out), Sink::Both(err)],
        None => [Sink::Out, Sink::Err],
    };
    let shown = show_log.then(|| err.clone());
    let outputs = [
        thread::spawn(move || drain(stdout, out)),
        thread::spawn(move || drain(stderr, err)),
    ];
    let log = thread::spawn(move || collect(log, LOG_KEPT, shown));
    let record = record.map(|socket| thread::spawn(move || chart::receive(socket)));
    let complaints = child
        .stderr
        .take()
        .map(|pipe| thread::spawn(move || collect(pipe, LOG_KEPT, None)));

    let status = child.wait().context("cannot wait for QEMU")?;
    let [out, err] = outputs.map(join);
    Ok(Ended {
        lost: out.or(err),
        status,
        start,
        record: record.map(join),
        log: join(log),
        complaints: complaints.map(join).unwrap_or_default(),
        killed: control.has_killed(),
        started: has_started.load(Ordering::Relaxed),
    })
}

/// Who hears what the kernel says.
struct Hearer {
    control: Control,
    sessions: serve::Sessions,
    has_started: Arc<AtomicBool>,
    /// What the elfin that waits for this one is told when the program runs.
    name: Option<String>,
}

impl Hearer {
    fn hear(self, mut port: UnixStream) {
        while let Some(message) = Message::read(&mut port) {
            match message.kind {
                message::STARTED if !self.has_started.swap(true, Ordering::Relaxed) => {
                    // Where it goes wrong, there is nobody to tell.
                    let _ = self.name.as_deref().map_or(Ok(()), detach::started);
                }
                message::ASK_TIME => {
                    let now = SystemTime::now().duration_since(UNIX_EPOCH);
                    let now = u64::try_from(now.unwrap_or_default().as_nanos()).unwrap_or(0);
                    let answer = Message::new(message::TIME, &now.to_le_bytes());
                    // It fails only if QEMU has ended.
                    let _ = self.control.send(&answer);
                }
                _ => self.sessions.deliver(message),
            }
        }
    }
}

/// Where a stream of the program's goes.
#[derive(Clone)]
enum Sink {
    Out,
    Err,
    /// The log of a detached machine.
    Kept(Stream),
    /// The log, and our standard error, which somebody reads until the program runs.
    Both(Stream),
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Out => std::io::stdout().write(bytes),
            Self::Err => std::io::stderr().write(bytes),
            Self::Kept(log) => log.write(bytes),
            Self::Both(log) => {
                let _ = std::io::stderr().write_all(bytes);
                log.write(bytes)
            }
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Out => std::io::stdout().flush(),
            _ => Ok(()),
        }
    }
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
    hold(socket);
}

/// Keeps a connection open until QEMU is gone.
fn hold(mut socket: UnixStream) {
    let _ = std::io::copy(&mut socket, &mut std::io::sink());
}

/// Carries one stream of the program's output to ours. When that takes no more, the program's is closed. The error if
/// it is another one than that nobody reads, which the program hears of as it would on Linux.
fn drain(mut socket: UnixStream, mut stream: impl Write) -> Option<std::io::Error> {
    let error = copy(&mut socket, &mut stream).err()?;
    (error.kind() != std::io::ErrorKind::BrokenPipe).then_some(error)
}

/// Copies until nothing comes any more; an error is one of writing.
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
            Err(_) => return Ok(()),
        }
    }
}

/// Collects the last `most` bytes of a stream, showing them as they come if asked to.
fn collect(mut from: impl Read, most: usize, mut shown: Option<Sink>) -> String {
    let mut kept = Vec::new();
    let mut buffer = vec![0; CHUNK];
    while let Ok(count) = from.read(&mut buffer) {
        if count == 0 {
            break;
        }
        if let Some(sink) = &mut shown {
            let _ = sink.write_all(&buffer[..count]);
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
        let kept = collect(text.as_bytes(), 100, None);
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
