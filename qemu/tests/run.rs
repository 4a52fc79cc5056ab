//! `elfin run` with machines and inputs at the edge: each machine model, little memory, names that are no UTF-8, a tree
//! made from `ldd`'s list, an image that shrinks.

#[path = "support/libraries.rs"]
mod libraries;
#[path = "support/program.rs"]
mod program;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use program::program;

fn elfin() -> Command {
    Command::new(env!("CARGO_BIN_EXE_elfin"))
}

fn run(root: &Path, options: &[&OsStr], arguments: &[&OsStr]) -> Output {
    elfin()
        .args(["run", "--cpus", "1"])
        .args(options)
        .arg("--root")
        .arg(root)
        .arg("/program")
        .args(arguments)
        .output()
        .expect("elfin starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn every_machine_runs_a_program() {
    let root = program("int main(void) { return 7; }", &["-static"]);
    for machine in ["q35", "microvm"] {
        let output = run(root.path(), &["--machine".as_ref(), machine.as_ref()], &[]);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(7), "{machine}: {error}");
    }
}

#[test]
fn unknown_options_are_no_program_and_the_programs_are_not_ours() {
    for command in [
        "run --root / --nothing /program",
        "exec --nothing machine /program",
    ] {
        let output = elfin().args(command.split(' ')).output();
        let output = output.expect("elfin starts");
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{error}");
        assert!(
            error.contains("unexpected argument '--nothing' found"),
            "{error}"
        );
    }
    let root = program(
        "int main(int argc, char **argv) { return argc + argv[1][2]; }",
        &["-static"],
    );
    let output = run(root.path(), &[], &["--root".as_ref(), "--".as_ref()]);
    assert_eq!(
        output.status.code(),
        Some(3 + i32::from(b'r')),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn too_little_memory_is_one_clear_line() {
    let root = program("int main(void) { return 0; }", &["-static"]);
    for memory in ["1M", "2M", "3M", "4M", "5M"] {
        let output = run(root.path(), &["--memory".as_ref(), memory.as_ref()], &[]);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{memory}: {error}");
        assert_eq!(error.lines().count(), 1, "{memory}: {error}");
        assert!(error.contains("give more with --memory"), "{error}");
    }
}

#[test]
fn little_memory_is_enough() {
    let root = program("int main(void) { return 7; }", &[]);
    libraries::copy(root.path());
    for machine in ["q35", "microvm"] {
        for memory in ["7M", "8M", "11M", "16M"] {
            let options = ["--machine", machine, "--memory", memory].map(OsStr::new);
            let output = run(root.path(), &options, &[]);
            let error = text(&output.stderr);
            assert_eq!(
                output.status.code(),
                Some(7),
                "{machine}, {memory}: {error}"
            );
        }
    }
}

#[test]
fn strings_need_not_be_utf8() {
    const SOURCE: &str = r#"
        #include <stdio.h>
        #include <stdlib.h>
        #include <unistd.h>
        int main(int argc, char **argv) {
            char cwd[100];
            printf("%d %s %s %s", argc, argv[1], getenv("V"), getcwd(cwd, sizeof cwd));
            return 0;
        }"#;
    let bytes = OsStr::from_bytes;
    let root = program(SOURCE, &["-static"]);
    let odd = root.path().join(bytes(b"odd,\xff"));
    fs::create_dir_all(odd.join(bytes(b"d\xfe"))).expect("own directory");
    fs::copy(root.path().join("program"), odd.join("program")).expect("own directory");
    let options = [
        "-e".as_ref(),
        bytes(b"V=\xfd"),
        "--cwd".as_ref(),
        bytes(b"/d\xfe"),
    ];
    let output = run(&odd, &options, &[bytes(b"a\xfc")]);
    assert_eq!(
        output.stdout,
        b"2 a\xfc \xfd /d\xfe",
        "{}",
        text(&output.stderr)
    );

    // The same in an image, itself under such a name.
    let image = root.path().join(bytes(b"image,\xff"));
    let mut layer = odd.into_os_string();
    layer.push(bytes(b":/p\xfb"));
    let built = elfin()
        .arg("build")
        .arg("-o")
        .arg(&image)
        .arg("--root")
        .arg(layer)
        .output()
        .expect("elfin starts");
    assert!(built.status.success(), "{}", text(&built.stderr));
    let output = elfin()
        .args(["run", "--cpus", "1", "--image"])
        .arg(&image)
        .args([bytes(b"/p\xfb/program"), bytes(b"a\xfc")])
        .output()
        .expect("elfin starts");
    assert_eq!(
        output.stdout,
        b"2 a\xfc (null) /",
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn what_ldd_lists_is_enough() {
    let root = program(
        "#include <stdio.h>\nint main(void) { puts(\"found\"); return 0; }",
        &["-Wl,--no-as-needed", "-lm"],
    );
    libraries::copy(root.path());
    assert!(root.path().join("lib64/ld-linux-x86-64.so.2").exists());
    assert!(
        !root
            .path()
            .join("lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")
            .exists()
    );
    let output = run(root.path(), &[], &[]);
    assert_eq!(text(&output.stdout), "found\n", "{}", text(&output.stderr));
}

#[test]
fn an_image_that_shrinks_is_named() {
    const SOURCE: &str = r#"
        #include <fcntl.h>
        #include <stdio.h>
        #include <unistd.h>
        int main(void) {
            static char data[1 << 20];
            int file = open("/data", O_RDONLY);
            puts("ready");
            fflush(stdout);
            getchar();
            for (int i = 0; i < 8; i++)
                if (read(file, data, sizeof data) != sizeof data)
                    return 1;
            return 0;
        }"#;
    let root = program(SOURCE, &["-static"]);
    fs::write(root.path().join("data"), vec![7; 8 << 20]).expect("own directory");
    let dir = tempfile::tempdir().expect("temporary directory");
    let image = dir.path().join("image");
    let built = elfin()
        .arg("build")
        .arg("-o")
        .arg(&image)
        .arg("--root")
        .arg(root.path())
        .output()
        .expect("elfin starts");
    assert!(built.status.success(), "{}", text(&built.stderr));
    let mut guest = elfin()
        .args(["run", "--cpus", "1", "--image"])
        .arg(&image)
        .arg("/program")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("elfin starts");
    let mut line = String::new();
    BufReader::new(guest.stdout.take().expect("a pipe"))
        .read_line(&mut line)
        .expect("a line");
    assert_eq!(line, "ready\n");
    let file = fs::OpenOptions::new()
        .write(true)
        .open(&image)
        .expect("own file");
    file.set_len(1 << 20).expect("own file");
    let mut stdin = guest.stdin.take().expect("a pipe");
    // The machine may have wanted another part of the image before, and be gone.
    if let Err(error) = stdin.write_all(b"\n") {
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
    let output = guest.wait_with_output().expect("a child");
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{error}");
    assert!(
        error.contains("has shrunk from ") && error.contains("to 1048576 bytes"),
        "{error}"
    );
}

#[test]
fn the_program_starts_as_whom_it_is_told() {
    const SOURCE: &str = r#"
        #include <fcntl.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <sys/stat.h>
        #include <unistd.h>
        int main(void) {
            gid_t groups[8];
            struct stat host;
            int n = getgroups(8, groups);
            printf("%d %d %s %d:", getuid(), getgid(), getenv("HOME"), open("/secret", O_RDONLY) >= 0);
            for (int i = 0; i < n; i++)
                printf(" %d", groups[i]);
            if (stat("/host", &host) == 0)
                printf(" %d.%d %d", host.st_uid, host.st_gid, open("/host/file", O_CREAT | O_WRONLY, 0600) >= 0);
            return 0;
        }"#;
    let root = program(SOURCE, &["-static"]);
    let write = |name: &str, text: &str| {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().expect("in a directory")).expect("own directory");
        fs::write(path, text).expect("own directory");
    };
    write(
        "etc/passwd",
        "root:x:0:0::/root:\njoe:x:1000:100::/home/joe:\n",
    );
    write(
        "etc/group",
        "users:x:100:\nadm:x:4:joe\naudio:x:29:ann,joe\n",
    );
    write("secret", "");
    let secret = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(root.path().join("secret"), secret).expect("own file");
    let said = |user: &str, more: &[&str]| {
        let options = [&["--user", user], more].concat();
        let output = run(
            root.path(),
            &options.iter().map(OsStr::new).collect::<Vec<_>>(),
            &[],
        );
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    for (user, expected) in [
        ("joe", "1000 100 /home/joe 0: 4 29"),
        ("joe:adm", "1000 4 /home/joe 0:"),
        ("77:78", "77 78 / 0:"),
        ("root", "0 0 /root 1:"),
    ] {
        let (status, output, error) = said(user, &[]);
        assert_eq!((status, &*output), (Some(0), expected), "{user}: {error}");
    }
    // Files of whoever runs elfin are those of the program's user, for whom they are made, too.
    let host = tempfile::tempdir().expect("temporary directory");
    let mount = format!("{}:/host", host.path().display());
    let (_, output, error) = said("77:78", &["-v", &mount]);
    assert_eq!(output, "77 78 / 0: 77.78 1", "{error}");
    assert!(host.path().join("file").exists());

    let (status, _, error) = said("ann", &[]);
    assert_eq!(status, Some(125), "{error}");
    assert_eq!(
        error,
        "elfin: --user ann: no user ann in /etc/passwd of the image\n"
    );
}

#[test]
fn a_boot_chart_shows_the_run() {
    const SOURCE: &str = r#"
        #include <unistd.h>
        int main(void) { return getppid() + getppid() + getppid() + 5; }
    "#;
    let root = program(SOURCE, &["-static"]);
    let out = tempfile::tempdir().expect("temporary directory");
    let chart = out.path().join("chart.svg");
    let output = run(root.path(), &["--boot-chart".as_ref(), chart.as_ref()], &[]);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
    let svg = fs::read_to_string(chart).expect("there is a chart");
    let mut at = 0;
    for phase in [
        "firmware", "kernel", "devices", "loading", "program", "exit",
    ] {
        let found = svg[at..].find(&format!(">{phase}<"));
        at += found.unwrap_or_else(|| panic!("no {phase} in its place in {svg}"));
    }
    assert!(
        svg[at..].contains(">getppid<") && svg.contains(">3<"),
        "{svg}"
    );
    assert!(svg.contains("page faults"));

    // One that cannot be written is told before the program runs.
    let nowhere = out.path().join("none/chart.svg");
    let output = run(
        root.path(),
        &["--boot-chart".as_ref(), nowhere.as_ref()],
        &[],
    );
    assert_eq!(output.status.code(), Some(125));
    assert!(text(&output.stderr).contains("none/chart.svg"));
}

#[test]
fn a_profile_names_the_functions_that_take_the_time() {
    const SOURCE: &str = r#"
        volatile unsigned long sum;
        __attribute__((noinline)) void spin(void) { for (long i = 0; i < 200000000; i++) sum += i; }
        __attribute__((noinline)) void outer(void) { spin(); sum++; }
        int main(void) { outer(); return 3; }
    "#;
    let root = program(SOURCE, &["-O1", "-static"]);
    let out = tempfile::tempdir().expect("temporary directory");
    let profile = out.path().join("profile");
    let output = run(root.path(), &["--profile".as_ref(), profile.as_ref()], &[]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let folded = fs::read_to_string(profile).expect("there is a profile");
    let counts = folded.lines().filter_map(|line| line.rsplit_once(' '));
    let most = counts.max_by_key(|(_, count)| count.parse().unwrap_or(0));
    let stack = most.map_or("", |(stack, _)| stack);
    assert!(
        stack.starts_with("program;") && stack.ends_with(";spin"),
        "{folded}"
    );
}

#[test]
fn output_that_is_lost_is_said() {
    let root = program(
        r#"
        #include <unistd.h>
        int main(int argc, char **argv) { return write(1, "text\n", 5) == 5 ? argc - 1 : 9; }
        "#,
        &["-static"],
    );
    let full = || File::create("/dev/full").expect("it can be opened");
    for (arguments, status) in [(&[][..], 125), (&["x"], 1)] {
        let output = Command::new(env!("CARGO_BIN_EXE_elfin"))
            .args(["run", "--cpus", "1", "--root"])
            .arg(root.path())
            .arg("/program")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(full())
            .output()
            .expect("elfin starts");
        assert_eq!(output.status.code(), Some(status));
        let error = text(&output.stderr);
        let is_said = error.contains("cannot write the program's output: No space left");
        assert_eq!(is_said, status == 125, "{error}");
    }
}

#[test]
fn the_clock_is_never_behind_the_hosts() {
    let root = program(
        r#"
        #include <stdio.h>
        #include <time.h>
        #include <unistd.h>
        int main(void) {
            char line;
            while (read(0, &line, 1) == 1) {
                struct timespec now;
                clock_gettime(CLOCK_REALTIME, &now);
                dprintf(1, "%ld%09ld\n", now.tv_sec, now.tv_nsec);
            }
        }
        "#,
        &["-static"],
    );
    // What the rates of two counters differ by, in so short a time, is less.
    const DRIFT: u128 = 20_000_000;
    const MINUTE: u128 = 60_000_000_000;
    let now = || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.expect("it is later").as_nanos()
    };
    for machine in ["q35", "microvm"] {
        let mut child = elfin()
            .args(["run", "--cpus", "1", "--machine", machine, "--root"])
            .arg(root.path())
            .arg("/program")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("elfin starts");
        let mut input = child.stdin.take().expect("piped");
        let mut output = io::BufReader::new(child.stdout.take().expect("piped"));
        for _ in 0..3 {
            let before = now();
            input.write_all(b"x").expect("it reads");
            let mut line = String::new();
            output.read_line(&mut line).expect("text");
            let told: u128 = line.trim().parse().expect("a number");
            assert!(before < told + DRIFT, "{} ns behind", before - told);
            assert!(told < now() + MINUTE, "far ahead");
        }
        drop(input);
        assert!(child.wait().expect("it was started").success());
    }
}
