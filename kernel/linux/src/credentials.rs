//! Who a thread is to checks of permission (credentials(7), capabilities(7)): user and group ids, groups, capabilities.
//!
//! As in Linux each thread has its own, which threads that it starts inherit; glibc changes those of all threads at
//! once. They are found as a part of the thread's state ([`Own`]): files ask whose thread it is, and need not know what
//! else a process is.
pub mod program;
mod securebits;

pub use securebits::SecureBits;

use abi::Errno;
use alloc::{sync::Arc, vec::Vec};
use linux_raw_sys::general as linux;
use machine::{
    sched::{self, Thread},
    sync::SpinLock,
};

/// All capabilities of Linux 6.1.
const ALL: u64 = (1 << (linux::CAP_LAST_CAP + 1)) - 1;

/// Those that setfsuid(2) takes and gives (`CAP_FS_SET`).
const FILES: u64 = 1 << linux::CAP_CHOWN
    | 1 << linux::CAP_DAC_OVERRIDE
    | 1 << linux::CAP_DAC_READ_SEARCH
    | 1 << linux::CAP_FOWNER
    | 1 << linux::CAP_FSETID
    | 1 << linux::CAP_LINUX_IMMUTABLE
    | 1 << linux::CAP_MKNOD
    | 1 << linux::CAP_MAC_OVERRIDE;

/// The four ids of a user, or of a group. Where ids are set, `None` leaves one as it is, and who is not privileged can
/// only choose among those it has: `EPERM`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are credentials(7)'s")]
pub struct Ids {
    pub real: u32,
    pub effective: u32,
    pub saved: u32,
    pub filesystem: u32,
}

impl Ids {
    fn has(&self, id: u32) -> bool {
        [self.real, self.effective, self.saved].contains(&id)
    }

    /// setuid(2), setgid(2)
    pub fn set(&mut self, id: u32, privileged: bool) -> Result<(), Errno> {
        if privileged {
            self.real = id;
            self.saved = id;
        } else if id != self.real && id != self.saved {
            return Err(Errno::EPERM);
        }
        self.effective = id;
        self.filesystem = id;
        Ok(())
    }

    /// setreuid(2), setregid(2)
    pub fn set_real_and_effective(
        &mut self,
        real: Option<u32>,
        effective: Option<u32>,
        privileged: bool,
    ) -> Result<(), Errno> {
        let old = *self;
        if !privileged
            && (real.is_some_and(|id| id != old.real && id != old.effective)
                || effective.is_some_and(|id| !old.has(id)))
        {
            return Err(Errno::EPERM);
        }
        self.real = real.unwrap_or(old.real);
        self.effective = effective.unwrap_or(old.effective);
        if real.is_some() || effective.is_some_and(|id| id != old.real) {
            self.saved = self.effective;
        }
        self.filesystem = self.effective;
        Ok(())
    }

    /// setresuid(2), setresgid(2)
    pub fn set_each(&mut self, ids: [Option<u32>; 3], privileged: bool) -> Result<(), Errno> {
        if !privileged && ids.iter().flatten().any(|&id| !self.has(id)) {
            return Err(Errno::EPERM);
        }
        let [real, effective, saved] = ids;
        self.real = real.unwrap_or(self.real);
        self.effective = effective.unwrap_or(self.effective);
        self.saved = saved.unwrap_or(self.saved);
        self.filesystem = self.effective;
        Ok(())
    }

    /// setfsuid(2), setfsgid(2): without effect if it is not allowed.
    pub fn set_filesystem(&mut self, id: u32, privileged: bool) {
        if privileged || self.has(id) {
            self.filesystem = id;
        }
    }
}

/// Capability sets, bit n = capability n.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are capabilities(7)'s")]
pub struct Capabilities {
    pub effective: u64,
    pub permitted: u64,
    pub inheritable: u64,
    pub bounding: u64,
    /// Never more than is permitted and inheritable.
    pub ambient: u64,
}

/// A thread's credentials.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// User ids.
    pub user: Ids,
    /// Group ids.
    pub group: Ids,
    /// Supplementary groups, ascending.
    pub groups: Arc<Vec<u32>>,
    /// What it may do.
    pub capabilities: Capabilities,
    /// What user id 0 means to them.
    pub secure_bits: SecureBits,
}

/// Where a thread has its credentials.
pub type Own = SpinLock<Credentials>;

/// What the program starts with: it is root.
impl Default for Credentials {
    fn default() -> Self {
        Self {
            user: Ids::default(),
            group: Ids::default(),
            groups: Arc::default(),
            capabilities: Capabilities {
                effective: ALL,
                permitted: ALL,
                inheritable: 0,
                bounding: ALL,
                ambient: 0,
            },
            secure_bits: SecureBits::default(),
        }
    }
}

impl Credentials {
    /// Whether it has a capability, a `CAP_*` number.
    pub fn capable(&self, capability: u32) -> bool {
        self.capabilities.effective >> capability & 1 != 0
    }

    /// Whether `gid` is the group that files are made with, or a supplementary one.
    pub fn is_in_group(&self, gid: u32) -> bool {
        gid == self.group.filesystem || self.groups.binary_search(&gid).is_ok()
    }

    /// Changes real, effective and saved user id; leaving 0 takes capabilities, coming back to it gives them.
    pub fn change_user(
        &mut self,
        change: impl FnOnce(&mut Ids, bool) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let (old, privileged) = (self.user, self.capable(linux::CAP_SETUID));
        change(&mut self.user, privileged)?;
        if self.secure_bits.has(SecureBits::NO_SETUID_FIXUP) {
            return Ok(());
        }
        let keeps = self.keeps_capabilities();
        let has = &mut self.capabilities;
        if old.has(0) && !self.user.has(0) {
            if !keeps {
                has.permitted = 0;
                has.effective = 0;
            }
            has.ambient = 0;
        }
        match (old.effective, self.user.effective) {
            (0, 1..) => has.effective = 0,
            (1.., 0) => has.effective = has.permitted,
            _ => {}
        }
        Ok(())
    }

    /// Changes the user id that files are made with.
    pub fn change_filesystem_user(&mut self, id: u32) {
        let (old, privileged) = (self.user.filesystem, self.capable(linux::CAP_SETUID));
        self.user.set_filesystem(id, privileged);
        if self.secure_bits.has(SecureBits::NO_SETUID_FIXUP) {
            return;
        }
        let has = &mut self.capabilities;
        match (old, self.user.filesystem) {
            (0, 1..) => has.effective &= !FILES,
            (1.., 0) => has.effective |= has.permitted & FILES,
            _ => {}
        }
    }

    /// Changes group ids.
    pub fn change_group(
        &mut self,
        change: impl FnOnce(&mut Ids, bool) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let privileged = self.capable(linux::CAP_SETGID);
        change(&mut self.group, privileged)
    }

    /// capset(2): sets the effective, permitted and inheritable set. None is gained but to inherit; `EPERM`.
    pub fn set_capabilities(
        &mut self,
        [effective, permitted, inheritable]: [u64; 3],
    ) -> Result<(), Errno> {
        let old = self.capabilities;
        let is_within = |set: u64, of: u64| set & !of == 0;
        let permitted_too = if self.capable(linux::CAP_SETPCAP) {
            ALL
        } else {
            old.permitted
        };
        if !is_within(inheritable, old.inheritable | permitted_too)
            || !is_within(inheritable, old.inheritable | old.bounding)
            || !is_within(permitted, old.permitted)
            || !is_within(effective, permitted)
        {
            return Err(Errno::EPERM);
        }
        self.capabilities = Capabilities {
            effective,
            permitted,
            inheritable,
            ambient: old.ambient & permitted & inheritable,
            ..old
        };
        Ok(())
    }

    /// `PR_CAPBSET_DROP`: `EPERM`.
    pub fn drop_from_bounding(&mut self, capability: u32) -> Result<(), Errno> {
        if !self.capable(linux::CAP_SETPCAP) {
            return Err(Errno::EPERM);
        }
        self.capabilities.bounding &= !(1 << capability);
        Ok(())
    }

    /// `PR_CAP_AMBIENT_RAISE`: `EPERM`.
    pub fn raise_ambient(&mut self, capability: u32) -> Result<(), Errno> {
        let has = &mut self.capabilities;
        let may = !self.secure_bits.has(SecureBits::NO_AMBIENT_RAISE);
        if !may || (has.permitted & has.inheritable) >> capability & 1 == 0 {
            return Err(Errno::EPERM);
        }
        has.ambient |= 1 << capability;
        Ok(())
    }
}

impl Capabilities {
    /// All that there are.
    pub const ALL: u64 = ALL;
}

/// The calling thread's credentials.
pub fn current() -> Credentials {
    sched::with_current(of)
}

/// A thread's own.
///
/// # Panics
/// If the thread never enters the program and has none.
fn own(thread: &Thread) -> &Own {
    thread.part_as().expect("whoever asks runs for the program")
}

/// A thread's credentials.
pub fn of(thread: &Thread) -> Credentials {
    own(thread).lock().clone()
}

/// The calling thread's credentials; `None` for a thread of the kernel's own, which may everything.
pub fn of_caller() -> Option<Credentials> {
    with_caller(Credentials::clone)
}

/// Whether something is so of the calling thread, or it is one of the kernel's own.
pub fn caller_is(f: impl FnOnce(&Credentials) -> bool) -> bool {
    with_caller(f).unwrap_or(true)
}

fn with_caller<R>(f: impl FnOnce(&Credentials) -> R) -> Option<R> {
    sched::try_with_current(|thread| Some(f(&thread.part_as::<Own>()?.lock()))).flatten()
}

/// Does what `f` does with the calling thread's real ids in place of its effective ones, as access(2) asks.
pub fn with_real_ids<R>(f: impl FnOnce() -> R) -> R {
    let own = current();
    let mut real = own.clone();
    real.user.filesystem = own.user.real;
    real.group.filesystem = own.group.real;
    if !own.secure_bits.has(SecureBits::NO_SETUID_FIXUP) {
        real.capabilities.effective = if own.user.real == 0 {
            own.capabilities.permitted
        } else {
            0
        };
    }
    set(real);
    let result = f();
    set(own);
    result
}

/// Gives the calling thread other credentials, whatever its own are.
pub fn set(mut new: Credentials) {
    sched::with_current(|thread| {
        core::mem::swap(&mut *own(thread).lock(), &mut new);
    });
}

/// Whether the calling thread has a capability, a `CAP_*` number.
pub fn capable(capability: u32) -> bool {
    sched::with_current(|thread| own(thread).lock().capable(capability))
}

/// `EPERM` unless the calling thread has a capability.
pub fn require(capability: u32) -> Result<(), Errno> {
    capable(capability).then_some(()).ok_or(Errno::EPERM)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nobody() -> Credentials {
        let mut one = Credentials::default();
        one.change_user(|ids, privileged| ids.set(1000, privileged))
            .unwrap();
        one
    }

    #[test]
    fn who_leaves_root_altogether_cannot_come_back() {
        let mut one = nobody();
        assert_eq!(
            (one.capabilities.effective, one.capabilities.permitted),
            (0, 0)
        );
        for ids in [[Some(0), None, None], [None, None, Some(1001)]] {
            let result = one.change_user(|user, privileged| user.set_each(ids, privileged));
            assert_eq!(result, Err(Errno::EPERM));
        }
        one.change_filesystem_user(0);
        assert_eq!(one.user.filesystem, 1000);
    }

    #[test]
    fn a_saved_root_comes_back_with_its_capabilities() {
        let mut one = Credentials::default();
        let effective =
            |id| move |ids: &mut Ids, is| ids.set_real_and_effective(None, Some(id), is);
        one.change_user(|ids, is| ids.set_each([Some(5), Some(5), None], is))
            .unwrap();
        assert!(!one.capable(linux::CAP_CHOWN));
        one.change_user(effective(0)).unwrap();
        assert!(one.capable(linux::CAP_CHOWN));
        one.change_filesystem_user(5);
        assert!(!one.capable(linux::CAP_CHOWN) && one.capable(linux::CAP_SYS_NICE));
        one.change_filesystem_user(0);
        assert_eq!(one.capabilities.effective, ALL);
        // An effective id other than the real one is saved.
        one.change_user(effective(7)).unwrap();
        assert_eq!((one.user.real, one.user.saved), (5, 7));
    }

    #[test]
    fn capabilities_are_kept_on_demand_and_never_gained() {
        let mut one = Credentials::default();
        one.keep_capabilities(true).unwrap();
        one.change_user(|ids, privileged| ids.set(1000, privileged))
            .unwrap();
        let has = one.capabilities;
        assert_eq!((has.effective, has.permitted), (0, ALL));
        let kept = [1 << linux::CAP_CHOWN, ALL, 0];
        one.set_capabilities(kept).unwrap();
        assert_eq!(one.capabilities.effective, 1 << linux::CAP_CHOWN);
        assert_eq!(nobody().set_capabilities(kept), Err(Errno::EPERM));
    }
}
