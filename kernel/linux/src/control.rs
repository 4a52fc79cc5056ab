//! What elfin and the kernel tell each other while the program runs, over the console's control port: what time it is;
//! signals for the first process, and the size of the terminal; that the program runs; and what belongs to programs
//! that `elfin exec` has started, each a [`session`].
//!
//! Messages have a header of eight bytes, little-endian: what it is (16 bits), a session (16), and the length of what
//! follows (32). `qemu/src/message.rs` has the other side.
pub mod session;

use crate::{
    config::{self, Config},
    process::{
        self,
        signal::{self, Recipient, SigInfo},
    },
    tty,
};
use alloc::{boxed::Box, collections::BTreeMap, sync::Arc, vec, vec::Vec};
use linux_raw_sys::general as linux;
use machine::{
    drivers::console::{self as driver, Input, Output},
    sync::Signals,
    time::{Instant, set_realtime_ns},
};
use session::Session;

/// The longest message to the kernel.
const LONGEST: usize = 64 << 10;
const HEADER: usize = 8;
/// What is sent in one piece: a message that is no longer is not torn apart by others.
const BUFFER: usize = driver::CONTROL_SIZE;

/// To elfin: the program has been entered.
const STARTED: u16 = 0x81;
/// To elfin: what time is it?
const ASK_TIME: u16 = 0x86;

/// A message of elfin's.
#[derive(Debug)]
pub enum Message {
    /// A signal.
    Signal(i32),
    /// Rows and columns of the terminal.
    Resize(u16, u16),
    /// A program is to be started.
    Exec(Box<Config>),
    /// Input; none is its end.
    Input(Vec<u8>),
    /// So much output has been read.
    Taken(usize),
    /// Whose program it is has gone.
    HangUp,
    /// It is so many nanoseconds after 1970-01-01 UTC.
    Time(u64),
    /// A key at elfin's terminal stands for a signal.
    Key(i32),
}

impl Message {
    /// From what it is and what follows; `None` if this kernel does not know it.
    fn parse(kind: u16, payload: Vec<u8>) -> Option<Self> {
        let number = || Some(u32::from_le_bytes(payload.as_slice().try_into().ok()?));
        match kind {
            1 => {
                let number = number()?.cast_signed();
                (1..=signal::LAST)
                    .contains(&number)
                    .then_some(Self::Signal(number))
            }
            2 => match *payload {
                [a, b, c, d] => Some(Self::Resize(
                    u16::from_le_bytes([a, b]),
                    u16::from_le_bytes([c, d]),
                )),
                _ => None,
            },
            3 => Some(Self::Exec(Box::new(config::parse(&payload)))),
            4 => Some(Self::Input(payload)),
            5 => usize::try_from(number()?).ok().map(Self::Taken),
            6 => Some(Self::HangUp),
            7 => {
                let time = payload.as_slice().try_into().ok()?;
                Some(Self::Time(u64::from_le_bytes(time)))
            }
            8 => {
                let number = number()?.cast_signed();
                (1..=signal::LAST)
                    .contains(&number)
                    .then_some(Self::Key(number))
            }
            _ => None,
        }
    }
}

/// Reads exactly as much as fits into `buf`; `None` when elfin sends no more.
fn read(buf: &mut [u8]) -> Option<()> {
    let queue = driver::input_queue(Input::Control)?;
    let mut done = 0;
    while done < buf.len() {
        let attempt = || match driver::read(Input::Control, &mut buf[done..]) {
            0 if driver::at_end(Input::Control) => Some(None),
            0 => None,
            len => Some(Some(len)),
        };
        done += queue.wait_until(None, Signals::Ignore, attempt).ok()??;
    }
    Some(())
}

/// The next message that this kernel knows, and its session.
fn next() -> Option<(u16, Message)> {
    loop {
        let mut header = [0; HEADER];
        read(&mut header)?;
        let [a, b, c, d, e, f, g, h] = header;
        let length = usize::try_from(u32::from_le_bytes([e, f, g, h])).ok()?;
        if length > LONGEST {
            log::error!("a control message of {length} bytes");
            return None;
        }
        let mut payload = vec![0; length];
        read(&mut payload)?;
        if let Some(message) = Message::parse(u16::from_le_bytes([a, b]), payload) {
            return Some((u16::from_le_bytes([c, d]), message));
        }
    }
}

/// Tells elfin something, in one piece if it is no longer than [`BUFFER`] with its header.
fn send(kind: u16, session: u16, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or(0);
    let mut message = Vec::with_capacity(HEADER + payload.len());
    message.extend_from_slice(&kind.to_le_bytes());
    message.extend_from_slice(&session.to_le_bytes());
    message.extend_from_slice(&length.to_le_bytes());
    message.extend_from_slice(payload);
    driver::write(Output::Control, &message, Signals::Ignore);
}

/// A program is entered: elfin is told if that is the first process', and it wants to know.
pub fn tell_started() {
    if config::get().report && process::with_current(|process| process.is_first()) {
        send(STARTED, 0, &[]);
    }
}

/// Asks elfin what time it is, if it answers; when it was asked.
pub fn ask_time() -> Option<Instant> {
    config::get().clock.then(|| {
        let now = Instant::now();
        send(ASK_TIME, 0, &[]);
        now
    })
}

/// Sets the clock by elfin's answer to a question of that time: the battery-backed clock knows seconds only. What else
/// elfin has said meanwhile is for [`serve`].
///
/// It takes the answer for one given at once, so the clock is never behind elfin's, and new files are never newer on
/// the host than here.
pub fn take_time(asked: Instant) -> Vec<(u16, Message)> {
    let mut others = Vec::new();
    while let Some((id, message)) = next() {
        if let Message::Time(time) = message {
            set_realtime_ns(time + (Instant::now().0 - asked.0));
            break;
        }
        others.push((id, message));
    }
    others
}

/// Does what elfin asks for, as long as it may ask, and first what it has asked for `before`; `start` starts a
/// session's program. The first process has its main thread.
pub fn serve(before: Vec<(u16, Message)>, start: fn(Arc<Session>, Box<Config>)) {
    let mut sessions: BTreeMap<u16, Arc<Session>> = BTreeMap::new();
    for (id, message) in before.into_iter().chain(core::iter::from_fn(next)) {
        sessions.retain(|_, session| session.is_heard());
        let session = sessions.get(&id);
        match (message, session) {
            (Message::Exec(wish), None) if id != 0 => {
                let session = Session::new(id);
                sessions.insert(id, session.clone());
                start(session, wish);
            }
            (Message::Resize(rows, columns), None) if id == 0 => {
                tty::console::resize(rows, columns);
            }
            (Message::Signal(number), None) if id == 0 => {
                let info = SigInfo::from_program(number, linux::SI_USER.cast_signed(), 0, 0);
                // Only a full queue of real-time signals is an error.
                let _ = process::with_current(|process| process.send(Recipient::Process, info));
            }
            (Message::Key(number), None) if id == 0 => match tty::console::get().foreground() {
                0 => process::with_current(|process| process.send_signal(number)),
                group => process::family::signal_group(group, number),
            },
            (Message::Signal(number), Some(session)) => session.signal(number),
            (Message::Resize(rows, columns), Some(session)) => session.resize(rows, columns),
            (Message::Input(bytes), Some(session)) => session.input(&bytes),
            (Message::Taken(count), Some(session)) => session.taken(count),
            (Message::HangUp, Some(session)) => session.hang_up(),
            // What has ended meanwhile.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Message;

    #[test]
    fn messages() {
        let parse = |kind, payload: &[u8]| Message::parse(kind, payload.to_vec());
        let signal = |number: i32| parse(1, &number.to_le_bytes());
        assert!(matches!(signal(15), Some(Message::Signal(15))));
        assert!(signal(0).is_none() && signal(65).is_none());
        assert!(parse(1, b"abc").is_none() && parse(9, b"").is_none());
        let resize = parse(2, &[24, 0, 80, 0]);
        assert!(matches!(resize, Some(Message::Resize(24, 80))));
        let Some(Message::Exec(wish)) = parse(3, b"arg=a\0arg=b\0terminal=1\0") else {
            panic!("no start");
        };
        assert_eq!((wish.args.len(), wish.terminal), (2, true));
        assert!(matches!(parse(4, b""), Some(Message::Input(bytes)) if bytes.is_empty()));
    }
}
