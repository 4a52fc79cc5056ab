//! The search for one name in lists of directories: which files are tried, and what ends the search.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

use crate::audit::{Ear, Source};
use crate::elf::header::{OtherMachine, other_machine};
use crate::error::Error;
use crate::host::{Errno, File, Host};
use crate::observer::{Step, tell};
use crate::text::Text;

/// Which subdirectories of absolute directories exist, by number, as far as that has been asked. As with ld.so, one
/// that is made later is not noticed, and one that has two numbers is asked for twice.
#[derive(Default)]
pub(crate) struct Known(BTreeMap<Vec<u8>, Vec<Option<bool>>>);

impl Known {
    fn get(&self, dir: &[u8], number: usize) -> Option<bool> {
        *self.0.get(dir)?.get(number)?
    }

    fn set(&mut self, dir: &[u8], number: usize, exists: bool) {
        if !self.0.contains_key(dir) {
            self.0.insert(dir.to_vec(), Vec::new());
        }
        if let Some(known) = self.0.get_mut(dir) {
            known.resize(known.len().max(number + 1), None);
            known[number] = Some(exists);
        }
    }

    /// Whether it is known not to exist.
    fn lacks(&self, dir: &[u8], number: usize) -> bool {
        self.get(dir, number) == Some(false)
    }
}

/// A file that was found.
pub(crate) struct Found {
    pub(crate) path: Vec<u8>,
    pub(crate) file: Box<dyn File>,
}

/// The directories an object names, expanded.
pub(crate) struct Directories {
    pub(crate) dirs: Vec<Vec<u8>>,
    /// `RPATH` or `RUNPATH`.
    pub(crate) tag: &'static str,
    /// The object, as messages call it.
    pub(crate) from: Vec<u8>,
}

/// The search for one name.
pub(crate) struct Hunt<'a> {
    host: &'a dyn Host,
    name: &'a [u8],
    /// What is tried in each directory.
    subdirectories: &'a [Vec<u8>],
    known: &'a mut Known,
    /// Who is told what is tried.
    ear: Option<Ear<'a>>,
    /// Why the last file could not be opened.
    errno: Errno,
    /// A 32-bit object of that name was met.
    other_class: bool,
}

impl<'a> Hunt<'a> {
    /// Begins.
    pub(crate) fn new(
        host: &'a dyn Host,
        name: &'a [u8],
        subdirectories: &'a [Vec<u8>],
        known: &'a mut Known,
        ear: Option<Ear<'a>>,
    ) -> Self {
        Self {
            host,
            name,
            subdirectories,
            known,
            ear,
            errno: Errno::ENOENT,
            other_class: false,
        }
    }

    /// Looks into directories. A directory in the place of the file ends the search. A file that cannot be had for
    /// other reasons than that it is not there, or that it is not for us, ends the list, as in ld.so.
    pub(crate) fn in_list(
        &mut self,
        dirs: &[impl AsRef<[u8]>],
        origin: fmt::Arguments<'_>,
        source: Source,
    ) -> Result<Option<Found>, Error> {
        if !dirs.is_empty() {
            let searched = Searched {
                dirs,
                subdirectories: self.subdirectories,
                known: self.known,
            };
            tell(self.host, &Step::SearchingPath(&searched, origin));
        }
        for dir in dirs {
            let mut any_exists = false;
            for (number, subdirectory) in self.subdirectories.iter().enumerate() {
                let above = dir.as_ref();
                if self.known.lacks(above, number) {
                    continue;
                }
                let dir = join(above, subdirectory);
                let path = join(&dir, self.name);
                // Where a relative path leads may change.
                let is_absolute = dir.starts_with(b"/");
                let is_extra = is_absolute && !subdirectory.is_empty();
                // Most of those are not there, and then that is all there is to ask, unless an auditor says otherwise.
                if is_extra && self.ear.is_none() && !self.exists(above, number, &dir) {
                    tell(self.host, &Step::Trying(&path));
                    self.errno = Errno::ENOENT;
                    continue;
                }
                if let Some(file) = self.open(&path, source)? {
                    return Ok(Some(Found { path, file }));
                }
                any_exists |= !is_absolute || self.exists(above, number, &dir);
            }
            if any_exists && !matches!(self.errno, Errno::ENOENT | Errno::EACCES) {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// Whether a subdirectory of `above` is there, which is asked once.
    fn exists(&mut self, above: &[u8], number: usize, dir: &[u8]) -> bool {
        self.known.get(above, number).unwrap_or_else(|| {
            let exists = is_directory(self.host, dir);
            self.known.set(above, number, exists);
            exists
        })
    }

    /// Looks into directories that an object names. A list without any that exists is dropped, and not spoken of again.
    pub(crate) fn in_directories(&mut self, list: &Directories) -> Result<Option<Found>, Error> {
        let (tag, from) = (list.tag, Text(&list.from));
        let gone = |dir: &Vec<u8>| {
            let mut numbers = 0..self.subdirectories.len();
            numbers.all(|number| self.known.lacks(dir, number))
        };
        if list.dirs.iter().all(gone) {
            return Ok(None);
        }
        let origin = format_args!("{tag} from file {from}");
        self.in_list(&list.dirs, origin, Source::RunPath)
    }

    /// Opens a file, if it is there and for us.
    fn open(&mut self, path: &[u8], source: Source) -> Result<Option<Box<dyn File>>, Error> {
        tell(self.host, &Step::Trying(path));
        let Some(path) = renamed(self.ear, path, source) else {
            self.errno = Errno::ENOENT;
            return Ok(None);
        };
        let path = &*path;
        self.errno = match self.host.open(path) {
            Ok(file) => match other_machine(&*file) {
                None => return Ok(Some(file)),
                Some(other) => {
                    self.other_class |= matches!(other, OtherMachine::Class);
                    Errno::ENOENT
                }
            },
            Err(errno @ Errno::EISDIR) => return Err(cannot_open(path, errno)),
            Err(errno) => errno,
        };
        Ok(None)
    }

    /// Makes the error for a name that has not been found.
    pub(crate) fn failed(&self) -> Error {
        if self.other_class {
            let (object, what) = (self.name.to_vec(), "wrong ELF class: ELFCLASS32");
            return Error::Malformed { object, what };
        }
        cannot_open(self.name, self.errno)
    }
}

/// Returns the path to open instead of one that is tried: an auditor may say another, or none.
pub(crate) fn renamed<'p>(
    ear: Option<Ear<'_>>,
    path: &'p [u8],
    source: Source,
) -> Option<Cow<'p, [u8]>> {
    match ear {
        Some(ear) => ear.hear(path, source).map(Cow::Owned),
        None => Some(Cow::Borrowed(path)),
    }
}

/// Says whether a directory is there.
fn is_directory(host: &dyn Host, path: &[u8]) -> bool {
    let opened = host.open(path).map(|_| ());
    matches!(opened, Err(Errno::EISDIR | Errno::EACCES))
}

/// Joins a directory and what is in it; an empty directory is the current one, and an empty name the directory itself.
fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() || name.is_empty() {
        return [dir, name].concat();
    }
    let separator: &[u8] = if dir.ends_with(b"/") { b"" } else { b"/" };
    [dir, separator, name].concat()
}

/// Displays directories, with the subdirectories of each that are searched before it; without those that do not exist.
struct Searched<'a, D> {
    dirs: &'a [D],
    subdirectories: &'a [Vec<u8>],
    known: &'a Known,
}

impl<D: AsRef<[u8]>> fmt::Display for Searched<'_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for dir in self.dirs {
            for (number, subdirectory) in self.subdirectories.iter().enumerate() {
                if !self.known.lacks(dir.as_ref(), number) {
                    write!(f, "{separator}{}", Text(&join(dir.as_ref(), subdirectory)))?;
                    separator = ":";
                }
            }
        }
        Ok(())
    }
}

/// Makes the error for a file that is not there, or cannot be had.
pub(crate) fn cannot_open(name: &[u8], errno: Errno) -> Error {
    Error::CannotOpen {
        name: name.to_vec(),
        errno,
    }
}
