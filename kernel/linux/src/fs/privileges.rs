//! What an executable file gives to who runs it: its set-user-ID and set-group-ID bits, its capabilities; and that it
//! does not when somebody else has written to it. Left out: capabilities stay.
use super::{File, inode::Changes, tree::Node};
use crate::credentials::{
    caller_is,
    program::{FileCapabilities, Privileges},
};
use abi::Errno;
use linux_raw_sys::general as linux;

/// The attribute with a file's capabilities.
const CAPABILITY: &[u8] = b"security.capability";

/// Reads what a file gives. Where it was opened through a mount with `MS_NOSUID` that is nothing.
#[doc(alias = "bprm_fill_uid")]
pub fn privileges(file: &dyn File) -> Result<Privileges, Errno> {
    let Some(at) = file.path().filter(|at| at.mount.gives_privileges()) else {
        return Ok(Privileges::default());
    };
    let of = file.metadata()?;
    // Without the group's right to execute it, the bit says something else.
    let group = linux::S_ISGID | linux::S_IXGRP;
    let capabilities = match at.node.xattr(CAPABILITY) {
        Ok(attribute) => FileCapabilities::parse(&attribute)?,
        Err(_) => None,
    };
    Ok(Privileges {
        user: (of.mode & linux::S_ISUID != 0).then_some(of.uid),
        group: (of.mode & group == group).then_some(of.gid),
        capabilities,
    })
}

impl Node {
    /// It has been written to, or cut. The bits were for what it was before, unless the caller may set them.
    #[doc(alias = "file_remove_privs")]
    pub fn written(&self) {
        self.touch(true);
        let mode = self.attributes.lock().mode;
        if mode & (linux::S_ISUID | linux::S_ISGID) != 0 {
            self.remove_bits(mode);
        }
    }

    #[cold]
    fn remove_bits(&self, mode: u32) {
        let mut bits = linux::S_ISUID;
        if mode & linux::S_IXGRP != 0 {
            bits |= linux::S_ISGID;
        }
        let is_program = mode & linux::S_IFMT == linux::S_IFREG && mode & bits != 0;
        if !is_program || caller_is(|caller| caller.capable(linux::CAP_FSETID)) {
            return;
        }
        let changes = Changes {
            mode: Some(mode & 0o7777 & !bits),
            ..Changes::default()
        };
        // Where that is not possible they may be somebody else's to change.
        let _ = self.change(&changes);
    }
}
