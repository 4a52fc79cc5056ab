//! What is where in a volume.

use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use anyhow::{Result, anyhow, bail};
use rsext4::{Ext4Error, FileName, InodeInfo};

use crate::volume::disk::Volume;

/// Bytes copied at a time.
pub(super) const PART: usize = 1 << 20;

/// What is said of a path where nothing is.
pub(super) fn missing(path: &Path) -> String {
    format!("there is no {} in the volume", path.display())
}

/// What is at a path; `None` if nothing is, in a directory that there is.
pub(super) fn find(volume: &mut Volume, path: &Path) -> Result<Option<InodeInfo>> {
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

/// An error of the volume's, as who copies is told it.
pub(super) fn said(error: Ext4Error) -> anyhow::Error {
    match error.kind() {
        rsext4::Ext4ErrorKind::NoSpace => anyhow!("the volume is full"),
        _ => anyhow!("{error}"),
    }
}
