//! Unpacking Debian packages without dpkg's database and without root rights.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use filetime::FileTime;
use tar::{Archive, EntryType};

use crate::tool;
use crate::tree::Tree;

/// Puts the files of the package `deb` into `tree`.
pub(super) fn unpack(deb: &Path, tree: &Tree) -> Result<()> {
    let name = deb.file_name().unwrap_or(OsStr::new("")).display();
    with_member(deb, "--fsys-tarfile", |archive| {
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = entry.path()?.into_owned();
            let header = entry.header();
            let mode = header.mode()?;
            let time = FileTime::from_unix_time(i64::try_from(header.mtime()?)?, 0);
            let kind = header.entry_type();
            let link = entry.link_name_bytes().map(|bytes| bytes.into_owned());
            match (kind, link) {
                (EntryType::Directory, _) => tree.add_dir(&path, mode)?,
                (EntryType::Symlink, Some(target)) => {
                    tree.add_link(&path, Path::new(OsStr::from_bytes(&target)), time)?;
                }
                (EntryType::Link, Some(target)) => {
                    let target = tree.place(Path::new(OsStr::from_bytes(&target)))?;
                    let host = tree.place(&path)?;
                    tree.clear(&host)?;
                    fs::hard_link(&target, &host)
                        .with_context(|| format!("cannot link {}", path.display()))?;
                }
                (EntryType::Regular | EntryType::Continuous, _) => {
                    tree.add_file(&path, &mut entry, mode, time)?;
                }
                // No package of use here ships devices.
                _ => {}
            }
        }
        Ok(())
    })
    .with_context(|| format!("cannot unpack {name}"))
}

/// The script that dpkg would run after installing `deb`; empty if it has none.
pub(super) fn postinst(deb: &Path) -> Result<String> {
    let mut script = Vec::new();
    with_member(deb, "--ctrl-tarfile", |archive| {
        for entry in archive.entries()? {
            let mut entry = entry?;
            if entry.path()?.file_name() == Some(OsStr::new("postinst")) {
                entry.read_to_end(&mut script)?;
            }
        }
        Ok(())
    })
    .with_context(|| format!("cannot read {}", deb.display()))?;
    Ok(String::from_utf8_lossy(&script).into_owned())
}

/// Streams one of the two archives inside a package to `read`.
fn with_member(
    deb: &Path,
    member: &str,
    read: impl FnOnce(&mut Archive<ChildStdout>) -> Result<()>,
) -> Result<()> {
    let dpkg = tool::find("dpkg-deb", "dpkg")?;
    let mut child = Command::new(dpkg)
        .arg(member)
        .arg(deb)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start dpkg-deb")?;
    let Some(stdout) = child.stdout.take() else {
        bail!("dpkg-deb has no output");
    };
    let mut archive = Archive::new(stdout);
    let result = read(&mut archive);
    let mut stdout = archive.into_inner();
    if result.is_ok() {
        // The padding after the last entry, so that dpkg-deb does not see a closed pipe.
        std::io::copy(&mut stdout, &mut std::io::sink())?;
    }
    drop(stdout);
    finish(child, result)
}

fn finish(child: Child, result: Result<()>) -> Result<()> {
    let output = child.wait_with_output()?;
    result?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
