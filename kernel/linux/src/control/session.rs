//! A program that `elfin exec` has started: its streams, which are messages on the control port, and its terminal, if
//! it has one, a pseudo-terminal whose master this carries.
//!
//! Neither side sends more than the other has room for ([`WINDOW`]), so nobody holds up anybody else at the port: a
//! program waits for room for its own output only, and what elfin sends always has a place.
use super::send;
use crate::fs::{Edges, File, Metadata, OpenFile, Poll};
use crate::process::signal::{Recipient, SigInfo};
use crate::process::{Process, family::Status};
use crate::tty::{Tty, pty};
use abi::Errno;
use alloc::{boxed::Box, collections::VecDeque, format, sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicBool, Ordering};
use linux_raw_sys::{general as linux, ioctl};
use machine::{
    mm::user,
    sched::{self, NoState},
    sync::{Signals, SpinLock, WaitQueue, Waiter},
};

/// How much of each direction may be under way: of output, of both streams together.
const WINDOW: usize = 64 << 10;
/// So much output is sent at a time: with its header, what one buffer of the port has room for.
const CHUNK: usize = super::BUFFER - super::HEADER;

/// To elfin: standard output.
const OUTPUT: u16 = 0x82;
/// To elfin: standard error.
const ERROR: u16 = 0x83;
/// To elfin: so many bytes of input have been read.
const TAKEN: u16 = 0x84;
/// To elfin: the process has ended, with this status.
const ENDED: u16 = 0x85;

/// A process that elfin has started, and its streams.
pub struct Session {
    id: u16,
    state: SpinLock<State>,
    /// Woken when there is input, or room for output.
    queue: WaitQueue,
    edges: Edges,
    /// Nobody reads or writes any more.
    is_over: AtomicBool,
    /// Elfin has been told of its end, and the process goes on.
    is_detached: AtomicBool,
}

struct State {
    input: VecDeque<u8>,
    /// Elfin sends no more.
    input_ends: bool,
    /// What has been read and elfin does not know of.
    taken: usize,
    /// How much output elfin has room for.
    room: usize,
    /// The process has got its streams, or will not.
    is_open: bool,
    /// The process, once it has a thread that takes signals.
    process: Option<Arc<Process>>,
    /// Those that have come before that.
    signals: Vec<i32>,
    terminal: Option<Terminal>,
}

/// The terminal of a session's process.
#[derive(Clone)]
struct Terminal {
    tty: Arc<Tty>,
    master: Arc<OpenFile>,
}

impl Session {
    pub(super) fn new(id: u16) -> Arc<Self> {
        Arc::new(Self {
            id,
            state: SpinLock::new(State {
                input: VecDeque::new(),
                input_ends: false,
                taken: 0,
                room: WINDOW,
                is_open: false,
                process: None,
                signals: Vec::new(),
                terminal: None,
            }),
            queue: WaitQueue::new(),
            edges: Edges::new(),
            is_over: AtomicBool::new(false),
            is_detached: AtomicBool::new(false),
        })
    }

    /// Whether nothing comes of it any more.
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    fn is_detached(&self) -> bool {
        self.is_detached.load(Ordering::Acquire)
    }

    /// Whether elfin has something to say to it.
    pub(super) fn is_heard(&self) -> bool {
        !self.is_over() && !self.is_detached()
    }

    /// The process runs, and is nobody's from now on: its input has an end, and its output goes nowhere. To elfin that
    /// is its end, with success.
    pub fn detach(&self) {
        self.is_detached.store(true, Ordering::Release);
        self.input(&[]);
        send(ENDED, self.id, &0i32.to_le_bytes());
    }

    /// Elfin sends input, or its end.
    pub(super) fn input(&self, bytes: &[u8]) {
        let mut state = self.state.lock();
        if bytes.is_empty() {
            state.input_ends = true;
        } else if state.input.len() + bytes.len() <= WINDOW {
            state.input.extend(bytes);
        }
        drop(state);
        self.edges.readable();
        self.queue.wake_all();
    }

    /// Elfin has room for so much more output.
    pub(super) fn taken(&self, count: usize) {
        let mut state = self.state.lock();
        state.room = state.room.saturating_add(count).min(WINDOW);
        drop(state);
        self.edges.writable();
        self.queue.wake_all();
    }

    /// Elfin sends a signal.
    pub(super) fn signal(&self, number: i32) {
        let mut state = self.state.lock();
        match state.process.clone() {
            Some(process) => {
                drop(state);
                signal(&process, number);
            }
            None => state.signals.push(number),
        }
    }

    /// Elfin's terminal has another size.
    pub(super) fn resize(&self, rows: u16, columns: u16) {
        let terminal = self.state.lock().terminal.clone();
        if let Some(terminal) = terminal {
            terminal.tty.resize([rows, columns, 0, 0]);
        }
    }

    /// Nobody reads or writes any more: the other elfin is gone, or the process.
    pub(super) fn hang_up(&self) {
        self.is_over.store(true, Ordering::Release);
        // With the master goes the terminal.
        let terminal = self.state.lock().terminal.take();
        if let Some(terminal) = terminal {
            terminal.tty.hang_up();
        }
        self.queue.wake_all();
    }

    /// Gives a process without files its standard streams, and the session's terminal if it is to have one: of this
    /// size.
    pub fn open(
        self: &Arc<Self>,
        process: &Process,
        terminal: Option<(u16, u16)>,
    ) -> Result<(), Errno> {
        let Some((rows, columns)) = terminal else {
            for number in 0..3 {
                let flags = if number == 0 {
                    linux::O_RDONLY
                } else {
                    linux::O_WRONLY
                };
                let file = self.stream(number);
                let slot = number..number + 1;
                process
                    .files()
                    .install(OpenFile::new(file, flags), false, slot)?;
            }
            return Ok(());
        };
        let pty::Pair {
            master,
            terminal,
            tty,
        } = pty::pair()?;
        tty.resize([rows, columns, 0, 0]);
        tty.adopt(process);
        for number in 0..3 {
            let slot = number..number + 1;
            process.files().install(terminal.clone(), false, slot)?;
        }
        let (session, typed) = (self.clone(), master.clone());
        let types = Box::new(move || session.carry_input(&typed));
        let types = sched::new_kernel(None, Box::new(NoState), types).ok_or(Errno::ENOMEM)?;
        self.state.lock().terminal = Some(Terminal { tty, master });
        sched::start(types);
        Ok(())
    }

    fn stream(self: &Arc<Self>, number: usize) -> Arc<Stream> {
        Arc::new(Stream {
            session: self.clone(),
            number,
        })
    }

    /// The process has got its streams, or will not.
    pub fn opened(&self) {
        self.state.lock().is_open = true;
        self.queue.wake_all();
    }

    /// The process has its main thread.
    pub fn started(&self, process: &Arc<Process>) {
        let mut state = self.state.lock();
        state.process = Some(process.clone());
        let signals = core::mem::take(&mut state.signals);
        drop(state);
        for number in signals {
            signal(process, number);
        }
    }

    /// Something that elfin's standard error shows.
    pub fn report(&self, line: &str) {
        let _ = self.write(2, format!("{line}\r\n").as_bytes(), false, Signals::Ignore);
    }

    /// Looks after a process until it has ended, which elfin is told then.
    pub fn attend(&self, process: &Process) {
        let opened = || {
            let state = self.state.lock();
            let master = state
                .terminal
                .as_ref()
                .map(|terminal| terminal.master.clone());
            state.is_open.then_some(master)
        };
        let master = self.queue.wait_until(None, Signals::Ignore, opened);
        if let Ok(Some(master)) = master {
            self.carry_output(&master, process);
        }
        let ended = || process.status();
        let status = process.end_queue().wait_until(None, Signals::Ignore, ended);
        self.ended(status.unwrap_or(Status::Exited(0)));
    }

    /// The process has ended, or has not been made, with this status.
    pub fn ended(&self, status: Status) {
        let status = match status {
            Status::Exited(status) => i32::from(status),
            Status::Killed(signal) => 128 + signal,
        };
        self.hang_up();
        self.state.lock().process = None;
        if !self.is_detached() {
            send(ENDED, self.id, &status.to_le_bytes());
        }
    }

    /// Types what elfin sends.
    fn carry_input(&self, master: &OpenFile) {
        let mut buf = [0; 256];
        // At the end nothing is typed any more; who reads goes on waiting, as at a terminal.
        while let Ok(len @ 1..) = self.read(&mut buf, false, Signals::Ignore) {
            let mut done = 0;
            while done < len {
                match master.file.write(0, &buf[done..len], false) {
                    Ok(count) => done += count,
                    Err(_) => return,
                }
            }
        }
    }

    /// Shows what the terminal has, until nobody has it open, or the process has ended and there is no more.
    fn carry_output(&self, master: &OpenFile, process: &Process) {
        let mut buf = [0; 1024];
        loop {
            // In this order: what it has written before its end is read.
            let has_ended = process.is_zombie();
            match master.file.read(0, &mut buf, true) {
                Ok(len) => {
                    if self.write(1, &buf[..len], false, Signals::Ignore).is_err() {
                        return;
                    }
                }
                Err(Errno::EAGAIN) if !has_ended => self.wait_for_output(master, process),
                Err(_) => return,
            }
        }
    }

    /// Waits until the terminal has something to show, or none will come.
    fn wait_for_output(&self, master: &OpenFile, process: &Process) {
        let waiter = Waiter::new();
        let queues = [master.file.poll_queue(), Some(process.end_queue())];
        let _registrations = queues.map(|queue| queue.map(|queue| queue.register(&waiter)));
        while !master.file.poll().intersects(Poll::IN | Poll::HUP) && !process.is_zombie() {
            // Nothing interrupts it.
            let _ = waiter.wait(None, Signals::Ignore);
        }
    }

    /// Reads input; 0 at its end.
    fn read(&self, buf: &mut [u8], nonblock: bool, signals: Signals) -> Result<usize, Errno> {
        let mut attempt = || {
            let mut state = self.state.lock();
            let len = state.input.len().min(buf.len());
            if len == 0 {
                return (state.input_ends || self.is_over()).then_some((0, 0));
            }
            for (to, byte) in buf.iter_mut().zip(state.input.drain(..len)) {
                *to = byte;
            }
            state.taken += len;
            let tells = state.input.is_empty() || state.taken > WINDOW / 4;
            let told = if tells {
                core::mem::take(&mut state.taken)
            } else {
                0
            };
            Some((len, told))
        };
        let (len, told) = if nonblock {
            attempt().ok_or(Errno::EAGAIN)?
        } else {
            let waited = self.queue.wait_until(None, signals, attempt);
            waited.map_err(|_| Errno::ERESTARTSYS)?
        };
        if told > 0 {
            let told = u32::try_from(told).unwrap_or(0);
            send(TAKEN, self.id, &told.to_le_bytes());
        }
        Ok(len)
    }

    /// Writes to standard output or standard error; how much.
    fn write(
        &self,
        stream: usize,
        bytes: &[u8],
        nonblock: bool,
        signals: Signals,
    ) -> Result<usize, Errno> {
        let kind = if stream == 2 { ERROR } else { OUTPUT };
        let mut done = 0;
        while done < bytes.len() {
            let left = bytes.len() - done;
            let attempt = || {
                if self.is_over() {
                    return Some(Err(Errno::EPIPE));
                }
                if self.is_detached() {
                    return Some(Ok(0));
                }
                let mut state = self.state.lock();
                let len = left.min(CHUNK).min(state.room);
                state.room -= len;
                (len > 0).then_some(Ok(len))
            };
            let room = if nonblock {
                attempt().unwrap_or(Err(Errno::EAGAIN))
            } else {
                let waited = self.queue.wait_until(None, signals, attempt);
                waited.unwrap_or(Err(Errno::ERESTARTSYS))
            };
            match room {
                // It goes nowhere.
                Ok(0) => return Ok(bytes.len()),
                Ok(len) => {
                    send(kind, self.id, &bytes[done..done + len]);
                    done += len;
                }
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }
}

fn signal(process: &Process, number: i32) {
    let info = SigInfo::from_program(number, linux::SI_USER.cast_signed(), 0, 0);
    // Only a full queue of real-time signals is an error.
    let _ = process.send(Recipient::Process, info);
}

/// Standard input, output or error of a session's process without a terminal: to it, a pipe.
struct Stream {
    session: Arc<Session>,
    number: usize,
}

impl File for Stream {
    fn read(&self, _offset: u64, buf: &mut [u8], nonblock: bool) -> Result<usize, Errno> {
        if buf.is_empty() {
            return Ok(0);
        }
        self.session.read(buf, nonblock, Signals::Interrupt)
    }

    fn write(&self, _offset: u64, buf: &[u8], nonblock: bool) -> Result<usize, Errno> {
        self.session
            .write(self.number, buf, nonblock, Signals::Interrupt)
    }

    fn poll(&self) -> Poll {
        let is_over = self.session.is_over();
        let state = self.session.state.lock();
        let mut events = Poll::empty();
        if self.number == 0 {
            events.set(Poll::IN, !state.input.is_empty());
            events.set(Poll::HUP, state.input_ends || is_over);
        } else {
            let waits = state.room == 0 && !is_over && !self.session.is_detached();
            events.set(Poll::OUT, !waits);
            events.set(Poll::ERR, is_over);
        }
        events
    }

    fn poll_queue(&self) -> Option<&WaitQueue> {
        Some(&self.session.queue)
    }

    fn edges(&self) -> [u64; 2] {
        self.session.edges.counts()
    }

    fn metadata(&self) -> Result<Metadata, Errno> {
        Ok(Metadata::anonymous(self.ino(), linux::S_IFIFO | 0o600))
    }

    fn ioctl(&self, request: u32, arg: usize) -> Result<usize, Errno> {
        if request != ioctl::FIONREAD || self.number != 0 {
            return Err(Errno::ENOTTY);
        }
        let here = self.session.state.lock().input.len();
        user::write(arg, &i32::try_from(here).unwrap_or(i32::MAX))?;
        Ok(0)
    }

    fn reopen(&self, _flags: u32) -> Result<Arc<dyn File>, Errno> {
        Ok(self.session.stream(self.number))
    }

    fn link_text(&self) -> Vec<u8> {
        format!("pipe:[{}]", self.ino()).into_bytes()
    }
}

impl Stream {
    /// Behind those of the console.
    fn ino(&self) -> u64 {
        4 + u64::from(self.session.id) * 4 + u64::try_from(self.number).unwrap_or(0)
    }
}
