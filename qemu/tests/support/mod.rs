//! What the tests of files that stay have in common: volumes of a test's own, machines that are killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};

use tempfile::TempDir;

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Ends elfin as a crash would, and its machine with it.
pub(crate) fn kill(mut elfin: Child) {
    let id = elfin.id();
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
    let children = children.expect("it runs");
    elfin.kill().expect("it runs");
    elfin.wait().expect("it ends");
    // Nobody tells when it has gone; nobody may reap it, either.
    for child in children.split_whitespace() {
        let runs = || {
            let stat = fs::read_to_string(format!("/proc/{child}/stat"));
            stat.is_ok_and(|stat| !stat.contains(") Z "))
        };
        while runs() {
            std::thread::yield_now();
        }
    }
}

/// The directory that volumes are in, of a test's own.
pub(crate) struct Volumes(TempDir);

impl Volumes {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("directory"))
    }

    /// The file of a volume.
    pub(crate) fn image(&self, name: &str) -> PathBuf {
        self.0.path().join(format!("elfin/volumes/{name}.img"))
    }

    /// Has a command use them.
    pub(crate) fn with(&self, mut command: Command) -> Command {
        command.env("XDG_DATA_HOME", self.0.path());
        command
    }

    /// elfin with them.
    pub(crate) fn command(&self) -> Command {
        self.with(Command::new(env!("CARGO_BIN_EXE_elfin")))
    }

    /// Runs elfin with them.
    pub(crate) fn elfin(&self, arguments: &[&str]) -> Output {
        let output = self.command().args(arguments).output();
        output.expect("elfin starts")
    }

    /// e2fsck finds nothing amiss in a volume, but a journal to replay if the machine was killed.
    pub(crate) fn is_sound(&self, name: &str) {
        is_sound(&self.image(name), name);
    }
}

/// The same of any file.
pub(crate) fn is_sound(image: &Path, what: &str) {
    for _ in 0..2 {
        let replays = Command::new("/sbin/e2fsck").arg("-p").arg(image).output();
        let replays = replays.expect("e2fsck starts");
        let well = replays.status.code() <= Some(1);
        assert!(well, "{what}: {}", text(&replays.stdout));
    }
    let checked = Command::new("/sbin/e2fsck").arg("-fn").arg(image).output();
    let checked = checked.expect("e2fsck starts");
    assert!(
        checked.status.success(),
        "{what}: {}",
        text(&checked.stdout)
    );
}
