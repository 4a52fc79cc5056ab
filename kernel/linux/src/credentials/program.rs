//! What credentials become when a program is run: set-user-ID and set-group-ID bits, and the capabilities of files
//! (execve(2), capabilities(7) "Transformation of capabilities during execve()").
//!
//! Left out: file capabilities of a user namespace other than the only one.
use super::{Capabilities, Credentials, SecureBits};
use abi::Errno;
use linux_raw_sys::general as linux;

/// What a file gives to who runs it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Privileges {
    /// Whose user it is run as, if that is said.
    pub user: Option<u32>,
    /// The same of the group.
    pub group: Option<u32>,
    /// Its capabilities.
    pub capabilities: Option<FileCapabilities>,
}

/// `security.capability`
#[doc(alias = "vfs_cap_data")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileCapabilities {
    permitted: u64,
    inheritable: u64,
    /// What is permitted is in effect as well.
    effective: bool,
}

/// Why nothing may be gained.
#[derive(Clone, Copy, Debug, Default)]
pub struct Restraint {
    /// `PR_SET_NO_NEW_PRIVS`.
    pub no_new_privileges: bool,
    /// The root and working directory are those of another process, too.
    pub shares_directories: bool,
}

/// Who runs a program.
#[derive(Clone, Debug)]
pub struct Runner {
    /// It has these.
    pub credentials: Credentials,
    /// It has more rights than who has started it, and trusts its environment less: `AT_SECURE`.
    pub is_secure: bool,
}

impl FileCapabilities {
    /// Reads the attribute; `EINVAL`. `None` if it is meant for a user namespace that is not there.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, Errno> {
        const REVISION: u32 = 0xff00_0000;
        const EFFECTIVE: u32 = 1;
        let word = |at: usize| {
            let bytes = bytes.get(at..at + 4)?;
            Some(u32::from_le_bytes(bytes.try_into().ok()?))
        };
        let magic = word(0).ok_or(Errno::EINVAL)?;
        let (words, len) = match magic & REVISION {
            0x0100_0000 => (1, 12),
            0x0200_0000 => (2, 20),
            0x0300_0000 => (2, 24),
            _ => return Err(Errno::EINVAL),
        };
        if bytes.len() != len {
            return Err(Errno::EINVAL);
        }
        if len == 24 && word(20) != Some(0) {
            return Ok(None);
        }
        let set = |at: usize| {
            let high = if words == 2 { word(at + 8) } else { None };
            let low = word(at).unwrap_or(0);
            (u64::from(low) | u64::from(high.unwrap_or(0)) << 32) & Capabilities::ALL
        };
        Ok(Some(Self {
            permitted: set(4),
            inheritable: set(8),
            effective: magic & EFFECTIVE != 0,
        }))
    }
}

impl Credentials {
    /// What they become by running a file. `EPERM` if it needs capabilities that nobody may have here any more.
    #[doc(alias = "cap_bprm_creds_from_file")]
    pub fn run(&self, file: &Privileges, restraint: Restraint) -> Result<Runner, Errno> {
        let old = self;
        let mut new = old.clone();
        if !restraint.no_new_privileges {
            new.user.effective = file.user.unwrap_or(old.user.effective);
            new.group.effective = file.group.unwrap_or(old.group.effective);
        }
        let has = old.capabilities;
        let mut permitted = 0;
        let mut is_effective = false;
        if let Some(given) = file.capabilities {
            permitted = has.bounding & given.permitted | has.inheritable & given.inheritable;
            is_effective = given.effective;
            // A program that does not know of capabilities would not notice what it lacks.
            if is_effective && given.permitted & !permitted != 0 {
                return Err(Errno::EPERM);
            }
        }
        let means_all = !old.secure_bits.has(SecureBits::NO_ROOT);
        let is_root = |id| id == 0;
        let (real, effective) = (is_root(new.user.real), is_root(new.user.effective));
        // A file that is root's and says which capabilities it wants has no others.
        let says_which = file.capabilities.is_some() && effective && !real;
        if means_all && (real || effective) && !says_which {
            permitted = has.bounding | has.inheritable;
            is_effective |= effective;
        }
        let changes_ids =
            new.user.effective != old.user.real || new.group.effective != old.group.real;
        let gains = permitted & !has.permitted != 0;
        let is_restrained = restraint.no_new_privileges || restraint.shares_directories;
        if (changes_ids || gains) && is_restrained {
            if restraint.no_new_privileges || !old.capable(linux::CAP_SETUID) {
                new.user.effective = new.user.real;
                new.group.effective = new.group.real;
            }
            permitted &= has.permitted;
        }
        for ids in [&mut new.user, &mut new.group] {
            ids.saved = ids.effective;
            ids.filesystem = ids.effective;
        }
        let ambient = if file.capabilities.is_some() || changes_ids {
            0
        } else {
            has.ambient
        };
        permitted |= ambient;
        new.capabilities = Capabilities {
            permitted,
            ambient,
            effective: if is_effective { permitted } else { ambient },
            ..has
        };
        new.secure_bits = new.secure_bits.without(SecureBits::KEEP_CAPS);
        let grows = is_effective || permitted & !ambient != 0;
        Ok(Runner {
            is_secure: changes_ids || !is_root(new.user.real) && grows,
            credentials: new,
        })
    }

    /// Whether who has these may do what who has `old` may not, or is somebody else to files: its memory is not
    /// everybody's to look into.
    pub fn exceeds(&self, old: &Self) -> bool {
        let acts_as = |one: &Self| [one.user, one.group].map(|ids| (ids.effective, ids.filesystem));
        acts_as(self) != acts_as(old)
            || self.capabilities.permitted & !old.capabilities.permitted != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joe() -> Credentials {
        let mut one = Credentials::default();
        one.change_group(|ids, is| ids.set(100, is)).unwrap();
        one.change_user(|ids, is| ids.set(1000, is)).unwrap();
        one
    }

    const ROOTS: Privileges = Privileges {
        user: Some(0),
        group: None,
        capabilities: None,
    };
    const FREE: Restraint = Restraint {
        no_new_privileges: false,
        shares_directories: false,
    };

    #[test]
    fn a_set_user_id_program_of_roots_has_all_capabilities() {
        let Runner {
            credentials,
            is_secure,
        } = joe().run(&ROOTS, FREE).unwrap();
        let ids = credentials.user;
        assert_eq!((ids.real, ids.effective, ids.saved), (1000, 0, 0));
        assert_eq!(credentials.capabilities.effective, Capabilities::ALL);
        assert!(is_secure && credentials.exceeds(&joe()));
    }

    #[test]
    fn nothing_is_gained_without_new_privileges() {
        let restraint = Restraint {
            no_new_privileges: true,
            ..FREE
        };
        let run = joe().run(&ROOTS, restraint).unwrap();
        assert_eq!(run.credentials.user.effective, 1000);
        assert_eq!(run.credentials.capabilities.permitted, 0);
        assert!(!run.is_secure && !run.credentials.exceeds(&joe()));
        let shared = Restraint {
            shares_directories: true,
            ..FREE
        };
        let run = joe().run(&ROOTS, shared).unwrap();
        assert_eq!(run.credentials.user.effective, 1000);
    }

    #[test]
    fn capabilities_of_files_are_added_within_the_bounds() {
        let mut attribute = [0; 20];
        attribute[..4].copy_from_slice(&0x0200_0001_u32.to_le_bytes());
        attribute[4..8].copy_from_slice(&(1_u32 << linux::CAP_NET_RAW).to_le_bytes());
        let capabilities = FileCapabilities::parse(&attribute).unwrap();
        let file = Privileges {
            capabilities,
            ..Privileges::default()
        };
        let run = joe().run(&file, FREE).unwrap();
        assert_eq!(
            run.credentials.capabilities.effective,
            1 << linux::CAP_NET_RAW
        );
        assert!(run.is_secure);
        let mut bounded = joe();
        bounded.capabilities.bounding = 0;
        assert_eq!(bounded.run(&file, FREE).unwrap_err(), Errno::EPERM);
        assert_eq!(
            FileCapabilities::parse(&attribute[..12]),
            Err(Errno::EINVAL)
        );
    }

    #[test]
    fn who_is_not_root_keeps_ambient_capabilities_only() {
        let mut one = Credentials::default();
        one.keep_capabilities(true).unwrap();
        one.change_user(|ids, is| ids.set(1000, is)).unwrap();
        let bit = 1 << linux::CAP_NET_RAW;
        one.set_capabilities([bit, bit, bit]).unwrap();
        let run = one.run(&Privileges::default(), FREE).unwrap();
        assert_eq!(run.credentials.capabilities.permitted, 0);
        one.raise_ambient(linux::CAP_NET_RAW).unwrap();
        let run = one.run(&Privileges::default(), FREE).unwrap();
        assert_eq!(run.credentials.capabilities.effective, bit);
        assert!(!run.is_secure && !run.credentials.keeps_capabilities());
        // One that has other ids has none.
        let run = one
            .run(
                &Privileges {
                    user: Some(7),
                    ..ROOTS
                },
                FREE,
            )
            .unwrap();
        assert_eq!(run.credentials.capabilities.ambient, 0);
    }
}
