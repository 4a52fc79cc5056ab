//! A further program in the running machine: `elfin exec`. It is the leader of a session of its own, nobody's child,
//! and starts as the first one does.

use super::{Failure, NOT_EXECUTABLE, start};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use linux::config::{self, Config};
use linux::control::session::Session;
use linux::fs::context::FsContext;
use linux::fs::path::{Start, lookup};
use linux::process::family::Status;
use linux::process::{self, Process, ThreadState};
use machine::sched::{self, NoState};

/// Starts what elfin asks for, and looks after it on threads of its own.
pub(super) fn exec(session: Arc<Session>, wish: Box<Config>) {
    let own = session.clone();
    let body = Box::new(move || attend(&own, *wish));
    match sched::new_kernel(None, Box::new(NoState), body) {
        Some(thread) => sched::start(thread),
        None => refuse(&session),
    }
}

/// There is no memory for it.
fn refuse(session: &Session) {
    session.report("elfin: the machine has no memory for another program");
    session.ended(Status::Exited(
        u8::try_from(NOT_EXECUTABLE).unwrap_or(u8::MAX),
    ));
}

fn attend(session: &Arc<Session>, wish: Config) {
    let wish = completed(wish, config::get());
    let process = Process::leader(FsContext::new(Start::root().root));
    let (starter, own) = (process.clone(), session.clone());
    let body = Box::new(move || begin(&own, &starter, &wish));
    let state = Box::new(ThreadState::new(process.clone()));
    match sched::new_kernel(None, state, body) {
        Some(thread) => sched::start(thread),
        None => {
            process.abandon();
            return refuse(session);
        }
    }
    session.attend(&process);
}

/// What is not said is as with the first program: its environment, and its working directory.
fn completed(wish: Config, first: &Config) -> Config {
    let name = |setting: &[u8]| setting.iter().position(|&byte| byte == b'=');
    let mut env = first.env.clone();
    for setting in wish.env {
        let end = name(&setting).map_or(setting.len(), |at| at + 1);
        env.retain(|other| !other.starts_with(&setting[..end]));
        env.push(setting);
    }
    let cwd = if wish.cwd.is_empty() {
        first.cwd.clone()
    } else {
        wish.cwd
    };
    Config { env, cwd, ..wish }
}

/// Starts it: on a thread of the process, which ends here if that fails.
fn begin(session: &Arc<Session>, process: &Arc<Process>, wish: &Config) {
    let given = give(session, process, wish);
    session.opened();
    let started = given.and_then(|()| start(wish));
    match started {
        Ok(()) => {
            session.started(process);
            if wish.detached {
                session.detach();
            }
        }
        Err(Failure { line, status }) => {
            session.report(&line);
            drop(line);
            process::exit_group(status)
        }
    }
}

/// Gives it its working directory and its streams.
fn give(session: &Arc<Session>, process: &Process, wish: &Config) -> Result<(), Failure> {
    if !wish.cwd.is_empty() {
        let cwd = lookup(&Start::root(), &wish.cwd).and_then(|path| process.fs().set_cwd(path));
        cwd.map_err(|errno| {
            let cwd = String::from_utf8_lossy(&wish.cwd);
            Failure {
                line: format!("elfin: working directory {cwd}: {}", errno.text()),
                status: NOT_EXECUTABLE,
            }
        })?;
    }
    let terminal = wish.terminal.then(|| wish.winsize.unwrap_or((0, 0)));
    session.open(process, terminal).map_err(|errno| Failure {
        line: format!("elfin: no terminal: {}", errno.text()),
        status: NOT_EXECUTABLE,
    })
}
