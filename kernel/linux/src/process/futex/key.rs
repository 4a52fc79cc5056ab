//! What tells one futex from another.
use crate::process::with_space;
use abi::Errno;
use core::sync::atomic::{AtomicUsize, Ordering};
use machine::mm::{space::Space, user};

/// Who waits and who wakes mean the same word if they have the same key.
///
/// That of a private word is the address space with the address. That of a shared word is what is mapped there with the
/// place in it, wherever processes have mapped it; if the memory is one process' alone, it is the space and the address
/// again, with a mark: private and shared never meet.
#[doc(alias = "futex_key")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Key {
    /// The space or the object, by its address.
    object: usize,
    offset: usize,
}

impl Key {
    /// A word of the dynamic linker's, which lies in the caller's address space.
    pub(super) fn kernel(addr: usize) -> Self {
        Self::private(with_space(|space| core::ptr::from_ref(space).addr()), addr)
    }

    /// The word at `addr` of a space, by its own address.
    pub(super) fn private(space: usize, addr: usize) -> Self {
        Self {
            object: space,
            offset: addr,
        }
    }

    /// A number that is spread over all bits of a word.
    pub(super) fn hash(self) -> usize {
        // Fibonacci hashing: the multiplication spreads neighbouring words over the top bits.
        (self.offset >> 2 ^ self.object.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// A word of the program's, as the calling process reaches it.
#[derive(Clone, Copy, Debug)]
pub struct Word {
    /// Its address.
    pub addr: usize,
    pub(super) key: Key,
    /// The address space that the address is of, by its own.
    space: usize,
}

impl Word {
    /// The word at `addr`, to be shared with other processes or not. `EINVAL` unless it is aligned, `EFAULT` unless it
    /// is the program's; a shared one must be there to be read.
    pub fn at(addr: usize, shared: bool) -> Result<Self, Errno> {
        if !addr.is_multiple_of(4) {
            return Err(Errno::EINVAL);
        }
        user::check_address(addr, 4)?;
        if shared {
            user::load_u32(addr)?;
        }
        Ok(with_space(|space: &Space| {
            let here = core::ptr::from_ref(space).addr();
            let object = shared.then(|| space.shared_object(addr)).flatten();
            let (object, offset) = object.unwrap_or((here, addr | usize::from(shared)));
            Self {
                addr,
                key: Key { object, offset },
                space: here,
            }
        }))
    }

    /// Whether the address means it to the calling process.
    pub(super) fn is_here(&self) -> bool {
        with_space(|space| core::ptr::from_ref(space).addr()) == self.space
    }
}

/// A key that is changed under locks and looked at without.
pub(super) struct KeyCell {
    object: AtomicUsize,
    offset: AtomicUsize,
}

impl KeyCell {
    pub(super) fn new(key: Key) -> Self {
        Self {
            object: AtomicUsize::new(key.object),
            offset: AtomicUsize::new(key.offset),
        }
    }

    /// The key; without the locks it may be half of an old one.
    pub(super) fn get(&self) -> Key {
        Key {
            object: self.object.load(Ordering::Relaxed),
            offset: self.offset.load(Ordering::Relaxed),
        }
    }

    pub(super) fn set(&self, key: Key) {
        self.object.store(key.object, Ordering::Relaxed);
        self.offset.store(key.offset, Ordering::Relaxed);
    }
}
