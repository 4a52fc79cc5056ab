//! Clocks of guests that the host keeps from running while they measure them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// The QEMU that an elfin has started, once it has.
fn qemu(elfin: &Child) -> Option<Pid> {
    let id = elfin.id();
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok()?;
    let mut children = children.split_whitespace();
    let child = children.find(|child| {
        let name = fs::read_to_string(format!("/proc/{child}/comm"));
        name.is_ok_and(|name| name.starts_with("qemu"))
    })?;
    Pid::from_raw(child.parse().ok()?)
}

/// Boots, stopping QEMU most of the time if `stalled`; the frequency of the time-stamp counter that the kernel has
/// measured.
fn frequency(root: &Path, stalled: bool) -> f64 {
    let mut elfin = Command::new(env!("CARGO_BIN_EXE_elfin"))
        .args(["run", "--log=debug", "--accel", "tcg", "--cpus", "1"])
        // Without a name for what runs it the kernel trusts nobody's word and measures.
        .args(["--cpu", "max,avx2=off,tcg-cpuid=off", "--root"])
        .arg(root)
        .arg("/program")
        .stderr(Stdio::piped())
        .spawn()
        .expect("elfin starts");
    let stderr = BufReader::new(elfin.stderr.take().expect("a pipe"));
    let measured = AtomicBool::new(false);
    let frequency = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut frequency = None;
            for line in stderr.lines().map_while(Result::ok) {
                if let Some((_, rest)) = line.split_once("time-stamp counter: ") {
                    frequency = rest
                        .split(' ')
                        .next()
                        .and_then(|number| number.parse().ok());
                    measured.store(true, Ordering::Relaxed);
                }
            }
            measured.store(true, Ordering::Relaxed);
            frequency
        });
        while stalled && !measured.load(Ordering::Relaxed) {
            if let Some(qemu) = qemu(&elfin) {
                // Longer than the PIT's counter takes to go round, shorter than a measurement.
                let _gone = kill_process(qemu, Signal::STOP);
                thread::sleep(Duration::from_millis(70));
                let _gone = kill_process(qemu, Signal::CONT);
            }
            thread::sleep(Duration::from_millis(4));
        }
        reader.join().expect("no panic")
    });
    assert!(elfin.wait().expect("a child").success());
    frequency.expect("the kernel says what it has measured")
}

#[test]
fn a_host_that_stands_in_the_way_does_not_slow_the_clock() {
    let root = tempfile::tempdir().expect("temporary directory");
    let source = root.path().join("program.c");
    fs::write(&source, "int main(void) { return 0; }").expect("own directory");
    let mut compiler = Command::new("gcc");
    compiler
        .args(["-static", "-o"])
        .arg(root.path().join("program"))
        .arg(&source);
    assert!(compiler.status().expect("gcc starts").success());
    let right = frequency(root.path(), false);
    for _ in 0..4 {
        let stalled = frequency(root.path(), true);
        assert!(
            (stalled / right - 1.0).abs() < 0.02,
            "{stalled} MHz, not {right}"
        );
    }
}
