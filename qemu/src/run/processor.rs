//! Which processor the machine gets. QEMU's translator, from the first release that knows AVX2 on,
//! read a gather's index register 4 as none at all, so that programs which looked for AVX2
//! and found it got wrong numbers (<https://gitlab.com/qemu-project/qemu/-/issues/2474>). A QEMU
//! of that kind is asked for a processor without AVX2.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use super::accel::Chosen;
use crate::cache::{self, Cache};
use crate::tool;

/// A release of QEMU: major, minor, micro.
type Version = (u32, u32, u32);

/// All that QEMU's translator knows but AVX2. VAES and BMI2 go with it, which no processor has without AVX2: software
/// that finds them takes AVX2 for granted (libgcrypt's SHA-1, that of gpg, asks for AVX and BMI2).
const WITHOUT_AVX2: &str = "max,avx2=off,vaes=off,bmi2=off";

/// A processor for QEMU's `-cpu`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Processor {
    /// The model with its features.
    pub(super) model: String,
    /// Why it has no AVX2, if it was left out.
    pub(super) withheld: Option<String>,
}

/// The processor for a machine run by `accel` with the program `qemu`, unless `wish` names one.
pub(super) fn choose(
    wish: Option<&str>,
    accel: Chosen,
    qemu: Option<&Path>,
    cache: &Cache,
) -> Processor {
    let as_asked = |model: &str| Processor {
        model: model.to_owned(),
        withheld: None,
    };
    match (wish, accel) {
        (Some(model), _) => as_asked(model),
        (None, Chosen::Kvm) => as_asked("host"),
        (None, Chosen::Tcg) => translated(qemu.and_then(|qemu| version(qemu, cache))),
    }
}

fn translated(version: Option<Version>) -> Processor {
    let name = match version {
        Some(version) if gathers_rightly(version) => {
            return Processor {
                model: "max".to_owned(),
                withheld: None,
            };
        }
        Some((major, minor, micro)) => format!("QEMU {major}.{minor}.{micro}"),
        None => "a QEMU of unknown version".to_owned(),
    };
    Processor {
        model: WITHOUT_AVX2.to_owned(),
        withheld: Some(format!(
            "the processor has no AVX2, because {name} translates its gather instructions wrongly; \
             QEMU 8.2.7, 9.0.3 and 9.1 do not, and --cpu max offers AVX2 all the same"
        )),
    }
}

/// The first releases with commit ac63755b2001 ("target/i386: Fix VSIB decode"): 9.1.0 and two stable ones.
fn gathers_rightly(version: Version) -> bool {
    match version {
        (8, 2, micro) => micro >= 7,
        (9, 0, micro) => micro >= 3,
        version => version >= (9, 1, 0),
    }
}

/// Asks the program `qemu`, once for as long as it stays the same: that takes some 30 ms.
fn version(qemu: &Path, cache: &Cache) -> Option<Version> {
    let meta = fs::metadata(qemu).ok()?;
    let state = format!(
        "{} {} {} {}",
        meta.ino(),
        meta.mtime(),
        meta.mtime_nsec(),
        meta.len()
    );
    let key = cache::key([qemu.as_os_str().as_bytes(), state.as_bytes()]);
    let record = cache.dir("versions").ok()?.join(key);
    let printed = match fs::read(&record) {
        Ok(printed) => printed,
        Err(_) => {
            let printed = tool::output(Command::new(qemu).arg("--version")).ok()?;
            // It is asked again next time if it cannot be kept.
            let _ = cache::write_atomically(&record, &printed);
            printed
        }
    };
    parse(&String::from_utf8_lossy(&printed))
}

/// Reads `QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)`.
fn parse(printed: &str) -> Option<Version> {
    let words = printed.split_once(" version ")?.1;
    let end = words
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(words.len());
    let mut numbers = words[..end].split('.').map(|number| number.parse().ok());
    Some((
        numbers.next()??,
        numbers.next()??,
        numbers.next().flatten().unwrap_or(0),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        let debian =
            "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\nCopyright (c) 2003\n";
        assert_eq!(parse(debian), Some((7, 2, 22)));
        assert_eq!(
            parse("QEMU emulator version 9.0.2-1.fc41\n"),
            Some((9, 0, 2))
        );
        assert_eq!(parse("QEMU emulator version 11.0"), Some((11, 0, 0)));
        assert_eq!(parse("QEMU emulator"), None);
    }

    #[test]
    fn releases_that_gather_rightly() {
        let right = [
            (8, 2, 7),
            (8, 2, 10),
            (9, 0, 3),
            (9, 1, 0),
            (10, 0, 2),
            (11, 1, 0),
        ];
        let wrong = [
            (7, 2, 0),
            (7, 2, 22),
            (8, 0, 5),
            (8, 1, 9),
            (8, 2, 6),
            (9, 0, 2),
        ];
        assert!(right.into_iter().all(gathers_rightly));
        assert!(!wrong.into_iter().any(gathers_rightly));
    }

    #[test]
    fn only_a_faulty_translator_goes_without_avx2() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().to_owned());
        let model = |wish, accel| choose(wish, accel, None, &cache).model;
        assert_eq!(model(None, Chosen::Kvm), "host");
        assert_eq!(model(Some("max"), Chosen::Tcg), "max");
        assert_eq!(translated(Some((10, 0, 2))).model, "max");
        for version in [Some((7, 2, 22)), None] {
            let processor = translated(version);
            assert!(processor.model.contains("avx2=off"));
            assert!(processor.withheld.is_some());
        }
    }

    #[test]
    fn a_new_qemu_is_asked_again() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().to_owned());
        let qemu = dir.path().join("qemu");
        for micro in [1, 22] {
            let text = format!("#!/bin/sh\necho QEMU emulator version 7.2.{micro}\n");
            fs::write(&qemu, text).unwrap();
            fs::set_permissions(&qemu, fs::Permissions::from_mode(0o755)).unwrap();
            for _ in 0..2 {
                assert_eq!(version(&qemu, &cache), Some((7, 2, micro)));
            }
        }
        assert_eq!(
            fs::read_dir(cache.dir("versions").unwrap())
                .unwrap()
                .count(),
            2
        );
    }
}
