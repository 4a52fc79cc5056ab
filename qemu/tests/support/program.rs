//! Programs that tests run, made of C source.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

/// A directory with a program made of `source` with gcc's `options`, named `program`.
pub(crate) fn program(source: &str, options: &[&str]) -> TempDir {
    let root = tempfile::tempdir().expect("temporary directory");
    let file = root.path().join("program.c");
    fs::write(&file, source).expect("own directory");
    let mut gcc = Command::new("gcc");
    gcc.args(options).arg("-o").arg(root.path().join("program"));
    assert!(gcc.arg(&file).status().expect("gcc starts").success());
    fs::remove_file(file).expect("own file");
    root
}
