//! What the tests of files that stay have in common: volumes of a test's own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
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
