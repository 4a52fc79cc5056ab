//! Walking paths: components, `..`, symbolic links, mounts, what bounds a walk, and whether the caller may search what
//! is on the way.
use super::{
    forget,
    mount::{self, Path, joined},
    permission::Searcher,
    tree::Kind,
};
use abi::Errno;
use alloc::{borrow::Cow, sync::Arc, vec::Vec};
use linux_raw_sys::general as linux;

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

bitflags::bitflags! {
    /// What openat2(2) bounds a walk by.
    #[derive(Clone, Copy, Default)]
    pub struct Resolve: u32 {
        /// No mount but the one it begins in.
        const NO_XDEV = linux::RESOLVE_NO_XDEV;
        /// No links of /proc that lead to what is open.
        const NO_MAGICLINKS = linux::RESOLVE_NO_MAGICLINKS;
        /// No symbolic links.
        const NO_SYMLINKS = linux::RESOLVE_NO_SYMLINKS;
        /// Nothing but what is below where it begins.
        const BENEATH = linux::RESOLVE_BENEATH;
        /// Where it begins is its root.
        const IN_ROOT = linux::RESOLVE_IN_ROOT;
        /// Only what is known without asking a disk. Nothing has to be asked long.
        const CACHED = linux::RESOLVE_CACHED;
    }
}

/// Where a walk begins, and what bounds it.
#[doc(alias = "nameidata")]
#[derive(Clone)]
pub struct Start {
    /// Where absolute paths begin, and whose `..` is itself.
    pub root: Path,
    /// Where relative ones begin.
    pub at: Path,
    /// What else bounds it.
    pub resolve: Resolve,
}

impl Start {
    /// The root of the namespace.
    pub fn root() -> Self {
        Self::new(mount::root().clone(), mount::root().clone())
    }

    /// At `at`, and bounded by `root` only.
    pub fn new(root: Path, at: Path) -> Self {
        let resolve = Resolve::empty();
        Self { root, at, resolve }
    }

    fn has(&self, flag: Resolve) -> bool {
        self.resolve.intersects(flag)
    }

    /// What absolute paths begin at, and `..` does not leave.
    fn bound(&self) -> &Path {
        if self.has(Resolve::BENEATH | Resolve::IN_ROOT) {
            &self.at
        } else {
            &self.root
        }
    }

    /// Where an absolute path begins that is met at `at`, or is the one to be walked.
    fn jump_to_root(&self, at: Option<&Path>) -> Result<Path, Errno> {
        let bound = self.bound();
        if self.has(Resolve::BENEATH) {
            return Err(Errno::EXDEV);
        }
        match at {
            Some(at) => self.crossed(at, bound.clone()),
            None => Ok(bound.clone()),
        }
    }

    /// The parent of `at`, which the bound is of itself.
    fn parent_of(&self, at: &Path) -> Result<Path, Errno> {
        if !at.is(self.bound()) {
            return self.crossed(at, at.parent()?);
        }
        if self.has(Resolve::BENEATH) {
            return Err(Errno::EXDEV);
        }
        Ok(at.clone())
    }

    /// `to`, if the walk may come there from `from`.
    fn crossed(&self, from: &Path, to: Path) -> Result<Path, Errno> {
        if self.has(Resolve::NO_XDEV) && !Arc::ptr_eq(&from.mount, &to.mount) {
            return Err(Errno::EXDEV);
        }
        Ok(to)
    }
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
    /// What the link says, of /proc, that led there past all names.
    pub jumped: Option<Vec<u8>>,
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
        self.path_below(mount::root())
    }

    /// The path as it is for who has this root.
    pub fn path_below(&self, root: &Path) -> Vec<u8> {
        if let Some(text) = &self.jumped {
            return text.clone();
        }
        if self.name.is_empty() {
            let text = |at: &Path| at.text_below(root).0;
            return self.node.as_ref().map_or_else(Vec::new, text);
        }
        joined(self.parent.text_below(root).0, &self.name)
    }
}

/// What a link of /proc to `node` says, without what it adds to the name of a file that has none any more.
fn name_of(text: &[u8], node: &Path) -> Vec<u8> {
    let gone = node.node.attributes.lock().nlink == 0;
    let name = text.strip_suffix(b" (deleted)").filter(|_| gone);
    name.unwrap_or(text).to_vec()
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

/// Walks `path` from `start`.
pub fn walk(start: &Start, path: &[u8], last: Last) -> Result<Target, Errno> {
    if path.is_empty() {
        return Err(Errno::ENOENT);
    }
    if path.len() >= MAX_PATH {
        return Err(Errno::ENAMETOOLONG);
    }
    forget::if_many();
    let mut rest = Cow::Borrowed(path);
    let mut pos = 0;
    let mut at = if path[0] == b'/' {
        start.jump_to_root(None)?
    } else {
        start.at.clone()
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
                jumped: None,
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
                at = start.parent_of(&at)?;
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
                jumped: None,
            });
        };
        let node = start.crossed(&at, node)?;
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
                    jumped: None,
                });
            }
            at = node;
            pos = next;
            continue;
        };
        links += 1;
        if links > MAX_LINKS || start.has(Resolve::NO_SYMLINKS) {
            return Err(Errno::ELOOP);
        }
        // A relative one, of /proc, is a link as any other.
        if matches!(node.node.kind, Kind::Magic(_)) && text.first() == Some(&b'/') || jump.is_some()
        {
            if start.has(Resolve::NO_MAGICLINKS) {
                return Err(Errno::ELOOP);
            }
            if start.has(Resolve::BENEATH | Resolve::IN_ROOT) {
                return Err(Errno::EXDEV);
            }
        }
        if let Some(jump) = jump {
            let jump = start.crossed(&at, jump)?;
            if is_last && !jump.node.is_directory() {
                return Ok(Target {
                    parent: at,
                    name: name.to_vec(),
                    must_be_directory,
                    nameless,
                    jumped: Some(name_of(&text, &jump)),
                    node: Some(jump),
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
            at = start.jump_to_root(Some(&at))?;
        }
        rest = Cow::Owned(joined);
        pos = 0;
    }
}

/// What `path` leads to from `start`, symbolic links followed.
pub fn lookup(start: &Start, path: &[u8]) -> Result<Path, Errno> {
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
