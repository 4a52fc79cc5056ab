//! What is written to a volume stays in memory for a while: it has room on the disk, and a crash leaves files that were
//! to be replaced with what they had or what they get.

#[path = "support/kill.rs"]
mod kill;
#[path = "support/program.rs"]
mod program;
mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use program::program;
use support::{Volumes, text};

fn root() -> tempfile::TempDir {
    program(
        include_str!("write_back.c"),
        &["-static", "-D_GNU_SOURCE", "-O1"],
    )
}

fn arguments(root: &tempfile::TempDir, what: &str) -> Vec<String> {
    let root = root.path().display().to_string();
    let run = ["run", "--cpus", "1", "-v", "data:/data", "--root", &root];
    let program = ["/program", what, "/data"];
    let all = run.iter().chain(&program);
    all.map(|&argument| argument.to_owned()).collect()
}

#[test]
fn what_is_not_on_the_disk_yet_has_room_there() {
    let (volumes, root) = (Volumes::new(), root());
    let made = volumes.elfin(&["volume", "create", "data", "--size", "24M"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let output = volumes.command().args(arguments(&root, "fill")).output();
    let output = output.expect("elfin starts");
    assert_eq!(text(&output.stdout), "passed\n", "{}", text(&output.stderr));
    volumes.is_sound("data");
}

/// Runs a part of the program that says when it is done, and kills its machine then.
fn killed_after(volumes: &Volumes, what: &str) {
    let root = root();
    let mut command = volumes.command();
    let command = command.args(arguments(&root, what)).stdout(Stdio::piped());
    let mut child = command.spawn().expect("elfin starts");
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    output.read_line(&mut line).expect("it prints");
    kill::kill(child);
    assert_eq!(line, "passed\n");
    volumes.is_sound("data");
}

#[test]
fn memory_full_of_what_a_volume_has_too_is_there_for_other_files() {
    let (volumes, root) = (Volumes::new(), root());
    let mut arguments = arguments(&root, "crowd");
    arguments.splice(1..1, ["--memory".into(), "32M".into()]);
    let output = volumes.command().args(arguments).output();
    let output = output.expect("elfin starts");
    assert_eq!(text(&output.stdout), "passed\n", "{}", text(&output.stderr));
    volumes.is_sound("data");
}

#[test]
fn a_full_disk_of_the_host_is_said_and_costs_nothing_that_was_synchronised() {
    let (volumes, root) = (Volumes::new(), root());
    let mut run = arguments(&root, "overfill");
    run.insert(0, env!("CARGO_BIN_EXE_elfin").into());
    // The volume's file says that it is larger than what it is on.
    let script = r#"mount -t tmpfs -o size=20M none "$XDG_DATA_HOME" || exit 77
        "$0" volume create data --size 64M && "$0" "$@" && "$0" volume fsck data
        test $? -le 1"#;
    let mut shell = volumes.with(Command::new("unshare"));
    shell.args(["--map-root-user", "--mount", "sh", "-c", script]);
    let output = shell.args(run).output().expect("unshare starts");
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    assert!(out.contains("passed\n"), "{out}{err}");
    let line = "elfin: a volume cannot be written: Input/output error; is the host's disk full?\n";
    assert!(err.contains(line), "{err}");
}

#[test]
fn free_blocks_are_given_back_to_the_host_at_the_end() {
    let (volumes, root) = (Volumes::new(), root());
    let made = volumes.elfin(&["volume", "create", "data", "--size", "256M"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let taken = || {
        fs::metadata(volumes.image("data"))
            .expect("it is there")
            .blocks()
            * 512
    };
    let before = taken();
    let output = volumes.command().args(arguments(&root, "grow")).output();
    let output = output.expect("elfin starts");
    assert_eq!(text(&output.stdout), "passed\n", "{}", text(&output.stderr));
    let grown = taken();
    assert!(grown >= before + (12 << 20), "{before}, {grown}");
    let output = volumes.command().args(arguments(&root, "shrink")).output();
    let output = output.expect("elfin starts");
    assert_eq!(text(&output.stdout), "passed\n", "{}", text(&output.stderr));
    assert!(taken() <= grown - (8 << 20), "{grown}, {}", taken());
    volumes.is_sound("data");
}

#[test]
fn a_crash_leaves_a_replaced_file_old_or_new() {
    let volumes = Volumes::new();
    killed_after(&volumes, "replace");
    let content = |file: &str| {
        let mut cat = Command::new("/sbin/debugfs");
        let cat = cat.args(["-R", &format!("cat /{file}")]);
        let cat = cat.arg(volumes.image("data")).output();
        cat.expect("debugfs starts").stdout
    };
    assert_eq!(text(&content("renamed")), "new");
    assert_eq!(text(&content("cut")), "new");
    let mapped = content("mapped");
    assert_eq!((mapped.len(), &mapped[4096..4099]), (8192, &b"new"[..]));
}
