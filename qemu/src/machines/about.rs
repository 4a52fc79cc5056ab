//! What a machine is, for who asks later: the file `about` in its directory, `key=value` with a zero byte after each.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// What is known of a machine from its start on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) name: Option<String>,
    /// Seconds since 1970.
    pub(crate) created: u64,
    /// Nobody sees its output but by `elfin logs`.
    pub(crate) detached: bool,
    /// The image, or the directory that is its root.
    pub(crate) image: OsString,
    /// Ports, as the command line has them.
    pub(crate) ports: Vec<String>,
    /// The program and its arguments.
    pub(crate) command: Vec<OsString>,
}

impl About {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut record = |key: &str, value: &[u8]| {
            bytes.extend_from_slice(key.as_bytes());
            bytes.push(b'=');
            bytes.extend_from_slice(value);
            bytes.push(0);
        };
        if let Some(name) = &self.name {
            record("name", name.as_bytes());
        }
        record("created", self.created.to_string().as_bytes());
        record("detached", self.detached.to_string().as_bytes());
        record("image", self.image.as_bytes());
        for port in &self.ports {
            record("port", port.as_bytes());
        }
        for argument in &self.command {
            record("arg", argument.as_bytes());
        }
        bytes
    }

    /// `None` if the bytes are none of those that [`About::to_bytes`] makes.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut about = Self::default();
        for record in bytes.strip_suffix(b"\0")?.split(|&byte| byte == 0) {
            let at = record.iter().position(|&byte| byte == b'=')?;
            let value = OsStr::from_bytes(&record[at + 1..]);
            match &record[..at] {
                b"name" => about.name = Some(value.to_str()?.to_owned()),
                b"created" => about.created = value.to_str()?.parse().ok()?,
                b"detached" => about.detached = value == "true",
                b"image" => about.image = value.to_owned(),
                b"port" => about.ports.push(value.to_str()?.to_owned()),
                b"arg" => about
                    .command
                    .push(OsString::from_vec(value.as_bytes().to_vec())),
                _ => {}
            }
        }
        Some(about)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_written() {
        let about = About {
            name: Some("db".to_owned()),
            created: 7,
            detached: true,
            image: "a=b.img".into(),
            ports: vec!["80:8080".to_owned(), "53:53/udp".to_owned()],
            command: ["sh", "-c", "x=1\n", ""].map(OsString::from).to_vec(),
        };
        assert_eq!(About::from_bytes(&about.to_bytes()), Some(about));
        assert_eq!(About::from_bytes(b""), None);
        assert_eq!(About::from_bytes(b"created=x\0"), None);
    }
}
