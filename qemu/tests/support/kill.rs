//! Machines that are killed.

use std::fs;
use std::process::Child;

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
