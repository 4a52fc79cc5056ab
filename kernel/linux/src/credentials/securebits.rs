//! What user id 0 means to capabilities (capabilities(7), "The securebits flags"): a thread can be told that it means
//! nothing, and that it stays so.
use super::Credentials;
use abi::Errno;
use linux_raw_sys::general::CAP_SETPCAP;

/// A thread's flags. Each has a lock, the next bit, that keeps both as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SecureBits(usize);

impl SecureBits {
    /// `SECBIT_NOROOT`: a program that root runs has no capabilities for that.
    pub(super) const NO_ROOT: Self = Self(1);
    /// `SECBIT_NO_SETUID_FIXUP`: other user ids take and give none.
    pub(super) const NO_SETUID_FIXUP: Self = Self(1 << 2);
    /// `SECBIT_KEEP_CAPS`: to have no user id of 0 any more does not take what is permitted.
    pub(super) const KEEP_CAPS: Self = Self(1 << 4);
    /// `SECBIT_NO_CAP_AMBIENT_RAISE`: none become ambient.
    pub(super) const NO_AMBIENT_RAISE: Self = Self(1 << 6);

    const KNOWN: usize = 0xff;
    const LOCKS: usize = 0xaa;

    /// As `PR_GET_SECUREBITS` has them.
    pub fn bits(self) -> usize {
        self.0
    }

    pub(super) fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }

    fn is_locked(self, flag: Self) -> bool {
        self.0 & flag.0 << 1 != 0
    }

    /// These without a flag.
    pub(super) fn without(self, flag: Self) -> Self {
        Self(self.0 & !flag.0)
    }
}

impl Credentials {
    /// `PR_SET_SECUREBITS`: `EPERM`.
    pub fn set_secure_bits(&mut self, new: usize) -> Result<(), Errno> {
        let old = self.secure_bits.0;
        let locks = old & SecureBits::LOCKS;
        let is_refused =
            locks >> 1 & (old ^ new) != 0 || locks & !new != 0 || new & !SecureBits::KNOWN != 0;
        if is_refused || !self.capable(CAP_SETPCAP) {
            return Err(Errno::EPERM);
        }
        self.secure_bits = SecureBits(new);
        Ok(())
    }

    /// `PR_GET_KEEPCAPS`
    pub fn keeps_capabilities(&self) -> bool {
        self.secure_bits.has(SecureBits::KEEP_CAPS)
    }

    /// `PR_SET_KEEPCAPS`: `EPERM`.
    pub fn keep_capabilities(&mut self, keep: bool) -> Result<(), Errno> {
        if self.secure_bits.is_locked(SecureBits::KEEP_CAPS) {
            return Err(Errno::EPERM);
        }
        self.secure_bits = self.secure_bits.without(SecureBits::KEEP_CAPS);
        if keep {
            self.secure_bits.0 |= SecureBits::KEEP_CAPS.0;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_locked_stays() {
        let mut one = Credentials::default();
        one.keep_capabilities(true).unwrap();
        assert_eq!(one.secure_bits.bits(), 0x10);
        // Locked as it is not; then neither changes.
        one.set_secure_bits(0x20).unwrap();
        assert_eq!(one.keep_capabilities(true), Err(Errno::EPERM));
        for bits in [0, 0x10, 0x30, 0x120] {
            assert_eq!(one.set_secure_bits(bits), Err(Errno::EPERM), "{bits:#x}");
        }
        one.set_secure_bits(0x2f).unwrap();
        one.set_capabilities([0; 3]).unwrap();
        assert_eq!(one.set_secure_bits(0x2f), Err(Errno::EPERM));
    }
}
