//! Walking paths: components, `..`, symbolic links, mounts, and whether the caller may search what is on the way.
use super::{
    mount::{self, Path, joined},
    permission::Searcher,
    tree::Kind,
};
use abi::Errno;
use alloc::{borrow::Cow, vec::Vec};

const MAX_LINKS: usize = 40;
const MAX_NAME: usize = 255;
/// `PATH_MAX`, with the NUL.
pub const MAX_PATH: usize = 4096;

/// Whether a symbolic link at the end of a path is followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Last {
    /// stat, open
    Follow,
    /// lstat, unlink, `O_NOFOLLOW`
    Keep,
}

/// Where a path leads.
pub struct Target {
    /// The directory that has the last name.
    pub parent: Path,
    /// The last name; empty when the path ends in `.`, `..` or is the root.
    pub name: Vec<u8>,
    /// What is there.
    pub node: Option<Path>,
    /// The path ends in a slash.
    pub must_be_directory: bool,
    /// What rmdir(2) says when `name` is empty.
    pub nameless: Errno,
}

impl Target {
    /// What is there; `ENOENT`.
    pub fn found(&self) -> Result<&Path, Errno> {
        let node = self.node.as_ref().ok_or(Errno::ENOENT)?;
        if self.must_be_directory && !node.node.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        Ok(node)
    }

    /// Absolute path.
    pub fn path(&self) -> Vec<u8> {
        if self.name.is_empty() {
            return self.node.as_ref().map_or_else(Vec::new, Path::text);
        }
        joined(self.parent.text(), &self.name)
    }
}

/// The first component of a path without leading slashes, and the rest after it.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let end = path
        .iter()
        .position(|&byte| byte == b'/')
        .unwrap_or(path.len());
    path.split_at(end)
}

fn trim(path: &[u8]) -> &[u8] {
    let start = path
        .iter()
        .position(|&byte| byte != b'/')
        .unwrap_or(path.len());
    &path[start..]
}

/// Walks `path` from `start` (for relative ones).
pub fn walk(start: &Path, path: &[u8], last: Last) -> Result<Target, Errno> {
    if path.is_empty() {
        return Err(Errno::ENOENT);
    }
    if path.len() >= MAX_PATH {
        return Err(Errno::ENAMETOOLONG);
    }
    let mut rest = Cow::Borrowed(path);
    let mut pos = 0;
    let mut at = if path[0] == b'/' {
        mount::root().clone()
    } else {
        start.clone()
    };
    let searcher = Searcher::current();
    let mut links = 0;
    let mut nameless = Errno::EBUSY;
    loop {
        let left = trim(&rest[pos..]);
        let (name, after) = split(left);
        if name.is_empty() {
            if !at.node.is_directory() {
                return Err(Errno::ENOTDIR);
            }
            return Ok(Target {
                parent: at.parent()?,
                name: Vec::new(),
                node: Some(at),
                must_be_directory: true,
                nameless,
            });
        }
        let next = rest.len() - after.len();
        if !at.node.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        searcher.check(&at.node)?;
        match name {
            b"." => {
                nameless = Errno::EINVAL;
                pos = next;
                continue;
            }
            b".." => {
                nameless = Errno::ENOTEMPTY;
                at = at.parent()?;
                pos = next;
                continue;
            }
            _ if name.len() > MAX_NAME => return Err(Errno::ENAMETOOLONG),
            _ => (),
        }
        let is_last = trim(after).is_empty();
        let must_be_directory = is_last && !after.is_empty();
        let Some(node) = at.child(name)? else {
            if !is_last {
                return Err(Errno::ENOENT);
            }
            return Ok(Target {
                parent: at,
                name: name.to_vec(),
                node: None,
                must_be_directory,
                nameless,
            });
        };
        let link = if is_last && last == Last::Keep && !must_be_directory {
            None
        } else {
            match &node.node.kind {
                Kind::Symlink(target) => Some((Cow::Borrowed(&**target), None)),
                Kind::Magic(jump) => {
                    let jump = jump()?;
                    Some((Cow::Owned(jump.text), jump.node))
                }
                _ => None,
            }
        };
        let Some((text, jump)) = link else {
            if is_last {
                return Ok(Target {
                    parent: at,
                    name: name.to_vec(),
                    node: Some(node),
                    must_be_directory,
                    nameless,
                });
            }
            at = node;
            pos = next;
            continue;
        };
        links += 1;
        if links > MAX_LINKS {
            return Err(Errno::ELOOP);
        }
        if let Some(jump) = jump {
            if is_last && !jump.node.is_directory() {
                return Ok(Target {
                    parent: at,
                    name: name.to_vec(),
                    node: Some(jump),
                    must_be_directory,
                    nameless,
                });
            }
            at = jump;
            pos = next;
            nameless = Errno::EBUSY;
            continue;
        }
        let mut joined = text.to_vec();
        joined.extend_from_slice(after);
        if joined.len() >= 2 * MAX_PATH {
            return Err(Errno::ENAMETOOLONG);
        }
        if joined.first() == Some(&b'/') {
            at = mount::root().clone();
        }
        rest = Cow::Owned(joined);
        pos = 0;
    }
}

/// What `path` leads to from `start`, symbolic links followed.
pub fn lookup(start: &Path, path: &[u8]) -> Result<Path, Errno> {
    let target = walk(start, path, Last::Follow)?;
    target.found().cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components() {
        assert_eq!(split(b"usr//lib/"), (&b"usr"[..], &b"//lib/"[..]));
        assert_eq!(trim(b"//lib/"), b"lib/");
        assert_eq!(split(trim(b"//")), (&b""[..], &b""[..]));
        assert_eq!(split(b"a"), (&b"a"[..], &b""[..]));
    }
}
