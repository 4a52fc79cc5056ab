//! Extended attributes as the disk has them.
use super::{Mounted, Shared};
use abi::Errno;
use alloc::vec::Vec;
use linux_raw_sys::general as linux;
use rsext4::{Ext4Result, InodeNumber, XattrName, XattrNamespace, XattrSetMode};

/// Namespaces of extended attributes.
const SPACES: [(&[u8], XattrNamespace); 3] = [
    (b"user.", XattrNamespace::User),
    (b"trusted.", XattrNamespace::Trusted),
    (b"security.", XattrNamespace::Security),
];

/// An attribute's name as the disk has it.
fn namespace(name: &[u8]) -> Result<(XattrNamespace, &[u8]), Errno> {
    let found = SPACES
        .iter()
        .find_map(|(prefix, space)| Some((*space, name.strip_prefix(*prefix)?)));
    found.ok_or(Errno::EOPNOTSUPP)
}

/// What it means for an attribute that there is none.
fn no_data(error: Errno) -> Errno {
    match error {
        Errno::ENOENT => Errno::ENODATA,
        other => other,
    }
}

/// Removes from a new inode the extended attributes of the file that had it before, which the crate leaves.
pub(super) fn forget_xattrs(fs: &mut Mounted, inode: InodeNumber) -> Ext4Result<()> {
    for old in fs.list_xattrs(inode)? {
        fs.remove_xattr(inode, old.namespace, &old.name)?;
    }
    Ok(())
}

impl Shared {
    /// The value of an extended attribute; `ENODATA`.
    pub(super) fn xattr(&self, inode: InodeNumber, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let (space, name) = namespace(name)?;
        let value = self.with(|fs| fs.get_xattr(inode, space, name));
        value.map_err(no_data)
    }

    /// The names of all of them.
    pub(super) fn xattr_names(&self, inode: InodeNumber) -> Result<Vec<Vec<u8>>, Errno> {
        let names = self.with(|fs| fs.list_xattrs(inode))?;
        let full = |name: &XattrName| {
            let space = SPACES.iter().find(|space| space.1 == name.namespace)?;
            Some([space.0, &name.name].concat())
        };
        Ok(names.iter().filter_map(full).collect())
    }

    /// Sets one, with setxattr(2)'s flags.
    pub(super) fn set_xattr(
        &self,
        inode: InodeNumber,
        name: &[u8],
        value: &[u8],
        flags: u32,
    ) -> Result<(), Errno> {
        let (space, name) = namespace(name)?;
        let mode = match flags {
            linux::XATTR_CREATE => XattrSetMode::Create,
            linux::XATTR_REPLACE => XattrSetMode::Replace,
            _ => XattrSetMode::Upsert,
        };
        let set = self.with(|fs| fs.set_xattr(inode, space, name, value, mode));
        set.map_err(no_data)
    }

    /// Takes one away; `ENODATA`.
    pub(super) fn remove_xattr(&self, inode: InodeNumber, name: &[u8]) -> Result<(), Errno> {
        let (space, name) = namespace(name)?;
        let removed = self.with(|fs| fs.remove_xattr(inode, space, name));
        removed.map_err(no_data)
    }
}
