//! Who may read, write, execute and search what (path_resolution(7), "Permissions"): mode bits against the caller's
//! user and groups, its capabilities, and sticky directories. There are no access control lists.
//!
//! What only the owner may do (chmod, chown, utimensat) is with those calls.
use super::{
    inode::InodeOperations,
    tree::{Attributes, Kind, Node},
};
use crate::credentials::{self, Credentials};
use abi::Errno;
use alloc::sync::Arc;
use linux_raw_sys::general as linux;

bitflags::bitflags! {
    /// What a caller wants of a file, as access(2) has it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Access: u32 {
        /// Of a directory: its entries are listed.
        const READ = linux::R_OK;
        /// Of a directory: entries are made and removed.
        const WRITE = linux::W_OK;
        /// Of a directory: it is searched.
        const EXECUTE = linux::X_OK;
    }
}

impl Access {
    /// What open(2)'s flags ask for.
    pub fn of_flags(flags: u32) -> Self {
        let mut wanted = match flags & linux::O_ACCMODE {
            linux::O_RDONLY => Self::READ,
            linux::O_WRONLY => Self::WRITE,
            _ => Self::READ | Self::WRITE,
        };
        wanted.set(
            Self::WRITE,
            wanted.contains(Self::WRITE) || flags & linux::O_TRUNC != 0,
        );
        wanted
    }
}

/// Whether `caller` may do with a file of these attributes all that is wanted.
#[doc(alias = "generic_permission")]
fn allows(caller: &Credentials, of: &Attributes, wanted: Access) -> bool {
    let granted = if caller.user.filesystem == of.uid {
        of.mode >> 6
    } else if caller.is_in_group(of.gid) {
        of.mode >> 3
    } else {
        of.mode
    };
    if Access::from_bits_truncate(granted).contains(wanted) {
        return true;
    }
    let directory = of.mode & linux::S_IFMT == linux::S_IFDIR;
    let only_reads = if directory {
        !wanted.contains(Access::WRITE)
    } else {
        wanted == Access::READ
    };
    // Nobody executes what nobody may.
    let executes = wanted.contains(Access::EXECUTE) && !directory;
    let possible = !executes || of.mode & 0o111 != 0;
    only_reads && caller.capable(linux::CAP_DAC_READ_SEARCH)
        || possible && caller.capable(linux::CAP_DAC_OVERRIDE)
}

/// The calling thread, if it needs permission for `node`: the kernel needs none, nor does who has an open file without
/// a name, as it was opened for it, and of some files it is decided elsewhere.
fn subject(node: &Node) -> Option<Credentials> {
    let elsewhere = |operations: &Arc<dyn InodeOperations>| operations.decides_access();
    if matches!(node.kind, Kind::Anonymous(_)) || node.operations.as_ref().is_some_and(elsewhere) {
        return None;
    }
    credentials::of_caller()
}

/// `EACCES` unless the calling thread may do with `node` all that is wanted.
#[doc(alias = "inode_permission")]
pub fn check(node: &Node, wanted: Access) -> Result<(), Errno> {
    let allowed = subject(node).is_none_or(|caller| {
        let attributes = *node.attributes.lock();
        allows(&caller, &attributes, wanted)
    });
    allowed.then_some(()).ok_or(Errno::EACCES)
}

/// The same of what is no node.
pub fn check_attributes(of: &Attributes, wanted: Access) -> Result<(), Errno> {
    let allowed = credentials::of_caller().is_none_or(|caller| allows(&caller, of, wanted));
    allowed.then_some(()).ok_or(Errno::EACCES)
}

/// Who walks along a path.
pub(super) struct Searcher {
    /// It may search every directory.
    all: bool,
}

impl Searcher {
    /// The calling thread.
    pub(super) fn current() -> Self {
        let capabilities = [linux::CAP_DAC_OVERRIDE, linux::CAP_DAC_READ_SEARCH];
        Self {
            all: credentials::caller_is(|caller| {
                capabilities.iter().any(|&one| caller.capable(one))
            }),
        }
    }

    /// `EACCES` unless it may look a name up in `directory`.
    #[inline]
    pub(super) fn check(&self, directory: &Node) -> Result<(), Errno> {
        if self.all {
            return Ok(());
        }
        check(directory, Access::EXECUTE)
    }
}

/// Whether the calling thread may make an entry in `directory`: `EACCES`.
pub(super) fn check_create(directory: &Node) -> Result<(), Errno> {
    check(directory, Access::WRITE | Access::EXECUTE)
}

/// Whether the calling thread may remove the entry of `node` from `directory`: `EACCES`, or `EPERM` if the directory is
/// sticky, and directory and node are somebody else's.
pub(super) fn check_remove(directory: &Node, node: &Node) -> Result<(), Errno> {
    check_create(directory)?;
    let Some(caller) = subject(node) else {
        return Ok(());
    };
    let Attributes { mode, uid, .. } = *directory.attributes.lock();
    let user = caller.user.filesystem;
    let owns = uid == user || node.attributes.lock().uid == user;
    if mode & linux::S_ISVTX != 0 && !owns && !caller.capable(linux::CAP_FOWNER) {
        return Err(Errno::EPERM);
    }
    Ok(())
}

/// Whether the calling thread owns `node`, or may do what owners may: `EPERM`.
#[doc(alias = "inode_owner_or_capable")]
pub fn check_owner(node: &Node) -> Result<(), Errno> {
    let owner = node.attributes.lock().uid;
    let owns =
        |caller: Credentials| caller.user.filesystem == owner || caller.capable(linux::CAP_FOWNER);
    let allowed = subject(node).is_none_or(owns);
    allowed.then_some(()).ok_or(Errno::EPERM)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::{Capabilities, Ids};
    use alloc::vec;

    fn someone(uid: u32, gid: u32, groups: &[u32], capabilities: u64) -> Credentials {
        let ids = |id| Ids {
            real: id,
            effective: id,
            saved: id,
            filesystem: id,
        };
        Credentials {
            user: ids(uid),
            group: ids(gid),
            groups: Arc::new(groups.to_vec()),
            capabilities: Capabilities {
                effective: capabilities,
                permitted: capabilities,
                inheritable: 0,
                ..Credentials::default().capabilities
            },
            ..Credentials::default()
        }
    }

    fn file(mode: u32) -> Attributes {
        Attributes {
            mode,
            uid: 10,
            gid: 20,
            nlink: 1,
            ..Attributes::default()
        }
    }

    #[test]
    fn the_first_class_that_fits_decides() {
        let (read, write) = (Access::READ, Access::WRITE);
        let plain = file(linux::S_IFREG | 0o046);
        // The owner may less than everybody else, and so may the group.
        assert!(!allows(&someone(10, 20, &[], 0), &plain, read));
        for member in [someone(1, 20, &[], 0), someone(1, 2, &[20], 0)] {
            assert!(allows(&member, &plain, read));
            assert!(!allows(&member, &plain, write));
        }
        assert!(allows(&someone(1, 2, &[], 0), &plain, read | write));
    }

    #[test]
    fn capabilities_override() {
        let (read, write, execute) = (Access::READ, Access::WRITE, Access::EXECUTE);
        let search = someone(1, 2, &[], 1 << linux::CAP_DAC_READ_SEARCH);
        let all = someone(0, 0, &[], 1 << linux::CAP_DAC_OVERRIDE);
        let (plain, directory) = (file(linux::S_IFREG), file(linux::S_IFDIR));
        assert!(allows(&search, &plain, read) && allows(&search, &directory, read | execute));
        assert!(!allows(&search, &plain, read | write) && !allows(&search, &directory, write));
        assert!(
            allows(&all, &plain, read | write) && allows(&all, &directory, read | write | execute)
        );
        assert!(!allows(&all, &plain, execute) && !allows(&search, &plain, execute));
        assert!(allows(&all, &file(linux::S_IFREG | 0o010), execute));
    }

    #[test]
    fn flags_of_open() {
        let all = vec![
            (linux::O_RDONLY, Access::READ),
            (linux::O_WRONLY, Access::WRITE),
            (linux::O_RDWR, Access::READ | Access::WRITE),
            (linux::O_ACCMODE, Access::READ | Access::WRITE),
            (
                linux::O_RDONLY | linux::O_TRUNC,
                Access::READ | Access::WRITE,
            ),
        ];
        for (flags, wanted) in all {
            assert_eq!(Access::of_flags(flags), wanted);
        }
    }
}
