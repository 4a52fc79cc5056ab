//! Machines that run a program of one source, for tests of networks.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use tempfile::TempDir;

/// The `elfin` that is tested.
pub(crate) fn elfin() -> Command {
    Command::new(env!("CARGO_BIN_EXE_elfin"))
}

/// A directory with a program made of `source`, named `program`.
pub(crate) fn program(source: &str) -> TempDir {
    let root = tempfile::tempdir().expect("temporary directory");
    let file = root.path().join("program.c");
    fs::write(&file, source).expect("own directory");
    let built = Command::new("gcc")
        .args(["-static", "-O1", "-pthread", "-o"])
        .arg(root.path().join("program"))
        .arg(&file)
        .status()
        .expect("gcc starts");
    assert!(built.success());
    root
}

/// A port of this host that nobody has now.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

/// A machine that runs until it is dropped.
pub(crate) struct Machine {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Machine {
    /// Starts one by the command `elfin`, which may have something of its own.
    pub(crate) fn start(
        mut elfin: Command,
        root: &Path,
        options: &[&str],
        arguments: &[&str],
    ) -> Self {
        let mut child = elfin
            .args(["run", "--cpus", "2", "--root"])
            .arg(root)
            .args(options)
            .args(["--", "/program"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("elfin starts");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, output }
    }

    /// Gives the program a line to read.
    pub(crate) fn say(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("it is piped");
        stdin.write_all(line.as_bytes()).expect("it is read");
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it can be read");
        line
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Networks of this test only.
pub(crate) struct Networks(TempDir);

impl Networks {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("temporary directory"))
    }

    pub(crate) fn elfin(&self) -> Command {
        let mut elfin = elfin();
        elfin.env("XDG_DATA_HOME", self.0.path());
        elfin
    }

    /// Runs `elfin`; its output, or the last line of its error.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Result<String, String> {
        let output = self.elfin().args(arguments).output().expect("elfin starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        assert_eq!(output.status.code(), Some(125), "{arguments:?}");
        Err(text(&output.stderr))
    }

    pub(crate) fn start(&self, root: &Path, options: &[&str], arguments: &[&str]) -> Machine {
        Machine::start(self.elfin(), root, options, arguments)
    }

    /// Where a network is.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        self.0.path().join("elfin/networks").join(name)
    }
}
