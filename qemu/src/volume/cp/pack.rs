//! Making the archive of a copy: of what is in a volume, or on the host.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rsext4::DirectoryEntryType as Type;
use rsext4::{DirectoryCursor, InodeInfo, InodeNumber};
use tar::{Builder, EntryType, Header};

use super::find::{PART, said};
use crate::volume::disk::Volume;

/// Entries of a directory read at a time.
const ENTRIES: usize = 256;

/// A file of a volume as something to read.
struct Data<'a> {
    volume: &'a mut Volume,
    inode: InodeNumber,
    at: u64,
}

impl Read for Data<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.volume.fs.read_inode(self.inode, self.at, buffer);
        let len = read.map_err(|error| io::Error::other(error.to_string()))?;
        self.at += len as u64;
        Ok(len)
    }
}

/// Writes a file of a volume, and all in it, as an archive.
pub(super) fn pack_all(
    volume: &mut Volume,
    source: InodeInfo,
    name: &Path,
    to: impl Write,
) -> Result<()> {
    let mut archive = Builder::new(to);
    pack(volume, source, name, &mut archive)?;
    archive.into_inner()?;
    Ok(())
}

/// Adds a file of a volume, and all in it, to an archive.
pub(super) fn pack(
    volume: &mut Volume,
    source: InodeInfo,
    name: &Path,
    archive: &mut Builder<impl Write>,
) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_mode(u32::from(source.mode & 0o7777));
    header.set_uid(source.uid.into());
    header.set_gid(source.gid.into());
    header.set_mtime(source.mtime.into());
    header.set_size(0);
    match source.file_type() {
        Type::Directory => {
            header.set_entry_type(EntryType::Directory);
            if !name.as_os_str().is_empty() {
                archive.append_data(&mut header, name, io::empty())?;
            }
            for (child, inode) in list(volume, source.number)? {
                let inode = volume.fs.inode(inode).map_err(said)?;
                pack(volume, inode, &name.join(child), archive)?;
            }
        }
        Type::RegularFile => {
            header.set_entry_type(EntryType::Regular);
            header.set_size(source.size);
            let inode = source.number;
            let data = Data {
                volume,
                inode,
                at: 0,
            };
            let data = io::BufReader::with_capacity(PART, data);
            archive.append_data(&mut header, name, data)?;
        }
        Type::Symlink => {
            header.set_entry_type(EntryType::Symlink);
            let mut text = vec![0; source.size as usize];
            volume
                .fs
                .read_inode(source.number, 0, &mut text)
                .map_err(said)?;
            archive.append_link(&mut header, name, OsStr::from_bytes(&text))?;
        }
        Type::Fifo => {
            header.set_entry_type(EntryType::Fifo);
            archive.append_data(&mut header, name, io::empty())?;
        }
        // Whiteouts mean something to who made them only.
        _ => (),
    }
    Ok(())
}

fn list(volume: &mut Volume, directory: InodeNumber) -> Result<Vec<(PathBuf, InodeNumber)>> {
    let (mut all, mut cursor) = (Vec::new(), DirectoryCursor::Start);
    loop {
        let part = volume.fs.read_directory(directory, cursor, ENTRIES);
        let part = part.map_err(said)?;
        let Some(last) = part.last() else {
            return Ok(all);
        };
        cursor = last.next_cursor;
        for entry in part {
            // The last is where machines keep files without a name.
            let own = [&b"."[..], b"..", b"lost+found", b".elfin-unnamed"];
            if !own.contains(&&*entry.name) {
                all.push((PathBuf::from(OsStr::from_bytes(&entry.name)), entry.inode));
            }
        }
    }
}

/// Packs what is on the host; all of it becomes root's.
pub(super) fn pack_host(from: &Path, name: &Path, to: impl Write) -> Result<()> {
    let mut archive = Builder::new(to);
    archive.follow_symlinks(false);
    for entry in walkdir::WalkDir::new(from).follow_root_links(false) {
        let entry = entry.context("cannot read what is copied")?;
        let below = entry.path().strip_prefix(from).unwrap_or(Path::new(""));
        let name = match below.as_os_str().is_empty() {
            true => name.to_owned(),
            false => name.join(below),
        };
        if name.as_os_str().is_empty() {
            continue;
        }
        let failed = || format!("cannot read {}", entry.path().display());
        let metadata = entry.metadata().with_context(failed)?;
        let mut header = Header::new_gnu();
        header.set_metadata(&metadata);
        header.set_uid(0);
        header.set_gid(0);
        if metadata.is_symlink() {
            header.set_size(0);
            let text = std::fs::read_link(entry.path()).with_context(failed)?;
            archive.append_link(&mut header, &name, text)?;
        } else if metadata.is_file() {
            let file = File::open(entry.path()).with_context(failed)?;
            archive.append_data(&mut header, &name, file.take(metadata.len()))?;
        } else {
            header.set_size(0);
            archive.append_data(&mut header, &name, io::empty())?;
        }
    }
    archive.into_inner()?.flush()?;
    Ok(())
}
