//! What other elfins want of the machine that we run: each comes in by the socket of its entry, says one thing, and
//! waits until we close the connection, or end.

use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::control::Control;
use crate::message::{self, Message};

/// Lets others in from now on.
pub(super) fn listen(listener: UnixListener, control: Control) {
    thread::spawn(move || {
        for stream in listener.incoming() {
            // Somebody who has gone already.
            let Ok(stream) = stream else { continue };
            let control = control.clone();
            thread::spawn(move || serve(stream, &control));
        }
    });
}

fn serve(mut stream: UnixStream, control: &Control) {
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
        _ => {}
    }
}

/// Keeps a connection until we end, or the other one does.
fn wait(mut stream: UnixStream) {
    while Message::read(&mut stream).is_some() {}
}
