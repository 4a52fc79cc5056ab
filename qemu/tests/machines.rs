//! Machines that are named, detached, listed, stopped and killed: what `elfin ps` and its like say of them.

#[path = "support/program.rs"]
mod program;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Output, Stdio};

use program::program;
use tempfile::TempDir;

/// Says what it is sent, and ends by SIGTERM unless it is told to ignore that.
const SOURCE: &str = r#"
    #include <signal.h>
    #include <unistd.h>
    static void handle(int signal) {
        if (signal == SIGUSR1)
            write(1, "user 1\n", 7);
        else
            _exit(3);
    }
    int main(int argc, char **argv) {
        signal(SIGUSR1, handle);
        signal(SIGTERM, argc > 1 ? SIG_IGN : handle);
        write(1, "out\n", 4);
        write(2, "err\n", 4);
        for (;;)
            pause();
    }"#;

/// A directory of a test's own that machines are known in, and one with the program.
struct Place {
    runtime: TempDir,
    root: TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            runtime: tempfile::tempdir().expect("directory"),
            root: program(SOURCE, &["-static"]),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_elfin"));
        command
            .args(arguments)
            .env("XDG_RUNTIME_DIR", self.runtime.path());
        command.stdin(Stdio::null());
        command
    }

    /// Standard output, standard error and status.
    fn elfin(&self, arguments: &[&str]) -> (String, String, Option<i32>) {
        let Output {
            status,
            stdout,
            stderr,
        } = self.command(arguments).output().expect("elfin starts");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (text(stdout), text(stderr), status.code())
    }

    /// Standard output of what goes well.
    fn well(&self, arguments: &[&str]) -> String {
        let (out, err, status) = self.elfin(arguments);
        assert_eq!((err.as_str(), status), ("", Some(0)), "{arguments:?}");
        out
    }

    fn run<'a>(&'a self, options: &[&'a str], program: &[&'a str]) -> Vec<&'a str> {
        let root = self.root.path().to_str().expect("a path");
        let mut all = vec!["run", "--cpus", "1", "--root", root];
        all.extend(options);
        all.push("--");
        all.extend(program);
        all
    }
}

#[test]
fn a_detached_machine() {
    let place = Place::new();
    let (id, _, status) = place.elfin(&place.run(&["-d", "--name", "one"], &["/program"]));
    let id = id.trim_end();
    assert_eq!((id.len(), status), (12, Some(0)));
    let list = place.well(&["ps"]);
    let line = list.lines().nth(1).expect("a machine");
    assert!(
        line.starts_with(id) && line.contains("  one   up "),
        "{list}"
    );
    assert_eq!(place.well(&["ps", "-q"]), format!("{id}\n"));

    let mut follower = place
        .command(&["logs", "-f", "one"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let follower = follower.as_mut().expect("elfin starts");
    let mut followed = BufReader::new(follower.stdout.take().expect("piped"));
    let mut line = || {
        let mut line = String::new();
        followed.read_line(&mut line).expect("text");
        line
    };
    assert_eq!(line(), "out\n");
    assert_eq!(place.well(&["kill", "-s", "USR1", "one"]), "one\n");
    assert_eq!(line(), "user 1\n");
    let (_, taken, status) = place.elfin(&place.run(&["--name", "one"], &["/program"]));
    assert!(taken.contains("there is a machine one already"), "{taken}");
    assert_eq!(status, Some(125));

    assert_eq!(place.well(&["stop", &id[..6]]), format!("{}\n", &id[..6]));
    assert_eq!(line(), "");
    assert!(follower.wait().expect("it was started").success());
    assert_eq!(place.well(&["ps", "-q"]), "");
    assert!(place.well(&["ps", "-a"]).contains("  ended (3) "));
    let (out, err, _) = place.elfin(&["logs", "one"]);
    assert_eq!((out.as_str(), err.as_str()), ("out\nuser 1\n", "err\n"));

    // As with docker: it does not run, which is all that was asked for; but nobody is there to be sent a signal.
    assert_eq!(place.well(&["stop", "one"]), "one\n");
    let (_, ended, status) = place.elfin(&["kill", "one"]);
    assert_eq!(
        (ended.as_str(), status),
        ("elfin: machine one has ended\n", Some(125))
    );
    let (_, unknown, status) = place.elfin(&["stop", "two", "three"]);
    assert!(
        unknown.contains("no machine two") && unknown.contains("no machine three"),
        "{unknown}"
    );
    assert_eq!(status, Some(125));

    // The name is free again. What does not end when it is asked to is ended.
    let (_, _, status) =
        place.elfin(&place.run(&["-d", "--name", "one", "--rm"], &["/program", "ignore"]));
    assert_eq!(status, Some(0));
    assert_eq!(place.well(&["stop", "-t", "0", "one"]), "one\n");
    assert_eq!(place.well(&["ps", "-aq"]), "");
}

#[test]
fn a_machine_that_does_not_start() {
    let place = Place::new();
    let program = place.root.path().join("program");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(program, mode).expect("own file");
    // Found out in the machine: the others find what the kernel has said there.
    let options = ["--name", "x", "--user", "1000"];
    let here = place.elfin(&place.run(&options, &["/program"]));
    let detached = place.elfin(&place.run(&[&["-d"], &options[..]].concat(), &["/program"]));
    assert!(here.1.contains("cannot run /program"), "{}", here.1);
    assert_eq!((here.0.as_str(), here.2), ("", Some(126)));
    assert_eq!(detached, here);
    let unknown = ["-d", "--user", "nobody-knows"];
    let (out, err, status) = place.elfin(&place.run(&unknown, &["/program"]));
    assert!(err.contains("no user nobody-knows"), "{err}");
    assert_eq!((out.as_str(), status), ("", Some(125)));
    assert_eq!(place.well(&["ps", "-aq"]), "");
}

#[test]
fn a_machine_in_the_foreground() {
    let place = Place::new();
    let mut elfin = place.command(&place.run(&["--name", "front"], &["/program"]));
    let mut elfin = elfin.stdout(Stdio::piped()).spawn().expect("elfin starts");
    let mut output = elfin.stdout.take().expect("piped");
    output
        .read_exact(&mut [0; 4])
        .expect("it says that it runs");
    assert!(place.well(&["ps"]).contains("  front  up "));
    let (_, not_detached, _) = place.elfin(&["logs", "front"]);
    assert!(not_detached.contains("not detached"), "{not_detached}");
    assert_eq!(place.well(&["kill", "front"]), "front\n");
    assert_eq!(elfin.wait().expect("it was started").code(), Some(137));
    assert_eq!(place.well(&["ps", "-aq"]), "");

    let mut elfin = place.command(&place.run(&["--name", "front"], &["/program"]));
    let mut elfin = elfin.stdout(Stdio::piped()).spawn().expect("elfin starts");
    let mut output = elfin.stdout.take().expect("piped");
    output
        .read_exact(&mut [0; 4])
        .expect("it says that it runs");
    elfin.kill().expect("it runs");
    elfin.wait().expect("it was started");
    assert_eq!(place.well(&["ps", "-aq"]), "");
    let (_, ended, _) = place.elfin(&["kill", "front"]);
    assert!(ended.contains("machine front has ended"), "{ended}");
}
