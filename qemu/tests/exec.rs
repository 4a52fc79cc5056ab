//! `elfin exec`: a further program in a running machine, with streams, a terminal, signals and a status of its own.

#[path = "support/program.rs"]
mod program;

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Output, Stdio};

use program::program;
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tempfile::TempDir;

/// Does what its first argument says.
const SOURCE: &str = r#"
    #include <errno.h>
    #include <signal.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include <sys/stat.h>
    #include <sys/wait.h>
    #include <unistd.h>
    static char block[100000];
    static void handle(int signal) {
        write(1, "interrupted\n", 12);
        _exit(9);
    }
    int main(int argc, char **argv) {
        const char *what = argv[1];
        if (!strcmp(what, "wait")) {
            write(1, "ready\n", 6);
            for (;;)
                pause();
        }
        if (!strcmp(what, "who")) {
            char dir[100];
            struct stat stream;
            fstat(1, &stream);
            printf("%d %d %d %s %s %s %d %d\n", getuid(), getppid(), getpid() == getsid(0), getcwd(dir, 100),
                getenv("FIRST"), getenv("MORE"), isatty(0), S_ISFIFO(stream.st_mode));
            fprintf(stderr, "to stderr\n");
            return 7;
        }
        if (!strcmp(what, "copy")) {
            long count, all = 0;
            while ((count = read(0, block, sizeof block)) > 0) {
                all += count;
                for (long done = 0; done < count;)
                    done += write(1, block + done, count - done);
            }
            fprintf(stderr, "%ld\n", all);
            return 0;
        }
        if (!strcmp(what, "endless"))
            for (;;)
                if (write(1, block, sizeof block) < 0)
                    return 3;
        if (!strcmp(what, "left")) {
            while (!isatty(0) && read(0, block, sizeof block) > 0)
                ;
            for (int i = 0; i < 10; i++)
                if (write(1, block, sizeof block) != sizeof block)
                    return 1;
            FILE *fifo = fopen("/fifo", "w");
            fprintf(fifo, "left with %s, %d\n", isatty(0) ? "a terminal" : "nothing", getsid(0) == getpid());
            fclose(fifo);
            pause();
        }
        if (!strcmp(what, "hear")) {
            if (!argv[2])
                return mkfifo("/fifo", 0600);
            FILE *fifo = fopen("/fifo", "r");
            puts(fgets(block, sizeof block, fifo));
            return 0;
        }
        if (!strcmp(what, "die"))
            raise(SIGTERM);
        if (!strcmp(what, "children")) {
            for (int round = 0; round < 3; round++) {
                if (fork() == 0) {
                    printf("child\n");
                    exit(round);
                }
                int status;
                wait(&status);
                printf("%d\n", WEXITSTATUS(status));
                fflush(stdout);
            }
            return 0;
        }
        if (!strcmp(what, "talk")) {
            char line[100] = "";
            signal(SIGINT, handle);
            signal(SIGTERM, handle);
            write(1, "name?\n", 6);
            ssize_t len = read(0, line, 99);
            write(1, "hello ", 6);
            write(1, line, len);
            for (;;)
                pause();
        }
        return 1;
    }"#;

/// A machine whose first program waits.
struct Machine {
    runtime: TempDir,
    _root: TempDir,
    elfin: Child,
}

impl Machine {
    fn start() -> Self {
        let runtime = tempfile::tempdir().expect("directory");
        let root = program(SOURCE, &["-static"]);
        let mut elfin = Command::new(env!("CARGO_BIN_EXE_elfin"))
            .args([
                "run", "--cpus", "1", "--name", "one", "--env", "FIRST=1", "--root",
            ])
            .arg(root.path())
            .args(["/program", "wait"])
            .env("XDG_RUNTIME_DIR", runtime.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("elfin starts");
        let output = elfin.stdout.as_mut().expect("piped");
        output
            .read_exact(&mut [0; 6])
            .expect("it says that it runs");
        Self {
            runtime,
            _root: root,
            elfin,
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_elfin"));
        command.arg("exec").args(arguments);
        command.env("XDG_RUNTIME_DIR", self.runtime.path());
        command
    }

    /// Standard output, standard error and status.
    fn exec(&self, arguments: &[&str]) -> (String, String, Option<i32>) {
        let Output {
            status,
            stdout,
            stderr,
        } = self.command(arguments).output().expect("elfin starts");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (text(stdout), text(stderr), status.code())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.elfin.kill();
        let _ = self.elfin.wait();
    }
}

#[test]
fn a_further_program() {
    let machine = Machine::start();
    let who = machine.exec(&["one", "--", "/program", "who"]);
    let expected = "0 0 1 / 1 (null) 0 1\n";
    assert_eq!(
        who,
        (expected.to_owned(), "to stderr\n".to_owned(), Some(7))
    );
    let options = ["-u", "1000", "-w", "/proc", "-e", "MORE=2", "-e", "FIRST=3"];
    let who = machine.exec(&[&options[..], &["one", "/program", "who"]].concat());
    assert_eq!(who.0, "1000 0 1 /proc 3 2 0 1\n");
    let status = |arguments: &[&str]| machine.exec(arguments).2;
    assert_eq!(status(&["one", "/program", "die"]), Some(143));
    let children = machine.exec(&["one", "/program", "children"]);
    assert_eq!(children.0, "child\n0\nchild\n1\nchild\n2\n");

    for (arguments, words, status) in [
        (&["one", "/nothing"][..], "cannot run /nothing", 127),
        (&["one", "nothing"], "not found in", 127),
        (&["one", "/proc"], "cannot run /proc", 126),
        (
            &["-w", "/none", "one", "/program"],
            "working directory /none",
            126,
        ),
        (&["-u", "joe", "one", "/program"], "no user joe", 126),
        (&["two", "/program"], "there is no machine two", 125),
        (&["-it", "one", "/program"], "no terminal", 125),
    ] {
        let mut command = machine.command(arguments);
        let output = command.stdin(Stdio::null()).output().expect("elfin starts");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            error.contains(words) && error.lines().count() == 1,
            "{error}"
        );
        assert_eq!(output.status.code(), Some(status), "{arguments:?}");
    }
}

#[test]
fn a_detached_one_goes_on_by_itself() {
    let machine = Machine::start();
    let nothing = (String::new(), String::new(), Some(0));
    assert_eq!(machine.exec(&["one", "/program", "hear"]), nothing);
    for (options, with) in [
        ("-d", "nothing"),
        ("-dt", "a terminal"),
        ("-dit", "a terminal"),
    ] {
        assert_eq!(machine.exec(&[options, "one", "/program", "left"]), nothing);
        let heard = machine.exec(&["one", "/program", "hear", "it"]);
        assert_eq!(heard.0, format!("left with {with}, 1\n\n"));
    }
    let (out, error, status) = machine.exec(&["-d", "one", "/nothing"]);
    assert!(error.contains("cannot run /nothing"), "{error}");
    assert_eq!((out.as_str(), status), ("", Some(127)));
}

#[test]
fn streams_carry_everything() {
    let machine = Machine::start();
    // More than anybody between the two keeps.
    let text: Vec<u8> = (0..1_000_000u32)
        .map(|number| (number * 7 % 251) as u8)
        .collect();
    let mut elfin = machine
        .command(&["-i", "one", "/program", "copy"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("elfin starts");
    let mut input = elfin.stdin.take().expect("piped");
    let sent = text.clone();
    let writer = std::thread::spawn(move || input.write_all(&sent).expect("it is read"));
    let output = elfin.wait_with_output().expect("it was started");
    writer.join().expect("all was written");
    assert!(output.stdout == text, "{} bytes", output.stdout.len());
    assert_eq!(output.stderr, b"1000000\n");
    // Without -i there is no input.
    assert_eq!(machine.exec(&["one", "/program", "copy"]).1, "0\n");

    // One that nobody listens to holds nobody up, and ends when nobody will.
    let mut deaf = machine
        .command(&["one", "/program", "endless"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("elfin starts");
    let mut first = [0; 1000];
    let mut stdout = deaf.stdout.take().expect("piped");
    stdout.read_exact(&mut first).expect("it writes");
    assert_eq!(machine.exec(&["one", "/program", "who"]).2, Some(7));
    drop(stdout);
    assert_eq!(deaf.wait().expect("it was started").code(), Some(141));
}

#[test]
fn it_gets_signals_and_ends_with_the_machine() {
    let mut machine = Machine::start();
    let start = |machine: &Machine| {
        let mut elfin = machine
            .command(&["-i", "one", "/program", "talk"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("elfin starts");
        let mut output = BufReader::new(elfin.stdout.take().expect("piped"));
        let mut line = String::new();
        output.read_line(&mut line).expect("text");
        assert_eq!(line, "name?\n");
        (elfin, output)
    };
    let (mut elfin, mut output) = start(&machine);
    let pid = Pid::from_raw(elfin.id() as i32).expect("not 0");
    kill_process(pid, Signal::TERM).expect("it runs");
    let mut rest = String::new();
    output.read_to_string(&mut rest).expect("text");
    assert_eq!(
        (rest.as_str(), elfin.wait().expect("started").code()),
        ("interrupted\n", Some(9))
    );

    let (mut elfin, _output) = start(&machine);
    let pid = Pid::from_raw(machine.elfin.id() as i32).expect("not 0");
    kill_process(pid, Signal::TERM).expect("it runs");
    assert_eq!(machine.elfin.wait().expect("started").code(), Some(143));
    assert_eq!(elfin.wait().expect("started").code(), Some(137));
    let ended = machine.exec(&["one", "/program", "who"]);
    assert!(ended.1.contains("machine one"), "{}", ended.1);
    assert_eq!(ended.2, Some(125));
}

#[test]
fn it_has_a_terminal() {
    let machine = Machine::start();
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
    grantpt(&master).expect("own");
    unlockpt(&master).expect("own");
    let name = ptsname(&master, Vec::new()).expect("it has a name");
    let terminal = File::options()
        .read(true)
        .write(true)
        .open(name.to_str().expect("a path"))
        .expect("its terminal");
    let end = || Stdio::from(terminal.try_clone().expect("a descriptor"));
    let mut elfin = machine
        .command(&["-it", "one", "/program", "talk"])
        .stdin(end())
        .stdout(end())
        .stderr(end())
        .spawn()
        .expect("elfin starts");
    let mut master = File::from(master);
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
    expect(&mut master, "name?\r\n");
    master.write_all(b"yoo\x7fu\r").expect("it is open");
    assert_eq!(
        expect(&mut master, "hello you\r\n"),
        "yoo\x08 \x08u\r\nhello you\r\n"
    );
    master.write_all(b"\x03").expect("it is open");
    assert_eq!(expect(&mut master, "ted\r\n"), "^Cinterrupted\r\n");
    assert_eq!(elfin.wait().expect("it was started").code(), Some(9));
}
