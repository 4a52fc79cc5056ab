//! The console as a terminal. With `elfin run -t` the host's terminal passes everything on as it is; without, lines
//! are edited there, and there is nothing to do here but to remember settings.
use super::{TERMINALS, Terminal, Tty};
use crate::config;
use crate::fs::File;
use crate::fs::tree::Node;
use crate::process::Process;
use abi::Errno;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::drivers::console::{self as driver, Input};
use machine::sched::{self, NoState};
use machine::sync::Signals;

/// Its device number: 5, 1.
pub(super) const RDEV: u64 = 0x501;

/// The console.
pub fn get() -> &'static Arc<Tty> {
    TERMINALS.console.call_once(make)
}

fn make() -> Arc<Tty> {
    let console = Arc::new(Tty::new(None));
    let (rows, columns) = config::get().winsize.unwrap_or((0, 0));
    let mut state = console.state.lock();
    state.size = [rows, columns, 0, 0];
    state.is_locked = false;
    drop(state);
    console
}

/// Whether the line discipline is the console's, and not the host's.
pub fn is_raw() -> bool {
    config::get().terminal
}

/// Makes it the terminal of a session that begins, and takes what is typed from then on, if that is its business.
pub fn give_to(process: &Process) {
    let config = config::get();
    if config.terminal || config.tty.contains(&true) {
        get().adopt(process);
    }
    if config.terminal {
        sched::spawn_kernel("console", Box::new(NoState), Box::new(|| listen(get())));
    }
}

/// Takes what is typed, until there is no more.
fn listen(tty: &Arc<Tty>) {
    let Some(queue) = driver::input_queue(Input::Stdin) else {
        return;
    };
    let mut buf = [0; 256];
    loop {
        let attempt = || match driver::read(Input::Stdin, &mut buf) {
            0 if driver::at_end(Input::Stdin) => Some(0),
            0 => None,
            len => Some(len),
        };
        let len = queue
            .wait_until(None, Signals::Ignore, attempt)
            .unwrap_or(0);
        if len == 0 {
            break;
        }
        let mut done = 0;
        while done < len {
            match tty.receive(&buf[done..len], false, Signals::Ignore) {
                Ok(taken) => done += taken,
                Err(_) => return,
            }
        }
    }
    tty.hang_up();
}

/// The host's terminal has another size.
pub fn resize(rows: u16, columns: u16) {
    get().resize([rows, columns, 0, 0]);
}

/// Opens it by a node, without making it anybody's; `None` if its line discipline is the host's.
pub fn open(node: &Arc<Node>, path: Vec<u8>) -> Option<Result<Arc<dyn File>, Errno>> {
    is_raw().then(|| Terminal::without_session(get(), node, path))
}

/// Opens the terminal of the caller's session: `None` if it is the console and its line discipline the host's, `ENXIO`
/// if there is none.
pub fn open_own(node: &Arc<Node>, path: Vec<u8>) -> Option<Result<Arc<dyn File>, Errno>> {
    let Some(tty) = crate::process::with_current(|process| process.terminal()) else {
        return Some(Err(Errno::ENXIO));
    };
    if tty.index.is_none() && !is_raw() {
        return None;
    }
    Some(Terminal::without_session(&tty, node, path))
}
