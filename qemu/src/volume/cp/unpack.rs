//! Putting what is in the archive of a copy into a volume.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use anyhow::{Context, Result, bail};
use rsext4::DirectoryEntryType as Type;
use rsext4::{
    Ext4Timestamp, FileName, FilePermissions, InodeInfo, InodeMetadataUpdate, InodeNumber,
    MutationContext, SpecialInodeKind,
};
use tar::{Archive, EntryType};

use super::find::{PART, find, missing, said};
use crate::volume::disk::Volume;

/// Unpacks an archive into a directory of a volume.
pub(super) fn unpack(volume: &mut Volume, from: impl Read, directory: &Path) -> Result<()> {
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
