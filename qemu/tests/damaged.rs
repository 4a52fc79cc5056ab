//! Volumes that are not what was written to them: what is wrong is said, and costs what it is about.

#[path = "support/program.rs"]
mod program;
mod support;

use std::fs;
use std::os::unix::fs::{FileExt, symlink};
use std::process::{Command, Output};

use support::{Volumes, text};

/// Where an inode has the high half of its size.
const SIZE_HIGH: u64 = 0x6c;

const READ: &str = r#"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main(int count, char **names)
{
    char bytes[100];
    for (int i = 1; i < count; i++)
        if (readlink(names[i], bytes, sizeof bytes) < 0)
            printf("%s: %s\n", names[i], strerror(errno));
    int fd = open("/data/file", O_RDONLY);
    printf("%d\n", (int)read(fd, bytes, sizeof bytes));
}
"#;

/// A volume with a file, other names and a link.
fn volume() -> Volumes {
    let volumes = Volumes::new();
    let seed = tempfile::tempdir().expect("directory");
    let copy = |name: &str| {
        let from = seed.path().join(name).display().to_string();
        let output = volumes.elfin(&["volume", "cp", &from, "data:/"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
    };
    let made = volumes.elfin(&["volume", "create", "data", "--size", "16M"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    fs::write(seed.path().join("file"), "seven\n!").expect("own directory");
    fs::create_dir(seed.path().join("others")).expect("own directory");
    for number in 0..40 {
        fs::write(seed.path().join(format!("others/{number}")), "").expect("own directory");
    }
    symlink("nowhere", seed.path().join("link")).expect("own directory");
    ["file", "others", "link"].into_iter().for_each(copy);
    volumes
}

/// Gives a file of the volume another size, past ext4.
fn damage(volumes: &Volumes, name: &str) {
    let image = volumes.image("data");
    let mut debugfs = Command::new("/sbin/debugfs");
    let debugfs = debugfs.args(["-R", &format!("imap {name}")]).arg(&image);
    let told = text(&debugfs.output().expect("debugfs starts").stdout);
    let number = |after: &str, radix| {
        let (_, rest) = told.split_once(after).expect("debugfs tells");
        let digits = rest.split(|c: char| !c.is_ascii_alphanumeric()).next();
        u64::from_str_radix(digits.unwrap_or(""), radix).expect("a number")
    };
    let at = number("located at block ", 10) * 4096 + number("offset 0x", 16);
    let file = fs::File::options()
        .write(true)
        .open(image)
        .expect("it is there");
    file.write_all_at(&[8], at + SIZE_HIGH)
        .expect("it can be written to");
}

fn read(volumes: &Volumes, name: &str) -> Output {
    let root = program::program(READ, &["-static"]);
    let root = root.path().display().to_string();
    let run = ["run", "--cpus", "1", "-v", "data:/data", "--root", &root];
    volumes.elfin(&[&run[..], &["/program", name]].concat())
}

#[test]
fn a_damaged_inode_costs_what_is_in_its_block() {
    let volumes = volume();
    damage(&volumes, "/link");
    let output = read(&volumes, "/data/link");
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(out, "/data/link: Structure needs cleaning\n7\n", "{err}");
    assert!(
        err.contains("elfin: a volume is damaged: the checksum of inode "),
        "{err}"
    );
    let mended = volumes.elfin(&["volume", "fsck", "data"]);
    assert!(mended.status.code() <= Some(1), "{}", text(&mended.stdout));
    volumes.is_sound("data");
    let output = read(&volumes, "/data/file");
    assert_eq!(text(&output.stdout), "/data/file: Invalid argument\n7\n");
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn a_damaged_inode_beside_the_root_keeps_the_volume_from_being_mounted() {
    let volumes = volume();
    damage(&volumes, "/");
    let output = read(&volumes, "/data/link");
    let err = text(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{err}");
    assert!(err.contains("the checksum of inode 2 is wrong"), "{err}");
    assert!(
        err.ends_with("cannot mount ext4 on /data: Structure needs cleaning\n"),
        "{err}"
    );
}
