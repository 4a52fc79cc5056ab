//! `elfin volume cp`, which means what `docker cp` does: files and trees into a volume or out of it, or a tar archive
//! from standard input or to standard output. Whichever way it goes, it is a tar archive in between.

mod find;
mod pack;
mod unpack;

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use tar::{Archive, Builder};

use self::find::{find, missing};
use self::pack::{pack, pack_all, pack_host};
use self::unpack::unpack;
use super::disk::Volume;

/// One end of a copy.
pub(super) enum Place<'a> {
    /// In a volume.
    Volume(&'a str, &'a Path),
    /// On the host.
    Host(&'a Path),
    /// Standard input or output.
    Stream,
}

impl<'a> Place<'a> {
    /// What an argument means: `NAME:PATH`, a path, or `-`.
    pub(super) fn of(argument: &'a str) -> Self {
        if argument == "-" {
            return Self::Stream;
        }
        match argument.split_once(':') {
            Some((name, path)) if crate::data::is_name(name) => Self::Volume(name, Path::new(path)),
            _ => Self::Host(Path::new(argument)),
        }
    }
}

/// What is at a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum There {
    Nothing,
    Directory,
    Other,
}

/// The directory that something is copied to, and its name there; empty if only what is in it is copied.
fn target(from: &Path, is_dir: bool, to: &Path, there: There) -> Result<(PathBuf, PathBuf)> {
    let slash = to.as_os_str().as_bytes().ends_with(b"/");
    match there {
        There::Directory => {
            let whole = from.as_os_str().as_bytes();
            let contents = whole == b"." || whole == b"/" || whole.ends_with(b"/.");
            let name = from.file_name().filter(|_| !contents);
            Ok((to.to_owned(), name.map_or_else(PathBuf::new, PathBuf::from)))
        }
        There::Other if is_dir || slash => bail!("{} is not a directory", to.display()),
        There::Nothing if !is_dir && slash => bail!("there is no directory {}", to.display()),
        There::Other | There::Nothing => {
            let name = to.file_name().context("the path has no name at its end")?;
            let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
            Ok((parent.unwrap_or(Path::new(".")).to_owned(), name.into()))
        }
    }
}

/// Copies out of a volume.
pub(super) fn out(file: File, from: &Path, to: &Place<'_>) -> Result<()> {
    let mut volume = Volume::mount(file)?;
    let source = find(&mut volume, from)?.with_context(|| missing(from))?;
    match to {
        Place::Stream => {
            let name = from.file_name().map_or(Path::new("."), Path::new);
            let mut archive = Builder::new(io::stdout().lock());
            pack(&mut volume, source, name, &mut archive)?;
            archive.into_inner()?.flush()?;
        }
        Place::Host(to) => {
            let there = match to.metadata() {
                Ok(found) if found.is_dir() => There::Directory,
                Ok(_) => There::Other,
                Err(_) => There::Nothing,
            };
            let (directory, name) = target(from, source.is_directory(), to, there)?;
            if !directory.is_dir() {
                bail!("there is no directory {}", directory.display());
            }
            let (reader, writer) = io::pipe()?;
            let unpacks = std::thread::spawn(move || {
                let mut archive = Archive::new(reader);
                archive.set_preserve_permissions(true);
                let done = archive.unpack(&directory);
                done.with_context(|| format!("cannot write to {}", directory.display()))
            });
            let packed = pack_all(&mut volume, source, &name, writer);
            let unpacked = unpacks.join().map_err(|_| anyhow!("cannot unpack"))?;
            // Who cannot write lets who reads fail.
            unpacked.and(packed)?;
        }
        Place::Volume(..) => bail!("one of the two must be on this machine"),
    }
    volume.unmount()
}

/// Copies into a volume.
pub(super) fn into(file: File, from: &Place<'_>, to: &Path) -> Result<()> {
    let mut volume = Volume::mount(file)?;
    let found = find(&mut volume, to)?;
    let there = match &found {
        None => There::Nothing,
        Some(found) if found.is_directory() => There::Directory,
        Some(_) => There::Other,
    };
    let done = match from {
        Place::Stream => match there {
            There::Directory => unpack(&mut volume, io::stdin().lock(), to),
            _ => Err(anyhow!("there is no directory {}", to.display())),
        },
        Place::Host(from) => (|| {
            let source = from.symlink_metadata();
            let source = source.with_context(|| format!("cannot read {}", from.display()))?;
            let (directory, name) = target(from, source.is_dir(), to, there)?;
            let (reader, writer) = io::pipe()?;
            let from = from.to_path_buf();
            let packs = std::thread::spawn(move || pack_host(&from, &name, writer));
            let unpacked = unpack(&mut volume, reader, &directory);
            let packed = packs.join().map_err(|_| anyhow!("cannot pack"))?;
            unpacked.and(packed)
        })(),
        Place::Volume(..) => Err(anyhow!("one of the two must be on this machine")),
    };
    // What was copied stays, as with everybody who copies.
    done.and(volume.unmount())
}
