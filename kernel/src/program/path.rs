//! Finding the program: PATH, and `#!` lines as Linux follows them.

use super::{NOT_EXECUTABLE, NOT_FOUND};
use crate::open::{open, resolve};
use abi::Errno;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use linux::config::Config;

const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How many scripts may be interpreted by scripts (Linux: `BINPRM_MAX_RECURSION`).
const MOST_INTERPRETERS: usize = 5;
const S_IFMT: u32 = 0o170_000;
const S_IFREG: u32 = 0o100_000;

/// What to run.
pub(super) struct Image {
    /// Absolute path without symbolic links.
    pub(super) path: Vec<u8>,
    /// Arguments, program first.
    pub(super) args: Vec<Vec<u8>>,
}

type Failure = (String, i32);

fn show(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// Finds the program that the configuration names. An error is a line for the user, and an exit status.
pub(super) fn find(config: &Config) -> Result<Image, Failure> {
    let Some(name) = config.args.first() else {
        return Err((String::from("no program given"), NOT_EXECUTABLE));
    };
    let path = if name.contains(&b'/') {
        executable(name).map_err(|errno| failure(name, errno))?
    } else {
        search(config, name)?
    };
    interpret(path, config.args.clone())
}

fn failure(path: &[u8], errno: Errno) -> Failure {
    let status = if errno == Errno::ENOENT {
        NOT_FOUND
    } else {
        NOT_EXECUTABLE
    };
    (
        format!("cannot run {}: {} in the image", show(path), errno.text()),
        status,
    )
}

/// The path itself, if a program lies there.
fn executable(path: &[u8]) -> Result<Vec<u8>, Errno> {
    let metadata = open(path)?.metadata()?;
    if metadata.mode & S_IFMT != S_IFREG || metadata.mode & 0o111 == 0 {
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
        None => Err((
            format!(
                "cannot run {}: not found in {} (PATH) in the image",
                show(name),
                show(path)
            ),
            NOT_FOUND,
        )),
    }
}

/// Follows `#!` lines.
fn interpret(path: Vec<u8>, args: Vec<Vec<u8>>) -> Result<Image, Failure> {
    let (mut path, mut args) = (path, args);
    for _ in 0..MOST_INTERPRETERS {
        let Some(line) = first_line(&path).map_err(|errno| failure(&path, errno))? else {
            let path = resolve(&path).map_err(|errno| failure(&path, errno))?;
            return Ok(Image { path, args });
        };
        let Some((interpreter, argument)) = split(&line) else {
            return Err(failure(&path, Errno::ENOEXEC));
        };
        let found = executable(&interpreter).map_err(|errno| {
            let (line, status) = failure(&interpreter, errno);
            (format!("{line} (interpreter of {})", show(&path)), status)
        })?;
        let mut all = vec![interpreter];
        all.extend(argument);
        all.push(path);
        all.extend(args.into_iter().skip(1));
        (path, args) = (found, all);
    }
    Err(failure(&path, Errno::ELOOP))
}

/// What stands behind `#!` in the first line, if the file begins so.
fn first_line(path: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
    let mut start = [0; 256];
    let len = open(path)?.read(0, &mut start, false)?;
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
