//! Where the file for a needed name is looked for (`ld.so(8)`).
//!
//! A name with a slash is a path. Otherwise, in this order: DT_RPATH of the object that needs it and of those that
//! brought it in (unless it has DT_RUNPATH), LD_LIBRARY_PATH, DT_RUNPATH of the object, the cache, the default
//! directories. `$ORIGIN`, `$LIB` and `$PLATFORM` are expanded.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use crate::arch;
use crate::elf::cache::Cache;
use crate::elf::header::is_for_another_machine;
use crate::error::Error;
use crate::host::{Errno, File, Host};

/// Debian's directories first, then those of distributions with `lib64`.
const DEFAULT: [&[u8]; 6] = [
    b"/lib/x86_64-linux-gnu",
    b"/usr/lib/x86_64-linux-gnu",
    b"/lib64",
    b"/usr/lib64",
    b"/lib",
    b"/usr/lib",
];

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

/// The search lists of the object that needs something, nearest first.
#[derive(Default)]
pub(crate) struct Wanted {
    /// DT_RPATH directories, expanded.
    pub(crate) rpath: Vec<Vec<u8>>,
    /// DT_RUNPATH directories, expanded.
    pub(crate) runpath: Vec<Vec<u8>>,
}

impl Search {
    /// Makes the search of a process with this LD_LIBRARY_PATH.
    pub(crate) fn new(library_path: Option<&[u8]>, origin: &[u8]) -> Self {
        let library_path = library_path.map_or_else(Vec::new, |list| {
            list.split(|&byte| byte == b':' || byte == b';')
                .map(|dir| expand(dir, origin))
                .collect()
        });
        Self {
            library_path,
            cache: None,
        }
    }

    /// Opens the file for a name.
    pub(crate) fn find(
        &mut self,
        host: &dyn Host,
        name: &[u8],
        wanted: &Wanted,
    ) -> Result<Found, Error> {
        if name.contains(&b'/') {
            let file = host.open(name).map_err(|errno| cannot_open(name, errno))?;
            return Ok(Found {
                path: name.to_vec(),
                file,
            });
        }
        for dir in &wanted.rpath {
            if let Some(found) = in_directory(host, dir, name) {
                return Ok(found);
            }
        }
        for dir in self.library_path.iter().chain(&wanted.runpath) {
            if let Some(found) = in_directory_or_hwcaps(host, dir, name) {
                return Ok(found);
            }
        }
        if let Some(found) = self.in_cache(host, name) {
            return Ok(found);
        }
        for dir in DEFAULT {
            if let Some(found) = in_directory_or_hwcaps(host, dir, name) {
                return Ok(found);
            }
        }
        Err(cannot_open(name, Errno::ENOENT))
    }

    fn in_cache(&mut self, host: &dyn Host, name: &[u8]) -> Option<Found> {
        let bytes = self
            .cache
            .get_or_insert_with(|| read_cache(host).unwrap_or_default());
        let levels = arch::hwcaps();
        let path = Cache::new(bytes)?.find(name, |level| {
            let from_best = levels.iter().position(|&known| known == level)?;
            u32::try_from(levels.len() - from_best).ok()
        })?;
        let file = host.open(path).ok()?;
        Some(Found {
            path: path.to_vec(),
            file,
        })
    }
}

fn read_cache(host: &dyn Host) -> Option<Vec<u8>> {
    let file = host.open(b"/etc/ld.so.cache").ok()?;
    let size = usize::try_from(file.size())
        .ok()
        .filter(|&size| size < 64 << 20)?;
    let mut bytes = vec![0; size];
    file.read_exact_at(0, &mut bytes).ok()?;
    Some(bytes)
}

fn in_directory_or_hwcaps(host: &dyn Host, dir: &[u8], name: &[u8]) -> Option<Found> {
    arch::hwcaps()
        .iter()
        .find_map(|level| in_directory(host, &[dir, b"/glibc-hwcaps/", level].concat(), name))
        .or_else(|| in_directory(host, dir, name))
}

fn in_directory(host: &dyn Host, dir: &[u8], name: &[u8]) -> Option<Found> {
    // An empty entry in a list means the current directory.
    let path = if dir.is_empty() {
        name.to_vec()
    } else {
        [dir, b"/", name].concat()
    };
    let file = host.open(&path).ok()?;
    if is_for_another_machine(&*file) {
        return None;
    }
    Some(Found { path, file })
}

fn cannot_open(name: &[u8], errno: Errno) -> Error {
    Error::CannotOpen {
        name: name.to_vec(),
        errno,
    }
}

/// Splits a DT_RPATH or DT_RUNPATH and expands its entries.
pub(crate) fn directories(list: &[u8], origin: &[u8]) -> Vec<Vec<u8>> {
    list.split(|&byte| byte == b':')
        .filter(|dir| !dir.is_empty())
        .map(|dir| expand(dir, origin))
        .collect()
}

/// Replaces the dynamic string tokens in a path.
pub(crate) fn expand(path: &[u8], origin: &[u8]) -> Vec<u8> {
    let tokens: [(&[u8], &[u8]); 6] = [
        (b"$ORIGIN", origin),
        (b"${ORIGIN}", origin),
        (b"$LIB", b"lib/x86_64-linux-gnu"),
        (b"${LIB}", b"lib/x86_64-linux-gnu"),
        (b"$PLATFORM", b"x86_64"),
        (b"${PLATFORM}", b"x86_64"),
    ];
    let mut expanded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some(&byte) = rest.first() {
        if let Some((token, value)) = tokens.iter().find(|(token, _)| rest.starts_with(token)) {
            expanded.extend_from_slice(value);
            rest = rest.get(token.len()..).unwrap_or(&[]);
        } else {
            expanded.push(byte);
            rest = rest.get(1..).unwrap_or(&[]);
        }
    }
    expanded
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
        assert_eq!(
            directories(b"$ORIGIN::/b", b"/a"),
            [b"/a".to_vec(), b"/b".to_vec()]
        );
    }

    #[test]
    fn the_directory_of_a_path() {
        assert_eq!(directory_of(b"/usr/bin/x"), b"/usr/bin");
        assert_eq!(directory_of(b"/x"), b"/");
        assert_eq!(directory_of(b"x"), b".");
    }
}
