//! What a root needs beyond its layers: a few files in /etc that programs expect, and dates that
//! do not depend on when the image was built.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use anyhow::Result;
use filetime::FileTime;
use walkdir::WalkDir;

use crate::tree::Tree;

/// Files that every root has, unless a layer brings its own.
const ETC: [(&str, &str); 7] = [
    (
        "/etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    ),
    ("/etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    ("/etc/hostname", "elfin\n"),
    (
        "/etc/hosts",
        "127.0.0.1\tlocalhost elfin\n::1\tlocalhost ip6-localhost ip6-loopback\n",
    ),
    (
        "/etc/nsswitch.conf",
        "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\nprotocols: files\n",
    ),
    ("/etc/resolv.conf", ""),
    ("/etc/host.conf", "multi on\n"),
];

/// Adds the directories and files of /etc that are still missing.
pub(super) fn etc(tree: &Tree) -> Result<()> {
    tree.add_places()?;
    for (path, text) in ETC {
        let path = Path::new(path);
        if fs::symlink_metadata(tree.place(path)?).is_err() {
            tree.add_file(path, &mut text.as_bytes(), 0o644, FileTime::zero())?;
        }
    }
    let localtime = Path::new("/etc/localtime");
    let utc = Path::new("/usr/share/zoneinfo/Etc/UTC");
    if tree.resolve(utc).is_some() && fs::symlink_metadata(tree.place(localtime)?).is_err() {
        tree.add_link(localtime, utc, FileTime::zero())?;
    }
    Ok(())
}

/// What tells of the installation rather than of the system.
const TRACES: [&str; 6] = [
    "/var/log/alternatives.log",
    "/var/log/dpkg.log",
    "/var/cache/ldconfig/aux-cache",
    "/var/cache/debconf/config.dat-old",
    "/var/cache/debconf/templates.dat-old",
    "/var/lib/dpkg/status-old",
];

/// Removes what the installation of packages has left behind for the next one.
pub(super) fn traces(tree: &Tree) -> Result<()> {
    for path in TRACES {
        if let Some(host) = tree.resolve(Path::new(path)) {
            fs::remove_file(host)?;
        }
    }
    Ok(())
}

/// Dates directories, and files made since the build started at `start`, by the newest of the other files: their true
/// dates are those of the build.
pub(super) fn dates(tree: &Tree, start: SystemTime) -> Result<()> {
    let mut newest = SystemTime::UNIX_EPOCH;
    let mut made = Vec::new();
    for entry in WalkDir::new(tree.root()) {
        let entry = entry?;
        let modified = entry.metadata()?.modified()?;
        if entry.file_type().is_dir() || modified >= start {
            made.push(entry.into_path());
        } else {
            newest = newest.max(modified);
        }
    }
    for path in made {
        filetime::set_symlink_file_times(path, newest.into(), newest.into())?;
    }
    Ok(())
}
