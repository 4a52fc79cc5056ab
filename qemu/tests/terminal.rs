//! `elfin run -t`: the terminal is the program's.

#[path = "support/program.rs"]
mod program;

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

/// A small shell's life: reads a line, is sent a signal by a key.
use program::program;

const SOURCE: &str = r#"
    #include <signal.h>
    #include <stdio.h>
    #include <string.h>
    #include <unistd.h>
    static void handle(int signal) {
        write(1, signal == SIGINT ? "interrupted\n" : "?\n", signal == SIGINT ? 12 : 2);
        _exit(9);
    }
    int main(void) {
        char line[100] = "";
        signal(SIGINT, handle);
        write(1, "name?\n", 6);
        ssize_t len = read(0, line, 99);
        write(1, "hello ", 6);
        write(1, line, len);
        for (;;)
            pause();
    }"#;

/// The master and the terminal of a new pair.
fn pair() -> (File, File) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
    grantpt(&master).expect("own");
    unlockpt(&master).expect("own");
    let name = ptsname(&master, Vec::new()).expect("it has a name");
    let terminal = File::options()
        .read(true)
        .write(true)
        .open(name.to_str().expect("a path"))
        .expect("its terminal");
    (File::from(master), terminal)
}

/// `elfin run -it` of the program in `root`, at this terminal.
fn at(terminal: &File, root: &Path) -> Child {
    let end = || Stdio::from(terminal.try_clone().expect("a descriptor"));
    Command::new(env!("CARGO_BIN_EXE_elfin"))
        .args(["run", "-it", "--cpus", "1", "--root"])
        .arg(root)
        .arg("/program")
        .stdin(end())
        .stdout(end())
        .stderr(end())
        .spawn()
        .expect("elfin starts")
}

#[test]
fn the_terminal_is_the_programs() {
    let root = program(SOURCE, &["-static"]);
    let (mut master, terminal) = pair();
    let mut elfin = at(&terminal, root.path());
    let mut seen = String::new();
    let mut expect = |master: &mut File, text: &str| {
        while !seen.contains(text) {
            let mut bytes = [0; 100];
            let count = master.read(&mut bytes).expect("it is open here, too");
            seen += &String::from_utf8_lossy(&bytes[..count]);
        }
        let end = seen.find(text).expect("just seen") + text.len();
        seen.drain(..end).collect::<String>()
    };
    // Before that elfin shows how far the image is.
    expect(&mut master, "name?\r\n");
    master.write_all(b"yoo\x7fu\r").expect("it is open");
    let answer = expect(&mut master, "hello you\r\n");
    assert_eq!(answer, "yoo\x08 \x08u\r\nhello you\r\n");
    master.write_all(b"\x03").expect("it is open");
    assert_eq!(expect(&mut master, "ted\r\n"), "^Cinterrupted\r\n");
    let status = elfin.wait().expect("it was started");
    assert_eq!(status.code(), Some(9));
    let modes = tcgetattr(&terminal).expect("it is a terminal").local_modes;
    assert!(modes.contains(LocalModes::ICANON | LocalModes::ECHO));
}

#[test]
fn what_is_typed_before_the_program_runs_interrupts_it() {
    let root = program(
        "#include <unistd.h>\nint main(void) { sleep(5); return 3; }",
        &["-static"],
    );
    let (mut master, terminal) = pair();
    let mut elfin = at(&terminal, root.path());
    let passes_on = || {
        let modes = tcgetattr(&terminal).expect("it is a terminal").local_modes;
        !modes.contains(LocalModes::ISIG)
    };
    // From then on keys are the machine's, which has not been started yet.
    while !passes_on() && elfin.try_wait().expect("it was started").is_none() {
        std::thread::yield_now();
    }
    master.write_all(b"\x03").expect("it is open");
    let status = elfin.wait().expect("it was started");
    assert_eq!(status.code(), Some(130));
    let modes = tcgetattr(&terminal).expect("it is a terminal").local_modes;
    assert!(modes.contains(LocalModes::ISIG));
}

#[test]
fn an_interrupt_is_for_the_foreground_group() {
    // Without -t this terminal edits lines, and its keys are signals for elfin.
    let root = program(
        r#"
        #include <signal.h>
        #include <sys/wait.h>
        #include <unistd.h>
        static int status = 3;
        static void handle(int signal) { _exit(status); }
        int main(void) {
            int pipes[2];
            char byte;
            signal(SIGINT, handle);
            pipe(pipes);
            if (fork() == 0) {
                status = 4;
                write(pipes[1], "x", 1);
                for (;;)
                    pause();
            }
            signal(SIGINT, SIG_IGN);
            read(pipes[0], &byte, 1);
            write(1, "ready\n", 6);
            int ended;
            wait(&ended);
            return WEXITSTATUS(ended);
        }
        "#,
        &["-static"],
    );
    let (_master, terminal) = pair();
    let mut elfin = Command::new(env!("CARGO_BIN_EXE_elfin"))
        .args(["run", "--cpus", "1", "--root"])
        .arg(root.path())
        .arg("/program")
        .stdin(terminal)
        .stdout(Stdio::piped())
        .spawn()
        .expect("elfin starts");
    let output = elfin.stdout.as_mut().expect("piped");
    output
        .read_exact(&mut [0; 6])
        .expect("it says that it runs");
    let pid = Pid::from_raw(elfin.id() as i32).expect("not 0");
    kill_process(pid, Signal::INT).expect("it runs");
    assert_eq!(elfin.wait().expect("it was started").code(), Some(4));
}
