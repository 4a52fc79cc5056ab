//! `elfin run -v`: directories and files of the host in the machine, what each side sees of the other's changes.

#[path = "support/kill.rs"]
mod kill;
#[path = "support/program.rs"]
mod program;
mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

use program::program;
use support::{Volumes, text};
use tempfile::TempDir;

/// A directory with one of the programs that are compared with Linux.
fn compared(name: &str) -> TempDir {
    checking(&fs::read_to_string(Path::new(PROGRAMS).join(name)).expect("it is there"))
}

const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../userspace-tests/programs");

fn checking(source: &str) -> TempDir {
    program(source, &["-static", "-D_GNU_SOURCE", "-I", PROGRAMS])
}

fn elfin(root: &Path, volumes: &[String]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_elfin"));
    command.args(["run", "--cpus", "1"]);
    for volume in volumes {
        command.args(["-v", volume]);
    }
    command.arg("--root").arg(root).arg("/program");
    command
}

fn passed(output: &Output) {
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(out, "passed\n", "{error}");
}

/// A shell of sorts: does to files what lines of its standard input say.
const PEER: &str = r#"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
static char line[1000], data[100000];
static void result(long value) { printf("%s\n", value < 0 ? strerror(errno) : data); fflush(stdout); }
int main(void)
{
    int held = -1;
    while (fgets(line, sizeof line, stdin)) {
        char *what = strtok(line, " \n"), *path = strtok(0, " \n"), *text = strtok(0, "\n");
        memset(data, 0, sizeof data);
        if (!strcmp(what, "read")) {
            int fd = open(path, O_RDONLY);
            result(fd < 0 ? fd : read(fd, data, sizeof data - 1));
            close(fd);
        } else if (!strcmp(what, "hold")) {
            result(held = open(path, O_RDWR));
        } else if (!strcmp(what, "held")) {
            result(pread(held, data, sizeof data - 1, 0));
        } else if (!strcmp(what, "write") || !strcmp(what, "keep")) {
            int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | (*what == 'k' ? O_DSYNC : 0), 0640);
            result(fd < 0 ? fd : write(fd, text, strlen(text)));
            // Stays open: what is written is there before it is closed.
        } else if (!strcmp(what, "map")) {
            char *at = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, held, 0);
            strcpy(at, path);
            result(msync(at, 4096, MS_SYNC));
        } else if (!strcmp(what, "unnamed")) {
            int fd = open(path, O_TMPFILE | O_RDWR, 0600);
            result(fd < 0 || write(fd, data, 50000) != 50000 ? -1 : fsync(fd));
        } else if (!strcmp(what, "sync")) {
            result(fsync(held));
        } else if (!strcmp(what, "unlink")) {
            result(unlink(path));
        }
    }
    return 0;
}"#;

struct Peer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    root: TempDir,
}

impl Peer {
    fn start(volumes: &[String]) -> Self {
        Self::start_with(volumes, |command| command)
    }

    fn start_with(volumes: &[String], change: impl FnOnce(Command) -> Command) -> Self {
        let root = program(PEER, &["-static", "-D_GNU_SOURCE"]);
        let deep = root.path().join("etc/app/deep");
        fs::create_dir_all(&deep).expect("own directory");
        fs::write(deep.join("file"), "of the image").expect("own file");
        let mut command = change(elfin(root.path(), volumes));
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("elfin starts");
        Self {
            input: child.stdin.take().expect("a pipe"),
            output: BufReader::new(child.stdout.take().expect("a pipe")),
            child,
            root,
        }
    }

    fn says(&mut self, line: &str) -> String {
        writeln!(self.input, "{line}").expect("it reads");
        let mut answer = String::new();
        self.output.read_line(&mut answer).expect("it answers");
        answer.trim_end().to_owned()
    }

    /// Ends elfin as a crash would, and its machine with it.
    fn kill(self) {
        kill::kill(self.child);
    }

    fn end(self) {
        let Self {
            mut child, input, ..
        } = self;
        drop(input);
        assert!(child.wait().expect("it ends").success());
    }
}

#[test]
fn a_directory_of_the_host_does_as_any_other() {
    let root = compared("stored.c");
    let (there, here) = (tempfile::tempdir(), tempfile::tempdir());
    let (there, here) = (there.expect("directory"), here.expect("directory"));
    let native = Command::new(root.path().join("program"))
        .arg(here.path())
        .output();
    passed(&native.expect("the program starts"));
    let volume = format!("{}:/data", there.path().display());
    passed(
        &elfin(root.path(), &[volume])
            .arg("/data")
            .output()
            .expect("elfin starts"),
    );
    let list = |dir: &Path| {
        let entries = fs::read_dir(dir).expect("own directory");
        let mut names: Vec<_> = entries
            .map(|entry| {
                let entry = entry.expect("own directory");
                let data = fs::read(entry.path()).expect("own file");
                let mode = entry.metadata().expect("own file").permissions().mode();
                (entry.file_name(), mode, data)
            })
            .collect();
        names.sort();
        names
    };
    assert!(
        list(there.path()) == list(here.path()),
        "the files that are left differ"
    );
}

#[test]
fn both_sides_see_what_the_other_writes() {
    let dir = tempfile::tempdir().expect("directory");
    let at = |name: &str| dir.path().join(name);
    fs::write(at("one"), "first").expect("own file");
    symlink("/data/one", at("link")).expect("own link");
    let mut peer = Peer::start(&[format!("{}:/data", dir.path().display())]);
    assert_eq!(peer.says("read /data/one"), "first");
    // Links are the guest's to follow.
    assert_eq!(peer.says("read /data/link"), "first");
    fs::write(at("one"), "second, longer").expect("own file");
    assert_eq!(peer.says("read /data/one"), "second, longer");
    assert_eq!(peer.says("write /data/two from the guest"), "");
    assert_eq!(fs::read(at("two")).expect("it is there"), b"from the guest");
    assert_eq!(peer.says("hold /data/one"), "");
    assert_eq!(peer.says("map mapped"), "");
    assert_eq!(&fs::read(at("one")).expect("it is there")[..6], b"mapped");
    assert_eq!(peer.says("unlink /data/one"), "");
    assert!(!at("one").exists());
    assert_eq!(&peer.says("held /data/one")[..6], "mapped");
    peer.end();
    let left: Vec<_> = fs::read_dir(dir.path()).expect("own directory").collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn files_missing_directories_and_read_only_ones() {
    let dir = tempfile::tempdir().expect("directory");
    let at = |name: &str| dir.path().join(name);
    fs::write(at("file"), "one file").expect("own file");
    fs::write(at("beside"), "not to be seen").expect("own file");
    let path = |name: &str| at(name).display().to_string();
    let mut peer = Peer::start(&[
        format!("{}:/etc/one", path("file")),
        format!("{}:/new", path("not/there")),
        format!("{}:/ro:ro", path("")),
    ]);
    assert_eq!(peer.says("read /etc/one"), "one file");
    assert_eq!(peer.says("read /etc/beside"), "No such file or directory");
    assert_eq!(peer.says("write /etc/one changed"), "");
    assert_eq!(fs::read(at("file")).expect("it is there"), b"changed");
    assert_eq!(peer.says("write /new/file text"), "");
    assert_eq!(
        fs::read(at("not/there/file")).expect("it is there"),
        b"text"
    );
    assert_eq!(peer.says("read /ro/beside"), "not to be seen");
    assert_eq!(peer.says("write /ro/beside text"), "Read-only file system");
    assert_eq!(peer.says("unlink /ro/beside"), "Read-only file system");
    peer.end();
}

#[test]
fn a_volume_does_as_any_other_file_system() {
    let (volumes, root) = (Volumes::new(), compared("stored.c"));
    let mut command = volumes.with(elfin(root.path(), &["data:/data".to_owned()]));
    passed(&command.arg("/data").output().expect("elfin starts"));
    volumes.is_sound("data");
}

#[test]
fn files_hold_what_was_written_to_them_in_any_order() {
    let (volumes, root) = (Volumes::new(), compared("file_exerciser.c"));
    let dir = tempfile::tempdir().expect("directory");
    let host = format!("{}:/data", dir.path().display());
    for (volume, seed) in [(host, "2"), ("data:/data".to_owned(), "3")] {
        let mut command = volumes.with(elfin(root.path(), &[volume]));
        command.args(["/data", "2000", seed]);
        passed(&command.output().expect("elfin starts"));
    }
    volumes.is_sound("data");
}

#[test]
fn who_watches_a_volume_is_told_what_linux_tells() {
    let (volumes, root) = (Volumes::new(), compared("inotify.c"));
    // The program makes its directory there.
    let mut command = volumes.with(elfin(root.path(), &["data:/tmp".to_owned()]));
    let native = Command::new(root.path().join("program")).output();
    let native = native.expect("the program starts");
    let output = command.output().expect("elfin starts");
    assert_eq!(text(&output.stdout), text(&native.stdout));
    volumes.is_sound("data");
}

#[test]
fn files_have_extended_attributes() {
    let (volumes, root) = (Volumes::new(), compared("xattrs.c"));
    // Where the host keeps them, too: not every /tmp does.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("directory");
    let native = Command::new(root.path().join("program"))
        .arg(dir.path())
        .output();
    passed(&native.expect("the program starts"));
    let host = format!("{}:/data", dir.path().display());
    for volume in [host, "data:/data".to_owned()] {
        let mut command = volumes.with(elfin(root.path(), &[volume]));
        passed(&command.arg("/data").output().expect("elfin starts"));
    }
    volumes.is_sound("data");
}

#[test]
fn files_may_be_larger_than_memory() {
    let (volumes, root) = (Volumes::new(), compared("large_file.c"));
    let dir = tempfile::tempdir().expect("directory");
    let host = format!("{}:/data", dir.path().display());
    for volume in [&host, "data:/data"] {
        let root = root.path().display().to_string();
        let run = ["run", "--memory", "24M", "-v", volume, "--root", &root];
        passed(&volumes.elfin(&[&run[..], &["/program", "/data", "28"]].concat()));
    }
    volumes.is_sound("data");
}

#[test]
fn files_without_a_name_do_not_keep_others_from_staying() {
    let (volumes, dir) = (Volumes::new(), tempfile::tempdir().expect("directory"));
    let host = format!("{}:/data", dir.path().display());
    for volume in [host, "data:/data".to_owned()] {
        let mut peer = Peer::start_with(&[volume], |command| volumes.with(command));
        assert_eq!(peer.says("write /data/gone unlinked while open"), "");
        assert_eq!(peer.says("hold /data/gone"), "");
        assert_eq!(peer.says("map mapped"), "");
        assert_eq!(peer.says("unlink /data/gone"), "");
        assert_eq!(peer.says("write /data/stays to the end"), "");
        peer.end();
    }
    let left: Vec<_> = fs::read_dir(dir.path()).expect("own directory").collect();
    assert_eq!(left.len(), 1, "{left:?}");
    volumes.is_sound("data");
    let mut peer = Peer::start_with(&["data:/data".to_owned()], |command| volumes.with(command));
    assert_eq!(peer.says("read /data/stays"), "to the end");
    peer.end();
}

#[test]
fn a_volume_does_what_linux_does_with_room_and_names() {
    let volumes = Volumes::new();
    for (name, arguments) in [
        ("fallocate.c", &["/data", "all"][..]),
        ("renameat2.c", &["/data"]),
        ("many_pieces.c", &["/data"]),
    ] {
        let root = compared(name);
        let mut command = volumes.with(elfin(root.path(), &["data:/data".to_owned()]));
        passed(&command.args(arguments).output().expect("elfin starts"));
    }
    volumes.is_sound("data");
}

#[test]
fn blocks_are_counted_as_linux_counts_them() {
    let volumes = Volumes::new();
    let root = checking(include_str!("storage_counts.c"));
    let mut command = volumes.with(elfin(root.path(), &["data:/data".to_owned()]));
    passed(&command.arg("/data").output().expect("elfin starts"));
}

#[test]
fn a_file_that_never_had_a_name_goes_with_the_machine() {
    let volumes = Volumes::new();
    let volume = ["data:/data".to_owned()];
    let mut first = Peer::start_with(&volume, |command| volumes.with(command));
    assert_eq!(first.says("unnamed /data"), "");
    first.kill();
    volumes.is_sound("data");
    let free = || {
        let mut dump = Command::new("/sbin/dumpe2fs");
        let dump = dump.arg("-h").arg(volumes.image("data")).output();
        let dump = text(&dump.expect("dumpe2fs starts").stdout);
        let line = dump.lines().find(|line| line.starts_with("Free blocks:"));
        let number = line.expect("free blocks").split_whitespace().last();
        number.expect("a number").parse::<u64>().expect("a number")
    };
    let with_it = free();
    Peer::start_with(&volume, |command| volumes.with(command)).end();
    volumes.is_sound("data");
    assert!(free() >= with_it + 12, "{} after {with_it}", free());
}

#[test]
fn what_was_synchronised_outlives_the_machine() {
    let volumes = Volumes::new();
    let volume = ["kept:/data".to_owned()];
    let mut first = Peer::start_with(&volume, |command| volumes.with(command));
    assert_eq!(first.says("write /data/one kept for good"), "");
    assert_eq!(first.says("hold /data/one"), "");
    assert_eq!(first.says("sync x"), "");
    assert_eq!(first.says("keep /data/two for good, too"), "");
    // Only one machine at a time has it.
    let other = volumes.with(elfin(first.root.path(), &volume)).output();
    let other = other.expect("elfin starts");
    assert_eq!(other.status.code(), Some(125));
    assert_eq!(
        text(&other.stderr),
        "elfin: volume kept is in use by another machine\n"
    );
    first.kill();
    volumes.is_sound("kept");
    let mut second = Peer::start_with(&volume, |command| volumes.with(command));
    assert_eq!(second.says("read /data/one"), "kept for good");
    assert_eq!(second.says("read /data/two"), "for good, too");
    second.end();
    volumes.is_sound("kept");
}

#[test]
fn a_new_volume_has_what_the_image_has_there() {
    let volumes = Volumes::new();
    let volume = ["filled:/etc/app".to_owned()];
    let start = |volumes: &Volumes| Peer::start_with(&volume, |command| volumes.with(command));
    let mut first = start(&volumes);
    assert_eq!(first.says("read /etc/app/deep/file"), "of the image");
    assert_eq!(first.says("unlink /etc/app/deep/file"), "");
    first.end();
    let mut second = start(&volumes);
    // Only a new one is filled.
    assert_eq!(
        second.says("read /etc/app/deep/file"),
        "No such file or directory"
    );
    second.end();
    let elfin = |arguments: &[&str]| volumes.elfin(&[&["volume"], arguments].concat());
    assert_eq!(text(&elfin(&["ls"]).stdout), "filled\n");
    assert!(elfin(&["fsck", "filled"]).status.success());
    assert!(elfin(&["rm", "filled"]).status.success());
    assert_eq!(text(&elfin(&["ls"]).stdout), "");
}

#[test]
fn files_are_copied_into_volumes_and_out_of_them() {
    let volumes = Volumes::new();
    let made = volumes.elfin(&["volume", "create", "data", "--size", "16M"]);
    assert!(made.status.success());
    let dir = tempfile::tempdir().expect("directory");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let read = |name: &str| fs::read(path(name)).expect("it is there");
    fs::create_dir_all(path("tree/deep")).expect("own directory");
    let large: Vec<u8> = (0..3_000_000_u32).map(|i| (i / 7) as u8).collect();
    fs::write(path("tree/deep/large"), &large).expect("own file");
    fs::write(path("tree/one"), "one").expect("own file");
    fs::set_permissions(path("tree/one"), fs::Permissions::from_mode(0o640)).expect("own file");
    symlink("one", path("tree/link")).expect("own link");
    let copy = |from: &str, to: &str| {
        let output = volumes.elfin(&["volume", "cp", from, to]);
        let error = text(&output.stderr);
        output.status.success().then_some(()).ok_or(error)
    };
    // As docker has it: a name of its own, into a directory, what is in it.
    copy(&path("tree"), "data:/first").expect("a new directory");
    copy(&path("tree"), "data:/first").expect("into a directory");
    copy(&path("tree/."), "data:/first").expect("what is in it");
    copy(&path("tree/one"), "data:/two").expect("a file");
    copy("data:/first", &path("out")).expect("out of it");
    assert!(read("out/deep/large") == large && read("out/tree/deep/large") == large);
    let mode = fs::metadata(path("out/one"))
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o640);
    assert_eq!(
        fs::read_link(path("out/link")).expect("a link"),
        Path::new("one")
    );
    // Links as links, wherever they lead.
    symlink("tree", path("other")).expect("own link");
    symlink("nowhere", path("dangling")).expect("own link");
    for (name, text) in [("other", "tree"), ("dangling", "nowhere")] {
        copy(&path(name), "data:/").expect("a link");
        let again = path(&format!("{name} again"));
        copy(&format!("data:/{name}"), &again).expect("a link");
        let read = fs::read_link(again).expect("a link");
        assert_eq!(read, Path::new(text));
    }
    copy("data:/two", dir.path().to_str().expect("a path")).expect("into a directory");
    assert_eq!(read("two"), b"one");
    // By way of an archive.
    let archive = volumes
        .elfin(&["volume", "cp", "data:/first/deep", "-"])
        .stdout;
    fs::write(path("archive"), archive).expect("own file");
    let mut command = volumes.command();
    command.args(["volume", "cp", "-", "data:/first/tree"]);
    command.stdin(fs::File::open(path("archive")).expect("own file"));
    assert!(command.status().expect("elfin starts").success());
    copy("data:/first/tree/deep/large", &path("large")).expect("a file");
    assert!(read("large") == large);
    let fails = |from: &str, to: &str, why: &str| {
        let error = copy(from, to).expect_err(why);
        assert!(error.contains(why) && error.lines().count() == 1, "{error}");
    };
    fails("data:/none", &path("x"), "there is no /none in the volume");
    fails("none:/x", &path("x"), "there is no volume none");
    fails(&path("tree"), "data:/two", "/two is not a directory");
    fails(&path("missing"), "data:/", "cannot read");
    fails("data:/two", &path("no/where"), "there is no directory");
    fails(&path("tree"), &path("x"), "NAME:PATH");
    fs::write(path("larger"), vec![1; 20 << 20]).expect("own file");
    fails(&path("larger"), "data:/", "the volume is full");
    volumes.is_sound("data");
    let taken = || {
        fs::metadata(volumes.image("data"))
            .expect("it is there")
            .blocks()
    };
    let before = taken();
    fs::write(path("empty"), "").expect("own file");
    copy(&path("empty"), "data:/larger").expect("a smaller file");
    // The host has the room back.
    assert!(volumes.elfin(&["volume", "fsck", "data"]).status.success());
    assert!(taken() + 10_000 < before, "{} after {before}", taken());
    // A machine sees them.
    let mut peer = Peer::start_with(&["data:/data".to_owned()], |command| volumes.with(command));
    assert_eq!(peer.says("read /data/first/link"), "one");
    assert_eq!(peer.says("write /data/first/new from the machine"), "");
    fails("data:/two", &path("x"), "in use by another machine");
    peer.end();
    copy("data:/first/new", &path("new")).expect("a file");
    assert_eq!(read("new"), b"from the machine");
}

#[test]
fn what_cannot_be_mounted_is_said_in_one_line() {
    let root = compared("hello.c");
    fs::write(root.path().join("file"), "").expect("own file");
    let inside = root.path().join("file/dir").display().to_string();
    for (volume, says) in [
        (format!("{inside}:/data"), "cannot make"),
        ("/tmp:data".to_owned(), "HOST:GUEST"),
        ("/tmp:/data:frozen".to_owned(), "'frozen'"),
    ] {
        let output = elfin(root.path(), &[volume])
            .output()
            .expect("elfin starts");
        assert_eq!(output.status.code(), Some(125));
        assert!(
            text(&output.stderr).contains(says),
            "{}",
            text(&output.stderr)
        );
    }
}
