//! Making processes and threads, running programs, waiting for children.
use super::{limits::Usage, pidfds};
use crate::{
    fs::{
        path::{self, Last},
        tree::Kind,
    },
    linker::Command,
    process::{
        self,
        clone::{self, Request},
        exec,
        family::{Options, Report, Target},
    },
};
use abi::{Errno, SysResult};
use alloc::{format, vec::Vec};
use core::mem::offset_of;
use linux_raw_sys::general as linux;
use machine::{
    arch::TrapFrame,
    mm::{PAGE, user},
};
use zerocopy::{FromBytes, IntoBytes};

/// Longest path, with its NUL.
const PATH_MAX: usize = 4096;
/// Longest argument, without its NUL (`MAX_ARG_STRLEN`).
const LONGEST: usize = (128 << 10) - 1;
/// What arguments and environment may take together: a quarter of the stack.
const MOST: usize = 2 << 20;

/// clone(2)
pub fn clone(
    frame: &mut TrapFrame,
    flags: usize,
    stack: usize,
    parent_tid: usize,
    child_tid: usize,
    tls: usize,
) -> SysResult {
    let signal = flags as u32 & linux::CSIGNAL;
    let request = Request {
        flags: flags as u64 & !u64::from(linux::CSIGNAL) & u64::from(u32::MAX),
        exit_signal: exit_signal(signal.into())?,
        stack: stack..stack,
        parent_tid,
        child_tid,
        // There it can be either.
        pidfd: parent_tid,
        tls,
    };
    let both = u64::from(linux::CLONE_PIDFD | linux::CLONE_PARENT_SETTID);
    if request.flags & both == both {
        return Err(Errno::EINVAL);
    }
    clone::clone(frame, &request)
}

/// `struct clone_args`
#[repr(C)]
#[derive(FromBytes, IntoBytes)]
struct CloneArgs {
    flags: u64,
    pidfd: usize,
    child_tid: usize,
    parent_tid: usize,
    exit_signal: u64,
    stack: usize,
    stack_size: usize,
    tls: usize,
    set_tid: usize,
    set_tid_size: usize,
    cgroup: u64,
}

/// clone3(2)
pub fn clone3(frame: &mut TrapFrame, args: usize, size: usize) -> SysResult {
    /// The first version of `struct clone_args` ends before `set_tid`.
    const FIRST: usize = offset_of!(CloneArgs, set_tid);
    match size {
        0..FIRST => return Err(Errno::EINVAL),
        PAGE.. => return Err(Errno::E2BIG),
        _ => {}
    }
    let args: CloneArgs = user::read_struct(args, size)?;
    let forbidden = u64::from(linux::CSIGNAL | linux::CLONE_DETACHED);
    let no_child = args.flags & u64::from(linux::CLONE_THREAD | linux::CLONE_PARENT) != 0;
    if (args.stack == 0) != (args.stack_size == 0)
        || args.flags & forbidden != 0
        || no_child && args.exit_signal != 0
    {
        return Err(Errno::EINVAL);
    }
    let end = args.stack.checked_add(args.stack_size);
    let request = Request {
        flags: args.flags,
        exit_signal: exit_signal(args.exit_signal)?,
        stack: args.stack..end.ok_or(Errno::EINVAL)?,
        parent_tid: args.parent_tid,
        child_tid: args.child_tid,
        pidfd: args.pidfd,
        tls: args.tls,
    };
    refuse_id(args.set_tid, args.set_tid_size)?;
    clone::clone(frame, &request)
}

/// Refuses ids that are asked for (`set_tid`), as Linux does to those who may not restore processes from checkpoints.
fn refuse_id(ids: usize, count: usize) -> Result<(), Errno> {
    match (ids, count) {
        (0, 0) => return Ok(()),
        // A number in each PID namespace, of which there is one.
        (1.., 1) => {}
        _ => return Err(Errno::EINVAL),
    }
    let id: i32 = user::read(ids)?;
    let is_used = || process::find(id).is_some() || process::with_thread(id, |_| ()).is_some();
    match id {
        ..1 => Err(Errno::EINVAL),
        _ if is_used() => Err(Errno::EEXIST),
        _ => Err(Errno::EPERM),
    }
}

fn exit_signal(signal: u64) -> Result<i32, Errno> {
    match i32::try_from(signal) {
        Ok(signal @ 0..=process::signal::LAST) => Ok(signal),
        _ => Err(Errno::EINVAL),
    }
}

/// fork(2)
pub fn fork(frame: &mut TrapFrame) -> SysResult {
    clone::clone(frame, &Request::process(0))
}

/// vfork(2)
pub fn vfork(frame: &mut TrapFrame) -> SysResult {
    clone::clone(
        frame,
        &Request::process(linux::CLONE_VM | linux::CLONE_VFORK),
    )
}

/// The strings of an array that ends with a null pointer.
fn strings(mut at: usize, left: &mut usize) -> Result<Vec<Vec<u8>>, Errno> {
    let mut strings = Vec::new();
    if at == 0 {
        return Ok(strings);
    }
    loop {
        let string: usize = user::read(at)?;
        if string == 0 {
            return Ok(strings);
        }
        let string = user::read_cstr(string, LONGEST).map_err(|error| match error {
            Errno::ENAMETOOLONG => Errno::E2BIG,
            other => other,
        })?;
        // With its NUL, and its pointer.
        *left = left.checked_sub(string.len() + 9).ok_or(Errno::E2BIG)?;
        strings.push(string);
        at += size_of::<usize>();
    }
}

/// A program by its path, without arguments and environment yet.
fn by_path(path: Vec<u8>) -> Command {
    Command {
        name: path.clone(),
        path,
        is_name_lost: false,
        args: Vec::new(),
        env: Vec::new(),
    }
}

fn run(command: Command, args: usize, env: usize) -> SysResult {
    if command.path.is_empty() {
        return Err(Errno::ENOENT);
    }
    let mut left = MOST;
    let mut args = strings(args, &mut left)?;
    let env = strings(env, &mut left)?;
    if args.is_empty() {
        // As on Linux: programs take it for granted that they have a name.
        args.push(Vec::new());
    }
    match exec::execute(Command {
        args,
        env,
        ..command
    })? {}
}

/// execve(2)
pub fn execve(path: usize, args: usize, env: usize) -> SysResult {
    run(by_path(user::read_cstr(path, PATH_MAX - 1)?), args, env)
}

/// execveat(2)
pub fn execveat(dir: usize, path: usize, args: usize, env: usize, flags: usize) -> SysResult {
    const FLAGS: u32 = linux::AT_EMPTY_PATH | linux::AT_SYMLINK_NOFOLLOW;
    let path = user::read_cstr(path, PATH_MAX - 1)?;
    let flags = flags as u32;
    if flags & !FLAGS != 0 {
        return Err(Errno::EINVAL);
    }
    let dir = dir as i32;
    let is_itself = path.is_empty();
    let within = |fds| match &path[..] {
        [] => format!("{fds}/{dir}").into_bytes(),
        path => [format!("{fds}/{dir}/").as_bytes(), path].concat(),
    };
    let is_absolute = path.first() == Some(&b'/') || dir == linux::AT_FDCWD;
    let command = if is_absolute || path.is_empty() && flags & linux::AT_EMPTY_PATH == 0 {
        by_path(path)
    } else {
        let closed = process::with_current(|process| process.files().cloexec(dir))?;
        Command {
            name: within("/dev/fd"),
            is_name_lost: closed,
            ..by_path(within("/proc/self/fd"))
        }
    };
    if flags & linux::AT_SYMLINK_NOFOLLOW != 0 && !is_itself {
        let start = process::with_current(|process| process.fs().start());
        let target = path::walk(&start, &command.path, Last::Keep)?;
        if matches!(target.found()?.node.kind, Kind::Symlink(_)) {
            return Err(Errno::ELOOP);
        }
    }
    run(command, args, env)
}

/// wait4(2)
pub fn wait4(pid: usize, status: usize, options: usize, usage: usize) -> SysResult {
    const KNOWN: u32 = linux::WNOHANG
        | linux::WUNTRACED
        | linux::WCONTINUED
        | linux::__WNOTHREAD
        | linux::__WALL
        | linux::__WCLONE;
    let flags = options as u32;
    if flags & !KNOWN != 0 {
        return Err(Errno::EINVAL);
    }
    let target = match pid as i32 {
        i32::MIN => return Err(Errno::ESRCH),
        -1 => Target::Any,
        0 => Target::Group(process::with_current(|process| process.pgid())),
        pid @ 1.. => Target::Process(pid),
        group => Target::Group(-group),
    };
    let Some(report) = wait(target, flags | linux::WEXITED)? else {
        return Ok(0);
    };
    if status != 0 {
        user::write(status, &report.status.word())?;
    }
    if usage != 0 {
        user::write(usage, &Usage::of(&report.usage))?;
    }
    Ok(report.pid as usize)
}

/// waitid(2): says that it has found nothing even if it fails.
pub fn waitid(kind: usize, id: usize, info: usize, options: usize, usage: usize) -> SysResult {
    let report = waited_for(kind, id, options);
    if let Ok(Some(report)) = &report
        && usage != 0
    {
        user::write(usage, &Usage::of(&report.usage))?;
    }
    if info != 0 {
        /// The part that is filled in: up to si_status.
        const FILLED: usize = 28;
        let found = report.as_ref().ok().and_then(Option::as_ref);
        let found = found.map(|report| report.info(linux::SIGCHLD as i32));
        let bytes = found.unwrap_or_default().to_bytes();
        user::copy_out(info, &bytes[..FILLED])?;
    }
    report.map(|_| 0)
}

/// Waits as waitid(2) is asked to; `None` if there is nothing and that is not waited for.
fn waited_for(kind: usize, id: usize, options: usize) -> Result<Option<Report>, Errno> {
    const EVENTS: u32 = linux::WEXITED | linux::WSTOPPED | linux::WCONTINUED;
    const KNOWN: u32 = EVENTS
        | linux::WNOHANG
        | linux::WNOWAIT
        | linux::__WNOTHREAD
        | linux::__WALL
        | linux::__WCLONE;
    let flags = options as u32;
    if flags & !KNOWN != 0 || flags & EVENTS == 0 {
        return Err(Errno::EINVAL);
    }
    let fd = id;
    let id = id as i32;
    let mut is_nonblocking = false;
    let target = match kind as u32 {
        linux::P_ALL => Target::Any,
        linux::P_PID if id > 0 => Target::Process(id),
        linux::P_PIDFD if id >= 0 => {
            let process;
            (process, is_nonblocking) = pidfds::of_descriptor(fd)?;
            Target::Process(process.pid)
        }
        linux::P_PGID if id > 0 => Target::Group(id),
        linux::P_PGID if id == 0 => Target::Group(process::with_current(|process| process.pgid())),
        _ => return Err(Errno::EINVAL),
    };
    let may_wait = flags & linux::WNOHANG == 0 && !is_nonblocking;
    let report = wait(target, flags | if may_wait { 0 } else { linux::WNOHANG })?;
    if report.is_none() && flags & linux::WNOHANG == 0 {
        return Err(Errno::EAGAIN);
    }
    Ok(report)
}

fn wait(target: Target, flags: u32) -> Result<Option<Report>, Errno> {
    let options = Options {
        nonblocking: flags & linux::WNOHANG != 0,
        ended: flags & linux::WEXITED != 0,
        stopped: flags & linux::WSTOPPED != 0,
        continued: flags & linux::WCONTINUED != 0,
        keep: flags & linux::WNOWAIT != 0,
        sends_sigchld: match (flags & linux::__WALL != 0, flags & linux::__WCLONE != 0) {
            (true, _) => None,
            (false, clones) => Some(!clones),
        },
        own_only: flags & linux::__WNOTHREAD != 0,
    };
    process::with_current(|process| process.wait(target, options))
}
