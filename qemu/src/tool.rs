//! Finding and running the host's own programs (QEMU, mkfs.erofs, apt), with errors that name the
//! Debian package to install.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Finds the program `name`, also where an ordinary user's PATH does not reach.
pub(crate) fn find(name: &str, package: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(system)
        .map(|dir| dir.join(name))
        .find(|file| is_executable(file))
        .with_context(|| format!("{name} is not installed: try `apt install {package}`"))
}

/// Whether `file` is a regular file somebody may execute.
pub(crate) fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Runs `command` to its end without input; returns its stdout. The error carries what it printed.
pub(crate) fn output(command: &mut Command) -> Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {name}"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let stdout = String::from_utf8_lossy(&output.stdout);
        let text = if stderr.trim().is_empty() {
            stdout
        } else {
            stderr
        };
        bail!("{name} failed ({}): {}", output.status, gist(&text));
    }
    Ok(output.stdout)
}

/// The lines of a failing program's output that say why, at most a dozen of them.
fn gist(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let errors: Vec<&str> = lines
        .iter()
        .copied()
        .filter(|line| line.starts_with("E:") || line.starts_with("ERROR"))
        .collect();
    let chosen = if errors.is_empty() { lines } else { errors };
    let skip = chosen.len().saturating_sub(12);
    chosen[skip..].join("\n  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tool_names_its_package() {
        let error = find("no-such-tool", "some-package").unwrap_err();
        assert!(error.to_string().contains("apt install some-package"));
    }

    #[test]
    fn failures_carry_the_reason() {
        let error = output(Command::new("sh").args(["-c", "echo noise; echo why >&2; exit 3"]))
            .unwrap_err();
        assert!(error.to_string().ends_with("why"), "{error}");
        assert_eq!(gist("Reading…\nE: no such package\n"), "E: no such package");
    }
}
