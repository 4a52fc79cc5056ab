//! Terminals: the console and pseudo-terminals (pty(7)), with one line discipline for both ([`discipline`]).
//!
//! A [`Tty`] stands between a program, which has it open as a [`terminal`], and whoever types and looks: the host
//! ([`console`]), or the program that has the master of a pseudo-terminal ([`pty`]). [`session`] has job control. No
//! lock is held while signals are sent.
pub mod console;
mod control;
pub mod device;
mod discipline;
pub mod pty;
mod session;
mod settings;
pub mod stream;
mod terminal;

pub use session::leave;
pub use terminal::Terminal;

use crate::fs::{Edges, tree::Node};
use crate::process::Pid;
use abi::Errno;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use discipline::{Discipline, Effect};
use linux_raw_sys::general as linux;
use machine::drivers::console::{self as driver, Output};
use machine::sync::{Signals, SpinLock, WaitQueue};
use machine::time::Instant;
use spin::Once;

/// What is written to a pseudo-terminal waits for the master to read it when there is as much as this.
const OUTPUT_LIMIT: usize = 8 << 10;
/// What is processed at a time.
const CHUNK: usize = 1 << 10;

/// A pseudo-terminal, and the node of its terminal.
type Pseudo = (Arc<Tty>, Arc<Node>);

/// All terminals that can be opened.
struct Terminals {
    console: Once<Arc<Tty>>,
    /// Those whose master is open.
    pseudo: SpinLock<BTreeMap<u32, Pseudo>>,
}

static TERMINALS: Terminals = Terminals {
    console: Once::new(),
    pseudo: SpinLock::new(BTreeMap::new()),
};

/// A terminal.
pub struct Tty {
    /// Its number among the pseudo-terminals; `None`: it is the console.
    index: Option<u32>,
    state: SpinLock<State>,
    /// Woken when there is something to read or room to write, on either side, and at the end.
    queue: WaitQueue,
    edges: Edges,
    master_edges: Edges,
}

struct State {
    discipline: Discipline,
    /// What the master is to read.
    output: VecDeque<u8>,
    /// Rows, columns, and two that mean nothing.
    size: [u16; 4],
    /// The session whose terminal it is, and the group of that in the foreground; 0 for none.
    session: Pid,
    foreground: Pid,
    /// Nobody types or looks any more.
    is_hung_up: bool,
    /// How often the program's side is open.
    openings: usize,
    /// That it has been.
    was_open: bool,
    /// `TIOCSPTLCK`
    is_locked: bool,
    /// `TIOCPKT`: what the master is to be told.
    packet: Option<u8>,
}

impl Tty {
    fn new(index: Option<u32>) -> Self {
        Self {
            index,
            state: SpinLock::new(State {
                discipline: Discipline::new(),
                output: VecDeque::new(),
                size: [0; 4],
                session: 0,
                foreground: 0,
                is_hung_up: false,
                openings: 0,
                was_open: false,
                is_locked: true,
                packet: None,
            }),
            queue: WaitQueue::new(),
            edges: Edges::new(),
            master_edges: Edges::new(),
        }
    }

    /// Its device number.
    pub fn rdev(&self) -> u64 {
        match self.index {
            Some(index) => pty::rdev(index),
            None => console::RDEV,
        }
    }

    /// The group in the foreground; 0 for none.
    pub fn foreground(&self) -> Pid {
        self.state.lock().foreground
    }

    fn changed(&self) {
        self.edges.readable();
        self.edges.writable();
        self.master_edges.readable();
        self.master_edges.writable();
        self.queue.wake_all();
    }

    /// Sets the size; the foreground group is told if it is another one.
    pub(crate) fn resize(&self, size: [u16; 4]) {
        let mut state = self.state.lock();
        let is_other = state.size != size;
        state.size = size;
        let group = state.foreground;
        drop(state);
        if is_other {
            session::signal_group(group, linux::SIGWINCH);
        }
    }

    /// Takes some of what is typed; how much. Waits while there is no room.
    fn receive(&self, bytes: &[u8], nonblock: bool, signals: Signals) -> Result<usize, Errno> {
        let mut shown = Vec::new();
        let mut effects = Vec::new();
        let mut group = 0;
        let mut frees = false;
        let mut attempt = || {
            let mut state = self.state.lock();
            if state.is_hung_up {
                return Some(Err(Errno::EIO));
            }
            let len = state.discipline.room().min(bytes.len()).min(CHUNK);
            if len == 0 {
                return None;
            }
            let was_stopped = state.discipline.is_stopped;
            for &byte in &bytes[..len] {
                let effect = state.discipline.receive(byte, &mut shown);
                if let Effect::Signal(signal, flushes) = effect {
                    effects.push(signal);
                    if flushes {
                        frees = true;
                        state.output.clear();
                        state.tell(linux::TIOCPKT_FLUSHREAD | linux::TIOCPKT_FLUSHWRITE);
                    }
                }
            }
            // A master that does not read what it types loses it.
            if self.index.is_some() && state.output.len() < 2 * OUTPUT_LIMIT {
                state.output.extend(shown.iter().copied());
            }
            frees |= was_stopped && !state.discipline.is_stopped;
            group = state.foreground;
            Some(Ok(len))
        };
        let taken = self.attempt(nonblock, signals, &mut attempt)?;
        if self.index.is_none() {
            driver::write(Output::Stdout, &shown, signals);
        }
        for signal in effects {
            session::signal_group(group, signal.cast_unsigned());
        }
        if frees {
            self.changed();
        } else {
            self.edges.readable();
            self.master_edges.readable();
            self.queue.wake_all();
        }
        Ok(taken)
    }

    fn attempt<R>(
        &self,
        nonblock: bool,
        signals: Signals,
        attempt: impl FnMut() -> Option<Result<R, Errno>>,
    ) -> Result<R, Errno> {
        let mut attempt = attempt;
        if nonblock {
            return attempt().unwrap_or(Err(Errno::EAGAIN));
        }
        let waited = self.queue.wait_until(None, signals, attempt);
        waited.unwrap_or(Err(Errno::ERESTARTSYS))
    }

    /// Writes for a program.
    fn write(&self, bytes: &[u8], nonblock: bool) -> Result<usize, Errno> {
        let mut done = 0;
        while done < bytes.len() {
            let mut shown = Vec::new();
            let mut attempt = || {
                let mut state = self.state.lock();
                if state.is_hung_up {
                    return Some(Err(Errno::EIO));
                }
                let room = OUTPUT_LIMIT.saturating_sub(state.output.len());
                if state.discipline.is_stopped || room == 0 {
                    return None;
                }
                let len = (bytes.len() - done).min(CHUNK).min(room);
                state.discipline.write(&bytes[done..done + len], &mut shown);
                if self.index.is_some() {
                    state.output.extend(shown.iter().copied());
                }
                Some(Ok(len))
            };
            match self.attempt(nonblock, Signals::Interrupt, &mut attempt) {
                Ok(len) => done += len,
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
            if self.index.is_none() {
                driver::write(Output::Stdout, &shown, Signals::Kill);
            } else {
                self.master_edges.readable();
                self.queue.wake_all();
            }
        }
        Ok(done)
    }

    /// Reads for a program: a line, or as VMIN and VTIME say.
    fn read(&self, buf: &mut [u8], nonblock: bool) -> Result<usize, Errno> {
        /// What VTIME counts in.
        const TENTH_NS: u64 = 100_000_000;
        loop {
            let mut state = self.state.lock();
            if state.is_hung_up {
                return Ok(0);
            }
            let wanted = state.discipline.wants(buf.len());
            let here = state.discipline.available();
            let takes = match wanted {
                Some((least, _)) => here >= least.max(1) || nonblock && here > 0,
                None => true,
            };
            if takes && let Some(len) = state.discipline.read(buf) {
                drop(state);
                self.master_edges.writable();
                self.queue.wake_all();
                return Ok(len);
            }
            drop(state);
            let limit = match wanted {
                // Only what is there already.
                Some((0, 0)) => return Ok(0),
                _ if nonblock => return Err(Errno::EAGAIN),
                // The time begins at once, or with each character.
                Some((least, time)) if time > 0 && (least == 0 || here > 0) => Some(time),
                _ => None,
            };
            let deadline = limit.map(|time| Instant(Instant::now().0 + u64::from(time) * TENTH_NS));
            let more = || {
                let state = self.state.lock();
                let is_more = match wanted {
                    Some(_) => state.discipline.available() > here,
                    None => state.discipline.is_readable(),
                };
                let is_more =
                    is_more || state.discipline.wants(buf.len()) != wanted || state.is_hung_up;
                is_more.then_some(())
            };
            match self.queue.wait_until(deadline, Signals::Interrupt, more) {
                Ok(()) => {}
                Err(machine::sync::WaitError::Interrupted) => return Err(Errno::ERESTARTSYS),
                Err(machine::sync::WaitError::TimedOut) => {
                    let read = self.state.lock().discipline.read(buf);
                    return Ok(read.unwrap_or(0));
                }
            }
        }
    }
}

impl State {
    /// Something that a master in packet mode is told.
    fn tell(&mut self, what: u32) {
        if let Some(told) = &mut self.packet {
            let what = u8::try_from(what).unwrap_or(0);
            // Each is the opposite of its neighbour.
            let opposites = [
                (linux::TIOCPKT_STOP, linux::TIOCPKT_START),
                (linux::TIOCPKT_DOSTOP, linux::TIOCPKT_NOSTOP),
            ];
            for (one, other) in opposites {
                for (new, old) in [(one, other), (other, one)] {
                    if u32::from(what) & new != 0 {
                        *told &= !u8::try_from(old).unwrap_or(0);
                    }
                }
            }
            *told |= what;
        }
    }

    fn stop(&mut self, stops: bool) {
        if self.discipline.is_stopped != stops {
            self.discipline.is_stopped = stops;
            self.tell(if stops {
                linux::TIOCPKT_STOP
            } else {
                linux::TIOCPKT_START
            });
        }
    }
}
