//! Where the file for a needed name is looked for (`ld.so(8)`).
//!
//! A name with a slash is a path. Otherwise, in this order: DT_RPATH of the object that needs it and of those that
//! brought it in (unless it has DT_RUNPATH), LD_LIBRARY_PATH, DT_RUNPATH of the object, the cache, the default
//! directories; the last two not for an object with DF_1_NODEFLIB. In every directory the glibc-hwcaps subdirectories
//! for this CPU come first (the `tls` and platform subdirectories of glibc before 2.37 are not looked for). `$ORIGIN`, `$LIB` and `$PLATFORM` are expanded.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use crate::arch;
use crate::elf::cache::Cache;
use crate::elf::header::{OtherMachine, other_machine};
use crate::error::Error;
use crate::host::{Errno, File, Host};
use crate::ld_debug::Category::Libs;
use crate::ld_debug::{In, say};
use crate::namespace::NamespaceId;
use crate::text::Text;

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

/// A file that was found.
pub(crate) struct Found {
    pub(crate) path: Vec<u8>,
    pub(crate) file: Box<dyn File>,
}

/// The search lists of one process.
#[derive(Default)]
pub(crate) struct Search {
    library_path: Vec<Vec<u8>>,
    /// `/etc/ld.so.cache`, read at the first need; empty when there is none.
    cache: Option<Vec<u8>>,
}

/// The directories an object names, expanded.
pub(crate) struct Directories {
    pub(crate) dirs: Vec<Vec<u8>>,
    /// `RPATH` or `RUNPATH`.
    pub(crate) tag: &'static str,
    /// The object, as messages call it.
    pub(crate) from: Vec<u8>,
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
    /// Makes the search of a process with this LD_LIBRARY_PATH.
    pub(crate) fn new(library_path: Option<&[u8]>, origin: &[u8]) -> Self {
        let library_path = library_path.map_or_else(Vec::new, |list| split(list, b":;", origin));
        Self {
            library_path,
            cache: None,
        }
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
    ) -> Result<Found, Error> {
        if name.contains(&b'/') {
            let path = expand(name, &wanted.origin);
            let file = host.open(&path).map_err(|errno| cannot_open(name, errno))?;
            return Ok(Found { path, file });
        }
        say(
            host,
            Libs,
            format_args!("find library={}; searching", In(name, namespace)),
        );
        let found = self.hunt(&mut Hunt::new(host, name), wanted);
        say(host, Libs, format_args!(""));
        found
    }

    /// Looks for a name without a slash.
    fn hunt(&mut self, hunt: &mut Hunt<'_>, wanted: &Wanted) -> Result<Found, Error> {
        for list in &wanted.rpath {
            if let Some(found) = hunt.in_directories(list)? {
                return Ok(found);
            }
        }
        if let Some(found) = hunt.in_list(&self.library_path, format_args!("LD_LIBRARY_PATH"))? {
            return Ok(found);
        }
        if let Some(list) = &wanted.runpath
            && let Some(found) = hunt.in_directories(list)?
        {
            return Ok(found);
        }
        if let Some(found) = self.in_cache(hunt.host, hunt.name)
            && !(wanted.nodeflib && DEFAULT.iter().any(|dir| is_below(&found.path, dir)))
        {
            return Ok(found);
        }
        if !wanted.nodeflib
            && let Some(found) = hunt.in_list(&DEFAULT, format_args!("system search path"))?
        {
            return Ok(found);
        }
        Err(hunt.failed())
    }

    fn in_cache(&mut self, host: &dyn Host, name: &[u8]) -> Option<Found> {
        say(host, Libs, format_args!(" search cache={CACHE}"));
        let bytes = self
            .cache
            .get_or_insert_with(|| read_file(host, CACHE.as_bytes()).unwrap_or_default());
        let levels = arch::hwcaps();
        let path = Cache::new(bytes)?.find(name, |level| {
            let from_best = levels.iter().position(|&known| known == level)?;
            u32::try_from(levels.len() - from_best).ok()
        })?;
        say(host, Libs, format_args!("  trying file={}", Text(path)));
        let file = host.open(path).ok()?;
        Some(Found {
            path: path.to_vec(),
            file,
        })
    }
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

/// The search for one name.
struct Hunt<'a> {
    host: &'a dyn Host,
    name: &'a [u8],
    /// Why the last file could not be opened.
    errno: Errno,
    /// A 32-bit object of that name was met.
    other_class: bool,
}

impl<'a> Hunt<'a> {
    fn new(host: &'a dyn Host, name: &'a [u8]) -> Self {
        Self {
            host,
            name,
            errno: Errno::ENOENT,
            other_class: false,
        }
    }

    /// Looks into directories. A directory in the place of the file ends the search. A file that cannot be had for
    /// other reasons than that it is not there, or that it is not for us, ends the list, as in ld.so.
    fn in_list(
        &mut self,
        dirs: &[impl AsRef<[u8]>],
        origin: fmt::Arguments<'_>,
    ) -> Result<Option<Found>, Error> {
        if !dirs.is_empty() {
            let line = format_args!(" search path={}\t\t({origin})", Searched(dirs));
            say(self.host, Libs, line);
        }
        for dir in dirs {
            for level in arch::hwcaps().iter().map(Some).chain([None]) {
                let path = match level {
                    Some(level) => self.path(&[dir.as_ref(), b"glibc-hwcaps", level]),
                    None => self.path(&[dir.as_ref()]),
                };
                say(
                    self.host,
                    Libs,
                    format_args!("  trying file={}", Text(&path)),
                );
                match self.host.open(&path) {
                    Ok(file) => match other_machine(&*file) {
                        None => return Ok(Some(Found { path, file })),
                        Some(OtherMachine::Class) => self.other_class = true,
                        Some(OtherMachine::Kind) => {}
                    },
                    Err(errno @ Errno::EISDIR) => return Err(cannot_open(&path, errno)),
                    Err(errno) => {
                        self.errno = errno;
                        if !matches!(errno, Errno::ENOENT | Errno::EACCES) {
                            return Ok(None);
                        }
                    }
                }
            }
        }
        Ok(None)
    }

    /// Looks into directories that an object names.
    fn in_directories(&mut self, list: &Directories) -> Result<Option<Found>, Error> {
        let (tag, from) = (list.tag, Text(&list.from));
        self.in_list(&list.dirs, format_args!("{tag} from file {from}"))
    }

    /// Joins directories and the name; an empty directory is the current one.
    fn path(&self, dirs: &[&[u8]]) -> Vec<u8> {
        let mut path = Vec::new();
        for dir in dirs.iter().filter(|dir| !dir.is_empty()) {
            path.extend_from_slice(dir);
            if !dir.ends_with(b"/") {
                path.push(b'/');
            }
        }
        path.extend_from_slice(self.name);
        path
    }

    fn failed(&self) -> Error {
        if self.other_class {
            let (object, what) = (self.name.to_vec(), "wrong ELF class: ELFCLASS32");
            return Error::Malformed { object, what };
        }
        cannot_open(self.name, self.errno)
    }
}

/// Displays directories, with the subdirectories of each that are searched before it.
struct Searched<'a, D>(&'a [D]);

impl<D: AsRef<[u8]>> fmt::Display for Searched<'_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for dir in self.0 {
            let dir = Text(dir.as_ref());
            for level in arch::hwcaps() {
                write!(f, "{separator}{dir}/glibc-hwcaps/{}", Text(level))?;
                separator = ":";
            }
            write!(f, "{separator}{dir}")?;
            separator = ":";
        }
        Ok(())
    }
}

fn cannot_open(name: &[u8], errno: Errno) -> Error {
    Error::CannotOpen {
        name: name.to_vec(),
        errno,
    }
}

/// Splits a DT_RPATH or DT_RUNPATH and expands its entries.
pub(crate) fn directories(list: &[u8], origin: &[u8]) -> Vec<Vec<u8>> {
    split(list, b":", origin)
}

/// Splits a list of directories. An empty entry is the current directory, but an empty list is no list. What has been
/// listed already is left out.
fn split(list: &[u8], separators: &[u8], origin: &[u8]) -> Vec<Vec<u8>> {
    let mut dirs = Vec::new();
    if list.is_empty() {
        return dirs;
    }
    for dir in list.split(|byte| separators.contains(byte)) {
        let mut dir = expand(dir, origin);
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
pub(crate) fn expand(path: &[u8], origin: &[u8]) -> Vec<u8> {
    let tokens: [(&[u8], &[u8]); 3] = [
        (b"ORIGIN", origin),
        (b"LIB", b"lib/x86_64-linux-gnu"),
        (b"PLATFORM", b"x86_64"),
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

    #[test]
    fn tokens_are_expanded() {
        assert_eq!(expand(b"$ORIGIN/../lib", b"/opt/x"), b"/opt/x/../lib");
        assert_eq!(expand(b"/a/${LIB}/b", b""), b"/a/lib/x86_64-linux-gnu/b");
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
