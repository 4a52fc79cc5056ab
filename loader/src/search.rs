//! Where the file for a needed name is looked for (`ld.so(8)`).
//!
//! A name with a slash is a path. Otherwise, in this order: DT_RPATH of the object that needs it and of those that
//! brought it in (unless it has DT_RUNPATH), LD_LIBRARY_PATH, DT_RUNPATH of the object, the cache, the default
//! directories; the last two not for an object with DF_1_NODEFLIB. In every directory the subdirectories
//! for this CPU come first ([`crate::hwcaps`]); those that are not there are asked for once. `$ORIGIN`, `$LIB` and
//! `$PLATFORM` are expanded; what `$ORIGIN` stands for is not trusted in a program with more rights than its user has
//! (`AT_SECURE`), as who puts it where it is may be somebody else.

use alloc::vec;
use alloc::vec::Vec;

use crate::audit::{Ear, Source};
use crate::elf::cache::Cache;
use crate::error::Error;
use crate::host::Host;
pub(crate) use crate::hunt::{Directories, Found};
use crate::hunt::{Hunt, Known, cannot_open, renamed};
use crate::hwcaps::{Hwcaps, PLATFORM};
use crate::namespace::NamespaceId;
use crate::observer::{Step, tell};
use crate::text::In;

/// Debian's directories first, then those of distributions with `lib64`.
const DEFAULT: [&[u8]; 6] = [
    b"/lib/x86_64-linux-gnu",
    b"/usr/lib/x86_64-linux-gnu",
    b"/lib64",
    b"/usr/lib64",
    b"/lib",
    b"/usr/lib",
];

/// What `ldconfig` makes.
const CACHE: &str = "/etc/ld.so.cache";

/// The search lists of one process.
#[derive(Default)]
pub(crate) struct Search {
    library_path: Vec<Vec<u8>>,
    /// `/etc/ld.so.cache`, read at the first need; empty when there is none.
    cache: Option<Vec<u8>>,
    hwcaps: Hwcaps,
    known: Known,
    is_secure: bool,
}

/// What tokens stand for in an object's lists.
#[derive(Clone, Copy)]
pub(crate) struct Tokens<'a> {
    /// The directory it was loaded from.
    origin: &'a [u8],
    platform: &'a [u8],
    /// The program has more rights than its user.
    is_secure: bool,
    /// It is the program itself.
    is_main: bool,
}

impl<'a> Tokens<'a> {
    /// Those of an object, the program or another one, once it is known what the program's search is.
    pub(crate) fn new(search: Option<&'a Search>, origin: &'a [u8], is_main: bool) -> Self {
        Self {
            origin,
            platform: search.map_or(PLATFORM, Search::platform),
            is_secure: search.is_some_and(|search| search.is_secure),
            is_main,
        }
    }
}

impl Tokens<'_> {
    /// Expands a path; `None` if it may not be.
    #[doc(alias = "_dl_dst_substitute")]
    pub(crate) fn expand(self, path: &[u8]) -> Option<Vec<u8>> {
        let expanded = expand(path, self.origin, self.platform);
        // A copy without it differs if there is one.
        if !self.is_secure || expanded == expand(path, b"$ORIGIN", self.platform) {
            return Some(expanded);
        }
        let behind = path
            .strip_prefix(b"$")
            .map(|rest| after_token(rest, b"ORIGIN"));
        let is_first = matches!(behind.flatten(), Some([] | [b'/', ..]));
        let is_trusted = || DEFAULT.iter().any(|dir| is_within(&expanded, dir));
        (is_first && (!self.is_main || is_trusted())).then_some(expanded)
    }
}

/// The search lists of the object that needs something.
#[derive(Default)]
pub(crate) struct Wanted {
    /// DT_RPATH of the object and of those that brought it in, nearest first.
    pub(crate) rpath: Vec<Directories>,
    /// DT_RUNPATH of the object.
    pub(crate) runpath: Option<Directories>,
    /// What `$ORIGIN` stands for in the name.
    pub(crate) origin: Vec<u8>,
    /// DF_1_NODEFLIB: the system's directories are not searched.
    pub(crate) nodeflib: bool,
}

impl Search {
    /// Makes the search of a process with this LD_LIBRARY_PATH, on a CPU with these subdirectories.
    pub(crate) fn new(
        library_path: Option<&[u8]>,
        origin: &[u8],
        hwcaps: Hwcaps,
        is_secure: bool,
    ) -> Self {
        let expand = |dir: &[u8]| Some(expand(dir, origin, hwcaps.platform()));
        let split = |list| split(list, b":;", expand);
        Self {
            library_path: library_path.map_or_else(Vec::new, split),
            hwcaps,
            is_secure,
            ..Self::default()
        }
    }

    /// Returns what `$PLATFORM` stands for.
    fn platform(&self) -> &[u8] {
        self.hwcaps.platform()
    }

    /// Returns the directories a name is looked for in, in order; the cache, which comes before the last, is none.
    pub(crate) fn directories(&self, wanted: &Wanted) -> Vec<Vec<u8>> {
        let default = DEFAULT.iter().filter(|_| !wanted.nodeflib);
        let listed = wanted.rpath.iter().flat_map(|list| &list.dirs);
        let listed = listed
            .chain(&self.library_path)
            .chain(wanted.runpath.iter().flat_map(|list| &list.dirs))
            .cloned();
        let all = listed.chain(default.map(|dir| dir.to_vec()));
        // An empty entry in a list means the current directory.
        all.map(|dir| if dir.is_empty() { b".".to_vec() } else { dir })
            .collect()
    }

    /// Opens the file for a name.
    pub(crate) fn find(
        &mut self,
        host: &dyn Host,
        (name, namespace): (&[u8], NamespaceId),
        wanted: &Wanted,
        ear: Option<Ear<'_>>,
    ) -> Result<Found, Error> {
        if name.contains(&b'/') {
            let path = expand(name, &wanted.origin, self.platform());
            let file = host.open(&path).map_err(|errno| cannot_open(name, errno))?;
            return Ok(Found { path, file });
        }
        tell(host, &Step::Searching(In(name, namespace)));
        let found = self.hunt(host, name, wanted, ear);
        tell(host, &Step::Searched);
        found
    }

    /// Looks for a name without a slash.
    fn hunt(
        &mut self,
        host: &dyn Host,
        name: &[u8],
        wanted: &Wanted,
        ear: Option<Ear<'_>>,
    ) -> Result<Found, Error> {
        let subdirectories = self.hwcaps.subdirectories();
        let mut hunt = Hunt::new(host, name, subdirectories, &mut self.known, ear);
        for list in &wanted.rpath {
            if let Some(found) = hunt.in_directories(list)? {
                return Ok(found);
            }
        }
        let origin = format_args!("LD_LIBRARY_PATH");
        if let Some(found) = hunt.in_list(&self.library_path, origin, Source::LibraryPath)? {
            return Ok(found);
        }
        if let Some(list) = &wanted.runpath
            && let Some(found) = hunt.in_directories(list)?
        {
            return Ok(found);
        }
        let cache = &mut self.cache;
        if let Some(found) = in_cache(cache, host, name, &self.hwcaps, ear)
            && !(wanted.nodeflib && DEFAULT.iter().any(|dir| is_below(&found.path, dir)))
        {
            return Ok(found);
        }
        let origin = format_args!("system search path");
        if !wanted.nodeflib
            && let Some(found) = hunt.in_list(&DEFAULT, origin, Source::Default)?
        {
            return Ok(found);
        }
        Err(hunt.failed())
    }
}

/// Looks into the cache, which is read at the first need.
fn in_cache(
    cache: &mut Option<Vec<u8>>,
    host: &dyn Host,
    name: &[u8],
    hwcaps: &Hwcaps,
    ear: Option<Ear<'_>>,
) -> Option<Found> {
    tell(host, &Step::SearchingCache(CACHE));
    let read = || read_file(host, CACHE.as_bytes()).unwrap_or_default();
    let (rank, admits) = (
        |level: &[u8]| hwcaps.rank(level),
        |bits| hwcaps.admits(bits),
    );
    let path = Cache::new(cache.get_or_insert_with(read))?.find(name, rank, admits)?;
    tell(host, &Step::Trying(path));
    let file = host.open(&renamed(ear, path, Source::Cache)?).ok()?;
    Some(Found {
        path: path.to_vec(),
        file,
    })
}

/// Reads a file of the system's configuration; `None` if there is none, or it is absurdly large.
pub(crate) fn read_file(host: &dyn Host, path: &[u8]) -> Option<Vec<u8>> {
    let file = host.open(path).ok()?;
    let size = usize::try_from(file.size())
        .ok()
        .filter(|&size| size < 64 << 20)?;
    let mut bytes = vec![0; size];
    file.read_exact_at(0, &mut bytes).ok()?;
    Some(bytes)
}

/// Says whether a path leads into a directory or further down.
fn is_below(path: &[u8], dir: &[u8]) -> bool {
    path.strip_prefix(dir)
        .is_some_and(|rest| rest.starts_with(b"/"))
}

/// Says whether a path without symbolic links, `.` and `..` would be a directory, or lies in it.
fn is_within(path: &[u8], dir: &[u8]) -> bool {
    let mut parts = Vec::new();
    for part in path.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let wanted = dir
        .split(|&byte| byte == b'/')
        .filter(|part| !part.is_empty());
    let mut parts = parts.into_iter();
    path.starts_with(b"/") && wanted.into_iter().all(|part| parts.next() == Some(part))
}

/// Splits a DT_RPATH or DT_RUNPATH and expands its entries.
pub(crate) fn directories(list: &[u8], tokens: Tokens<'_>) -> Vec<Vec<u8>> {
    split(list, b":", |dir| tokens.expand(dir))
}

/// Splits a list of directories. An empty entry is the current directory, but an empty list is no list. What has been
/// listed already is left out, and what cannot be expanded.
fn split(
    list: &[u8],
    separators: &[u8],
    expand: impl Fn(&[u8]) -> Option<Vec<u8>>,
) -> Vec<Vec<u8>> {
    let mut dirs = Vec::new();
    if list.is_empty() {
        return dirs;
    }
    let listed = list.split(|byte| separators.contains(byte));
    for mut dir in listed.filter_map(expand) {
        while dir.len() > 1 && dir.ends_with(b"/") {
            dir.pop();
        }
        if !dirs.contains(&dir) {
            dirs.push(dir);
        }
    }
    dirs
}

/// Replaces the dynamic string tokens in a path. A token is a whole word: `$ORIGINAL` is none, `${ORIGIN}AL` has one.
pub(crate) fn expand(path: &[u8], origin: &[u8], platform: &[u8]) -> Vec<u8> {
    let tokens: [(&[u8], &[u8]); 3] = [
        (b"ORIGIN", origin),
        (b"LIB", b"lib/x86_64-linux-gnu"),
        (b"PLATFORM", platform),
    ];
    let mut expanded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, behind)) = rest.split_first() {
        let token = tokens.iter().find_map(|&(token, value)| {
            let after = after_token(behind, token).filter(|_| byte == b'$')?;
            Some((value, after))
        });
        if let Some((value, after)) = token {
            expanded.extend_from_slice(value);
            rest = after;
        } else {
            expanded.push(byte);
            rest = behind;
        }
    }
    expanded
}

/// Returns what follows `NAME` or `{NAME}`, if one of them is what comes next.
fn after_token<'a>(text: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    if let Some(braced) = text.strip_prefix(b"{") {
        return braced.strip_prefix(name)?.strip_prefix(b"}");
    }
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let after = text.strip_prefix(name)?;
    (!after.first().is_some_and(is_word)).then_some(after)
}

/// Returns the directory part of a path: what `$ORIGIN` stands for.
pub(crate) fn directory_of(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(0) => b"/",
        Some(at) => path.get(..at).unwrap_or(b"."),
        None => b".",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(path: &[u8], origin: &[u8]) -> Vec<u8> {
        super::expand(path, origin, b"haswell")
    }

    fn directories(list: &[u8], origin: &[u8]) -> Vec<Vec<u8>> {
        super::directories(list, Tokens::new(None, origin, true))
    }

    #[test]
    fn the_origin_of_a_program_with_more_rights_is_not_trusted() {
        let search = Search::new(None, b"", Hwcaps::default(), true);
        let at = |list: &[u8], origin: &[u8], is_main| {
            super::directories(list, Tokens::new(Some(&search), origin, is_main))
        };
        let none: [&[u8]; 0] = [];
        assert_eq!(at(b"$ORIGIN/../lib", b"/home/joe", true), none);
        assert_eq!(
            at(b"$ORIGIN/../lib", b"/usr/bin", true),
            [b"/usr/bin/../lib"]
        );
        assert_eq!(at(b"/a$ORIGIN:/b", b"/usr/lib", true), [b"/b"]);
        // A library has been found already.
        assert_eq!(at(b"x${ORIGIN}:${ORIGIN}/x", b"/a", false), [b"/a/x"]);
    }

    #[test]
    fn tokens_are_expanded() {
        assert_eq!(expand(b"$ORIGIN/../lib", b"/opt/x"), b"/opt/x/../lib");
        assert_eq!(expand(b"/a/${LIB}/b", b""), b"/a/lib/x86_64-linux-gnu/b");
        assert_eq!(expand(b"/a/$PLATFORM", b""), b"/a/haswell");
        assert_eq!(expand(b"$ORIGIN$ORIGIN-x", b"/a"), b"/a/a-x");
    }

    #[test]
    fn a_token_is_a_whole_word() {
        for no_token in [
            &b"$ORIGINAL"[..],
            b"$ORIGIN_",
            b"$ORIGIN2",
            b"${ORIGIN",
            b"${ORIGIN x}",
            b"ORIGIN",
            b"$",
            b"$$",
            b"$LIBS",
        ] {
            assert_eq!(expand(no_token, b"/a"), no_token);
        }
        assert_eq!(expand(b"${ORIGIN}AL", b"/a"), b"/aAL");
    }

    #[test]
    fn an_empty_entry_is_the_current_directory_and_an_empty_list_is_none() {
        assert_eq!(directories(b"", b"/a"), [b""; 0]);
        assert_eq!(
            directories(b"$ORIGIN/::/b//", b"/a"),
            [&b"/a"[..], b"", b"/b"]
        );
        assert_eq!(directories(b"/", b"/a"), [b"/"]);
    }

    #[test]
    fn a_directory_is_listed_once() {
        assert_eq!(
            directories(b"/b:$ORIGIN:/b/::/a:", b"/a"),
            [&b"/b"[..], b"/a", b""]
        );
    }

    #[test]
    fn the_directory_of_a_path() {
        assert_eq!(directory_of(b"/usr/bin/x"), b"/usr/bin");
        assert_eq!(directory_of(b"/x"), b"/");
        assert_eq!(directory_of(b"x"), b".");
    }
}
