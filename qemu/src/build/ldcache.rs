//! Writing and reading `/etc/ld.so.cache`, in the C library's format. ldconfig itself can do that for a tree
//! only as root, since it uses chroot.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use filetime::FileTime;

use super::library;
use crate::tree::Tree;

const CACHE: &str = "/etc/ld.so.cache";
const MAGIC: &[u8; 20] = b"glibc-ld.so.cache1.1";
const HEADER: usize = 48;
const ENTRY: usize = 24;
/// A little-endian cache.
const ENDIAN: u8 = 2;
/// An ELF library for the C library 6, for x86-64.
const FLAGS: u32 = 0x0303;

/// Lists the libraries of the system's directories in the tree's `/etc/ld.so.cache`.
pub(super) fn write(tree: &Tree) -> Result<()> {
    let mut libraries = BTreeMap::new();
    for dir in library::system_dirs(tree) {
        let Some(host) = tree.resolve(&dir) else {
            continue;
        };
        let mut names: Vec<_> = fs::read_dir(host)?
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| {
                name.contains(".so") && (name.starts_with("lib") || name.starts_with("ld-"))
            })
            .collect();
        names.sort();
        for name in names {
            let path = dir.join(&name);
            // Only names that a program can ask for: the link or file named as its soname says.
            let soname = tree
                .resolve(&path)
                .and_then(|host| library::read(tree, &host))
                .map(|object| object.soname);
            if soname.is_some_and(|soname| soname.is_none_or(|soname| soname == name)) {
                libraries.entry(name).or_insert(path);
            }
        }
    }
    if libraries.is_empty() {
        return Ok(());
    }
    let list: Vec<(String, String)> = libraries
        .into_iter()
        .map(|(name, path)| (name, path.to_string_lossy().into_owned()))
        .collect();
    tree.add_file(
        Path::new(CACHE),
        &mut &encode(list)[..],
        0o644,
        FileTime::zero(),
    )
}

/// Names of libraries with their paths, as the tree's own cache has them; empty if there is none.
pub(super) fn read(tree: &Tree) -> HashMap<String, PathBuf> {
    let content = tree
        .resolve(Path::new(CACHE))
        .and_then(|host| fs::read(host).ok());
    decode(&content.unwrap_or_default()).unwrap_or_default()
}

fn decode(cache: &[u8]) -> Option<HashMap<String, PathBuf>> {
    // An older format may come first, padded.
    let start = cache.windows(MAGIC.len()).position(|part| part == MAGIC)?;
    let cache = &cache[start..];
    let number = |at: usize| {
        let bytes = cache.get(at..at + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
    };
    let text = |at: usize| {
        let rest = cache.get(number(at)?..)?;
        let end = rest.iter().position(|&byte| byte == 0)?;
        Some(String::from_utf8_lossy(&rest[..end]).into_owned())
    };
    let count = number(MAGIC.len())?.min(cache.len() / ENTRY);
    let entries = (0..count).map(|index| HEADER + index * ENTRY);
    let ours = entries.filter(|&at| number(at) == Some(FLAGS as usize));
    ours.map(|at| Some((text(at + 4)?, text(at + 8)?.into())))
        .collect()
}

fn encode(mut list: Vec<(String, String)>) -> Vec<u8> {
    // The C library searches by halves, from the greatest name down.
    list.sort_by(|a, b| compare(&b.0, &a.0));
    let strings_at = HEADER + list.len() * ENTRY;
    let mut entries = Vec::new();
    let mut strings = Vec::new();
    for (name, path) in &list {
        let mut add = |text: &str| {
            let at = strings_at + strings.len();
            strings.extend_from_slice(text.as_bytes());
            strings.push(0);
            at as u32
        };
        let (name, path) = (add(name), add(path));
        entries.extend_from_slice(&FLAGS.to_le_bytes());
        entries.extend_from_slice(&name.to_le_bytes());
        entries.extend_from_slice(&path.to_le_bytes());
        // No minimal kernel and no hardware capabilities.
        entries.extend_from_slice(&[0; 12]);
    }
    let mut cache = MAGIC.to_vec();
    cache.extend_from_slice(&(list.len() as u32).to_le_bytes());
    cache.extend_from_slice(&(strings.len() as u32).to_le_bytes());
    cache.push(ENDIAN);
    cache.resize(HEADER, 0);
    cache.extend(entries);
    cache.extend(strings);
    cache
}

/// The C library's order of library names: numbers in them count by value.
fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while let Some((&x, &y)) = a.first().zip(b.first()) {
        match (x.is_ascii_digit(), y.is_ascii_digit()) {
            (true, true) => {
                let (number_a, rest_a) = number(a);
                let (number_b, rest_b) = number(b);
                if number_a != number_b {
                    return number_a.cmp(&number_b);
                }
                (a, b) = (rest_a, rest_b);
            }
            (true, false) => return Ordering::Greater,
            (false, true) => return Ordering::Less,
            (false, false) if x != y => return x.cmp(&y),
            (false, false) => (a, b) = (&a[1..], &b[1..]),
        }
    }
    a.len().cmp(&b.len())
}

fn number(text: &[u8]) -> (u64, &[u8]) {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let value = text[..digits].iter().fold(0u64, |value, digit| {
        value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'))
    });
    (value, &text[digits..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_compare_as_in_the_c_library() {
        assert_eq!(compare("libx.so.2", "libx.so.10"), Ordering::Less);
        assert_eq!(compare("libx.so.6", "libx.so.6"), Ordering::Equal);
        assert_eq!(compare("lib1.so", "liba.so"), Ordering::Greater);
        assert_eq!(compare("libz.so.1", "libz.so"), Ordering::Greater);
    }

    #[test]
    fn the_cache_is_well_formed() {
        let cache = encode(vec![
            ("liba.so.1".into(), "/lib/liba.so.1".into()),
            ("libb.so.1".into(), "/lib/libb.so.1".into()),
        ]);
        assert!(cache.starts_with(MAGIC));
        let read = decode(&cache).unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(read["liba.so.1"], Path::new("/lib/liba.so.1"));
        assert_eq!(cache[20], 2);
        let name = u32::from_le_bytes(cache[HEADER + 4..HEADER + 8].try_into().unwrap());
        assert!(cache[name as usize..].starts_with(b"libb.so.1\0/lib/libb.so.1\0"));
        // The host's own ldconfig is the judge, where there is one.
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("cache");
        fs::write(&file, &cache).unwrap();
        if let Ok(output) = std::process::Command::new("/sbin/ldconfig")
            .args(["-p", "-C"])
            .arg(&file)
            .env("LC_ALL", "C")
            .output()
        {
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(text.contains("2 libs found"), "{text}");
            assert!(
                text.contains("liba.so.1 (libc6,x86-64) => /lib/liba.so.1"),
                "{text}"
            );
        }
    }
}
