//! The processor that a guest gets, as programs see it.

#[path = "support/program.rs"]
mod program;

use std::path::Path;
use std::process::{Command, Output};

/// Says whether it is told of AVX2, and of what no processor has without.
use program::program;

const SOURCE: &str = r#"
#include <stdio.h>
int main(void) {
    __builtin_cpu_init();
    printf("%s", __builtin_cpu_supports("avx2") ? "AVX2" : "no AVX2");
    puts(__builtin_cpu_supports("bmi2") || __builtin_cpu_supports("vaes") ? ", more" : "");
    return 0;
}"#;

fn run(root: &Path, options: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_elfin"))
        .args(["run", "--accel", "tcg", "--cpus", "1"])
        .args(options)
        .arg("--root")
        .arg(root)
        .arg("/program")
        .output()
        .expect("elfin starts")
}

/// Whether `elfin run` must ask this machine's QEMU for a processor without AVX2.
fn faulty() -> bool {
    let output = Command::new("qemu-system-x86_64")
        .arg("--version")
        .output()
        .expect("QEMU starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ["7.2.", "8.0.", "8.1."]
        .iter()
        .any(|release| text.contains(&format!("version {release}")))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn avx2_is_offered_where_gathers_are_right_or_where_it_is_asked_for() {
    let root = program(SOURCE, &["-static"]);
    let remark = "the processor has no AVX2, because QEMU ";

    let own = run(root.path(), &["--log"]);
    let seen = if faulty() {
        "no AVX2\n"
    } else {
        "AVX2, more\n"
    };
    assert_eq!(text(&own.stdout), seen, "{}", text(&own.stderr));
    assert_eq!(text(&own.stderr).contains(remark), faulty());

    let asked = run(root.path(), &["--cpu", "max"]);
    assert_eq!(
        text(&asked.stdout),
        "AVX2, more\n",
        "{}",
        text(&asked.stderr)
    );
    let asked = run(root.path(), &["--cpu", "max,avx2=off"]);
    assert_eq!(
        text(&asked.stdout),
        "no AVX2, more\n",
        "{}",
        text(&asked.stderr)
    );
    assert_eq!(text(&asked.stderr), "");
}

#[test]
fn a_processor_whose_state_cannot_be_saved_is_refused() {
    let root = program(SOURCE, &["-static"]);
    for (model, missing) in [
        ("Nehalem", "the CPU has no XSAVE\n"),
        ("Nehalem,+xsave", "the CPU has XSAVE, but not XSAVEOPT"),
    ] {
        let refused = run(root.path(), &["--cpu", model]);
        let said = text(&refused.stderr);
        assert!(
            !refused.status.success() && said.contains(missing),
            "{model}: {said}"
        );
    }
    let works = run(root.path(), &["--cpu", "Nehalem,+xsave,+xsaveopt"]);
    assert_eq!(text(&works.stdout), "no AVX2\n", "{}", text(&works.stderr));
}
