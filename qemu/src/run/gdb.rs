//! `--gdb`: the machine waits for gdb, and gdb gets a script that takes it to the program's entry point.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::escape::escape;
use crate::cache::Cache;
use crate::shell::quote;

/// A command that gdb gets.
const LINEAGE: &str = include_str!("lineage.py");
/// What gdb does with that, and with the names that [`script`] puts before it.
const SCRIPT: &str = include_str!("gdb.py");
/// The registers of QEMU's machines, as gdb must see them.
const DESCRIPTION: &str = include_str!("gdb.xml");

/// Where QEMU and gdb meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Meeting {
    /// A TCP port of this machine, for this machine only.
    Port(u16),
    /// A socket in the file system.
    Socket(PathBuf),
}

impl Meeting {
    /// Parses a port number or a path.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(0) | Err(_) if !text.contains('/') => Err("expected a port or a path".to_owned()),
            Ok(port) => Ok(Self::Port(port)),
            Err(_) => Ok(Self::Socket(text.into())),
        }
    }

    /// The value of QEMU's option `-gdb`.
    pub(super) fn for_qemu(&self) -> std::ffi::OsString {
        match self {
            Self::Port(port) => format!("tcp:127.0.0.1:{port}").into(),
            Self::Socket(path) => {
                let mut value = std::ffi::OsString::from("unix:");
                value.push(escape(path));
                value.push(",server=on,wait=off");
                value
            }
        }
    }

    /// The argument of gdb's `target remote`.
    fn for_gdb(&self) -> String {
        match self {
            Self::Port(port) => format!("127.0.0.1:{port}"),
            Self::Socket(path) => path.display().to_string(),
        }
    }
}

/// Writes gdb's script; returns the command that starts gdb with it. `program` is the program's file on this machine,
/// and below `sysroot` are those of its libraries.
pub(super) fn command(
    cache: &Cache,
    meeting: &Meeting,
    kernel: &Path,
    (sysroot, program): (&Path, &Path),
) -> Result<String> {
    let description = cache.keep("gdb", ".xml", DESCRIPTION.as_bytes())?;
    let text = script(meeting, [&description, kernel, sysroot]);
    let script = cache.keep("gdb", ".py", text.as_bytes())?;
    let [script, program] = [&script, program].map(|path| quote(path.as_os_str()));
    Ok(format!("gdb -x {script} {program}"))
}

fn script(meeting: &Meeting, [description, kernel, sysroot]: [&Path; 3]) -> String {
    let mut text = String::new();
    let names = [
        ("TARGET", meeting.for_gdb()),
        ("DESCRIPTION", description.display().to_string()),
        ("KERNEL", kernel.display().to_string()),
        ("SYSROOT", sysroot.display().to_string()),
    ];
    for (name, value) in names {
        // Rust's literals are Python's, as far as paths go. Writing to a string does not fail.
        let _ = writeln!(text, "{name} = {value:?}");
    }
    text + LINEAGE + SCRIPT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meetings() {
        assert_eq!(Meeting::parse("1234"), Ok(Meeting::Port(1234)));
        assert_eq!(Meeting::parse("./s"), Ok(Meeting::Socket("./s".into())));
        for bad in ["", "0", "x", "70000"] {
            assert!(Meeting::parse(bad).is_err(), "{bad}");
        }
        let socket = Meeting::Socket("/a,b".into());
        assert_eq!(socket.for_qemu(), "unix:/a,,b,server=on,wait=off");
    }

    #[test]
    fn scripts_start_with_what_they_need() {
        let paths = ["/d", "/it's \"k\"", "/"].map(Path::new);
        let text = script(&Meeting::Port(1), paths);
        assert!(text.starts_with("TARGET = \"127.0.0.1:1\"\nDESCRIPTION = \"/d\"\n"));
        assert!(text.contains("KERNEL = \"/it's \\\"k\\\"\"\n"));
        for name in ["TARGET", "DESCRIPTION", "KERNEL", "SYSROOT"] {
            assert!(SCRIPT.contains(&format!("{{{name}}}")), "{name}");
        }
    }
}
