//! What is written to a volume stays in memory for a while: it has room on the disk, and a crash leaves files that were
//! to be replaced with what they had or what they get.

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
    support::kill(child);
    assert_eq!(line, "passed\n");
    volumes.is_sound("data");
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
