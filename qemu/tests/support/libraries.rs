//! The libraries that a program needs, beside it.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Copies what ldd lists for `root`'s `program` to where it is on this machine.
pub(crate) fn copy(root: &Path) {
    let listed = Command::new("ldd").arg(root.join("program")).output();
    let listed = listed.expect("ldd starts").stdout;
    let paths = String::from_utf8(listed).expect("paths are text");
    for path in paths
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
    {
        let copy = root.join(&path[1..]);
        fs::create_dir_all(copy.parent().expect("below the root")).expect("own directory");
        fs::copy(path, copy).expect("ldd lists files");
    }
}
