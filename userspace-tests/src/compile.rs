//! From sources to the directory that becomes `/tests`. Unchanged sources are not compiled again.

use std::collections::HashMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::Path;
use std::process::Command;

use crate::case::{Case, Language};

/// Arguments of every compilation. `$ORIGIN` lets programs find the objects beside them, here and in the guest.
const ARGUMENTS: &[&str] = &["-O1", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE"];
const RUNPATH: &str = "-Wl,-rpath,$ORIGIN";

/// The directory of programs.
#[derive(Debug)]
pub struct Programs {
    /// A number that differs whenever the directory's content does.
    pub content: u64,
    /// Cases that could not be compiled, and why.
    pub broken: HashMap<String, String>,
}

/// Brings `programs` up to date with all `cases`, using `stamps` to remember what was compiled.
///
/// # Errors
/// Trouble with files; compilers that complain only break their case.
pub fn all(cases: &[Case], programs: &Path, stamps: &Path) -> io::Result<Programs> {
    fs::create_dir_all(programs)?;
    fs::create_dir_all(stamps)?;
    let mut total = DefaultHasher::new();
    let common = common(cases)?;
    let mut kept = Vec::new();
    let mut broken = HashMap::new();
    for case in cases {
        let fingerprint = fingerprint(case, common)?;
        fingerprint.hash(&mut total);
        case.file_name().hash(&mut total);
        let stamp = stamps.join(case.file_name());
        let known = fs::read_to_string(&stamp).ok();
        if known != Some(fingerprint.to_string()) {
            match one(case, programs) {
                Ok(()) => fs::write(&stamp, fingerprint.to_string())?,
                Err(error) => {
                    broken.insert(case.name.clone(), error.to_string());
                }
            }
        }
        kept.push(case.file_name());
        kept.extend(case.shared.iter().map(|(name, _)| name.clone()));
    }
    for entry in fs::read_dir(programs)? {
        let entry = entry?;
        if !kept.iter().any(|name| entry.file_name() == name.as_str()) {
            fs::remove_file(entry.path()).or_else(|_| fs::remove_dir_all(entry.path()))?;
        }
    }
    Ok(Programs {
        content: total.finish(),
        broken,
    })
}

/// A number for all that several programs share: the compiler, its arguments, headers and version scripts.
fn common(cases: &[Case]) -> io::Result<u64> {
    let mut hasher = DefaultHasher::new();
    (ARGUMENTS, RUNPATH).hash(&mut hasher);
    Command::new("gcc")
        .arg("--version")
        .output()?
        .stdout
        .hash(&mut hasher);
    let compiled = cases.iter().find(|case| case.language != Language::Python);
    if let Some(dir) = compiled.and_then(|case| case.source.parent()) {
        let mut files = fs::read_dir(dir)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<Vec<_>>>()?;
        files.sort();
        for file in files {
            if matches!(file.extension().and_then(|e| e.to_str()), Some("h" | "map")) {
                fs::read(file)?.hash(&mut hasher);
            }
        }
    }
    Ok(hasher.finish())
}

fn fingerprint(case: &Case, common: u64) -> io::Result<u64> {
    let mut hasher = DefaultHasher::new();
    common.hash(&mut hasher);
    fs::read(&case.source)?.hash(&mut hasher);
    Ok(hasher.finish())
}

fn one(case: &Case, programs: &Path) -> io::Result<()> {
    if case.language == Language::Python {
        fs::copy(&case.source, programs.join(case.file_name()))?;
        return Ok(());
    }
    for (name, arguments) in &case.shared {
        let (options, objects): (Vec<_>, Vec<_>) = arguments
            .iter()
            .cloned()
            .partition(|word| word.starts_with("-D") || word.starts_with("-f"));
        let mut flags = vec!["-shared".to_owned(), "-fPIC".to_owned()];
        flags.extend(options);
        compile(case, programs, name, &flags, &objects)?;
    }
    compile(case, programs, &case.name, &case.flags, &case.link)?;
    for name in &case.removed {
        fs::remove_file(programs.join(name))?;
    }
    Ok(())
}

fn compile(
    case: &Case,
    programs: &Path,
    output: &str,
    flags: &[String],
    link: &[String],
) -> io::Result<()> {
    let compiler = match case.language {
        Language::Cpp => "g++",
        Language::C | Language::Python => "gcc",
    };
    let sources = case.source.parent().unwrap_or(Path::new("."));
    let link = link
        .iter()
        .map(|word| word.replace("$SOURCES", &sources.to_string_lossy()));
    let result = Command::new(compiler)
        .args(ARGUMENTS)
        .args(flags)
        .args(["-o", output])
        .arg(&case.source)
        .args((!case.shared.is_empty()).then_some(RUNPATH))
        .args(link)
        .current_dir(programs)
        .output()?;
    if result.status.success() && result.stderr.is_empty() {
        return Ok(());
    }
    let complaints = String::from_utf8_lossy(&result.stderr);
    Err(io::Error::other(format!(
        "{output} cannot be built:\n{complaints}"
    )))
}
