//! The well-formed objects that are damaged: small ones with everything in them, compiled at the first need, and
//! libraries of the system.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::host::WATCHER;
use crate::layout::Layout;

/// A well-formed file.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) file: Vec<u8>,
    pub(crate) layout: Layout,
}

const COMPANION: &str = "libcompanion.so";
/// Link options that give each a different set of tables.
const KINDS: [&[&str]; 3] = [
    &["-Wl,--hash-style=gnu,-z,lazy"],
    &["-Wl,--hash-style=sysv,-z,pack-relative-relocs,-z,now"],
    &[
        "-Wl,--hash-style=both,-z,notext",
        "-mtls-dialect=gnu2",
        "-DTEXT",
    ],
];
const SYSTEM: &str = "/lib/x86_64-linux-gnu";

/// Makes all subjects, and provides what they need.
pub(crate) fn make() -> Vec<Subject> {
    let scratch = std::env::temp_dir().join(format!("loader-fuzz-{}", std::process::id()));
    let made = fs::create_dir_all(&scratch).and_then(|()| compile_all(&scratch));
    let removed = fs::remove_dir_all(&scratch);
    let mut files = made.expect("gcc compiles the subjects");
    removed.expect("the scratch directory is ours");
    for name in ["libc.so.6", "ld-linux-x86-64.so.2"] {
        let content = fs::read(Path::new(SYSTEM).join(name)).expect("glibc is there");
        provide(name, &content);
    }
    for name in ["libm.so.6", "libz.so.1", "libgcc_s.so.1"] {
        files.extend(fs::read(Path::new(SYSTEM).join(name)));
    }
    let subject = |file: Vec<u8>| Subject {
        layout: Layout::of(&file),
        file,
    };
    files.into_iter().map(subject).collect()
}

fn provide(name: &str, content: &[u8]) {
    WATCHER
        .provide(name.as_bytes(), content)
        .expect("there is memory for files");
}

fn compile_all(scratch: &Path) -> std::io::Result<Vec<Vec<u8>>> {
    fs::write(
        scratch.join("companion.map"),
        include_str!("../subjects/companion.map"),
    )?;
    fs::write(
        scratch.join("subject.map"),
        include_str!("../subjects/subject.map"),
    )?;
    let source = include_str!("../subjects/companion.c");
    let options = ["-Wl,--version-script=companion.map,-soname,libcompanion.so"];
    let companion = compile(scratch, source, COMPANION, &options)?;
    provide(COMPANION, &companion);
    let source = include_str!("../subjects/subject.c");
    let shared = ["-Wl,--version-script=subject.map", COMPANION];
    KINDS
        .into_iter()
        .map(|kind| compile(scratch, source, "libsubject.so", &[kind, &shared].concat()))
        .collect()
}

fn compile(
    scratch: &Path,
    source: &str,
    output: &str,
    options: &[&str],
) -> std::io::Result<Vec<u8>> {
    let mut gcc = Command::new("gcc")
        .args(["-O1", "-shared", "-fPIC", "-nostdlib", "-o", output])
        .args(["-x", "c", "-", "-x", "none"])
        .args(options)
        .current_dir(scratch)
        .stdin(Stdio::piped())
        .spawn()?;
    if let Some(mut input) = gcc.stdin.take() {
        input.write_all(source.as_bytes())?;
    }
    if !gcc.wait()?.success() {
        return Err(std::io::Error::other(format!("gcc fails for {output}")));
    }
    fs::read(scratch.join(output))
}
