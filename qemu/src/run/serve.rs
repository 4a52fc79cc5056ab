//! What other elfins want of the machine that we run: each comes in by the socket of its entry and says one thing. It
//! waits until we close the connection, or end; if it wants a program run, all that belongs to that goes by here.

use std::collections::HashMap;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::control::Control;
use crate::message::{self, Message};

/// Who is to hear of a session, by its number. A place is kept until the process has ended.
#[derive(Clone, Default)]
pub(super) struct Sessions {
    hearers: Arc<Mutex<HashMap<u16, Sender<Message>>>>,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, HashMap<u16, Sender<Message>>> {
        self.hearers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes on what the kernel says of a session.
    pub(super) fn deliver(&self, message: Message) {
        let mut hearers = self.lock();
        let session = message.session;
        let has_ended = message.kind == message::ENDED;
        if let Some(hearer) = hearers.get(&session) {
            // Who has gone does not hear it. There is never more of it than the kernel was allowed to send.
            let _ = hearer.send(message);
        }
        if has_ended {
            hearers.remove(&session);
        }
    }
}

/// Lets others in from now on.
pub(super) fn listen(listener: UnixListener, control: Control, sessions: Sessions) {
    thread::spawn(move || {
        for stream in listener.incoming() {
            // Somebody who has gone already.
            let Ok(stream) = stream else { continue };
            let (control, sessions) = (control.clone(), sessions.clone());
            thread::spawn(move || serve(stream, &control, &sessions));
        }
    });
}

fn serve(mut stream: UnixStream, control: &Control, sessions: &Sessions) {
    let Some(message) = Message::read(&mut stream) else {
        return;
    };
    match message.kind {
        message::SIGNAL if message.number() == Some(Signal::KILL.as_raw().cast_unsigned()) => {
            control.end();
            wait(stream);
        }
        message::SIGNAL => {
            // It fails only if QEMU has ended.
            let _ = control.send(&message);
        }
        message::STOP => {
            let seconds = message.number().map(u64::from);
            control.stop(seconds.map(Duration::from_secs));
            wait(stream);
        }
        message::EXEC => exec(stream, message, control, sessions),
        _ => {}
    }
}

/// Keeps a connection until we end, or the other one does.
fn wait(mut stream: UnixStream) {
    while Message::read(&mut stream).is_some() {}
}

/// Carries what belongs to a program that the other one has had started.
fn exec(mut stream: UnixStream, message: Message, control: &Control, sessions: &Sessions) {
    let Ok(mut answers) = stream.try_clone() else {
        return;
    };
    let (sender, receiver) = mpsc::channel();
    let mut hearers = sessions.lock();
    let Some(session) = (1..u16::MAX).find(|number| !hearers.contains_key(number)) else {
        return;
    };
    hearers.insert(session, sender);
    drop(hearers);
    let writer = thread::spawn(move || {
        // Until the process has ended, or the other one.
        while let Ok(message) = receiver.recv() {
            let is_last = message.kind == message::ENDED;
            if message.write(&mut answers).is_err() || is_last {
                break;
            }
        }
    });
    let mut next = Some(message);
    while let Some(message) = next {
        // What it is said to be about is ours to say. It fails only if QEMU has ended.
        let _ = control.send(&Message { session, ..message });
        next = Message::read(&mut stream).filter(|message| {
            let kinds = [
                message::SIGNAL,
                message::RESIZE,
                message::INPUT,
                message::OUTPUT_TAKEN,
            ];
            kinds.contains(&message.kind)
        });
    }
    let hearers = sessions.lock();
    if hearers.contains_key(&session) {
        let gone = Message::new(message::HANG_UP, &[]);
        let _ = control.send(&Message { session, ..gone });
    }
    drop(hearers);
    let _ = writer.join();
}
