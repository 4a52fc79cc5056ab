//! Every program of `programs/` and `python/`, run on Linux and in the guest; output and exit status must be the same.
//!
//! Environment:
//! - `ELFIN`: an `elfin` that is there already; otherwise `cargo build --release -p elfin` makes one.
//! - `ELFIN_IMAGE`: a root image with `/tests` that is there already; otherwise `elfin build` makes one, again
//!   whenever a program has changed.
//! - `ELFIN_HOSTED`: an `elfin-hosted` that is there already; otherwise cargo makes one, too.
//! - `SOAK=1`: the long runs (`make soak`) instead of the others.
//! - `NATIVE_RUNS=N`: leave the guest out and run each program N times on Linux, which must give N times the same.
//!
//! Some tests alone: `cargo test --release -p userspace-tests --test guest -- c/signals` (a part of their names).

use std::collections::HashMap;
use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use libtest_mimic::{Arguments, Failed, Trial};
use userspace_tests::case::{Case, Language, Machine, Run};
use userspace_tests::process::{self, Outcome};
use userspace_tests::{bindings, compile, difference};

/// Packages in the image beside the programs. This machine needs them, too.
const PACKAGES: &str = "python3,python3-numpy,libopenblas0-pthread,libpython3.11,libstdc++6,musl";
/// Where the programs lie in the guest.
const GUEST_DIR: &str = "/tests";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const PYTHON: &str = "/usr/bin/python3";
/// What has a program's main function run in a forked child, found from the directory of programs.
const IN_CHILD: (&str, &str) = ("LD_PRELOAD", "./in_child.so");

fn main() {
    let arguments = Arguments::from_args();
    // The guest's; and files made for the image shall be the same whoever makes them.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut cases = read_cases(&root).unwrap_or_else(|error| {
        eprintln!("error: {error}");
        std::process::exit(2);
    });
    let setup = Arc::new(Setup {
        root,
        cases: cases.clone(),
        native_runs: std::env::var("NATIVE_RUNS")
            .ok()
            .and_then(|text| text.parse().ok()),
        ready: OnceLock::new(),
    });
    if std::env::var_os("SOAK").is_some() {
        cases = cases.into_iter().filter_map(Case::soaked).collect();
    }
    let shared = Arc::clone(&setup);
    let mut trials = vec![Trial::test("image/bindings", move || {
        let compared = bindings::compare(&shared.ready()?.image, &shared.scratch())?;
        // Its Python alone has some thousands.
        (compared > 1000)
            .then_some(())
            .ok_or("the table answers next to nothing".into())
    })];
    let namespaces = OnceLock::new();
    for case in cases {
        let ignored = case.in_namespaces && !namespaces.get_or_init(may_make_namespaces);
        for (index, run) in case.runs.iter().enumerate() {
            let on_linux = Arc::new(OnceLock::new());
            for machine in case.machines() {
                let (setup, on_linux) = (Arc::clone(&setup), Arc::clone(&on_linux));
                let (case, run) = (case.clone(), run.clone());
                let trial = Trial::test(case.title(index, machine), move || {
                    test(&setup, &case, &run, machine, &on_linux)
                });
                trials.push(trial.with_ignored_flag(ignored));
            }
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}

/// Says whether `elfin build` can run packages' scripts here (`qemu/src/build/chroot.rs`).
fn may_make_namespaces() -> bool {
    let user = ["--user", "--map-root-user", "--map-auto"];
    let user = user
        .iter()
        .filter(|_| !rustix::process::geteuid().is_root());
    let mut unshare = Command::new("unshare");
    unshare
        .args(user)
        .args(["--mount", "--uts", "--pid", "--fork", "true"]);
    unshare.output().is_ok_and(|output| output.status.success())
}

fn read_cases(root: &Path) -> Result<Vec<Case>, Box<dyn Error>> {
    let mut cases = Vec::new();
    for dir in ["programs", "python"] {
        for entry in fs::read_dir(root.join(dir))? {
            cases.extend(Case::read(&entry?.path())?);
        }
    }
    cases.sort_by(|a, b| a.source.cmp(&b.source));
    Ok(cases)
}

/// What all tests share; made when the first one runs, so that listing them stays cheap.
struct Setup {
    root: PathBuf,
    cases: Vec<Case>,
    native_runs: Option<usize>,
    ready: OnceLock<Result<Ready, String>>,
}

struct Ready {
    programs: PathBuf,
    broken: HashMap<String, String>,
    elfin: PathBuf,
    hosted: PathBuf,
    image: PathBuf,
}

impl Setup {
    fn ready(&self) -> Result<&Ready, Failed> {
        self.ready
            .get_or_init(|| self.prepare().map_err(|error| error.to_string()))
            .as_ref()
            .map_err(Failed::from)
    }

    /// A directory for what is made.
    fn scratch(&self) -> PathBuf {
        self.root.with_file_name("target").join("userspace-tests")
    }

    fn prepare(&self) -> Result<Ready, Box<dyn Error>> {
        let workspace = self.root.parent().ok_or("the crate lies in a workspace")?;
        let dir = self.scratch();
        fs::create_dir_all(&dir)?;
        // Test runners that start a process for each test get here many times at once.
        let lock = File::create(dir.join("lock"))?;
        lock.lock()?;
        let programs = dir.join("programs");
        let compiled = compile::all(&self.cases, &programs, &dir.join("stamps"))?;
        let mut ready = Ready {
            programs,
            broken: compiled.broken,
            elfin: PathBuf::new(),
            hosted: PathBuf::new(),
            image: PathBuf::new(),
        };
        if self.native_runs.is_none() {
            ready.elfin = elfin(workspace)?;
            ready.hosted = hosted(workspace)?;
            ready.image = match std::env::var_os("ELFIN_IMAGE") {
                Some(image) => image.into(),
                None => image(&dir, &ready, compiled.content)?,
            };
        }
        Ok(ready)
    }
}

fn elfin(workspace: &Path) -> Result<PathBuf, Box<dyn Error>> {
    if let Some(elfin) = std::env::var_os("ELFIN") {
        return Ok(elfin.into());
    }
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--release", "-p", "elfin"]);
    if !build.current_dir(workspace).status()?.success() {
        return Err("elfin cannot be built".into());
    }
    Ok(workspace.join("target/release/elfin"))
}

fn hosted(workspace: &Path) -> Result<PathBuf, Box<dyn Error>> {
    const TARGET: &str = "x86_64-unknown-linux-gnu";
    if let Some(hosted) = std::env::var_os("ELFIN_HOSTED") {
        return Ok(hosted.into());
    }
    // A program without `std`: it has a target directory of its own.
    let target = workspace.join("target/hosted");
    let mut build = Command::new(env!("CARGO"));
    build
        .args(["build", "--quiet", "--release", "-p", "loader-hosted"])
        .args(["--target", TARGET, "--target-dir"])
        .arg(&target);
    if !build.current_dir(workspace).status()?.success() {
        return Err("elfin-hosted cannot be built".into());
    }
    Ok(target.join(TARGET).join("release/elfin-hosted"))
}

fn image(dir: &Path, ready: &Ready, content: u64) -> Result<PathBuf, Box<dyn Error>> {
    let image = dir.join("tests.img");
    let stamp = dir.join("tests.img.stamp");
    let wanted = format!("{PACKAGES} {content}");
    if image.exists() && fs::read_to_string(&stamp).ok().as_ref() == Some(&wanted) {
        return Ok(image);
    }
    let mut layer = ready.programs.clone().into_os_string();
    layer.push(format!(":{GUEST_DIR}"));
    let output = Command::new(&ready.elfin)
        .args(["build", "--deb", PACKAGES, "--root"])
        .arg(layer)
        .arg("--output")
        .arg(&image)
        .output()?;
    if !output.status.success() {
        let complaints = String::from_utf8_lossy(&output.stderr);
        return Err(format!("elfin build failed:\n{complaints}").into());
    }
    fs::write(stamp, wanted)?;
    Ok(image)
}

/// `on_linux`: how the run ended there, once it is known.
fn test(
    setup: &Setup,
    case: &Case,
    run: &Run,
    machine: Machine,
    on_linux: &OnceLock<Result<Outcome, String>>,
) -> Result<(), Failed> {
    let ready = setup.ready()?;
    if let Some(complaints) = ready.broken.get(&case.name) {
        return Err(complaints.into());
    }
    if let Some(count) = setup.native_runs {
        return repeat_on_linux(ready, case, run, machine, count);
    }
    let expected = on_linux
        .get_or_init(|| expected(ready, case, run))
        .as_ref()?;
    let wanted = case.expected.as_ref().map_or("Linux", |_| "expected");
    match machine {
        Machine::Hosted => {
            let hosted = native(ready, case, run, Some(&ready.hosted))?;
            compare(case, expected, wanted, &hosted, "elfin-hosted").map_err(Failed::from)
        }
        Machine::Guest { .. } | Machine::Forked => {
            let (command, line) = guest_command(ready, case, run, machine);
            let guest = execute(command, case)?;
            compare(case, expected, wanted, &guest, "guest")
                .and_then(|()| check_backtrace(case, &guest))
                .and_then(|()| check_remarks(case, &guest))
                .map_err(|text| format!("{text}\n{line}").into())
        }
    }
}

/// What a run must print, and how it must end.
fn expected(ready: &Ready, case: &Case, run: &Run) -> Result<Outcome, String> {
    if let Some(file) = &case.expected {
        return Ok(Outcome {
            stdout: fs::read(file).map_err(|error| error.to_string())?,
            stderr: Vec::new(),
            exit: Some(run.exit),
        });
    }
    let known = case.as_root.as_ref().map(fs::read).transpose();
    let known = known.map_err(|error| error.to_string())?;
    if let Some(stdout) = known
        .clone()
        .filter(|_| !rustix::process::geteuid().is_root())
    {
        let (stderr, exit) = (Vec::new(), Some(run.exit));
        return Ok(Outcome {
            stdout,
            stderr,
            exit,
        });
    }
    let outcome = native(ready, case, run, None)?;
    if known.is_some_and(|known| known != outcome.stdout) {
        return Err(report("not what the file .root says: Linux", &outcome));
    }
    if outcome.exit == Some(run.exit) {
        return Ok(outcome);
    }
    let wanted = format!("on Linux, with exit status {} expected", run.exit);
    Err(report(&wanted, &outcome))
}

/// Runs a program that Linux can run `count` times there; nothing else.
fn repeat_on_linux(
    ready: &Ready,
    case: &Case,
    run: &Run,
    machine: Machine,
    count: usize,
) -> Result<(), Failed> {
    if case.expected.is_some() || !matches!(machine, Machine::Guest { .. }) {
        return Ok(());
    }
    let expected = expected(ready, case, run)?;
    for _ in 1..count {
        let again = native(ready, case, run, None)?;
        compare(case, &expected, "first run", &again, "later run")?;
    }
    Ok(())
}

/// Looks for the functions that the crash report must name, in their order: `  #N ADDRESS NAME+OFFSET (…)`.
fn check_backtrace(case: &Case, guest: &Outcome) -> Result<(), String> {
    let report = String::from_utf8_lossy(&guest.stderr);
    let mut names = report
        .lines()
        .filter(|line| line.starts_with("  #"))
        .filter_map(|line| line.split_whitespace().nth(2)?.split_once('+'))
        .map(|(name, _)| name);
    match case
        .backtrace
        .iter()
        .find(|wanted| !names.any(|name| name == wanted.as_str()))
    {
        Some(missing) => Err(format!("no {missing} in its place in\n{report}")),
        None => Ok(()),
    }
}

/// Looks for what elfin must add to what Linux says.
fn check_remarks(case: &Case, guest: &Outcome) -> Result<(), String> {
    let stderr = String::from_utf8_lossy(&guest.stderr);
    match case.says.iter().find(|text| !stderr.contains(*text)) {
        Some(missing) => Err(format!("not said: {missing}\nbut: {stderr}")),
        None => Ok(()),
    }
}

/// Runs a program on Linux, or by a `runner` there. Paths of its directory are printed as the guest's.
fn native(ready: &Ready, case: &Case, run: &Run, runner: Option<&Path>) -> Result<Outcome, String> {
    use std::os::unix::process::CommandExt;
    let program = ready.programs.join(&case.name);
    let mut command = match (runner, case.language) {
        (Some(runner), Language::Python) => {
            let mut command = Command::new(runner);
            command.args([PYTHON, &case.file_name()]);
            command
        }
        (Some(runner), Language::C | Language::Cpp) => {
            let mut command = Command::new(runner);
            command.arg(program);
            command
        }
        (None, Language::Python) => {
            let mut command = Command::new(PYTHON);
            command.arg(case.file_name());
            command
        }
        (None, Language::C | Language::Cpp) => {
            let mut command = Command::new(program);
            command.arg0(format!("{GUEST_DIR}/{}", case.name));
            command
        }
    };
    command
        .args(&run.args)
        .current_dir(&ready.programs)
        .env_clear()
        .envs([("PATH", PATH), ("HOME", "/root"), ("LANG", "C.UTF-8")])
        .envs(case.env.iter().map(|(name, value)| (name, value)));
    let mut outcome = execute(command, case)?;
    let here = ready.programs.to_string_lossy();
    for stream in [&mut outcome.stdout, &mut outcome.stderr] {
        *stream = replace(stream, here.as_bytes(), GUEST_DIR.as_bytes());
    }
    Ok(outcome)
}

/// The command for the guest, and as a line to repeat it by hand.
fn guest_command(ready: &Ready, case: &Case, run: &Run, machine: Machine) -> (Command, String) {
    let (cpus, preload) = match machine {
        Machine::Guest { cpus } => (cpus, None),
        Machine::Hosted | Machine::Forked => (2, Some(IN_CHILD)),
    };
    let mut words = vec![
        "run".to_owned(),
        "--image".to_owned(),
        ready.image.to_string_lossy().into_owned(),
        format!("--cpus={cpus}"),
        format!("--memory={}", case.memory),
        format!("--cwd={GUEST_DIR}"),
    ];
    let own = case.env.iter().map(|(name, value)| (&**name, &**value));
    for (name, value) in own.chain(preload) {
        words.push(format!("--env={name}={value}"));
    }
    words.extend(case.options.iter().cloned());
    words.push("--".to_owned());
    match case.language {
        Language::Python => words.extend([PYTHON.to_owned(), case.file_name()]),
        Language::C | Language::Cpp => words.push(format!("{GUEST_DIR}/{}", case.name)),
    }
    words.extend(run.args.iter().cloned());
    let quoted: Vec<_> = words.iter().map(|word| quote(word)).collect();
    let line = format!("again: {} {}", ready.elfin.display(), quoted.join(" "));
    let mut command = Command::new(&ready.elfin);
    command.args(words);
    (command, line)
}

/// A word as a shell wants it.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./,+:".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn execute(command: Command, case: &Case) -> Result<Outcome, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    process::run(
        command,
        case.stdin.clone(),
        case.close_stdout_after,
        case.limit,
    )
    .map_err(|error| format!("{name}: {error}"))
}

fn compare(
    case: &Case,
    expected: &Outcome,
    expected_name: &str,
    got: &Outcome,
    got_name: &str,
) -> Result<(), String> {
    let mut text = String::new();
    if got.exit != expected.exit {
        text.push_str(&report(got_name, got));
    }
    let mut streams = Vec::new();
    if case.close_stdout_after.is_none() {
        streams.push(("stdout", &expected.stdout, &got.stdout));
    }
    let stderr = without_remarks(&got.stderr);
    if case.compare_stderr {
        streams.push(("stderr", &expected.stderr, &stderr));
    }
    for (stream, left, right) in streams {
        if let Some(difference) = difference::show(left, right) {
            let head = format!("--- {stream}, {expected_name}\n+++ {stream}, {got_name}\n");
            text.push_str(&head);
            text.push_str(&difference);
        }
    }
    if text.is_empty() { Ok(()) } else { Err(text) }
}

/// Standard error without the lines that elfin adds to what Linux has to say.
fn without_remarks(stderr: &[u8]) -> Vec<u8> {
    stderr
        .split_inclusive(|&byte| byte == b'\n')
        .filter(|line| !line.starts_with(b"elfin: "))
        .flatten()
        .copied()
        .collect()
}

/// How a run ended and what it printed last.
fn report(title: &str, outcome: &Outcome) -> String {
    let end = match outcome.exit {
        Some(status) => format!("exit status {status}"),
        None => "stopped at the time limit".to_owned(),
    };
    let mut text = format!("{title}: {end}\n");
    for (stream, bytes) in [("stdout", &outcome.stdout), ("stderr", &outcome.stderr)] {
        if !bytes.is_empty() {
            text.push_str(&format!("{stream}:\n{}", difference::end_of(bytes)));
        }
    }
    text
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut result = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.windows(from.len()).position(|part| part == from) {
        result.extend_from_slice(&rest[..at]);
        result.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    result.extend_from_slice(rest);
    result
}
