//! Signals at `elfin run` are the program's: it dies of them, handles them, or is ended after all.

#[path = "support/program.rs"]
mod program;

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use program::program;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Says `ready` once it has done what its argument says about SIGTERM.
const SOURCE: &str = r#"
    #include <signal.h>
    #include <unistd.h>
    static void handle(int signal) {
        write(1, "got 15\n", 7);
        _exit(signal == SIGTERM ? 3 : 4);
    }
    int main(int argc, char **argv) {
        if (argv[1][0] == 'h')
            signal(SIGTERM, handle);
        if (argv[1][0] == 'i')
            signal(SIGTERM, SIG_IGN);
        write(1, "ready\n", 6);
        for (;;)
            pause();
    }"#;

struct Machine {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Machine {
    fn start(root: &TempDir, options: &[&str], about: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_elfin"))
            .args(["run", "--cpus", "1"])
            .args(options)
            .arg("--root")
            .arg(root.path())
            .args(["/program", about])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("elfin starts");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let mut machine = Self { child, output };
        assert_eq!(machine.line(), "ready\n");
        machine
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("text");
        line
    }

    fn send(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id() as i32).expect("not 0");
        kill_process(pid, signal).expect("it runs");
    }

    fn status(mut self) -> Option<i32> {
        self.child.wait().expect("it was started").code()
    }
}

#[test]
fn the_program_gets_signals() {
    let root = program(SOURCE, &["-static"]);
    for (machine, signal, status) in [
        ("q35", Signal::TERM, 143),
        ("q35", Signal::INT, 130),
        ("q35", Signal::HUP, 129),
        ("q35", Signal::QUIT, 131),
        ("microvm", Signal::TERM, 143),
    ] {
        let machine = Machine::start(&root, &["--machine", machine], "default");
        machine.send(signal);
        assert_eq!(machine.status(), Some(status), "{signal:?}");
    }
    let mut machine = Machine::start(&root, &[], "handled");
    machine.send(Signal::TERM);
    assert_eq!(machine.line(), "got 15\n");
    assert_eq!(machine.status(), Some(3));
}

#[test]
fn what_does_not_stop_is_ended() {
    let root = program(SOURCE, &["-static"]);
    let machine = Machine::start(&root, &["--stop-timeout", "1"], "ignored");
    machine.send(Signal::TERM);
    assert_eq!(machine.status(), Some(137));
    let machine = Machine::start(&root, &["--stop-timeout", "3600"], "ignored");
    machine.send(Signal::TERM);
    machine.send(Signal::INT);
    assert_eq!(machine.status(), Some(137));
}

#[test]
fn others_cannot_kill_the_first_process() {
    let root = program(
        r#"
        #include <signal.h>
        #include <sys/wait.h>
        #include <unistd.h>
        int main(void) {
            if (fork() == 0)
                _exit(kill(1, SIGSTOP) + 2 * kill(1, SIGKILL) + 4);
            int status;
            wait(&status);
            return WEXITSTATUS(status);
        }
        "#,
        &["-static"],
    );
    let output = Command::new(env!("CARGO_BIN_EXE_elfin"))
        .args(["run", "--cpus", "1", "--root"])
        .arg(root.path())
        .arg("/program")
        .stdin(Stdio::null())
        .output()
        .expect("elfin starts");
    assert_eq!(output.status.code(), Some(4));
}
