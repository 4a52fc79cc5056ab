//! What is mounted in the machine besides its root.

use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};

use crate::{data, volume};

/// A mount, as the kernel is told of it.
#[derive(Clone, Debug)]
pub(crate) struct Mount {
    /// Type of the file system.
    kind: &'static str,
    /// The device.
    source: String,
    /// As of mount(8).
    options: String,
    /// Absolute path in the machine.
    path: OsString,
    /// What of the host is mounted.
    host: Option<PathBuf>,
    /// Keeps other machines from a volume.
    lock: Option<Arc<File>>,
}

/// A volume's file that QEMU has as a disk.
pub(super) struct Disk {
    pub(super) name: String,
    pub(super) file: PathBuf,
    pub(super) read_only: bool,
}

/// A directory that QEMU serves by 9P.
pub(super) struct Share {
    pub(super) tag: String,
    pub(super) dir: PathBuf,
    pub(super) read_only: bool,
}

impl Mount {
    /// `PATH[:OPTIONS]`, the options as of `mount -t tmpfs -o`.
    pub(crate) fn parse_tmpfs(value: OsString) -> Result<Self, String> {
        let bytes = value.as_bytes();
        let colon = bytes.iter().rposition(|&byte| byte == b':');
        let (path, options) = match colon {
            Some(at) => (&bytes[..at], &bytes[at + 1..]),
            None => (bytes, &b""[..]),
        };
        let options = std::str::from_utf8(options).map_err(|_| "options are no text")?;
        for option in options.split(',').filter(|option| !option.is_empty()) {
            let name = option.split('=').next().unwrap_or(option);
            let known = ["size", "mode", "uid", "gid", "nr_blocks", "nr_inodes"];
            if !known.contains(&name) {
                return Err(format!("tmpfs has no option '{name}'"));
            }
        }
        Ok(Self {
            kind: "tmpfs",
            source: String::new(),
            options: options.to_owned(),
            path: absolute(path)?,
            host: None,
            lock: None,
        })
    }

    /// `HOST:GUEST[:OPTIONS]`, as docker has it.
    pub(crate) fn parse_volume(value: OsString) -> Result<Self, String> {
        let bytes = value.as_bytes();
        let expected = "expected HOST:GUEST, or HOST:GUEST:ro";
        let colon = bytes.windows(2).position(|pair| pair == b":/");
        let (host, rest) = bytes.split_at(colon.ok_or(expected)?);
        let mut parts = rest[1..].splitn(2, |&byte| byte == b':');
        let path = absolute(parts.next().unwrap_or_default())?;
        let options = std::str::from_utf8(parts.next().unwrap_or_default());
        let mut kept = Vec::new();
        for option in options.map_err(|_| expected)?.split(',') {
            match option {
                "ro" | "cached" => kept.push(option),
                // Everything else that docker takes is so anyhow.
                "" | "rw" | "consistent" | "delegated" | "z" | "Z" => (),
                _ => return Err(format!("a volume has no option '{option}'")),
            }
        }
        let name = std::str::from_utf8(host).is_ok_and(data::is_name);
        if !name && !host.starts_with(b"/") && !host.starts_with(b".") {
            return Err("the path on the host must begin with / or .".to_owned());
        }
        Ok(Self {
            kind: if name { "ext4" } else { "9p" },
            source: String::new(),
            options: kept.join(","),
            path,
            host: Some(OsStr::from_bytes(host).into()),
            lock: None,
        })
    }

    /// Finds what of the host is mounted, and makes the directory if it is missing.
    fn find(mut self, number: usize) -> Result<Self> {
        let Some(host) = &self.host else {
            return Ok(self);
        };
        let shown = host.display().to_string();
        if self.kind == "ext4" {
            let (path, file) = volume::take(&shown)?;
            self.source = format!("v{number}");
            self.host = Some(path);
            self.lock = Some(Arc::new(file));
            return Ok(self);
        }
        if !host.exists() {
            fs::create_dir_all(host).with_context(|| format!("cannot make {shown}"))?;
        }
        let path = host
            .canonicalize()
            .with_context(|| format!("cannot mount {shown}"))?;
        let mut add = |option: String| {
            if !self.options.is_empty() {
                self.options.push(',');
            }
            self.options += &option;
        };
        let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
        add(format!("owner={}.{}", user.as_raw(), group.as_raw()));
        let dir = if path.is_dir() {
            path
        } else {
            let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
                bail!("cannot mount {shown}: it is in no directory");
            };
            let mut hex = String::new();
            for byte in name.as_bytes() {
                write!(hex, "{byte:02x}").context("cannot format")?;
            }
            add(format!("file={hex}"));
            dir.to_owned()
        };
        fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))?;
        self.source = format!("v{number}");
        self.host = Some(dir);
        Ok(self)
    }

    fn is_read_only(&self) -> bool {
        self.options.split(',').any(|option| option == "ro")
    }

    /// What QEMU has to serve for it.
    pub(super) fn share(&self) -> Option<Share> {
        let dir = self.host.clone().filter(|_| self.kind == "9p")?;
        Some(Share {
            tag: self.source.clone(),
            dir,
            read_only: self.is_read_only(),
        })
    }

    /// The disk that QEMU needs for it.
    pub(super) fn disk(&self) -> Option<Disk> {
        let file = self.host.clone().filter(|_| self.kind == "ext4")?;
        Some(Disk {
            name: self.source.clone(),
            file,
            read_only: self.is_read_only(),
        })
    }

    /// The record for the kernel (docs/architecture.md).
    pub(super) fn record(&self) -> Vec<u8> {
        let head = format!("{}:{}:{}:", self.kind, self.source, self.options);
        [head.as_bytes(), self.path.as_bytes()].concat()
    }
}

/// All mounts of a run, of its `-v` and `--tmpfs`, upper directories before those in them.
pub(super) fn prepare(wishes: [&[Mount]; 2]) -> Result<Vec<Mount>> {
    let mut mounts = wishes.concat();
    mounts.sort_by_key(|mount| Path::new(&mount.path).components().count());
    let found = mounts.into_iter().enumerate();
    found.map(|(number, mount)| mount.find(number)).collect()
}

fn absolute(path: &[u8]) -> Result<OsString, String> {
    if !path.starts_with(b"/") {
        return Err("the path in the machine must be absolute".to_owned());
    }
    if path
        .split(|&byte| byte == b'/')
        .all(|name| name.is_empty() || name == b".")
    {
        return Err(
            "the path in the machine must not be /: the root comes by --image or --root".to_owned(),
        );
    }
    Ok(OsStr::from_bytes(path).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(text: &str) -> Result<String, String> {
        let mount = Mount::parse_tmpfs(text.into())?;
        Ok(String::from_utf8(mount.record()).expect("it was text"))
    }

    #[test]
    fn volumes() {
        let parse = |text: &str| Mount::parse_volume(text.into());
        let mount = parse("./a:b:/c:ro,cached").unwrap();
        assert_eq!(mount.host.as_deref(), Some(Path::new("./a:b")));
        assert_eq!(
            (mount.options.as_str(), mount.path),
            ("ro,cached", "/c".into())
        );
        assert!(parse("/a").unwrap_err().contains("HOST:GUEST"));
        assert!(parse("/a:/b:frozen").unwrap_err().contains("'frozen'"));
        assert!(parse("a/b:/c").unwrap_err().contains("begin with"));
        assert!(parse("/a:/./").unwrap_err().contains("must not be /"));
        let both = parse("/:/c:ro").unwrap().find(3).unwrap();
        let share = both.share().unwrap();
        assert_eq!((share.tag.as_str(), share.read_only), ("v3", true));
    }

    #[test]
    fn tmpfs() {
        assert_eq!(record("/a").unwrap(), "tmpfs:::/a");
        assert_eq!(
            record("/a:size=1M,mode=700").unwrap(),
            "tmpfs::size=1M,mode=700:/a"
        );
        assert!(record("a").is_err());
        assert!(record("/a:seize=1M").unwrap_err().contains("'seize'"));
    }
}
