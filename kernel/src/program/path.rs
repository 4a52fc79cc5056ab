//! Finding the program: PATH, and `#!` lines as Linux follows them.

use super::{Failure, NOT_EXECUTABLE, NOT_FOUND};
use crate::open::{open_exec, resolve};
use abi::Errno;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use linux::config::Config;
use linux::fs::File;

const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How many scripts may be interpreted by scripts (Linux: `BINPRM_MAX_RECURSION`).
const MOST_INTERPRETERS: usize = 5;
const S_IFMT: u32 = 0o170_000;
const S_IFREG: u32 = 0o100_000;

/// What to run.
pub(super) struct Image {
    /// Absolute path without symbolic links.
    pub(super) path: Vec<u8>,
    /// What was to be run, as it was called: `AT_EXECFN`. If it is a script, `path` is its interpreter's.
    pub(super) name: Vec<u8>,
    /// What is there.
    pub(super) file: Arc<dyn File>,
    /// Arguments, program first.
    pub(super) args: Vec<Vec<u8>>,
}

/// Why something cannot be run.
pub(super) struct Problem {
    /// execve(2)'s error.
    pub(super) errno: Errno,
    path: Vec<u8>,
    /// Whose interpreter the path is.
    script: Option<Vec<u8>>,
}

impl Problem {
    fn new(path: &[u8], errno: Errno) -> Self {
        Self {
            errno,
            path: path.to_vec(),
            script: None,
        }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let mut failure = failure(&problem.path, problem.errno);
        if let Some(script) = problem.script {
            failure.line += &format!(" (interpreter of {})", show(&script));
        }
        failure
    }
}

fn show(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// Finds the program that the configuration names. An error is a line for the user, and an exit status.
pub(super) fn find(config: &Config) -> Result<Image, Failure> {
    let Some(name) = config.args.first() else {
        return Err(Failure {
            line: String::from("elfin: no program given"),
            status: NOT_EXECUTABLE,
        });
    };
    let path = if name.contains(&b'/') {
        executable(name).map_err(|errno| failure(name, errno))?
    } else {
        search(config, name)?
    };
    Ok(interpret(path.clone(), (path, false), config.args.clone())?)
}

fn failure(path: &[u8], errno: Errno) -> Failure {
    let status = if errno == Errno::ENOENT {
        NOT_FOUND
    } else {
        NOT_EXECUTABLE
    };
    Failure {
        line: format!(
            "elfin: cannot run {}: {} in the image",
            show(path),
            errno.text()
        ),
        status,
    }
}

/// The path itself, if a program lies there.
fn executable(path: &[u8]) -> Result<Vec<u8>, Errno> {
    let metadata = open_exec(path)?.metadata()?;
    if metadata.mode & S_IFMT != S_IFREG {
        return Err(Errno::EACCES);
    }
    Ok(path.to_vec())
}

fn search(config: &Config, name: &[u8]) -> Result<Vec<u8>, Failure> {
    let path = config
        .env
        .iter()
        .find_map(|setting| setting.strip_prefix(b"PATH="))
        .unwrap_or(DEFAULT_PATH);
    let mut denied = None;
    for directory in path.split(|&byte| byte == b':') {
        let directory = if directory.is_empty() {
            b"."
        } else {
            directory
        };
        let candidate = [directory, b"/", name].concat();
        match executable(&candidate) {
            Ok(found) => return Ok(found),
            Err(Errno::EACCES) => denied = denied.or(Some(candidate)),
            Err(_) => {}
        }
    }
    match denied {
        Some(candidate) => Err(failure(&candidate, Errno::EACCES)),
        None => Err(Failure {
            line: format!(
                "elfin: cannot run {}: not found in {} (PATH) in the image",
                show(name),
                show(path)
            ),
            status: NOT_FOUND,
        }),
    }
}

/// What running the file `path`, which is called `name`, means: `#!` lines are followed. `ENOENT` if that leads from a
/// name that is lost.
pub(super) fn interpret(
    mut path: Vec<u8>,
    (name, is_lost): (Vec<u8>, bool),
    mut args: Vec<Vec<u8>>,
) -> Result<Image, Problem> {
    executable(&path).map_err(|errno| Problem::new(&path, errno))?;
    let mut called = name.clone();
    for _ in 0..=MOST_INTERPRETERS {
        let about = |errno| Problem::new(&path, errno);
        let Some(line) = first_line(&path).map_err(about)? else {
            let file = open_exec(&path).map_err(about)?;
            let path = resolve(&path).map_err(about)?;
            return Ok(Image {
                path,
                name,
                file,
                args,
            });
        };
        if is_lost {
            return Err(about(Errno::ENOENT));
        }
        let Some((interpreter, argument)) = split(&line) else {
            return Err(about(Errno::ENOEXEC));
        };
        executable(&interpreter).map_err(|errno| Problem {
            script: Some(path.clone()),
            ..Problem::new(&interpreter, errno)
        })?;
        let mut all = vec![interpreter.clone()];
        all.extend(argument);
        all.push(called);
        all.extend(args.into_iter().skip(1));
        (path, called, args) = (interpreter.clone(), interpreter, all);
    }
    Err(Problem::new(&path, Errno::ELOOP))
}

/// What stands behind `#!` in the first line, if the file begins so.
fn first_line(path: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
    let mut start = [0; 256];
    let len = open_exec(path)?.read(0, &mut start, false)?;
    let Some(rest) = start[..len].strip_prefix(b"#!") else {
        return Ok(None);
    };
    let line = rest.split(|&byte| byte == b'\n').next().unwrap_or(rest);
    Ok(Some(line.to_vec()))
}

/// The interpreter and its one argument.
fn split(line: &[u8]) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    let line = line.trim_ascii();
    let end = line
        .iter()
        .position(u8::is_ascii_whitespace)
        .unwrap_or(line.len());
    let (interpreter, rest) = line.split_at(end);
    let rest = rest.trim_ascii();
    let argument = (!rest.is_empty()).then(|| rest.to_vec());
    (!interpreter.is_empty()).then(|| (interpreter.to_vec(), argument))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpreter_lines() {
        assert_eq!(split(b" /bin/sh"), Some((b"/bin/sh".to_vec(), None)));
        assert_eq!(
            split(b"/usr/bin/env  python3 -u \r"),
            Some((b"/usr/bin/env".to_vec(), Some(b"python3 -u".to_vec())))
        );
        assert_eq!(split(b"  "), None);
    }
}
