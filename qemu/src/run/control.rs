//! A machine that runs: what we tell its kernel over the console's control port, and how it is made to end.

use std::io;
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::message::{self, Message};

/// How long the kernel may take to end the machine after its first process was killed: until it has written what
/// there is to write.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a machine is held by; copies are of the same one.
#[derive(Clone)]
pub(super) struct Control {
    shared: Arc<Shared>,
}

struct Shared {
    /// Our end of the port.
    port: Mutex<UnixStream>,
    /// QEMU. A descriptor cannot come to mean another process, as a number could.
    process: std::os::fd::OwnedFd,
    has_killed: AtomicBool,
    /// How long a program may go on that is asked to end.
    grace: Duration,
}

impl Control {
    /// The machine of the QEMU that has the other end of `port`. A program that is asked to end has `grace` for it.
    pub(super) fn new(port: UnixStream, child: &Child, grace: Duration) -> Result<Self> {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.context("QEMU has no process id")?;
        let process = pidfd_open(pid, PidfdFlags::empty()).context("cannot watch QEMU")?;
        let shared = Shared {
            port: Mutex::new(port),
            process,
            has_killed: AtomicBool::new(false),
            grace,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Tells the kernel something.
    pub(super) fn send(&self, message: &Message) -> io::Result<()> {
        let mut port = self
            .shared
            .port
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        message.write(&mut *port)
    }

    /// Sends the first process a signal. It waits until there is such a process.
    pub(super) fn signal(&self, number: i32) -> io::Result<()> {
        self.send(&Message::new(message::SIGNAL, &number.to_le_bytes()))
    }

    /// A key at the terminal stands for a signal, which is for the group in the foreground.
    pub(super) fn key(&self, number: i32) -> io::Result<()> {
        self.send(&Message::new(message::KEY, &number.to_le_bytes()))
    }

    /// The terminal has another size.
    pub(super) fn resize(&self, rows: u16, columns: u16) -> io::Result<()> {
        let [a, b] = rows.to_le_bytes();
        let [c, d] = columns.to_le_bytes();
        self.send(&Message::new(message::RESIZE, &[a, b, c, d]))
    }

    /// Asks the program to end, and ends it when it has had `grace`, or the machine's own time, for that.
    pub(super) fn stop(&self, grace: Option<Duration>) {
        // It fails only if QEMU has ended.
        let _ = self.signal(Signal::TERM.as_raw());
        self.end_after(grace);
    }

    /// Ends the machine when the time that it has to end by itself is over.
    pub(super) fn end_after(&self, grace: Option<Duration>) {
        let control = self.clone();
        let grace = grace.unwrap_or(self.shared.grace);
        thread::spawn(move || {
            thread::sleep(grace);
            control.end();
        });
    }

    /// Ends the machine: by its kernel, so that files are as a killed program leaves them, or else by itself.
    pub(super) fn end(&self) {
        self.shared.has_killed.store(true, Ordering::Relaxed);
        let _ = self.signal(Signal::KILL.as_raw());
        let shared = Arc::clone(&self.shared);
        thread::spawn(move || {
            thread::sleep(PATIENCE);
            // It fails only if QEMU has ended.
            let _ = pidfd_send_signal(&shared.process, Signal::KILL);
        });
    }

    /// Whether we have ended it.
    pub(super) fn has_killed(&self) -> bool {
        self.shared.has_killed.load(Ordering::Relaxed)
    }
}
