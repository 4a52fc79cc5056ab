//! The boot configuration: what the kernel is told, as `key=value` records with a zero byte after
//! each.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use anyhow::{Result, bail};
use rustix::termios::{isatty, tcgetwinsize};

use super::mounts::Mount;
use super::net::Net;
use super::options::{Log, RunOptions};
use super::profile;

/// The program's environment, in the order in which the program sees it.
pub(super) type Environment = Vec<(OsString, OsString)>;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The default environment, but for HOME, which the kernel sets, with the settings `wishes` (`K=V`, or `K` for the
/// host's value) on top. `tty`: the program has a terminal, whatever our output is.
pub(super) fn environment(wishes: &[OsString], tty: bool) -> Result<Environment> {
    let mut environment: Environment = vec![
        ("PATH".into(), PATH.into()),
        ("LANG".into(), "C.UTF-8".into()),
    ];
    if (tty || isatty(rustix::stdio::stdout()))
        && let Some(term) = std::env::var_os("TERM")
    {
        environment.push(("TERM".into(), term));
    }
    for wish in wishes {
        let bytes = wish.as_bytes();
        let (name, value) = match bytes.iter().position(|&byte| byte == b'=') {
            Some(at) => (
                OsStr::from_bytes(&bytes[..at]),
                Some(OsStr::from_bytes(&bytes[at + 1..]).to_owned()),
            ),
            None => (wish.as_os_str(), std::env::var_os(wish)),
        };
        if name.is_empty() {
            bail!("--env {}: expected NAME=VALUE", wish.display());
        }
        environment.retain(|(other, _)| other != name);
        environment.extend(value.map(|value| (name.to_owned(), value)));
    }
    Ok(environment)
}

/// The value of `name` in the environment.
pub(super) fn value<'a>(environment: &'a Environment, name: &str) -> Option<&'a OsStr> {
    let found = environment.iter().find(|(other, _)| other == name)?;
    Some(&found.1)
}

/// Encodes the configuration of one boot. `tsc_rate`: what this machine's time-stamp counter counts in a second.
pub(super) fn encode(
    options: &RunOptions,
    environment: &Environment,
    mounts: &[Mount],
    net: &Net,
    tsc_rate: Option<u64>,
) -> Vec<u8> {
    let mut config = Vec::new();
    let mut record = |key: &str, value: &[u8]| {
        config.extend_from_slice(key.as_bytes());
        config.push(b'=');
        config.extend_from_slice(value);
        config.push(0);
    };
    for argument in &options.command {
        record("arg", argument.as_bytes());
    }
    for (name, value) in environment {
        let mut setting = name.as_bytes().to_vec();
        setting.push(b'=');
        setting.extend_from_slice(value.as_bytes());
        record("env", &setting);
    }
    if let Some(user) = &options.user {
        record("user", user.as_bytes());
    }
    record("cwd", options.cwd.as_os_str().as_bytes());
    let log = match options.log {
        None => "warn",
        Some(Log::Info) => "info",
        Some(Log::Debug) => "debug",
        Some(Log::Trace) => "trace",
    };
    record("log", log.as_bytes());
    for mount in mounts {
        record("mount", &mount.record());
    }
    if options.read_only {
        record("readonly", b"1");
    }
    if options.boot_chart.is_some() || options.profile.is_some() {
        record("record", b"1");
    }
    if options.profile.is_some() {
        let period = 1_000_000_000 / profile::RATE;
        record("sample", period.to_string().as_bytes());
    }
    if options.trace {
        record("trace", b"1");
    }
    let streams = [
        rustix::stdio::stdin(),
        rustix::stdio::stdout(),
        rustix::stdio::stderr(),
    ];
    let is_terminal = |stream: usize| match options.detach {
        // There is nobody, whatever our streams are.
        true => options.tty,
        false => isatty(streams[stream]),
    };
    let terminals: Vec<String> = (0..3)
        .filter(|&stream| is_terminal(stream))
        .map(|stream| stream.to_string())
        .collect();
    record("tty", terminals.join(",").as_bytes());
    if options.tty {
        record("terminal", b"1");
    }
    record("clock", b"1");
    if options.detach {
        record("report", b"1");
    }
    if let Some(size) = streams.iter().find_map(|stream| tcgetwinsize(stream).ok()) {
        let size = format!("{}x{}", size.ws_row, size.ws_col);
        record("winsize", size.as_bytes());
    }
    for (key, value) in net.records() {
        record(key, &value);
    }
    if let Some(rate) = tsc_rate {
        record("tsc", rate.to_string().as_bytes());
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_replace_defaults() {
        let wishes = ["HOME=/x", "A=b=c", "EMPTY=", "ELFIN_UNSET_EVERYWHERE"];
        let environment = environment(&wishes.map(OsString::from), false).unwrap();
        assert_eq!(value(&environment, "HOME"), Some(OsStr::new("/x")));
        assert_eq!(value(&environment, "A"), Some(OsStr::new("b=c")));
        assert_eq!(value(&environment, "EMPTY"), Some(OsStr::new("")));
        assert_eq!(value(&environment, "PATH"), Some(OsStr::new(PATH)));
        assert_eq!(value(&environment, "ELFIN_UNSET_EVERYWHERE"), None);
        assert!(super::environment(&["=x".into()], false).is_err());
    }
}
