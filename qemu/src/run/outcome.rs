//! What a machine's end means: the program's exit status, or one clear line about a failure.

use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use anyhow::{Result, bail};
use rustix::process::Signal;

use super::console::Ended;

/// QEMU's exit status after the kernel wrote 0x10 to isa-debug-exit: the program ended.
const QEMU_DONE: i32 = 33;

/// Our exit status when we have ended the machine: the program's end is as if SIGKILL had come.
const KILLED: u8 = 137;

/// The image of a machine, which is mapped as part of its memory: what is cut off the file is cut out of the machine.
pub(super) struct Image<'a> {
    pub(super) path: &'a Path,
    /// Its size when the machine started.
    pub(super) size: u64,
}

impl Image<'_> {
    /// The file's size now, if it is less.
    fn shrunk(&self) -> Option<u64> {
        let size = fs::metadata(self.path).ok()?.len();
        (size < self.size).then_some(size)
    }
}

/// The kernel's last word.
#[derive(Debug, PartialEq, Eq)]
enum LastWord<'a> {
    Status(u8),
    Signal(u8),
    Fatal(&'a str),
}

/// Turns the end of a machine into our exit status, or into the error to print.
pub(super) fn report(ended: &Ended, image: &Image, log_shown: bool) -> Result<u8> {
    match (ended.status.code(), last_word(&ended.log)) {
        (Some(QEMU_DONE), Some(LastWord::Status(status))) => {
            return match &ended.lost {
                // On Linux the program itself would have heard of it, when it wrote or closed the file.
                Some(error) if status == 0 => bail!("cannot write the program's output: {error}"),
                _ => Ok(status),
            };
        }
        // Whichever of the signals that it has got was the first to be seen there.
        (Some(QEMU_DONE), Some(LastWord::Signal(_))) if ended.killed => return Ok(KILLED),
        (Some(QEMU_DONE), Some(LastWord::Signal(signal))) => {
            return Ok(128u8.wrapping_add(signal));
        }
        (_, Some(LastWord::Fatal(text))) => {
            if is_panic(&ended.log) {
                show(&ended.log, log_shown);
            }
            bail!("{text}");
        }
        _ if ended.killed => return Ok(KILLED),
        _ => {}
    }
    if let Some(size) = image.shrunk() {
        bail!(
            "the image {} has shrunk from {} to {size} bytes while the machine ran; \
             replace an image by renaming a new one over it, as `elfin build` does",
            image.path.display(),
            image.size
        );
    }
    if ended.status.signal() == Some(Signal::BUS.as_raw()) {
        bail!(
            "this host had no memory for the machine, or could not read the image (QEMU: SIGBUS)"
        );
    }
    show(&ended.log, log_shown);
    let complaints = ended.complaints.trim();
    match ended.status.code() {
        Some(1) if !complaints.is_empty() => bail!("QEMU failed: {complaints}"),
        Some(0) => bail!("the virtual machine reset itself, which means that the kernel crashed"),
        Some(_) if !ended.log.trim().is_empty() || complaints.is_empty() => {
            bail!(
                "the kernel ended without saying how (QEMU: {})",
                ended.status
            )
        }
        _ => bail!("QEMU failed ({}): {complaints}", ended.status),
    }
}

/// Prints the kernel's log, unless it is on stderr already.
fn show(log: &str, shown: bool) {
    if !shown && !log.trim().is_empty() {
        let mut stderr = std::io::stderr().lock();
        let _ = stderr.write_all(log.trim_end().as_bytes());
        let _ = stderr.write_all(b"\n");
    }
}

fn is_panic(log: &str) -> bool {
    log.contains("panic")
}

/// Finds the last line of the log by which the kernel says how things ended.
fn last_word(log: &str) -> Option<LastWord<'_>> {
    log.lines().rev().find_map(|line| {
        let word = line.trim().strip_prefix("elfin: ")?;
        if let Some(text) = word.strip_prefix("fatal: ") {
            Some(LastWord::Fatal(text.trim()))
        } else if let Some(status) = word.strip_prefix("exit status=") {
            // The low eight bits are what a parent process would see on Linux.
            let status: i64 = status.parse().ok()?;
            Some(LastWord::Status(status.rem_euclid(256) as u8))
        } else {
            let signal = word.strip_prefix("exit signal=")?;
            Some(LastWord::Signal(signal.parse().ok()?))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::ExitStatus;

    /// The report of an end, of a machine whose image is as it was.
    fn report(ended: &Ended) -> Result<u8> {
        let path = Path::new("/dev/null");
        super::report(ended, &Image { path, size: 0 }, true)
    }

    fn end(code: i32, log: &str) -> Ended {
        Ended {
            status: ExitStatus::from_raw(code << 8),
            start: std::time::Instant::now(),
            record: None,
            log: log.to_owned(),
            complaints: String::new(),
            lost: None,
            killed: false,
            started: true,
        }
    }

    #[test]
    fn last_words() {
        assert_eq!(
            last_word("a\r\nelfin: exit status=3\r\n"),
            Some(LastWord::Status(3))
        );
        assert_eq!(
            last_word("elfin: exit signal=11\n"),
            Some(LastWord::Signal(11))
        );
        assert_eq!(
            last_word("elfin: exit status=0\nelfin: fatal: no memory\n"),
            Some(LastWord::Fatal("no memory"))
        );
        assert_eq!(last_word("elfin: exit status=\nnoise"), None);
    }

    #[test]
    fn statuses() {
        assert_eq!(report(&end(33, "elfin: exit status=7\n")).unwrap(), 7);
        assert_eq!(report(&end(33, "elfin: exit signal=11\n")).unwrap(), 139);
        let full = || Some(std::io::Error::from(std::io::ErrorKind::StorageFull));
        let lost = |status| Ended {
            lost: full(),
            ..end(33, &format!("elfin: exit status={status}\n"))
        };
        assert!(report(&lost(0)).is_err());
        assert_eq!(report(&lost(3)).unwrap(), 3);
        let killed = Ended {
            killed: true,
            ..end(0, "")
        };
        assert_eq!(report(&killed).unwrap(), 137);
        let killed = Ended {
            killed: true,
            ..end(33, "elfin: exit signal=2\n")
        };
        assert_eq!(report(&killed).unwrap(), 137);
    }

    #[test]
    fn a_shrunk_image_is_said() {
        let image = tempfile::NamedTempFile::new().unwrap();
        let bus = Ended {
            status: ExitStatus::from_raw(Signal::BUS.as_raw()),
            ..end(0, "")
        };
        let path = image.path();
        for (size, words) in [(7, "has shrunk from 7 to 0 bytes"), (0, "no memory")] {
            let error = super::report(&bus, &Image { path, size }, true).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn failures_are_one_line() {
        let error = report(&end(65, "x\nelfin: fatal: needs 64 MiB\n")).unwrap_err();
        assert_eq!(error.to_string(), "needs 64 MiB");
        let error = report(&end(0, "booting\n")).unwrap_err();
        assert!(error.to_string().contains("reset itself"));
        let broken = Ended {
            complaints: "bad option\n".to_owned(),
            ..end(1, "")
        };
        let error = report(&broken).unwrap_err();
        assert_eq!(error.to_string(), "QEMU failed: bad option");
        // A program's status without QEMU's agreement is not believed.
        assert!(report(&end(0, "elfin: exit status=0\n")).is_err());
    }
}
