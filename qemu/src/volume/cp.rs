//! `elfin volume cp`, which means what `docker cp` does: files and trees into a volume or out of it, or a tar archive
//! from standard input or to standard output. Whichever way it goes, it is a tar archive in between.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use rsext4::DirectoryEntryType as Type;
use rsext4::{
    DirectoryCursor, Ext4Error, Ext4Timestamp, FileName, FilePermissions, InodeInfo,
    InodeMetadataUpdate, InodeNumber, MutationContext, SpecialInodeKind,
};
use tar::{Archive, Builder, EntryType, Header};

use super::disk::Volume;

/// Bytes copied at a time.
const PART: usize = 1 << 20;
/// Entries of a directory read at a time.
const ENTRIES: usize = 256;

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

fn missing(path: &Path) -> String {
    format!("there is no {} in the volume", path.display())
}

/// What is at a path; `None` if nothing is, in a directory that there is.
fn find(volume: &mut Volume, path: &Path) -> Result<Option<InodeInfo>> {
    let mut at = volume.fs.inode(volume.fs.root_inode()).map_err(said)?;
    let mut left = path.components().peekable();
    while let Some(component) = left.next() {
        let name = match component {
            Component::RootDir | Component::CurDir => continue,
            Component::Normal(name) => name,
            _ => bail!("{} has .. in it", path.display()),
        };
        let name = FileName::new(name.as_bytes()).map_err(said)?;
        match volume.fs.lookup_child(at.number, name).map_err(said)? {
            Some(found) => at = found,
            None if left.peek().is_none() => return Ok(None),
            None => bail!(missing(path)),
        }
        if left.peek().is_some() && !at.is_directory() {
            bail!("{} leads through what is not a directory", path.display());
        }
    }
    Ok(Some(at))
}

fn said(error: Ext4Error) -> anyhow::Error {
    match error.kind() {
        rsext4::Ext4ErrorKind::NoSpace => anyhow!("the volume is full"),
        _ => anyhow!("{error}"),
    }
}

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

fn pack_all(volume: &mut Volume, source: InodeInfo, name: &Path, to: impl Write) -> Result<()> {
    let mut archive = Builder::new(to);
    pack(volume, source, name, &mut archive)?;
    archive.into_inner()?;
    Ok(())
}

/// Adds a file of a volume, and all in it, to an archive.
fn pack(
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
fn pack_host(from: &Path, name: &Path, to: impl Write) -> Result<()> {
    let mut archive = Builder::new(to);
    archive.follow_symlinks(false);
    for entry in walkdir::WalkDir::new(from) {
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

/// Unpacks an archive into a directory of a volume.
fn unpack(volume: &mut Volume, from: impl Read, directory: &Path) -> Result<()> {
    let base = find(volume, directory)?.with_context(|| missing(directory))?;
    if !base.is_directory() {
        bail!("{} is not a directory", directory.display());
    }
    let mut archive = Archive::new(from);
    for entry in archive.entries().context("cannot read the archive")? {
        let mut entry = entry.context("cannot read the archive")?;
        let path = entry.path().context("an entry has no path")?.into_owned();
        let mut names = Vec::new();
        for component in path.components() {
            match component {
                Component::Normal(name) => names.push(name.as_bytes().to_vec()),
                Component::CurDir | Component::RootDir => (),
                _ => bail!("the archive has an entry {}", path.display()),
            }
        }
        let Some(last) = names.pop() else {
            continue;
        };
        let mut parent = base.number;
        for name in names {
            let of_root = Owner {
                uid: 0,
                gid: 0,
                mode: 0o755,
            };
            parent = enter(volume, parent, &name, of_root, Type::Directory)?;
        }
        let made = put(volume, &base, parent, &last, &mut entry);
        made.with_context(|| format!("cannot copy {}", path.display()))?;
    }
    Ok(())
}

/// Whose a file becomes, and its mode.
#[derive(Clone, Copy)]
struct Owner {
    uid: u32,
    gid: u32,
    mode: u16,
}

impl Owner {
    fn context(self) -> MutationContext {
        MutationContext::new(self.uid, self.gid, 0, 0)
    }
}

/// The file of that name and kind; what else has the name, unless it is a directory, loses it.
fn take_place(
    volume: &mut Volume,
    parent: InodeNumber,
    name: FileName<'_>,
    kind: Type,
) -> Result<Option<InodeNumber>> {
    let fs = &mut volume.fs;
    match fs.lookup_child(parent, name).map_err(said)? {
        None => (),
        Some(found) if found.file_type() == kind => return Ok(Some(found.number)),
        Some(found) if found.is_directory() => bail!("there is a directory"),
        Some(_) if kind == Type::Directory => bail!("there is a file that is no directory"),
        Some(found) => {
            if found.file_type() == Type::RegularFile && found.links == 1 {
                fs.truncate_inode(found.number, 0).map_err(said)?;
            }
            let gone = fs.unlink(parent, name).map_err(said)?;
            if gone.requires_reap() {
                fs.reap_unlinked_inode(gone.inode).map_err(said)?;
            }
        }
    }
    Ok(None)
}

/// A directory or a regular file of that name: the one there is, or a new one.
fn enter(
    volume: &mut Volume,
    parent: InodeNumber,
    name: &[u8],
    owner: Owner,
    kind: Type,
) -> Result<InodeNumber> {
    let name = FileName::new(name).map_err(said)?;
    if let Some(there) = take_place(volume, parent, name, kind)? {
        return Ok(there);
    }
    let fs = &mut volume.fs;
    let permissions = FilePermissions::new(owner.mode).map_err(said)?;
    let made = match kind {
        Type::Directory => fs.create_directory(owner.context(), parent, name, permissions),
        _ => fs.create_regular_file(owner.context(), parent, name, permissions),
    };
    Ok(made.map_err(said)?.number)
}

/// Makes what an entry of an archive is.
fn put(
    volume: &mut Volume,
    base: &InodeInfo,
    parent: InodeNumber,
    name: &[u8],
    entry: &mut tar::Entry<'_, impl Read>,
) -> Result<()> {
    let header = entry.header();
    let owner = Owner {
        uid: header.uid()? as u32,
        gid: header.gid()? as u32,
        mode: (header.mode()? & 0o7777) as u16,
    };
    let mtime = Ext4Timestamp::new(header.mtime()? as i64, 0);
    let kind = header.entry_type();
    let link = entry.link_name_bytes().map(|link| link.into_owned());
    let link = || link.context("a link leads nowhere");
    let made = match kind {
        EntryType::Directory => enter(volume, parent, name, owner, Type::Directory)?,
        EntryType::Symlink | EntryType::Fifo => {
            let name = FileName::new(name).map_err(said)?;
            take_place(volume, parent, name, Type::Unknown)?;
            let fs = &mut volume.fs;
            let permissions = FilePermissions::new(owner.mode).map_err(said)?;
            let made = match kind {
                EntryType::Symlink => fs.create_symlink(owner.context(), parent, name, &link()?),
                _ => fs.create_special_inode(
                    owner.context(),
                    parent,
                    name,
                    permissions,
                    SpecialInodeKind::Fifo,
                ),
            };
            return made.map(|_| ()).map_err(said);
        }
        EntryType::Link => {
            let link = link()?;
            let mut at = *base;
            for part in Path::new(OsStr::from_bytes(&link)).components() {
                if let Component::Normal(part) = part {
                    let part = FileName::new(part.as_bytes()).map_err(said)?;
                    let found = volume.fs.lookup_child(at.number, part).map_err(said)?;
                    at = found.context("a link leads nowhere")?;
                }
            }
            let name = FileName::new(name).map_err(said)?;
            take_place(volume, parent, name, Type::Unknown)?;
            let made = volume.fs.hard_link(at.number, parent, name);
            return made.map(|_| ()).map_err(said);
        }
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            let inode = enter(volume, parent, name, owner, Type::RegularFile)?;
            volume.fs.truncate_inode(inode, 0).map_err(said)?;
            let (mut part, mut at) = (vec![0; PART], 0);
            loop {
                let len = entry.read(&mut part).context("cannot read the archive")?;
                if len == 0 {
                    break inode;
                }
                let written = volume.fs.write_inode(inode, at, &part[..len]);
                written.map_err(said)?;
                at += len as u64;
            }
        }
        _ => bail!("a volume takes no devices"),
    };
    let update = InodeMetadataUpdate {
        permissions: Some(FilePermissions::new(owner.mode).map_err(said)?),
        owner: Some((owner.uid, owner.gid)),
        mtime: Some(mtime),
        ..InodeMetadataUpdate::default()
    };
    volume
        .fs
        .update_inode_metadata(made, update)
        .map_err(said)?;
    Ok(())
}
