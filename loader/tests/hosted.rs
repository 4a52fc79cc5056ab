//! Programs run twice, by the system's `ld.so` and by `elfin-hosted`; both must print the same and end the same.
//!
//! Every file in `fixtures/` is one test. Lines of it that start with `//$ ` or `#$ ` are shell commands that build it,
//! in an empty directory, with `$S` naming the file; lines that start with `//> ` or `#> ` are the commands whose
//! output is compared, with `$RUN` before the program's name (nothing, or `elfin-hosted`). Without the latter the
//! command is `$RUN ./a.out`. Where `ld.so` itself fails, lines that start with `//= ` say what must be printed. A program
//! of `/usr/bin` that can print its version is one more test.
//!
//! `EMULATOR='qemu-x86_64-static -cpu EPYC'` makes both run on another processor than this machine's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use libtest_mimic::{Arguments, Failed, Trial};

/// Seconds a command may take.
const PATIENCE: &str = "60";

/// Programs of `/usr/bin` asked for their version, if they are there.
const PROGRAMS: &[&str] = &[
    "apt",
    "awk",
    "bash",
    "bc",
    "bzip2",
    "cat",
    "cmake",
    "cp",
    "curl",
    "date",
    "dd",
    "df",
    "diff",
    "dpkg",
    "du",
    "env",
    "expr",
    "file",
    "find",
    "g++",
    "gawk",
    "gcc",
    "gdb",
    "git",
    "gpg",
    "grep",
    "gzip",
    "id",
    "jq",
    "ld",
    "less",
    "ls",
    "lzma",
    "m4",
    "make",
    "mawk",
    "mkdir",
    "mv",
    "nm",
    "node",
    "objdump",
    "openssl",
    "patch",
    "perl",
    "pgrep",
    "ps",
    "python3",
    "qemu-img",
    "qemu-system-x86_64",
    "readelf",
    "rsync",
    "sed",
    "seq",
    "sh",
    "sort",
    "sqlite3",
    "ssh",
    "stat",
    "strace",
    "strip",
    "sudo",
    "tail",
    "tar",
    "tee",
    "timeout",
    "top",
    "tr",
    "uname",
    "unzip",
    "vim",
    "wc",
    "wget",
    "xargs",
    "xz",
    "zip",
    "zstd",
];

fn main() {
    let arguments = Arguments::from_args();
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let hosted = if arguments.list {
        PathBuf::new()
    } else {
        build_runner(&root)
    };
    let mut trials = Vec::new();
    let mut fixtures: Vec<PathBuf> = fs::read_dir(root.join("tests/fixtures"))
        .expect("tests/fixtures is part of the sources")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    fixtures.sort();
    for fixture in fixtures {
        let name = fixture
            .file_name()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let hosted = hosted.clone();
        trials.push(Trial::test(name, move || run_fixture(&fixture, &hosted)));
    }
    for program in PROGRAMS {
        let path = Path::new("/usr/bin").join(program);
        if path.exists() {
            let hosted = hosted.clone();
            trials.push(Trial::test(format!("version/{program}"), move || {
                let command = format!("$RUN {} --version", path.display());
                compare(&command, Path::new("/"), &hosted)
            }));
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}

/// Builds `elfin-hosted`; `ELFIN_HOSTED` names one that is there already.
fn build_runner(root: &Path) -> PathBuf {
    if let Some(path) = std::env::var_os("ELFIN_HOSTED") {
        return path.into();
    }
    let workspace = root.parent().expect("the crate lies in a workspace");
    let target = workspace.join("target/hosted");
    let status = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--release",
            "-p",
            "loader-hosted",
            "--target",
            "x86_64-unknown-linux-gnu",
        ])
        .arg("--target-dir")
        .arg(&target)
        .current_dir(workspace)
        .status()
        .expect("cargo runs");
    assert!(status.success(), "elfin-hosted cannot be built");
    target.join("x86_64-unknown-linux-gnu/release/elfin-hosted")
}

fn run_fixture(fixture: &Path, hosted: &Path) -> Result<(), Failed> {
    let text = fs::read_to_string(fixture)?;
    let commands = |mark: char| -> Vec<String> {
        let command = |line: &str| {
            let rest = line.strip_prefix("//").or_else(|| line.strip_prefix('#'))?;
            Some(rest.strip_prefix(mark)?.trim().to_owned())
        };
        text.lines().filter_map(command).collect()
    };
    let stem = fixture.file_stem().unwrap_or_default();
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(stem);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir)?;
    for command in commands('$') {
        let output = shell(&command, &dir).env("S", fixture).output()?;
        if !output.status.success() {
            return Err(format!("{command}\n{}", String::from_utf8_lossy(&output.stderr)).into());
        }
    }
    let mut runs = commands('>');
    if runs.is_empty() {
        runs.push("$RUN ./a.out".to_owned());
    }
    let expected = commands('=').join("\n");
    runs.iter().try_for_each(|command| {
        let command = command.replace("$S", &fixture.to_string_lossy());
        if expected.is_empty() {
            return compare(&command, &dir, hosted);
        }
        let ours = describe(&run(&command, &dir, hosted)?);
        if ours.trim_end() == expected {
            return Ok(());
        }
        Err(format!("{command}\n--- expected\n{expected}\n--- elfin-hosted\n{ours}").into())
    })
}

/// Runs a command both ways and compares.
fn compare(command: &str, dir: &Path, hosted: &Path) -> Result<(), Failed> {
    let native = run(command, dir, Path::new(""))?;
    let ours = run(command, dir, hosted)?;
    let (native, ours) = (describe(&native), describe(&ours));
    if native == ours {
        return Ok(());
    }
    Err(format!("{command}\n--- ld.so\n{native}\n--- elfin-hosted\n{ours}").into())
}

fn run(command: &str, dir: &Path, runner: &Path) -> std::io::Result<Output> {
    // A static one, for what its environment says to `ld.so`.
    let emulator = std::env::var("EMULATOR").unwrap_or_default();
    shell(command, dir)
        .env("RUN", format!("{emulator} {}", runner.display()).trim())
        .stdin(Stdio::null())
        .output()
}

fn shell(command: &str, dir: &Path) -> Command {
    let mut shell = Command::new("timeout");
    shell.args([PATIENCE, "sh", "-c", command]).current_dir(dir);
    shell
}

fn describe(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!(
        "{}stderr: {}{}",
        text(&output.stdout),
        text(&output.stderr),
        output.status
    )
}
