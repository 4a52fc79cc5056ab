//! What `elfin run` mounts: file systems in memory, a root that cannot be changed.

#[path = "support/program.rs"]
mod program;

use std::path::Path;
use std::process::{Command, Output};

use program::program;

fn run(root: &Path, options: &[&str], arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_elfin"))
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
fn a_limited_file_system_on_a_root_that_stays() {
    const SOURCE: &str = r#"
        #include <errno.h>
        #include <fcntl.h>
        #include <stdio.h>
        #include <string.h>
        #include <unistd.h>
        static char block[65536];
        int main(int count, char **paths) {
            for (int i = 1; i < count; i++) {
                long total = 0, part = 0;
                int fd = open(paths[i], O_CREAT | O_WRONLY, 0600);
                while (fd >= 0 && (part = write(fd, block, sizeof block)) > 0) total += part;
                printf("%s: %ld, %s\n", paths[i], total, strerror(errno));
            }
            return 0;
        }"#;
    let root = program(SOURCE, &["-static"]);
    let options = ["--read-only", "--tmpfs", "/deep/down:size=1M"];
    let output = run(root.path(), &options, &["/deep/file", "/deep/down/file"]);
    assert_eq!(
        text(&output.stdout),
        "/deep/file: 0, Read-only file system\n\
         /deep/down/file: 1048576, No space left on device\n",
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn what_cannot_be_mounted_is_said_in_one_line() {
    let root = program("int main(void) { return 0; }", &["-static"]);
    for (option, says) in [("relative", "absolute"), ("/a:seize=1", "'seize'")] {
        let output = run(root.path(), &["--tmpfs", option], &[]);
        assert_eq!(output.status.code(), Some(125), "{option}");
        assert!(text(&output.stderr).contains(says), "{option}");
    }
    let output = run(root.path(), &["--tmpfs", "/program"], &[]);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{error}");
    assert!(error.contains("cannot mount tmpfs on /program"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}
