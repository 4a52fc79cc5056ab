//! `elfin exec`: a further program in a machine that runs, with streams, signals and a status of its own. The elfin
//! that runs the machine passes on what we and the kernel say to each other (`serve.rs`).

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result, bail};
use clap::Args;
use rustix::termios::tcgetwinsize;
use signal_hook::consts::{SIGCONT, SIGWINCH};

use super::{signals, terminal};
use crate::machines;
use crate::message::{self, Message, WINDOW};

/// Options of `elfin exec`.
#[derive(Args)]
pub(crate) struct ExecOptions {
    /// Come back when the program runs, and leave it running; nobody sees its output
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Let the program read our standard input
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give the program a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Whom the program starts as, by names or numbers of the image (default: root)
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// Set a variable in the program's environment, which is that of the machine's first otherwise (K alone passes the
    /// host's value on)
    #[arg(short, long, value_name = "K=V")]
    pub(crate) env: Vec<OsString>,
    /// The program's working directory (default: the machine's first program's)
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<PathBuf>,
    /// The machine, by name or id
    pub(crate) machine: String,
    /// The program (looked up in PATH if it has no slash) and its arguments
    #[arg(
        value_name = "PROGRAM [ARG…]",
        required = true,
        trailing_var_arg = true
    )]
    pub(crate) command: Vec<OsString>,
}

/// Our exit status when the machine ends, and with it the program: as if SIGKILL had come.
const KILLED: u8 = 137;
/// Our exit status when nobody reads our output: as of a program that SIGPIPE has ended.
const BROKEN_PIPE: u8 = 141;

/// The elfin that runs the machine.
#[derive(Clone)]
struct Link {
    stream: Arc<Mutex<UnixStream>>,
    /// How much input there is room for, and who waits for more.
    room: Arc<(Mutex<usize>, Condvar)>,
}

/// Runs the program; its status.
pub(crate) fn exec(options: &ExecOptions) -> Result<u8> {
    // Without -i keys are this terminal's business.
    let reads = options.interactive && !options.detach;
    let passes = options.tty && reads;
    let terminal = passes.then(terminal::Settings::of_terminal).transpose()?;
    let payload = wish(options)?;
    let mut stream = machines::connect(&options.machine)?;
    let reach = || format!("cannot reach machine {}", options.machine);
    let signals = signals::catch(options.tty)?;
    let link = Link {
        stream: Arc::new(Mutex::new(stream.try_clone().with_context(reach)?)),
        room: Arc::new((Mutex::new(WINDOW), Condvar::new())),
    };
    link.send(message::EXEC, &payload).with_context(reach)?;
    // Restored whatever happens from here on.
    let _restore = terminal
        .clone()
        .map(terminal::Settings::pass_on)
        .transpose()?;
    pass_on(signals, link.clone(), terminal);
    let input = link.clone();
    if reads {
        // Never joined: it may wait for input that nobody will give.
        thread::spawn(move || feed(&input));
    } else {
        link.send(message::INPUT, &[]).with_context(reach)?;
    }
    while let Some(message) = Message::read(&mut stream) {
        let written = match message.kind {
            message::OUTPUT => show(&mut std::io::stdout(), &message),
            message::ERROR => show(&mut std::io::stderr(), &message),
            message::INPUT_TAKEN => {
                link.add_room(&message);
                continue;
            }
            message::ENDED => {
                let status = message
                    .number()
                    .and_then(|number| u8::try_from(number).ok());
                return Ok(status.unwrap_or(crate::FAILED));
            }
            _ => continue,
        };
        match written {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(BROKEN_PIPE),
            Err(error) => return Err(error).context("cannot write the program's output"),
        }
        let count = u32::try_from(message.payload.len()).unwrap_or(0);
        // It fails only if the machine has ended.
        let _ = link.send(message::OUTPUT_TAKEN, &count.to_le_bytes());
    }
    Ok(KILLED)
}

fn show(to: &mut impl Write, message: &Message) -> std::io::Result<()> {
    to.write_all(&message.payload)?;
    to.flush()
}

/// What the kernel is told of the program.
fn wish(options: &ExecOptions) -> Result<Vec<u8>> {
    let mut payload = Vec::new();
    let mut record = |key: &str, value: &[u8]| {
        payload.extend_from_slice(key.as_bytes());
        payload.push(b'=');
        payload.extend_from_slice(value);
        payload.push(0);
    };
    for argument in &options.command {
        record("arg", argument.as_bytes());
    }
    if options.tty
        && let Some(term) = std::env::var_os("TERM")
    {
        record("env", &setting("TERM".as_ref(), &term));
    }
    for wish in &options.env {
        if wish.is_empty() || wish.as_bytes().starts_with(b"=") {
            bail!("--env {}: expected NAME=VALUE", wish.display());
        }
        if wish.as_bytes().contains(&b'=') {
            record("env", wish.as_bytes());
        } else if let Some(value) = std::env::var_os(wish) {
            record("env", &setting(wish, &value));
        }
    }
    if let Some(user) = &options.user {
        record("user", user.as_bytes());
    }
    if let Some(dir) = &options.workdir {
        record("cwd", dir.as_os_str().as_bytes());
    }
    if options.detach {
        record("detached", b"1");
    }
    if options.tty {
        record("terminal", b"1");
        let size =
            tcgetwinsize(rustix::stdio::stdin()).or_else(|_| tcgetwinsize(rustix::stdio::stdout()));
        if let Ok(size) = size {
            record(
                "winsize",
                format!("{}x{}", size.ws_row, size.ws_col).as_bytes(),
            );
        }
    }
    if payload.len() > WINDOW {
        bail!("the program's arguments and environment are too long");
    }
    Ok(payload)
}

fn setting(name: &OsStr, value: &OsStr) -> Vec<u8> {
    let mut setting = OsString::from(name);
    setting.push("=");
    setting.push(value);
    setting.as_bytes().to_vec()
}

/// Our signals are the program's.
fn pass_on(
    mut caught: signal_hook::iterator::Signals,
    link: Link,
    terminal: Option<terminal::Settings>,
) {
    thread::spawn(move || {
        for number in caught.forever() {
            // These fail only if the machine has ended, or the terminal is gone.
            let _ = match number {
                SIGWINCH => terminal::size().map_or(Ok(()), |(rows, columns)| {
                    let [[a, b], [c, d]] = [rows, columns].map(u16::to_le_bytes);
                    link.send(message::RESIZE, &[a, b, c, d])
                }),
                SIGCONT => terminal
                    .as_ref()
                    .map_or(Ok(()), |terminal| Ok(terminal.make_raw()?)),
                number => link.send(message::SIGNAL, &number.to_le_bytes()),
            };
        }
    });
}

/// Carries our standard input to the program, up to its end.
fn feed(link: &Link) {
    let mut stdin = std::io::stdin().lock();
    let mut buffer = vec![0; WINDOW / 4];
    loop {
        match stdin.read(&mut buffer) {
            Ok(count @ 1..) => {
                link.take_room(count);
                if link.send(message::INPUT, &buffer[..count]).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            _ => break,
        }
    }
    // It fails only if the machine has ended.
    let _ = link.send(message::INPUT, &[]);
}

impl Link {
    fn send(&self, kind: u16, payload: &[u8]) -> std::io::Result<()> {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        Message::new(kind, payload).write(&mut *stream)
    }

    /// Waits until there is room for so much input.
    fn take_room(&self, count: usize) {
        let (room, more) = &*self.room;
        let room = room.lock().unwrap_or_else(PoisonError::into_inner);
        let mut room = more
            .wait_while(room, |room| *room < count)
            .unwrap_or_else(PoisonError::into_inner);
        *room -= count;
    }

    /// The program has read some.
    fn add_room(&self, message: &Message) {
        let count = message
            .number()
            .and_then(|count| usize::try_from(count).ok());
        let (room, more) = &*self.room;
        *room.lock().unwrap_or_else(PoisonError::into_inner) += count.unwrap_or(0);
        more.notify_all();
    }
}
