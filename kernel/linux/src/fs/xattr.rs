//! Extended attributes (xattr(7)): which there can be, who may see and change them, and those of files in memory. Left
//! out: access control lists (`system.posix_acl_*`), and what a kernel would make of `security.capability`.
use super::{
    inode::InodeOperations,
    notify, page_cache,
    permission::{self, Access},
    tree::{Kind, Node},
};
use crate::credentials;
use abi::Errno;
use alloc::{collections::btree_map::Entry, vec::Vec};
use linux_raw_sys::general as linux;

const USER: &[u8] = b"user.";
const TRUSTED: &[u8] = b"trusted.";
const SECURITY: &[u8] = b"security.";
const CAPABILITY: &[u8] = b"security.capability";
/// What the attributes of a file in memory may take.
const MOST: usize = 128 << 10;

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    See,
    Change,
}

/// `EOPNOTSUPP` for a name in no namespace, `EINVAL` for one that is nothing but its namespace.
fn check_name(name: &[u8]) -> Result<(), Errno> {
    let spaces = [USER, TRUSTED, SECURITY];
    let rest = spaces.iter().find_map(|space| name.strip_prefix(*space));
    match rest {
        None => Err(Errno::EOPNOTSUPP),
        Some(b"") => Err(Errno::EINVAL),
        Some(_) => Ok(()),
    }
}

impl Node {
    #[doc(alias = "xattr_permission")]
    fn check_xattr(&self, name: &[u8], purpose: Purpose) -> Result<(), Errno> {
        let refused = match purpose {
            Purpose::See => Errno::ENODATA,
            Purpose::Change => Errno::EPERM,
        };
        let may = |capability| credentials::caller_is(|caller| caller.capable(capability));
        if name.starts_with(SECURITY) {
            let needed = match name {
                CAPABILITY => linux::CAP_SETFCAP,
                _ => linux::CAP_SYS_ADMIN,
            };
            let allowed = purpose == Purpose::See || may(needed);
            return allowed.then_some(()).ok_or(refused);
        }
        if name.starts_with(TRUSTED) && !may(linux::CAP_SYS_ADMIN) {
            return Err(refused);
        }
        if name.starts_with(USER) {
            let of = *self.attributes.lock();
            let kind = of.mode & linux::S_IFMT;
            if kind != linux::S_IFREG && kind != linux::S_IFDIR {
                return Err(refused);
            }
            let owns = credentials::caller_is(|caller| {
                caller.user.filesystem == of.uid || caller.capable(linux::CAP_FOWNER)
            });
            let sticky = kind == linux::S_IFDIR && of.mode & linux::S_ISVTX != 0;
            if sticky && purpose == Purpose::Change && !owns {
                return Err(Errno::EPERM);
            }
        }
        let access = match purpose {
            Purpose::See => Access::READ,
            Purpose::Change => Access::WRITE,
        };
        permission::check(self, access)
    }

    /// What keeps the attributes: a file system elsewhere, or `None` for the node itself. `EOPNOTSUPP` for what the
    /// kernel makes up.
    fn keeper(&self) -> Result<Option<&dyn InodeOperations>, Errno> {
        match &self.kind {
            Kind::Directory(_) | Kind::Regular(_) | Kind::Symlink(_) | Kind::Fifo(_) => {
                Ok(self.operations.as_deref())
            }
            _ => Err(Errno::EOPNOTSUPP),
        }
    }

    /// The value of an attribute; `ENODATA`.
    pub fn xattr(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        self.check_xattr(name, Purpose::See)?;
        check_name(name)?;
        if let Some(operations) = self.keeper()? {
            return operations.xattr(name);
        }
        let xattrs = self.xattrs.lock();
        let value = xattrs.as_ref().and_then(|all| all.get(name));
        value.map(|value| value.to_vec()).ok_or(Errno::ENODATA)
    }

    /// The names of all that the caller may see.
    pub fn xattr_names(&self) -> Result<Vec<Vec<u8>>, Errno> {
        let Ok(keeper) = self.keeper() else {
            return Ok(Vec::new());
        };
        let mut names = match keeper {
            Some(operations) => operations.xattr_names()?,
            None => {
                let xattrs = self.xattrs.lock();
                let all = xattrs.iter().flat_map(|all| all.keys());
                all.map(|name| name.to_vec()).collect()
            }
        };
        if !credentials::caller_is(|caller| caller.capable(linux::CAP_SYS_ADMIN)) {
            names.retain(|name| !name.starts_with(TRUSTED));
        }
        Ok(names)
    }

    /// Sets an attribute; with `XATTR_CREATE` in `flags` only a new one (`EEXIST`), with `XATTR_REPLACE` only one that
    /// is there (`ENODATA`).
    pub fn set_xattr(&self, name: &[u8], value: &[u8], flags: u32) -> Result<(), Errno> {
        self.check_xattr(name, Purpose::Change)?;
        check_name(name)?;
        if let Some(operations) = self.keeper()? {
            operations.set_xattr(name, value, flags)?;
            operations.expire();
            notify::notify(self, linux::IN_ATTRIB);
            return Ok(());
        }
        if !page_cache::has_room() {
            return Err(Errno::ENOSPC);
        }
        let mut xattrs = self.xattrs.lock();
        let all = xattrs.get_or_insert_default();
        let others = all.iter().filter(|(other, _)| &***other != name);
        let taken: usize = others.map(|(name, value)| name.len() + value.len()).sum();
        if taken + name.len() + value.len() > MOST {
            return Err(Errno::ENOSPC);
        }
        match all.entry(name.into()) {
            Entry::Occupied(_) if flags & linux::XATTR_CREATE != 0 => return Err(Errno::EEXIST),
            Entry::Vacant(_) if flags & linux::XATTR_REPLACE != 0 => return Err(Errno::ENODATA),
            Entry::Occupied(mut entry) => drop(entry.insert(value.into())),
            Entry::Vacant(entry) => drop(entry.insert(value.into())),
        }
        drop(xattrs);
        self.touch(false);
        notify::notify(self, linux::IN_ATTRIB);
        Ok(())
    }

    /// Takes an attribute away; `ENODATA`.
    pub fn remove_xattr(&self, name: &[u8]) -> Result<(), Errno> {
        self.check_xattr(name, Purpose::Change)?;
        check_name(name)?;
        if let Some(operations) = self.keeper()? {
            operations.remove_xattr(name)?;
            operations.expire();
            notify::notify(self, linux::IN_ATTRIB);
            return Ok(());
        }
        let gone = self.xattrs.lock().as_mut().and_then(|all| all.remove(name));
        gone.ok_or(Errno::ENODATA)?;
        self.touch(false);
        notify::notify(self, linux::IN_ATTRIB);
        Ok(())
    }
}
