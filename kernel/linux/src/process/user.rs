//! Which user the first program starts as: `elfin run --user`, looked up in passwd(5) and group(5) of the image.
use crate::credentials::{self, Capabilities, Credentials, Ids};
use crate::fs::{self, path::Start};
use abi::Errno;
use alloc::{format, string::String, sync::Arc, vec, vec::Vec};

/// Somebody a program can start as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// Its number.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
    /// Numbers of its other groups, ascending.
    pub groups: Vec<u32>,
    /// Its home directory, if it has one.
    pub home: Option<Vec<u8>>,
}

impl User {
    /// The one that `USER[:GROUP]` stands for, each a name or a number, and root if it is empty. As with docker, a
    /// number need not be known, and who names a group is in no other. The error is one clear line.
    pub fn find(wish: &str) -> Result<Self, String> {
        if wish.is_empty() {
            return Ok(Self {
                home: Some(b"/root".to_vec()),
                ..Self::default()
            });
        }
        let read = |path: &str| match contents(path.as_bytes()) {
            Ok(text) => Ok(text),
            Err(Errno::ENOENT) => Ok(Vec::new()),
            Err(error) => Err(format!("--user {wish}: {path}: {}", error.text())),
        };
        let (users, groups) = (read("/etc/passwd")?, read("/etc/group")?);
        Self::parse(wish, &users, &groups).map_err(|reason| format!("--user {wish}: {reason}"))
    }

    fn parse(wish: &str, users: &[u8], groups: &[u8]) -> Result<Self, String> {
        let (name, group) = match wish.split_once(':') {
            Some((name, group)) => (name, Some(group)),
            None => (wish, None),
        };
        let known = entries(users).find(|fields| is_named(fields, name));
        let mut user = match (&known, name.parse()) {
            (Some(fields), _) => Self {
                uid: number(fields, 2)?,
                gid: number(fields, 3)?,
                groups: Vec::new(),
                home: fields.get(5).map(|home| home.to_vec()),
            },
            (None, Ok(uid)) => Self {
                uid,
                ..Self::default()
            },
            (None, Err(_)) => {
                return Err(format!("no user {name} in /etc/passwd of the image"));
            }
        };
        if let Some(group) = group {
            let known = entries(groups).find(|fields| is_named(fields, group));
            user.gid = match (known, group.parse()) {
                (Some(fields), _) => number(&fields, 2)?,
                (None, Ok(gid)) => gid,
                (None, Err(_)) => {
                    return Err(format!("no group {group} in /etc/group of the image"));
                }
            };
        } else if let Some([login, ..]) = known.as_deref() {
            for fields in entries(groups) {
                let members = fields.get(3).copied().unwrap_or_default();
                if members.split(|&byte| byte == b',').any(|one| one == *login) {
                    user.groups.push(number(&fields, 2)?);
                }
            }
            user.groups.sort_unstable();
            user.groups.dedup();
        }
        Ok(user)
    }

    /// Has the calling thread be this user's.
    pub fn assume(&self) {
        credentials::set(self.credentials());
    }

    /// What a thread of that user's has to start with: capabilities are root's alone.
    fn credentials(&self) -> Credentials {
        let ids = |id| Ids {
            real: id,
            effective: id,
            saved: id,
            filesystem: id,
        };
        let root = Credentials::default();
        let none = Capabilities {
            effective: 0,
            permitted: 0,
            ..root.capabilities
        };
        Credentials {
            user: ids(self.uid),
            group: ids(self.gid),
            groups: Arc::new(self.groups.clone()),
            capabilities: if self.uid == 0 {
                root.capabilities
            } else {
                none
            },
            ..root
        }
    }
}

fn contents(path: &[u8]) -> Result<Vec<u8>, Errno> {
    let file = fs::open_read(&Start::root(), path)?;
    let size = usize::try_from(file.metadata()?.size).map_err(|_| Errno::EFBIG)?;
    let mut text = vec![0; size];
    fs::read_exact(&*file, 0, &mut text)?;
    Ok(text)
}

/// The lines of a file like passwd(5), as their fields.
fn entries(text: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    text.split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| line.split(|&byte| byte == b':').collect())
}

/// Whether an entry has this name or, as the third field, number.
fn is_named(fields: &[&[u8]], name: &str) -> bool {
    let name = name.as_bytes();
    fields.first() == Some(&name) || fields.get(2) == Some(&name)
}

fn number(fields: &[&[u8]], at: usize) -> Result<u32, String> {
    let text = fields
        .get(at)
        .copied()
        .and_then(|text| core::str::from_utf8(text).ok());
    text.and_then(|text| text.parse().ok()).ok_or_else(|| {
        let name = String::from_utf8_lossy(fields.first().copied().unwrap_or_default());
        format!(
            "the entry of {name} in the image has no number in field {}",
            at + 1
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n\n\
        postgres:x:101:104::/var/lib/postgresql:/bin/sh\nbad:x:y:1\n";
    const GROUPS: &[u8] =
        b"root:x:0:\nssl-cert:x:103:postgres\npostgres:x:104:\nadm:x:4:joe,postgres\n";

    fn find(wish: &str) -> Result<(u32, u32, Vec<u32>, String), String> {
        let user = User::parse(wish, USERS, GROUPS)?;
        let home = user.home.unwrap_or_default();
        Ok((
            user.uid,
            user.gid,
            user.groups,
            String::from_utf8_lossy(&home).into(),
        ))
    }

    #[test]
    fn names_and_numbers() {
        let home = || String::from("/var/lib/postgresql");
        for wish in ["postgres", "101"] {
            assert_eq!(find(wish), Ok((101, 104, vec![4, 103], home())));
        }
        assert_eq!(find("postgres:adm"), Ok((101, 4, vec![], home())));
        assert_eq!(find("101:7"), Ok((101, 7, vec![], home())));
        assert_eq!(find("1000"), Ok((1000, 0, vec![], String::new())));
        assert_eq!(find("1000:1001"), Ok((1000, 1001, vec![], String::new())));
    }

    #[test]
    fn what_is_not_there() {
        for (wish, word) in [
            ("joe", "no user joe"),
            ("0:joe", "no group joe"),
            ("bad", "field 3"),
            ("-1", "no user"),
        ] {
            assert!(find(wish).unwrap_err().contains(word), "{wish}");
        }
    }
}
