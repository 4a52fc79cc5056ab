//! What is mounted in the machine besides its root.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// A mount, as the kernel is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Type of the file system.
    kind: &'static str,
    /// The device.
    source: String,
    /// As of mount(8).
    options: String,
    /// Absolute path in the machine.
    path: OsString,
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
        })
    }

    /// The record for the kernel (docs/architecture.md).
    pub(super) fn record(&self) -> Vec<u8> {
        let head = format!("{}:{}:{}:", self.kind, self.source, self.options);
        [head.as_bytes(), self.path.as_bytes()].concat()
    }
}

fn absolute(path: &[u8]) -> Result<OsString, String> {
    if path.starts_with(b"/") {
        Ok(OsStr::from_bytes(path).to_owned())
    } else {
        Err("the path in the machine must be absolute".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(text: &str) -> Result<String, String> {
        let mount = Mount::parse_tmpfs(text.into())?;
        Ok(String::from_utf8(mount.record()).expect("it was text"))
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
